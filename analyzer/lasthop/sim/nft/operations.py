"""The steps of a compiled rule: conditions, changes and verdicts in the order in which the kernel takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Union

from lasthop.facts.netfilter import NetfilterRule
from lasthop.facts.trace import MatchResult
from lasthop.sim.extensions.context import Context
from lasthop.sim.extensions.registry import CompiledMatch, Test
from lasthop.sim.extensions.targets import NatRequest

Verdict = tuple[str, str]
"""("accept", ""), ("drop", ""), ("reject", WITH), ("return", ""), ("continue", ""), ("jump", CHAIN), ("goto", CHAIN),
("unknown", WHY)."""


@dataclass(slots=True)
class Condition:
    """Goes on when `match.test` is true."""

    match: CompiledMatch


@dataclass(slots=True)
class Change:
    """`run` changes the context; answers False for NFT_BREAK, a reason when the effect is not known, else True."""

    run: Callable[[Context], bool | str]
    match: CompiledMatch


@dataclass(slots=True)
class Decide:
    """`verdict` is fixed, or with `find` looked up: a verdict, None for no such element, or several possible ones."""

    match: CompiledMatch
    verdict: Verdict = ("continue", "")
    find: Callable[[Context], Verdict | Open | None] | None = None


@dataclass(slots=True)
class Open:
    """A lookup that the evidence does not decide; `possible` are its verdicts, `miss` whether it may find nothing."""

    why: MatchResult
    possible: tuple[Verdict, ...]
    miss: bool = True


@dataclass(slots=True)
class Rewrite:
    """Address translation: `request` answers None for NFT_BREAK, False where it does not apply to this family."""

    request: Callable[[Context], NatRequest | MatchResult | bool | None]
    match: CompiledMatch


@dataclass(slots=True)
class Chance:
    """The kernel draws: each alternative with its share; an operation of None means that the rule does not match."""

    alternatives: tuple[tuple[Fraction, str, Operation | None], ...]
    match: CompiledMatch


Operation = Union[Condition, Change, Decide, Rewrite, Chance]


def shown(words: tuple[str, ...]) -> str:
    """Tokens as text again."""
    return " ".join(f'{word}"' if word.startswith('"') else word for word in words)


def nothing_to_say(text: str) -> CompiledMatch:
    return CompiledMatch(lambda c: True, text, lambda c: "")


class CompiledNftRule:
    """One rule. `matches` has one entry for each operation, for attribution; `tests` only its conditions."""

    __slots__ = ("inert", "matches", "operations", "rule", "tests", "variants")

    def __init__(self, rule: NetfilterRule, operations: list[Operation]) -> None:
        self.rule = rule
        self.operations = operations
        self.matches = [operation.match for operation in operations]
        self.tests: tuple[Test, ...] = tuple(o.match.test for o in operations if isinstance(o, Condition))
        self.inert = all(isinstance(operation, Condition) for operation in operations)
        """Nothing but conditions (and counters): whether it matches changes nothing."""
        self.variants: dict[str, CompiledNftRule] = {}

    @property
    def name(self) -> str:
        return f"{self.rule.chain} rule {self.rule.index}"

    def with_target(self, target: str) -> CompiledNftRule:
        """The same rule with the verdict that a map gave it, for attribution."""
        if target == self.rule.target:
            return self
        found = self.variants.get(target)
        if found is None:
            found = self.variants[target] = CompiledNftRule(replace(self.rule, target=target), self.operations)
        return found


