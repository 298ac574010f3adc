"""What was not collected or not understood on the way of a flow, and the command that fetches it."""

from __future__ import annotations

from lasthop.facts.trace import Disposition, Hop, MissingEvidence, Outcome, Step
from lasthop.sim.world import World

from .ends import FlowEnds
from .flow import Walked

SHORT = {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "icmpv6": "icmp", "sctp": "sctp"}


def missing_of(world: World, ends: FlowEnds, walks: tuple[Walked, ...]) -> tuple[MissingEvidence, ...]:
    """One entry per undecided step of any leg, first one first; each names node, evidence id, reason and command."""
    found: dict[tuple[str, str], MissingEvidence] = {}
    for walked in walks:
        for leg in walked.legs():
            for end in leg.result.ends:
                for hop in end.walk.hops:
                    for step in hop.steps:
                        if step.outcome is Outcome.UNKNOWN and not _outside(ends, step):
                            entry = _entry(world, ends, hop, step)
                            found.setdefault((entry.node, entry.id), entry)
    if not walks:
        return ()
    return tuple(found.values())


def _outside(ends: FlowEnds, step: Step) -> bool:
    """The way to an address outside, or back to one, ends outside the bundle as it must."""
    return step.disposition is Disposition.LEFT_EVIDENCE and "address" in (ends.src.kind, ends.dst.kind)


def _entry(world: World, ends: FlowEnds, hop: Hop, step: Step) -> MissingEvidence:
    where = hop.node or "underlay"
    why = f"{where}: {step.detail}" if hop.node else step.detail
    decides = step.decides
    if decides.startswith("bundle of "):
        node = decides.removeprefix("bundle of ")
        return MissingEvidence(node, "bundle", why, _collect(ends))
    if decides.startswith("pod "):
        return MissingEvidence(hop.node, decides, why, f"sh collector.sh --pod {decides.removeprefix('pod ')}")
    if not hop.node and ends.src.node and ends.src.node not in world.snapshot.nodes:
        return MissingEvidence(ends.src.node, "bundle", why, _collect(ends))
    if not decides or " " in decides:
        return MissingEvidence(hop.node, step.stage, why, "")
    pod = hop.netns.removeprefix("pod:") if hop.netns.startswith("pod:") else ""
    only = f"sh collector.sh --only {decides}" + (f" --pod {pod}" if pod else "")
    return MissingEvidence(hop.node, decides, why, only)


def _collect(ends: FlowEnds) -> str:
    words = ["sh collector.sh"]
    if ends.dst.kind == "pod":
        words.append(f"--pod {ends.dst.name}")
    if ends.src.ip is not None:
        words.append(f"--peer {ends.src.ip}")
    if ends.port is not None:
        words.append(f"--port {SHORT.get(ends.proto, ends.proto)}/{ends.port}")
    return " ".join([*words, "--capture 20"])
