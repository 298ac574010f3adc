"""Members of a bundle: names that were checked, data in memory (or, for a directory, read when asked for)."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .budget import Meter

# C0, DEL, C1, bidirectional controls, line and paragraph separators, lone surrogates (bytes that were not UTF-8)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_DRIVE = re.compile(r"^[A-Za-z]:")
_ALIAS_DEPTH = 8


def clean_name(raw: str, depth: int, limit: int) -> tuple[str, str]:
    """(name, ""), or ("", why this name is refused). Names are keys, never paths to open; the rules keep them printable
    and keep a report from pointing anywhere else. Control characters come out as \\xNN."""
    name = raw
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    name = name.rstrip("/")
    if name in ("", "."):
        return "", "no name"
    if "\0" in name:
        return "", "a NUL in its name"
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return "", "an absolute name"
    if "\\" in name:
        return "", "a backslash in its name"
    if len(name.encode("utf-8", "surrogatepass")) > limit:
        return "", f"a name longer than {limit} bytes"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        return "", "'..' in its name"
    if len(parts) > depth:
        return "", f"a name deeper than {depth} folders"
    if not parts:
        return "", "no name"
    return show_name("/".join(parts)), ""


def show_name(name: str) -> str:
    """The name with everything unprintable written as an escape: safe in a terminal, a page and a file."""
    return name if name.isascii() and name.isprintable() else _UNPRINTABLE.sub(_escape, name)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


@dataclass(slots=True)
class Member:
    """One file. `cut` is true when the archive or a limit ended inside it."""

    path: str
    size: int
    data: bytes | None = None
    load: Callable[[], bytes] | None = None
    cut: bool = False

    def read(self) -> bytes:
        if self.data is None:
            self.data = self.load() if self.load else b""
        return self.data


@dataclass(slots=True)
class Tree:
    """The members of one input (or of one nested archive), before anything is known of what they mean.

    `label` names it where its files do not (the archive's name without its endings).
    """

    label: str
    meter: Meter
    single: bool = False
    """A file that is no archive."""
    members: dict[str, Member] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    _folded: dict[str, str] = field(default_factory=dict)

    def warn(self, sentence: str) -> None:
        """Keeps a warning; a hostile archive may cause millions of the same kind, so only the first hundred stay."""
        if len(self.warnings) < 100:
            self.warnings.append(sentence)
        elif len(self.warnings) == 100:
            self.warnings.append(f"{self.label}: more warnings of this input are not shown.")

    def check(self, raw: str) -> str:
        """The clean name of a member that may come in, or "" after a warning."""
        budget = self.meter.budget
        name, why = clean_name(raw, budget.depth, budget.name_bytes)
        if why and not (why == "no name" and raw.strip("./") == ""):
            self.warn(f"{self.label}: skipped {show_name(raw[:80])!r}: {why}.")
        return name

    def add(self, member: Member) -> None:
        """First wins: a later member of the same name could be there to replace evidence."""
        path = member.path
        if path in self.members:
            self.warn(f"{self.label}: {path} is there twice; the first one is used.")
            return
        folded = unicodedata.normalize("NFC", path).casefold()
        other = self._folded.setdefault(folded, path)
        if other != path:
            self.warn(f"{self.label}: {path} and {other} differ only in case or in the form of their letters.")
        self.members[path] = member
        if member.cut:
            self.warn(f"{self.label}: {path} is cut after {member.size} bytes.")

    def add_alias(self, path: str, target: str, hard: bool) -> None:
        """A link is kept as text and only ever leads to another member of the same tree."""
        if target.startswith(("/", "\\")) or "\0" in target or _DRIVE.match(target):
            self.warn(f"{self.label}: {path} is a link out of the bundle ({show_name(target[:80])!r}); not followed.")
            return
        base = "" if hard else path.rpartition("/")[0]
        joined = os.path.normpath(f"{base}/{target}" if base else target)
        if joined.startswith(("..", "/")):
            self.warn(f"{self.label}: {path} is a link out of the bundle ({show_name(target[:80])!r}); not followed.")
            return
        self.aliases.setdefault(path, show_name(joined))

    def resolve(self, path: str) -> Member | None:
        """The member of this name, through at most eight links."""
        for _ in range(_ALIAS_DEPTH + 1):
            found = self.members.get(path)
            if found is not None:
                return found
            if path not in self.aliases:
                return None
            path = self.aliases[path]
        return None

    def strip_top(self) -> None:
        """While everything lies in one folder whose name is no part of a layout, that folder becomes the top.

        Its name becomes the label: an archive "evidence.tgz" of a folder "node1" is about node1.
        """
        while self.members:
            tops = {path.split("/", 1)[0] if "/" in path else "" for path in self.members}
            if len(tops) != 1 or tops & LAYOUT_FOLDERS or "" in tops:
                return
            top = tops.pop()
            cut = len(top) + 1
            for member in self.members.values():
                member.path = member.path[cut:]
            self.members = {member.path: member for member in self.members.values()}
            self.aliases = {
                alias[cut:]: target[cut:]
                for alias, target in self.aliases.items()
                if alias.startswith(top + "/") and target.startswith(top + "/")
            }
            self.label = top

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())


LAYOUT_FOLDERS = frozenset(
    {"nodes", "node", "cluster", "host", "pods", "pcap", "pcaps", "captures", "t0", "t1", "k8s-handmade", "kubernetes",
     "k8s", "calico", "sos_commands", "proc", "sys", "etc", "var", "FAILED"}
)  # fmt: skip
