"""Possible courses of one packet through a table: joining those that come to the same, and counting choices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from lasthop.facts.trace import Choice, Mark, MatchResult, Packet

if TYPE_CHECKING:
    from .chains import CompiledRule


@dataclass(slots=True)
class Visit:
    """A rule that was met: `answer` True, False or UNKNOWN, `at` the position of the match that decided."""

    compiled: CompiledRule
    answer: bool | MatchResult
    at: int
    mark: Mark
    ctmark: Mark


@dataclass(slots=True)
class World:
    """One possible course of a packet through a table."""

    packet: Packet
    mark: Mark
    ctmark: Mark
    tos: int
    touched: frozenset[str] = frozenset()
    visits: list[Visit] = field(default_factory=list)
    assumed: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    verdict: str = ""
    """"accept", "drop", "reject", "nat" or "unknown" when the table has decided."""
    rule: CompiledRule | None = None
    payload: object = None
    reason: str = ""
    decides: str = ""

    def copy(self) -> World:
        return replace(self, visits=list(self.visits))

    def state(self) -> tuple[object, ...]:
        return (self.packet, self.mark, self.ctmark, self.tos, self.touched, self.choices)


def merge(worlds: list[World]) -> list[World]:
    """Worlds in the same state go on as one; what only one of them assumed did not matter."""
    if len(worlds) < 2:
        return worlds
    merged: dict[tuple[object, ...], World] = {}
    for world in worlds:
        key = world.state()
        same = merged.get(key)
        if same is None:
            merged[key] = world
        else:
            same.assumed = tuple(sentence for sentence in same.assumed if sentence in world.assumed)
    return _join_choices(list(merged.values()))


def _join_choices(worlds: list[World]) -> list[World]:
    """Branches of one choice that end in the same state are no branches."""
    if len(worlds) < 2 or not any(world.choices for world in worlds):
        return worlds
    joined: dict[tuple[object, ...], World] = {}
    result: list[World] = []
    for world in worlds:
        if not world.choices:
            result.append(world)
            continue
        last = world.choices[-1]
        key = (world.packet, world.mark, world.ctmark, world.tos, world.touched, world.assumed, world.choices[:-1],
               last.where)  # fmt: skip
        other = joined.get(key)
        if other is None:
            joined[key] = world
            result.append(world)
            continue
        share = other.choices[-1].share + last.share
        rest = other.choices[:-1]
        label = f"{other.choices[-1].label} or {last.label}"
        other.choices = rest if share == 1 else (*rest, Choice(last.where, label, share, last.source))
    return result


OTHERWISE = "otherwise"


def _open(choices: tuple[Choice, ...], where: str) -> bool:
    return bool(choices) and choices[-1].where == where and choices[-1].label.startswith(OTHERWISE)


def taken(choices: tuple[Choice, ...], where: str, rule: CompiledRule, share: Fraction) -> tuple[Choice, ...]:
    label = rule.rule.target or f"rule {rule.rule.index}"
    if _open(choices, where):
        return (*choices[:-1], Choice(where, label, choices[-1].share * share, rule.rule.source))
    return (*choices, Choice(where, label, share, rule.rule.source))


def not_taken(choices: tuple[Choice, ...], where: str, rule: CompiledRule, share: Fraction) -> tuple[Choice, ...]:
    label = f"{OTHERWISE} than rule {rule.rule.index}"
    if _open(choices, where):
        return (*choices[:-1], Choice(where, label, choices[-1].share * share, rule.rule.source))
    return (*choices, Choice(where, label, share, rule.rule.source))


def settle(choices: tuple[Choice, ...], where: str, rule: CompiledRule) -> tuple[Choice, ...]:
    """The last rule of a row of choices takes what is left."""
    if not _open(choices, where):
        return choices
    return (*choices[:-1], Choice(where, rule.rule.target, choices[-1].share, rule.rule.source))
