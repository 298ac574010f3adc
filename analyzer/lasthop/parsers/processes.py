"""Processes: the collector's TSV and the usual forms of ps."""

from __future__ import annotations

import re

from lasthop.facts.calico import Process
from lasthop.facts.evidence import ParseResult

from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange

# By their arguments: separate binaries (Calico 2), calico-node -felix (3), calico component felix (3.33).
_NAMES = (
    ("felix", re.compile(r"calico-felix\b|\bcalico-node\b.* -felix\b|\bcalico\S* component felix\b")),
    ("confd", re.compile(r"^(?:\S*/)?confd\b|\bcalico-node\b.* -confd\b|\bcalico\S* component confd\b")),
)
_WORDS = re.compile(r"\S+")


def name_of(args: str, comm: str = "") -> str:
    """"felix" and "confd" in all their forms, else the program's base name."""
    for name, pattern in _NAMES:
        if pattern.search(args):
            return name
    words = args.split()
    if not words:
        return comm
    program = words[0].rsplit("/", 1)[-1].rstrip(":")
    return comm if words[0].startswith("[") and comm else program


def _tsv(builder: ResultBuilder[Process], lines: list[tuple[int, str]]) -> None:
    names: list[str] = []
    for count, line in lines:
        fields = line.split("\t")
        if not names:
            names = [field.strip().lower() for field in fields]
            continue
        builder.lines += 1
        try:
            row = dict(zip(names, fields, strict=False))
            args = row.get("cmdline", "").strip()
            comm = row.get("comm", "").strip()
            builder.values.append(
                Process(name_of(args or comm, comm), int(row["pid"]), cite(builder.path, count, line),
                        row.get("state", "").strip(), args or comm)
            )  # fmt: skip
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")


# `ps -o lstart` prints five words under STARTED, a weekday first.
_DAYS = frozenset(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))


def _ps_row(names: list[str], line: str) -> dict[str, str]:
    row: dict[str, str] = {}
    words = list(_WORDS.finditer(line))
    at = 0
    for name in names[:-1]:
        if name == "STARTED" and words[at].group() in _DAYS:
            row[name] = line[words[at].start() : words[at + 4].end()]
            at += 5
            continue
        row[name] = words[at].group()
        at += 1
    row[names[-1]] = line[words[at].start() :].rstrip()
    return row


def parse_processes(text: str, path: str) -> ParseResult[Process]:
    """All processes of the text; `name` is as `name_of` gives it. The heading of ps names the columns."""
    builder: ResultBuilder[Process] = ResultBuilder(path, "processes")
    lines = [(count, line) for count, line in numbered(text) if line.strip() and line[0] != "#"]
    if lines and "\t" in lines[0][1] and lines[0][1].lower().startswith("pid"):
        _tsv(builder, lines)
        return builder.result()
    names: list[str] = []
    for count, line in lines:
        words = line.split()
        if "PID" in words and words[-1] in ("COMMAND", "CMD", "ARGS"):
            names = words
            continue
        builder.lines += 1
        try:
            if not names:
                raise Strange("no heading that names the columns")
            row = _ps_row(names, line)
            args = row[names[-1]].lstrip("\\_ |")
            stat = row.get("STAT", row.get("S", ""))
            builder.values.append(Process(name_of(args), int(row["PID"]), cite(path, count, line), stat, args))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    return builder.result()
