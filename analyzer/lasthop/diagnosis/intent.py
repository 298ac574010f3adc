"""What the policies as written say of a packet at one endpoint: asks calico.policy, answers in the diagnosis's words."""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import Step
from lasthop.sim.world import World


@dataclass(frozen=True, slots=True)
class Intent:
    """`verdict` is allowed, denied or unknown; `by` names the deciding policies; `endpoint` the pod judged."""

    verdict: str
    direction: str
    by: str = ""
    endpoint: str = ""
    nearest: str = ""
    sources: tuple[SourceRef, ...] = ()


def intent_of(world: World, step: Step, direction: str) -> Intent:
    """The written policies' verdict on the packet of `step` in `direction` at the endpoint that it concerns."""
    return Intent("unknown", direction)
