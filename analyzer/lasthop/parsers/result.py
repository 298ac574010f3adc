"""What every parser keeps while it reads: facts, strange lines and the count of data lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from lasthop.facts.evidence import ParseResult, SourceRef, Unparsed

T = TypeVar("T")

STRANGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)
"""What reading a malformed line or JSON object can raise; caught per line, never per file."""

CITED = 2000
"""Longest quoted text in characters; a longer line is cited by its beginning, which is still literally in the file."""


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their number from 1, without their line end.

    Only LF and CRLF end a line: str.splitlines would also cut at form feeds and U+2028 and shift every later number.
    """
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line[:-1] if line.endswith("\r") else line


def cite(path: str, number: int, line: str) -> SourceRef:
    return SourceRef(path, number, line.strip()[:CITED])


class ResultBuilder(Generic[T]):
    """Collects a ParseResult. `lines` counts data lines: blank lines, headers and comments are not data."""

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.values: list[T] = []
        self.unparsed: list[Unparsed] = []
        self.touches: list[str] = []
        self.lines = 0
        self.truncated = False

    def reject(self, number: int, line: str, why: str, touches: str = "") -> None:
        self.unparsed.append(Unparsed(cite(self.path, number, line), self.kind, why))
        self.touches.append(touches)

    def result(self) -> ParseResult[T]:
        return ParseResult(
            tuple(self.values), tuple(self.unparsed), self.lines, self.truncated, touches=tuple(self.touches)
        )
