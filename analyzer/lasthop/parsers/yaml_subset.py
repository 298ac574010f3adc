"""The YAML that kubectl and calicoctl print, read about ten times faster than libyaml's loader does.

Block mappings and sequences, one-line scalars, `[]`, `{}` and literal blocks. Anything else raises Unusual and is left
to the real parser: this never guesses. Values are those of yaml_guard.StringsLoader.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 100

# Written as what is foreign: a class over nearly all of Unicode takes 10 ms to compile.
_FOREIGN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_MARKER = re.compile(r"^(?:---|\.\.\.)(?: |$)", re.M)
_PLAIN = re.compile(r"[^\s\-?:,\[\]{}#&*!|>'\"%@`]|[-?:](?=\S)")
_INT = re.compile(r"0|-?[1-9][0-9]{0,17}")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None}
_ESCAPES = re.compile(r'\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})|[^\\]')
_QUOTED_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'):(?: |$)""")


class Unusual(Exception):
    """The text is outside the subset; it may well be good YAML."""


def read_subset(text: str) -> Any:
    """The mapping or sequence of one document. Raises Unusual."""
    if _FOREIGN.search(text) or _MARKER.search(text):
        raise Unusual
    reader = _Reader(text.split("\n"))
    line = reader.peek()
    if line is None:
        raise Unusual
    value = reader.block(line[0], 0)
    if reader.peek() is not None:
        raise Unusual
    return value


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0
        self._pending: tuple[int, str] | None = None

    def peek(self) -> tuple[int, str] | None:
        """(indentation, content) of the next line with content."""
        if self._pending is not None:
            return self._pending
        while self.at < len(self.lines):
            line = self.lines[self.at]
            content = line.lstrip(" ")
            if content and content[0] != "#":
                self._pending = (len(line) - len(content), content.rstrip(" "))
                return self._pending
            self.at += 1
        return None

    def take(self) -> None:
        self._pending = None
        self.at += 1

    def block(self, indent: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Unusual
        line = self.peek()
        assert line is not None
        if _is_item(line[1]):
            return self.sequence(indent, depth)
        return self.mapping(indent, depth)

    def sequence(self, indent: int, depth: int) -> list[Any]:
        found: list[Any] = []
        while (line := self.peek()) is not None:
            if line[0] < indent or (line[0] == indent and not _is_item(line[1])):
                break
            if line[0] > indent:
                raise Unusual
            rest = line[1][1:].lstrip(" ")
            if not rest:
                self.take()
                found.append(self.below(indent, depth, sequence=False))
            elif _is_item(rest) or _split(rest) is not None:
                # "- key: value": the item's own block begins behind the dash.
                inner = indent + len(line[1]) - len(rest)
                self._pending = (inner, rest)
                found.append(self.block(inner, depth + 1))
            else:
                self.take()
                found.append(self.scalar(rest, indent))
        return found

    def mapping(self, indent: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        while (line := self.peek()) is not None:
            if line[0] < indent or (line[0] == indent and found and _is_item(line[1])):
                break
            pair = _split(line[1])
            if line[0] > indent or pair is None:
                raise Unusual
            self.take()
            key, rest = pair
            found[key] = self.scalar(rest, indent) if rest else self.below(indent, depth, sequence=True)
        return found

    def below(self, indent: int, depth: int, sequence: bool) -> Any:
        """The value on the following lines, None when they belong to something else."""
        line = self.peek()
        if line is None or line[0] < indent or (line[0] == indent and not (sequence and _is_item(line[1]))):
            return None
        return self.block(line[0], depth + 1)

    def scalar(self, text: str, indent: int) -> Any:
        if text in ("|", "|-"):
            return self.literal(indent, keep_end=text == "|")
        value = _scalar(text)
        line = self.peek()
        if line is not None and line[0] > indent:
            raise Unusual  # a scalar that goes on over several lines
        return value

    def literal(self, indent: int, keep_end: bool) -> str:
        if self.at >= len(self.lines) or not self.lines[self.at].strip(" "):
            raise Unusual
        first = self.lines[self.at]
        inner = len(first) - len(first.lstrip(" "))
        if inner <= indent:
            raise Unusual
        taken: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip(" ") and len(line) - len(line.lstrip(" ")) < inner:
                break
            taken.append(line[inner:])
            self.at += 1
        if taken[-1] and self.at >= len(self.lines):
            raise Unusual  # the text ends without a newline, and a literal block shows that
        while taken and not taken[-1]:
            taken.pop()
        return "\n".join(taken) + ("\n" if keep_end else "")


def _is_item(content: str) -> bool:
    return content == "-" or content.startswith("- ")


def _split(content: str) -> tuple[Any, str] | None:
    """(key, text of the value) of a "key: value" line."""
    if content[0] in "\"'":
        match = _QUOTED_KEY.match(content)
        if match is None:
            return None
        return _scalar(match.group(1)), content[match.end() :].strip(" ")
    colon = content.find(": ")
    if colon < 0:
        if not content.endswith(":"):
            return None
        colon = len(content) - 1
    key = content[:colon].rstrip(" ")
    if not key:
        raise Unusual
    return _plain(key), content[colon + 1 :].strip(" ")


def _scalar(text: str) -> Any:
    if text[0] == "'":
        inner = text[1:-1]
        if len(text) < 2 or text[-1] != "'" or "'" in inner.replace("''", ""):
            raise Unusual
        return inner.replace("''", "'")
    if text[0] == '"':
        if len(text) < 2 or text[-1] != '"' or '"' in re.sub(r"\\.", "", text[1:-1]):
            raise Unusual
        if "\\" not in text:
            return text[1:-1]
        if _ESCAPES.sub("", text[1:-1]):
            raise Unusual
        try:
            return json.loads(text)
        except ValueError:
            raise Unusual from None
    if text == "[]":
        return []
    if text == "{}":
        return {}
    return _plain(text)


def _plain(text: str) -> Any:
    if _PLAIN.match(text) is None and text != "~":
        raise Unusual
    if ": " in text or " #" in text or text[-1] == ":":
        raise Unusual
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INT.fullmatch(text) else text
