"""YAML and JSON texts of Calico and Kubernetes objects -> single objects with their place in the text.

Accepted: one object, several documents, `List` and `...List` kinds, bare lists (calicoctl v1), and a text that is
cut anywhere (the whole objects before the cut are returned).
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef, Unparsed

from .yaml_guard import MAX_DEPTH, load_yaml
from .yaml_split import documents, ends_inside, list_items, list_kind

KIND = "objects"
_SHOWN = 300
_SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_START = re.compile(r"^(?:[{\[]|- |-$|---|(?!Warning:|Error:|error:)[A-Za-z_\"'][\w.\"'-]*:(?:\s|$))")
_METADATA_ANNOTATION = "projectcalico.org/metadata"


@dataclass(frozen=True, slots=True)
class RawObject:
    """One object as it was written. `kind` and `api_version` are "" where the text has none."""

    kind: str
    api_version: str
    source: SourceRef
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        value = self.body.get("metadata")
        return value if isinstance(value, dict) else {}

    @property
    def name(self) -> str:
        return _text(self.metadata.get("name"))

    @property
    def namespace(self) -> str:
        return _text(self.metadata.get("namespace"))

    @property
    def spec(self) -> dict[str, Any]:
        value = self.body.get("spec")
        return value if isinstance(value, dict) else {}

    @property
    def status(self) -> dict[str, Any]:
        value = self.body.get("status")
        return value if isinstance(value, dict) else {}

    @property
    def labels(self) -> dict[str, str]:
        """Own labels. Calico keeps the real metadata of a CRD in an annotation; labels there win."""
        metadata = self.metadata
        own = string_map(metadata.get("labels"))
        return {**own, **string_map(self._kept_metadata().get("labels"))} if metadata.get("annotations") else own

    @property
    def annotations(self) -> dict[str, str]:
        return string_map(self.metadata.get("annotations"))

    def _kept_metadata(self) -> dict[str, Any]:
        text = self.annotations.get(_METADATA_ANNOTATION, "")
        if not text:
            return {}
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def string_map(value: object) -> dict[str, str]:
    """Labels and the like: every key and value as text; empty where the value is no mapping."""
    if not isinstance(value, dict):
        return {}
    if all(type(item) is str for item in value.values()):
        return dict(value)
    return {_text(key): _text(item) for key, item in value.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


@contextmanager
def paused_gc() -> Iterator[None]:
    """No cyclic collection meanwhile: 100,000s of new dicts without a cycle cost 40 % of the time otherwise."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def load_objects(text: str, path: str) -> ParseResult[RawObject]:
    """Every whole object of the text, in order. Never raises; what was not understood is in `unparsed`.

    `truncated` is True when the text ends inside an object or a list. `lines` counts non-blank lines.
    """
    reader = _Reader(text, path)
    with paused_gc():
        reader.run()
    lines = text.count("\n") + (1 if text and not text.endswith("\n") else 0)
    return ParseResult(tuple(reader.found), tuple(reader.unparsed), lines, reader.truncated)


class _Reader:
    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.found: list[RawObject] = []
        self.unparsed: list[Unparsed] = []
        self.truncated = False
        self.lossy = _ESCAPED_SURROGATE.search(text) is not None or _SURROGATE.search(text) is not None
        self._at = 0
        self._line = 1

    def run(self) -> None:
        start = self._skip_banner()
        if start >= len(self.text):
            return
        if self.text[start] in "{[":
            self._json(start)
        else:
            self._yaml(start)

    # -- places

    def line_of(self, offset: int) -> int:
        """Line number of an offset; offsets are asked for in rising order."""
        if offset < self._at:
            self._at, self._line = 0, 1
        self._line += self.text.count("\n", self._at, offset)
        self._at = offset
        return self._line

    def first_line(self, offset: int) -> str:
        """The line around the offset, from its beginning where that is near (minified JSON is one long line)."""
        near = max(0, offset - _SHOWN)
        begin = self.text.rfind("\n", near, offset) + 1
        if begin == 0 and near > 0:
            begin = offset
        end = self.text.find("\n", offset, begin + _SHOWN)
        return self.text[begin : end if end >= 0 else begin + _SHOWN].rstrip("\r")

    def refuse(self, offset: int, why: str) -> None:
        source = SourceRef(self.path, self.line_of(offset), self.first_line(offset))
        self.unparsed.append(Unparsed(source, KIND, why))

    def _skip_banner(self) -> int:
        """Offset of the first line that can begin an object; lines of other tools before it are not understood."""
        offset = 0
        for line in self.text.splitlines(keepends=True):
            stripped = line.strip().lstrip("\ufeff")
            if _START.match(stripped):
                return offset + line.index(stripped[0])
            if stripped and not stripped.startswith(("#", "%", "$")):
                self.refuse(offset, "not YAML or JSON")
                if len(self.unparsed) >= 50:
                    return len(self.text)
            offset += len(line)
        return len(self.text)

    def keep(self, value: object, start: int, end: int) -> None:
        """File one value found at text[start:end]; lists and List kinds are unfolded."""
        line = self.line_of(start)
        source = SourceRef(self.path, line, self.first_line(start), line + self.text.count("\n", start, end))
        self._file(value, source, 0)

    def _file(self, value: object, source: SourceRef, depth: int) -> None:
        if isinstance(value, list) and depth < 4:
            for item in value:
                self._file(item, source, depth + 1)
            return
        if not isinstance(value, dict):
            self.unparsed.append(Unparsed(source, KIND, "not an object"))
            return
        kind = _text(value.get("kind"))
        items = value.get("items")
        if kind.endswith("List") and isinstance(items, list) and depth < 4:
            for item in items:
                if isinstance(item, dict) and not item.get("kind") and kind != "List":
                    item = {**item, "kind": kind[:-4], "apiVersion": value.get("apiVersion")}
                self._file(item, source, depth + 1)
            return
        if not kind:
            self.unparsed.append(Unparsed(source, KIND, "an object without a kind"))
            return
        body: dict[str, Any] = _clean(value) if self.lossy else value
        self.found.append(RawObject(kind, _text(body.get("apiVersion")), source, body))

    # -- JSON

    def _json(self, offset: int) -> None:
        while True:
            offset = self._space(offset)
            if offset >= len(self.text):
                return
            if self.text[offset] == "{":
                end = self._json_object(offset)
            elif self.text[offset] == "[":
                end = self._json_items(offset, "", "")
            else:
                self.refuse(offset, "text after the JSON value")
                return
            if end < 0:
                return
            offset = end

    def _space(self, offset: int) -> int:
        match = _SPACE.match(self.text, offset)
        return match.end() if match else offset

    def _scan(self, offset: int) -> tuple[Any, int] | None:
        """The JSON value at the offset and where it ends, or None when it is broken, cut or too deep."""
        try:
            value, end = _SCAN(self.text, offset)
        except (ValueError, StopIteration, RecursionError, IndexError):
            return None
        opens = self.text.count("{", offset, end) + self.text.count("[", offset, end)
        if opens > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            return None
        return value, end

    def _json_object(self, start: int) -> int:
        """One top-level object; a List is unfolded item by item so that each has its own lines. -1 ends the reading."""
        head: dict[str, Any] = {}
        pending: int | None = None
        offset = self._space(start + 1)
        text = self.text
        while offset < len(text) and text[offset] != "}":
            key = self._scan(offset) if text[offset] == '"' else None
            if key is None or not isinstance(key[0], str):
                return self._json_broken(start, offset)
            offset = self._space(key[1])
            if text[offset : offset + 1] != ":":
                return self._json_broken(start, offset)
            offset = self._space(offset + 1)
            if key[0] == "items" and text[offset : offset + 1] == "[":
                pending = offset
                kind = _text(head.get("kind")) or self._kind_after(offset)
                item_kind = kind[:-4] if kind.endswith("List") and kind != "List" else ""
                offset = self._json_items(offset, item_kind, _text(head.get("apiVersion")))
                if offset < 0:
                    return -1
            else:
                value = self._scan(offset)
                if value is None:
                    return self._json_broken(start, offset)
                head[key[0]], offset = value
            offset = self._space(offset)
            if text[offset : offset + 1] == ",":
                offset = self._space(offset + 1)
            elif text[offset : offset + 1] != "}":
                return self._json_broken(start, offset)
        if offset >= len(text):
            self.truncated = True
            return -1
        if pending is None:
            self.keep(head, start, offset + 1)
        return offset + 1

    def _kind_after(self, offset: int) -> str:
        """calicoctl prints `kind` after `items`; only items without a kind of their own need it."""
        match = re.search(r'"kind":\s*"(\w+List)"', self.text[-300:]) if offset < len(self.text) else None
        return match.group(1) if match else ""

    def _json_items(self, offset: int, kind: str, api_version: str) -> int:
        text = self.text
        offset = self._space(offset + 1)
        while offset < len(text) and text[offset] != "]":
            value = self._scan(offset)
            if value is None:
                if self._cut_at(offset):
                    self.truncated = True
                    return -1
                self.refuse(offset, "broken JSON, or nested too deep")
                offset = self._next_item(offset)
                if offset < 0:
                    return -1
                continue
            body, end = value
            if kind and isinstance(body, dict) and not body.get("kind"):
                body = {**body, "kind": kind, "apiVersion": body.get("apiVersion") or api_version}
            self.keep(body, offset, end)
            offset = self._space(end)
            if text[offset : offset + 1] == ",":
                offset = self._space(offset + 1)
            elif text[offset : offset + 1] not in ("]", ""):
                self.refuse(offset, "broken JSON")
                offset = self._next_item(offset)
                if offset < 0:
                    return -1
        if offset >= len(text):
            self.truncated = True
            return -1
        return offset + 1

    def _json_broken(self, start: int, offset: int) -> int:
        if offset >= len(self.text) or self._cut_at(offset):
            self.truncated = True
        else:
            self.refuse(start, "broken JSON, or nested too deep")
        return -1

    def _cut_at(self, offset: int) -> bool:
        """True when the value at the offset is broken only because the text ends in it."""
        try:
            _SCAN(self.text, offset)
        except StopIteration as stop:
            return stop.value is None or stop.value >= len(self.text.rstrip())
        except json.JSONDecodeError as error:
            return error.pos >= len(self.text.rstrip()) - 1 or error.msg.startswith("Unterminated string")
        except (ValueError, RecursionError):
            return False
        return False

    def _next_item(self, offset: int) -> int:
        """Where the next item of a pretty-printed list begins: the same indentation, an opening brace."""
        indent = offset - (self.text.rfind("\n", 0, offset) + 1)
        match = re.compile(rf"^[ \t]{{{min(indent, 40)}}}\{{", re.M).search(self.text, offset + 1)
        return match.end() - 1 if match else -1

    # -- YAML

    def _yaml(self, offset: int) -> None:
        for start, end in documents(self.text, offset):
            chunks, whole = list_items(self.text, start, end)
            kind = list_kind(self.text, start, end)
            last_of_text = not self.text[end:].strip()
            for number, (first, last) in enumerate(chunks):
                final = last_of_text and number == len(chunks) - 1
                body = self.text[first:last]
                if final and (not whole or ends_inside(self.text, last)):
                    # The last object of a cut text may be cut in the middle of a word: not a fact.
                    self.truncated = True
                    continue
                if body.strip():
                    self._yaml_value(body, first, kind)
            if last_of_text and not whole:
                self.truncated = True

    def _yaml_value(self, body: str, first: int, kind: str) -> None:
        try:
            value = load_yaml(body)
        except (ValueError, RecursionError) as error:
            problem = str(error) or type(error).__name__
            self.refuse(first, f"YAML: {problem}"[:200])
            return
        if value is None:
            return
        items = value if isinstance(value, list) else ()
        if kind and len(items) == 1 and isinstance(items[0], dict) and not items[0].get("kind"):
            value = {**items[0], "kind": kind}
        self.keep(value, first, first + len(body.rstrip()))


def _depth(value: object) -> int:
    """Nesting of a loaded value, without recursion."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict):
            children: Any = item.values()
        elif isinstance(item, list):
            children = item
        else:
            continue
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            return deepest
        stack.extend((child, depth + 1) for child in children if isinstance(child, (dict, list)))
    return deepest


def _clean(value: Any) -> Any:
    """Half surrogate pairs cannot be written anywhere; they become U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
