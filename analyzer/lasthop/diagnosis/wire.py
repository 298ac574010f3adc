"""What captures and conntrack say of the wire between the nodes: observed, lost on it, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lasthop.facts.evidence import SourceRef
from lasthop.facts.netfilter import ConntrackEntry
from lasthop.facts.trace import Disposition, Finding, Sighting
from lasthop.sim.walk import WIRE
from lasthop.sim.world import HOST, World

from .ends import FlowEnds
from .flow import Leg, Walked

TIMEOUT_KEYS = {
    "ESTABLISHED": "net.netfilter.nf_conntrack_tcp_timeout_established",
    "TIME_WAIT": "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "CLOSE": "net.netfilter.nf_conntrack_tcp_timeout_close",
    "CLOSE_WAIT": "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "LAST_ACK": "net.netfilter.nf_conntrack_tcp_timeout_last_ack",
    "FIN_WAIT": "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
    "SYN_SENT": "net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
    "SYN_RECV": "net.netfilter.nf_conntrack_tcp_timeout_syn_recv",
}


@dataclass(frozen=True, slots=True)
class WireProof:
    """`observed`: request and answer were seen to cross. `lost`: they were seen to vanish between two captures."""

    observed: bool = False
    words: str = ""
    lost: Finding | None = None


def wire_proof(world: World, ends: FlowEnds, walked: Walked, sightings: tuple[Sighting, ...]) -> WireProof:
    """What is known of the wire for one way of the flow."""
    by_captures = _captures(walked, sightings)
    if by_captures is not None:
        return by_captures
    if _conntrack_proves(world, ends, walked):
        return WireProof(True, "conntrack on both nodes counts the same packets of answered connections of this flow")
    return WireProof()


@dataclass(frozen=True, slots=True)
class _Uplinks:
    """(node, interface) on both sides of the wire, for one direction."""

    leave: frozenset[tuple[str, str]]
    arrive: frozenset[tuple[str, str]]


def _uplinks(leg: Leg | None) -> _Uplinks:
    leave: set[tuple[str, str]] = set()
    arrive: set[tuple[str, str]] = set()
    hops = leg.trace.hops if leg is not None else ()
    for index, hop in enumerate(hops):
        if hop.netns == WIRE and 0 < index < len(hops) - 1:
            leave.add((hops[index - 1].node, hops[index - 1].oif))
            arrive.add((hops[index + 1].node, hops[index + 1].iif))
    return _Uplinks(frozenset(leave), frozenset(arrive))


def _captures(walked: Walked, sightings: tuple[Sighting, ...]) -> WireProof | None:
    crossed = []
    for direction, leg in (("request", walked.request), ("reply", walked.reply)):
        points = _uplinks(leg)
        if not points.arrive:
            return None
        own = [s for s in sightings if s.netns == HOST and s.direction == direction]
        left = [s for s in own if s.seen and (s.node, s.interface) in points.leave]
        missed = [s for s in own if not s.seen and (s.node, s.interface) in points.arrive]
        arrived = {s.attempt for s in own if s.seen and (s.node, s.interface) in points.arrive and s.packet == "first"}
        for last in left:
            for gone in missed:
                if last.packet == gone.packet == "full-size":
                    return WireProof(lost=_lost_large(direction, last, gone))
                if last.packet == gone.packet == "first" and last.attempt == gone.attempt and not arrived:
                    return WireProof(lost=_lost(direction, last, gone))
        received = [s for s in own if s.seen and s.received and (s.node, s.interface) in points.arrive]
        newest = next((s.attempt for s in own if s.packet == "first"), None)
        crossed.append(any(s.attempt == newest for s in left) and any(s.attempt == newest for s in received))
    if all(crossed):
        return WireProof(True, "captures on both uplinks show request and answer")
    return None


def _lost(direction: str, last: Sighting, missing: Sighting) -> Finding:
    step = 3 if direction == "request" else 7
    return Finding(
        code="wire-lost",
        title=f"The packet is lost between {last.node} {last.interface} and {missing.node} {missing.interface}",
        severity="critical",
        confidence="strong",
        because=f"{direction}: seen leaving {last.node} {last.interface} ({len(last.frames)} frames), never seen at "
        f"{missing.node} {missing.interface} although a capture ran there. {last.note}".strip(),
        direction=direction,
        step=step,
        node="",
        netns=WIRE,
        object=f"underlay between {last.node} and {missing.node}" + (f" ({last.note})" if last.note else ""),
        place="wire",
        died_node="",
        died_step=step,
        disposition=Disposition.LOST_BETWEEN_CAPTURES,
        evidence=(SourceRef(last.path, 0), SourceRef(missing.path, 0)),
        verify=(f"tcpdump -p -n -i {missing.interface}  # on {missing.node}, while trying again",),
    )


def _lost_large(direction: str, last: Sighting, missing: Sighting) -> Finding:
    """The connection works and its data is lost between the nodes."""
    large = "pass" in last.note
    return replace(
        _lost(direction, last, missing),
        code="mtu-blackhole" if large else "wire-lost",
        title=f"{'Large packets are' if large else 'Data is'} lost between {last.node} and {missing.node}",
        because=f"{direction}: {last.note}; they leave {last.node} {last.interface} and never come to {missing.node} "
        f"{missing.interface}",
        object=f"underlay between {last.node} and {missing.node}"
        + (": its MTU is smaller than the nodes' and no ICMP error comes back" if large else ""),
    )


def _conntrack_proves(world: World, ends: FlowEnds, walked: Walked) -> bool:
    """Answered entries of this flow on all its nodes, the newest not older than the newest unanswered try (design 5),
    and the same packet counts everywhere: a difference is what was lost between them."""
    nodes = {hop.node for leg in walked.legs() for hop in leg.trace.hops if hop.netns == HOST and hop.node}
    if len(nodes) < 2 or ends.src.ip is None or ends.dst.ip is None:
        return False
    newest = [_newest_answered(world, node, ends) for node in nodes]
    if any(entry is None for entry in newest):
        return False
    counts = {entry.packets for entry in newest if entry is not None}
    return len(counts) == 1 and None not in counts


def _newest_answered(world: World, node: str, ends: FlowEnds) -> ConntrackEntry | None:
    """The flow's newest entry on `node` if it was answered; None also where ages cannot be told."""
    state = world.state(node, HOST)
    if state is None:
        return None
    aged: list[tuple[float, ConntrackEntry]] = []
    for entry in state.netns.conntrack.values:
        original = entry.original
        if entry.proto != ends.proto or original.src != ends.src.ip:
            continue
        if ends.dst.ip not in (original.dst, entry.reply.src):
            continue
        if ends.port is not None and ends.port not in (original.dport, entry.reply.sport):
            continue
        age = _age(entry, state.sysctl(TIMEOUT_KEYS.get(entry.state, "")))
        if age is None:
            return None
        aged.append((age, entry))
    if not aged:
        return None
    entry = min(aged, key=lambda pair: pair[0])[1]
    answered = "UNREPLIED" not in entry.status and entry.state not in ("SYN_SENT", "SYN_RECV")
    return entry if answered else None


def _age(entry: ConntrackEntry, timeout: str | None) -> float | None:
    """Seconds since the entry's last packet: its state's time-out less what remains."""
    if entry.timeout is None or timeout is None or not timeout.strip().isdigit():
        return None
    return float(int(timeout) - entry.timeout)
