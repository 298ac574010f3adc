"""The framed stream of docs/bundle-format.md section 8, for hosts without tar."""

from __future__ import annotations

from collections.abc import Callable

from .members import Tree
from .streams import Source

MAGIC = b"LASTHOP-STREAM "
_LINE = 8192


def read_framed(source: Source, tree: Tree, store: Callable[[str, bytes, bool], None]) -> str:
    """Hands every file to `store`; returns why the stream ended early, "" when it ended with its `E` line."""
    source.read_line(_LINE)
    meter = tree.meter
    while True:
        line = source.read_line(_LINE)
        if not line:
            return source.problem or "it ends before its last line"
        if line.startswith(b"E "):
            return ""
        word, _, rest = line.partition(b" ")
        size, _, raw = rest.partition(b" ")
        if word != b"F" or not raw or not (size == b"-" or (size.isdigit() and len(size) < 16)):
            return "a frame is damaged"
        problem = meter.spend_member()
        if problem:
            return problem
        name = tree.check(unescape(raw.decode("utf-8", "surrogateescape")))
        if size == b"-":
            if name:
                tree.skipped.append(name)
            continue
        count = int(size)
        if not name or count > meter.limit_for(name):
            if name:
                tree.skipped.append(name)
                tree.warn(f"{tree.label}: {name} is larger than {meter.limit_for(name) // (1 << 20)} MiB; skipped.")
            if source.skip(count) < count:
                return source.problem or "it ends in the middle"
        else:
            data = source.read(count)
            store(name, data, len(data) == count)
            if len(data) < count:
                return source.problem or "it ends in the middle"
        if source.read(1) not in (b"\n", b""):
            return "a frame is damaged"


def unescape(field: str) -> str:
    """Undoes the escapes of section 3: \\\\ \\t \\n \\r. An escape that is none of them stays as it is."""
    if "\\" not in field:
        return field
    out: list[str] = []
    at = 0
    while at < len(field):
        if field[at] == "\\" and at + 1 < len(field) and field[at + 1] in "\\tnr":
            out.append({"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}[field[at + 1]])
            at += 2
        else:
            out.append(field[at])
            at += 1
    return "".join(out)
