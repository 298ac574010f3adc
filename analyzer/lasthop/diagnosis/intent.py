"""What the policies as written say of a packet at one endpoint, in the diagnosis's words."""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.calico.policy import ALLOW, DENY, DirectionVerdict
from lasthop.facts.calico import Policy
from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import Step

from .knowledge import Knowledge


@dataclass(frozen=True, slots=True)
class Intent:
    """`verdict` is allowed, denied or unknown; `by` names the deciding policy; `endpoint` the pod judged;
    `nearest` the rule that would allow and what keeps it from doing so."""

    verdict: str
    direction: str
    by: str = ""
    endpoint: str = ""
    nearest: str = ""
    sources: tuple[SourceRef, ...] = ()


def intent_of(knowledge: Knowledge, step: Step, direction: str) -> Intent:
    """The written policies' verdict on the packet of `step` in `direction` ("ingress", "egress")."""
    packet = step.before
    if packet is None or packet.encaps:
        return Intent("unknown", direction)
    icmp = (packet.icmp_type, packet.icmp_code or 0) if packet.icmp_type is not None else None
    judged = knowledge.policies.judge(packet.src, packet.dst, packet.proto, packet.dport, packet.sport, icmp)
    verdict = judged.ingress if direction == "ingress" else judged.egress
    place = knowledge.world.pod_addresses.get(packet.dst if direction == "ingress" else packet.src)
    word = {ALLOW: "allowed", DENY: "denied"}.get(verdict.outcome, "unknown")
    if packet.ctstate != "NEW":
        # The policies are about new connections; an answer is accepted by conntrack before it meets them.
        word = "unknown"
    return Intent(
        word,
        direction,
        policy_name(verdict.policy) if verdict.policy is not None else "",
        place.name if place is not None else "",
        _nearest(verdict),
        verdict.sources,
    )


def policy_name(policy: Policy) -> str:
    """"NetworkPolicy shop/web-ingress", the kind and name that calicoctl and kubectl use."""
    scope = f"{policy.namespace}/" if policy.namespace else ""
    return f"{policy.kind} {scope}{policy.name}"


def _nearest(verdict: DirectionVerdict) -> str:
    near = verdict.nearest
    if near is None:
        return ""
    return f"rule {near.rule + 1} of {policy_name(near.policy)} would allow, but {' and '.join(near.because)}"
