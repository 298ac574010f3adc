"""What the reader makes of its inputs: artifacts, captures, clocks and names, whatever layout they came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lasthop.errors import BundleError
from lasthop.facts.evidence import Artifact
from lasthop.facts.snapshot import Capture, Question

from .budget import Budget
from .members import Member

_CONTEXT = 3
_KEPT = 8


@dataclass(slots=True)
class Bundle:
    """A merged, read bundle. Artifacts are in bundle order; one artifact is one command's output.

    `meta` are node.meta's keys per node, `pods` pod.meta's keys per node and "namespace/name". `spans` gives the lines
    (first, last) of an artifact that is a part of its file (a terminal transcript); all others are whole files.
    """

    artifacts: tuple[Artifact, ...] = ()
    captures: tuple[Capture, ...] = ()
    meta: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pods: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    warnings: tuple[str, ...] = ()
    unrecognised: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    spans: Mapping[Artifact, tuple[int, int]] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    _texts: dict[str, str] = field(default_factory=dict, repr=False)
    _lines: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def read(self, path: str) -> bytes:
        """The bytes of a member. Raises BundleError when the bundle has no such member."""
        member = self.members.get(path)
        if member is None:
            raise BundleError(f"{path}: no such member in the bundle.")
        return member.read()

    def text(self, path: str) -> str:
        """The member as text, lines ending in LF, nothing else changed: UTF-8 (or the UTF-16 of a PowerShell
        redirection), replacement characters for what is not, control characters kept. Lines longer than the budget
        are cut."""
        found = self._texts.get(path)
        if found is None:
            found = decode(self.read(path), self.budget.line_bytes)
            _remember(self._texts, path, found)
        return found

    def lines(self, path: str) -> list[str]:
        """The member's lines; line n of a citation is `lines(path)[n - 1]`."""
        found = self._lines.get(path)
        if found is None:
            found = self.text(path).split("\n")
            _remember(self._lines, path, found)
        return found

    def artifact_text(self, artifact: Artifact) -> str:
        """The text that belongs to one artifact, with its lines at the numbers that they have in the file."""
        if not artifact.path or artifact.path not in self.members:
            return ""
        text = self.text(artifact.path)
        span = self.spans.get(artifact)
        if span is None:
            return text
        first, last = span
        lines = self.lines(artifact.path)[first - 1 : last]
        return "\n" * (first - 1) + "\n".join(lines) + "\n"

    def lines_around(self, path: str, line: int, n: int = _CONTEXT) -> tuple[tuple[int, str], ...]:
        """Up to `n` lines before and after `line` (counted from 1), with their numbers; () for an unknown member."""
        if path not in self.members:
            return ()
        lines = self.lines(path)
        first, last = max(line - n, 1), min(line + n, len(lines))
        return tuple((number, lines[number - 1]) for number in range(first, last + 1))


T = TypeVar("T")


def _remember(cache: dict[str, T], path: str, value: T) -> None:
    """Keeps the last few: a file is parsed, searched and quoted within a short time, and dumps are large."""
    while len(cache) >= _KEPT:
        del cache[next(iter(cache))]
    cache[path] = value


def decode(data: bytes, line_limit: int) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    elif data.startswith(b"\xef\xbb\xbf"):
        text = data[3:].decode("utf-8", "replace")
    else:
        text = data.decode("utf-8", "replace")
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    if len(text) > line_limit and text.lstrip()[:1] not in ("{", "["):
        # JSON may be one long line; any other line of this length is no output of the tools that are read here
        lines = text.split("\n")
        if max(map(len, lines)) > line_limit:
            text = "\n".join(line[:line_limit] for line in lines)
    return text
