"""The items of JSON output with their extent in the file.

`ip -j` prints everything on one line: an item is cited by its own text, which is literally in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lasthop.facts.evidence import ParseResult, SourceRef

from .result import CITED, STRANGE, ResultBuilder

T = TypeVar("T")

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


class _Lines:
    """Line numbers of ascending offsets."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = 1

    def at(self, offset: int) -> int:
        self._line += self._text.count("\n", self._offset, offset)
        self._offset = offset
        return self._line


def _skip(text: str, offset: int, also: str = "") -> int:
    while offset < len(text) and (text[offset] in _SPACE or text[offset] in also):
        offset += 1
    return offset


def parse_items(
    text: str, path: str, kind: str, read: Callable[[Mapping[str, Any], SourceRef], T | list[T] | None]
) -> ParseResult[T]:
    """Every object of one or more JSON arrays (or bare objects), read by `read`, which returns a fact, a list, or None.

    An item counts as one data line. Empty objects, which old iproute2 prints for filtered entries, do not count.
    Text that ends inside an item or array gives `truncated`.
    """
    builder: ResultBuilder[T] = ResultBuilder(path, kind)
    lines = _Lines(text)
    offset = _skip(text, 0)
    depth = 0
    while offset < len(text):
        if text[offset] == "[":
            depth += 1
            offset = _skip(text, offset + 1)
            continue
        if text[offset] == "]":
            depth = max(0, depth - 1)
            offset = _skip(text, offset + 1)
            continue
        line = lines.at(offset)
        try:
            item, end = _DECODER.raw_decode(text, offset)
        except (ValueError, RecursionError) as error:
            builder.lines += 1
            rest = text[offset : offset + CITED].split("\n", 1)[0]
            builder.reject(line, rest, f"not JSON: {error}"[:200])
            builder.truncated = True
            return builder.result()
        if item != {}:
            builder.lines += 1
            source = SourceRef(
                path, line, text[offset : min(end, offset + CITED)].split("\n", 1)[0].rstrip(), lines.at(end)
            )
            try:
                if not isinstance(item, dict):
                    raise ValueError("not an object")
                value = read(item, source)
            except STRANGE as error:
                builder.reject(line, source.text, str(error)[:200] or "not understood", getattr(error, "touches", ""))
            else:
                if isinstance(value, list):
                    builder.values.extend(value)
                elif value is not None:
                    builder.values.append(value)
        offset = _skip(text, end, ",")
    if depth:
        builder.truncated = True
    return builder.result()
