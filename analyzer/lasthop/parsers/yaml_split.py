"""Where the single objects of a YAML text begin and end, found by lines before anything is loaded.

Each object is then loaded by itself: it has its own lines, and one that is broken or cut takes no other with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator


def ends_inside(text: str, end: int) -> bool:
    """True when text[:end] stops in the middle of a line, where the whole text does."""
    return end >= len(text) and not text.endswith("\n")


def documents(text: str, offset: int) -> Iterator[tuple[int, int]]:
    """Extents of the documents that hold anything, without their `---` lines."""
    begin = offset
    for match in re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|$).*\n?", re.M).finditer(text, offset):
        if text[begin : match.start()].strip():
            yield begin, match.start()
        begin = match.end()
    if text[begin:].strip():
        yield begin, len(text)


_ITEMS = re.compile(r"^items:[ \t]*(?:#.*)?\r?\n", re.M)
_TOP_KEY = re.compile(r"^[A-Za-z_\"']", re.M)
_DASH = re.compile(r"^([ ]*)-(?=[ \r\n])", re.M)
_ITEM_KIND = re.compile(r"^kind:[ \t]*[\"']?(\w+)List\b", re.M)
_LIST_KIND = re.compile(r"^kind:[ \t]*[\"']?\w*List\b", re.M)


def list_items(text: str, start: int, end: int) -> tuple[list[tuple[int, int]], bool]:
    """(extents of the single objects of a document, False when the list around them is cut).

    Items of a list are separated by their dash at the indentation of the first one; block scalars inside an item are
    indented further, so the split is safe for what kubectl and calicoctl print.
    """
    first = _first_content(text, start, end)
    if text.startswith("-", first):
        return _split(text, text.rfind("\n", 0, first) + 1, end), True
    match = _ITEMS.search(text, start, end)
    if match is None:
        return [(start, end)], True
    dash = _DASH.search(text, match.end(), end)
    tail = _TOP_KEY.search(text, match.end(), end)
    stop = tail.start() if tail else end
    if dash is None or dash.start() > stop:
        return [], _LIST_KIND.search(text, start, end) is not None
    whole = _LIST_KIND.search(text, start, match.start()) is not None or (
        tail is not None and _LIST_KIND.search(text, stop, end) is not None
    )
    return _split(text, dash.start(), stop), whole


def _first_content(text: str, start: int, end: int) -> int:
    for match in re.compile(r"^[ \t]*([^\s#]).*$", re.M).finditer(text, start, end):
        return match.start(1)
    return end


def _split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    match = _DASH.match(text, start) or _DASH.search(text, start, end)
    if match is None:
        return [(start, end)]
    pattern = re.compile(rf"^[ ]{{{len(match.group(1))}}}-(?=[ \r\n])", re.M)
    starts = [found.start() for found in pattern.finditer(text, start, end)]
    return list(zip(starts, [*starts[1:], end], strict=True))


def list_kind(text: str, start: int, end: int) -> str:
    """ "Pod" for a document whose kind is PodList, else ""."""
    match = _ITEM_KIND.search(text, start, end)
    return match.group(1) if match else ""
