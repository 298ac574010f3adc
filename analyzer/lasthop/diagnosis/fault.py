"""A fault in words: the part of a finding that an explanation decides."""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import Command


@dataclass(frozen=True, slots=True)
class Fault:
    """`node`, `netns` None or "" mean: where the packet died. `evidence` () means: what the step cites."""

    code: str
    title: str
    object: str
    because: str = ""
    node: str | None = None
    netns: str = ""
    place: str = ""
    policy: str | None = None
    evidence: tuple[SourceRef, ...] = ()
    fix: tuple[Command, ...] = ()
    verify: tuple[str, ...] = ()


def change(command: str, on: str) -> Command:
    return Command(command, on, "changes")


def check(command: str, on: str) -> Command:
    return Command(command, on, "read-only")
