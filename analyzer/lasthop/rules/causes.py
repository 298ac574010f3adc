"""The vocabulary of cause codes: docs/causes.md is the list, rules and the walk may only use what stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from lasthop.errors import LasthopError
from lasthop.resources import docs_dir

_HEAD = re.compile(r"^### ([a-z0-9-]+)\n\*\*(.+?)\*\*\n", re.M)
_PARTS = ("Evidence", "Fix", "Verify")


@dataclass(frozen=True, slots=True)
class Cause:
    """One section of docs/causes.md. `evidence`, `fix` and `verify` are its three marked paragraphs."""

    code: str
    title: str
    meaning: str
    evidence: str
    fix: str
    verify: str


@lru_cache(maxsize=1)
def causes() -> Mapping[str, Cause]:
    """Every code with its page. Raises LasthopError when the page is missing or a section lacks a part."""
    path = docs_dir() / "causes.md"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LasthopError(f"{path}: the list of cause codes cannot be read: {error.strerror}") from error
    return parse_causes(text)


def parse_causes(text: str) -> Mapping[str, Cause]:
    """Sections `### code`, a bold title line, the meaning, then paragraphs `Evidence:`, `Fix:` and `Verify:`."""
    heads = list(_HEAD.finditer(text))
    made: dict[str, Cause] = {}
    for number, head in enumerate(heads):
        end = heads[number + 1].start() if number + 1 < len(heads) else len(text)
        body = re.split(r"^## ", text[head.end() : end], maxsplit=1, flags=re.M)[0]
        if head[1] in made:
            raise LasthopError(f'causes.md: the code "{head[1]}" has two sections')
        made[head[1]] = _cause(head[1], head[2], body)
    return made


def _cause(code: str, title: str, body: str) -> Cause:
    marks = [re.search(rf"^{part}: ", body, re.M) for part in _PARTS]
    found = [mark for mark in marks if mark is not None]
    if len(found) != len(_PARTS) or found != sorted(found, key=lambda mark: mark.start()):
        raise LasthopError(f'causes.md: the section "{code}" needs the paragraphs {", ".join(_PARTS)}, in that order')
    ends = [mark.start() for mark in found[1:]] + [len(body)]
    parts = [" ".join(body[mark.end() : end].split()) for mark, end in zip(found, ends, strict=True)]
    return Cause(code, title, " ".join(body[: found[0].start()].split()), *parts)
