"""Sets and maps, named and anonymous: elements as patterns, looked up by the fields of a packet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from lasthop.facts.trace import MatchResult

from .datatypes import DataType, Pattern, Span, Value, compare, pattern, unknown

STATEFUL = frozenset({"limit", "quota", "ct"})
"""Expressions kept per element that decide by what was counted before."""


@dataclass(frozen=True, slots=True)
class Element:
    """`data` are the words after the colon of a map's element; `stateful` elements answer UNKNOWN when they are hit."""

    key: tuple[Pattern, ...]
    data: tuple[str, ...] = ()
    stateful: str = ""

    @property
    def exact(self) -> bool:
        return all(part.exact for part in self.key)


@dataclass(frozen=True, slots=True)
class Found:
    """`element` None: not in the set. `unknown`: not decided; `possible` are elements that may be the one."""

    element: Element | None = None
    unknown: MatchResult | None = None
    possible: tuple[Element, ...] = ()


MISS = Found()


def _fields(words: Sequence[str], types: tuple[DataType, ...]) -> tuple[Pattern, ...]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == ".":
            parts.append([])
        else:
            parts[-1].append(word)
    if len(parts) != len(types):
        raise ValueError(" ".join(words))
    return tuple(_one(part, type_) for part, type_ in zip(parts, types, strict=True))


def _one(words: list[str], type_: DataType) -> Pattern:
    if type_.text and '"' in words:
        # nft 1.0.6 lists intervals of interface names as ""-"": what they hold cannot be read.
        raise ValueError("".join(words))
    if len(words) == 1:
        return pattern(words[0], type_)
    value = 0
    for position, word in enumerate(words):
        if position % 2:
            if word not in ("|", ",") or not type_.bitmask:
                raise ValueError(" ".join(words))
        else:
            part = pattern(word, type_)
            if not isinstance(part, Span) or not part.exact:
                raise ValueError(" ".join(words))
            value |= part.low
    return Span(value, value)


def read_element(words: tuple[str, ...], types: tuple[DataType, ...]) -> Element:
    """"10.0.0.1 . 80 timeout 1h expires 5m comment "x" : goto c"; ValueError when not understood."""
    data: tuple[str, ...] = ()
    if ":" in words:
        at = words.index(":")
        words, data = words[:at], words[at + 1 :]
    key: list[str] = []
    stateful = ""
    at = 0
    while at < len(words):
        word = words[at]
        if word in ("timeout", "expires", "comment"):
            at += 2
        elif word == "counter":
            at += 5 if words[at + 1 : at + 2] == ("packets",) else 1
        elif word == "last":
            at += 3
        elif word in STATEFUL and key:
            stateful = word
            break
        else:
            key.append(word)
            at += 1
    return Element(_fields(key, types), data, stateful)


class ElementSet:
    """Elements ready for lookups. `doubt` says why elements may be missing: a miss is then UNKNOWN."""

    def __init__(self, elements: Sequence[Element], doubt: str = "", name: str = "") -> None:
        self.doubt = doubt
        self.name = name
        self.elements = tuple(elements)
        self.exact: dict[tuple[Value, ...], Element] = {}
        self.rest: list[Element] = []
        self.lows: list[int] = []
        self.spans: list[Element] = []
        spans: list[tuple[int, Element]] = []
        for element in self.elements:
            if element.exact:
                self.exact[tuple(part.low if isinstance(part, Span) else part.value for part in element.key)] = element
            elif len(element.key) == 1 and isinstance(element.key[0], Span):
                spans.append((element.key[0].low, element))
            else:
                self.rest.append(element)
        # Intervals of one set never overlap, so the one with the nearest lower bound is the only candidate.
        spans.sort(key=lambda pair: pair[0])
        self.lows = [low for low, _ in spans]
        self.spans = [element for _, element in spans]

    def find(self, values: tuple[Value, ...]) -> Found:
        if not all(isinstance(value, (int, str)) for value in values):
            return self._unsure(values)
        hit = self.exact.get(values)
        if hit is None and self.lows and isinstance(values[0], int):
            at = bisect_right(self.lows, values[0]) - 1
            if at >= 0 and compare(values[0], self.spans[at].key[0]) is True:
                hit = self.spans[at]
        if hit is None:
            hit = next((e for e in self.rest if all(compare(v, p) is True for v, p in zip(values, e.key, strict=True))),
                       None)  # fmt: skip
        if hit is None:
            return Found(None, unknown(f"{self.name}: {self.doubt}")) if self.doubt else MISS
        if hit.stateful:
            return Found(None, unknown(f"the element's {hit.stateful} counts other packets too"), (hit,))
        return Found(hit)

    def _unsure(self, values: tuple[Value, ...]) -> Found:
        """Some field is not known: what may match, and whether one matches whatever the field is."""
        possible: list[Element] = []
        why: MatchResult | None = None
        for element in self.elements:
            answers = [compare(value, part) for value, part in zip(values, element.key, strict=True)]
            if any(answer is False for answer in answers):
                continue
            open_ = next((answer for answer in answers if isinstance(answer, MatchResult)), None)
            if open_ is None and not element.stateful:
                return Found(element)
            possible.append(element)
            why = why or open_ or unknown(f"the element's {element.stateful} counts other packets too")
        if why is None:
            return Found(None, unknown(f"{self.name}: {self.doubt}")) if self.doubt else MISS
        return Found(None, why, tuple(possible))
