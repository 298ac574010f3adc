"""Make a failing case small: leave out packets, rules and set elements as long as there is a difference."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from lasthop.facts.trace import Packet

from .compare import Result, run_case
from .machine import Machine, Refused
from .rulesets import Case

T = TypeVar("T")


def ddmin(items: list[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """A smaller list that still fails: halves, quarters … are left out in turn (delta debugging)."""
    size = max(1, len(items) // 2)
    while items:
        at = 0
        while at < len(items):
            trial = items[:at] + items[at + size :]
            if fails(trial):
                items = trial
            else:
                at += size
        if size == 1:
            return items
        size = max(1, size // 2)
    return items


def shrink(machine: Machine, case: Case, packets: list[Packet]) -> tuple[Case, list[Packet], Result]:
    """The smallest case found. Raises ValueError when the case does not fail."""
    rng = random.Random(0)

    def run(one: Case, some: list[Packet]) -> Result | None:
        try:
            return run_case(machine, one, some, rng, len(some))
        except Refused:
            return None

    def fails(one: Case, some: list[Packet]) -> bool:
        result = run(one, some)
        return result is not None and bool(result.differences)

    if not fails(case, packets):
        raise ValueError("the case does not fail")
    for _ in range(2):
        packets = ddmin(packets, partial(fails, case))
        for key in list(case.rules):
            others = {other: text for other, text in case.rules.items() if other != key}
            if others and fails(replace(case, rules=others), packets):
                case = replace(case, rules=others)
                continue
            case = replace(case, rules=case.rules | {key: _shrink_text(case, key, packets, fails)})
        sets = case.sets.splitlines()
        if sets:
            base = case

            def with_sets(lines: list[str], base: Case = base) -> Case:
                return replace(base, sets="".join(line + "\n" for line in lines))

            def fails_with(lines: list[str], some: list[Packet] = packets) -> bool:
                return fails(with_sets(lines), some)

            case = with_sets(ddmin(sets, fails_with))
    result = run(case, packets)
    assert result is not None
    return case, packets, result


def _shrink_text(
    case: Case, key: tuple[str, int], packets: list[Packet], fails: Callable[[Case, list[Packet]], bool]
) -> str:
    lines = case.rules[key].splitlines()

    def text(kept: list[int]) -> str:
        chosen = set(kept)
        return "".join(
            line + "\n" for number, line in enumerate(lines)
            if number in chosen or not (line.startswith("-A") or (line.startswith(":") and " - [" in line))
        )  # fmt: skip

    movable = [n for n, line in enumerate(lines) if line.startswith("-A")]
    fixed = [n for n, line in enumerate(lines) if line.startswith(":") and " - [" in line]

    def fails_with(rules: list[int], chains: list[int]) -> bool:
        return fails(replace(case, rules=case.rules | {key: text(rules + chains)}), packets)

    movable = ddmin(movable, lambda rules: fails_with(rules, fixed))
    fixed = ddmin(fixed, lambda chains: fails_with(movable, chains))
    return text(movable + fixed)
