"""One flow, walked: the first packet, its answer and full-size packets both ways, for every choice of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import IPv4Address

from lasthop.facts.trace import Choice, Disposition, Hop, Outcome, Packet, Step, Trace
from lasthop.sim import routing
from lasthop.sim.conntrack import ConntrackTable
from lasthop.sim.tracer import Tracer
from lasthop.sim.walk import WIRE, End, Result, Walk, lost, outcomes
from lasthop.sim.world import HOST, World

from .ends import FlowEnds
from .result import Endpoint

Conntracks = Mapping[tuple[str, str], ConntrackTable]

EPHEMERAL_PORT = 54321
SMALL = 60
FIRST, ANSWER, FULL_SIZE = "first", "answer", "full-size"


@dataclass(frozen=True, slots=True)
class Leg:
    """One packet of the flow in one direction, for one set of choices."""

    trace: Trace
    result: Result

    @property
    def disposition(self) -> Disposition:
        return self.result.disposition


@dataclass(frozen=True, slots=True)
class Walked:
    """What one set of choices came to. Legs after a stop are None. `wrong_host`: whatever is undecided, the request
    ends at another host than the one asked for."""

    choices: tuple[Choice, ...]
    share: Fraction
    request: Leg
    reply: Leg | None = None
    request_full: Leg | None = None
    reply_full: Leg | None = None
    wrong_host: bool = False

    def legs(self) -> tuple[Leg, ...]:
        return tuple(leg for leg in (self.request, self.reply, self.request_full, self.reply_full) if leg is not None)


class FlowWalker:
    def __init__(self, world: World, tracer: Tracer) -> None:
        self.world = world
        self.tracer = tracer

    def walk(self, ends: FlowEnds) -> tuple[Walked, ...]:
        """One Walked for every choice that the kernel really has (backends, ECMP next hops).

        An end whose address is not in the evidence cannot be walked: one undecided leg says so.
        """
        for end in (ends.src, ends.dst):
            if end.ip is None:
                return (self._nowhere(ends, end),)
        packet = self._first_packet(ends)
        results = outcomes(self._launch(ends, packet, {}))
        return tuple(self._continue(ends, result) for result in results)

    def _nowhere(self, ends: FlowEnds, end: Endpoint) -> Walked:
        """The flow of an end without a known address: it ends before its first stage, undecided."""
        known = ends.src.ip or ends.dst.ip or IPv4Address(0)
        packet = Packet(known.version, ends.proto, known, known)
        netns = f"pod:{ends.src.name}" if ends.src.kind == "pod" else HOST
        step = Step(
            "netns",
            Outcome.UNKNOWN,
            f"the address of {end.kind} {end.name} is not in the evidence",
            decides=f"pod {end.name}" if end.kind == "pod" else "",
        )
        result = outcomes([lost(Walk(packet, ends.src.node, netns), step)])[0]
        return Walked(result.choices, result.share, self._leg(ends, result, "request", FIRST))

    def _first_packet(self, ends: FlowEnds) -> Packet:
        src, dst = ends.src.ip, ends.dst.ip
        assert src is not None and dst is not None  # walk() asked
        icmp = ends.proto in ("icmp", "icmpv6")
        echo = 8 if ends.proto == "icmp" else 128
        return Packet(
            dst.version,
            ends.proto,
            src,
            dst,
            sport=None if icmp else EPHEMERAL_PORT,
            dport=None if icmp else ends.port,
            tcp_flags=frozenset({"SYN"}) if ends.proto == "tcp" else frozenset(),
            icmp_type=echo if icmp else None,
            icmp_code=0 if icmp else None,
            icmp_id=1 if icmp else None,
            length=SMALL if ends.proto == "tcp" else 84,
        )

    def _launch(self, ends: FlowEnds, packet: Packet, conntracks: Conntracks) -> list[End]:
        src = ends.src
        if src.kind == "pod":
            if self.world.state(src.node, f"pod:{src.name}") is not None:
                return self.tracer.send(Walk(packet, src.node, f"pod:{src.name}", conntracks=conntracks))
            return self._from_uncollected_pod(ends, packet, conntracks)
        if src.kind == "node" and src.node in self.world.snapshot.nodes:
            return self.tracer.send(Walk(self._from_node(ends, packet), src.node, HOST, conntracks=conntracks))
        return self._from_outside(packet, conntracks, ends)

    def _from_node(self, ends: FlowEnds, packet: Packet) -> Packet:
        """A process of the node itself takes the source address that the route to the destination prefers."""
        state = self.world.state(ends.src.node, HOST)
        if state is None:
            return packet
        decision = routing.route_output(state, packet)[0]
        return replace(packet, src=decision.src) if decision.src is not None else packet

    def _from_uncollected_pod(self, ends: FlowEnds, packet: Packet, conntracks: Conntracks) -> list[End]:
        start = Walk(packet, ends.src.node, f"pod:{ends.src.name}", conntracks=conntracks)
        step = Step(
            "netns",
            Outcome.UNKNOWN,
            f"the inside of pod {ends.src.name} was not collected",
            decides=f"pod {ends.src.name}",
        )
        blind = lost(start, step)
        state = self.world.state(ends.src.node, HOST)
        if state is None or ends.src.interface not in state.links:
            return [blind]
        entered = start.doubt(step).enter(ends.src.node, HOST, ends.src.interface, packet)
        return [blind, *self.tracer.receive(entered)]

    def _from_outside(self, packet: Packet, conntracks: Conntracks, ends: FlowEnds) -> list[End]:
        """A packet from an address outside the bundle arrives at the node that owns the destination."""
        place = self.world.host_addresses.get(packet.dst)
        start = Walk(packet, "", WIRE, conntracks=conntracks)
        if place is None:
            why = f"where {packet.src} enters the collected nodes is not known"
            return [lost(start, Step("wire", Outcome.UNKNOWN, why, before=packet))]
        state = self.world.state(place.node, HOST)
        dev = place.dev
        if state is not None:
            back = routing.route_output(state, replace(packet, dst=packet.src, src=packet.dst))[0]
            if back.kind == "forward" and back.dev:
                dev = back.dev
        step = Step("wire", Outcome.PASS, f"from {packet.src} to {place.node} {dev} (assumed)", before=packet)
        entered = start.step(step).assume(f"packets of {packet.src} reach {place.node} by {dev}")
        return self.tracer.receive(entered.enter(place.node, HOST, dev, packet))

    def _continue(self, ends: FlowEnds, result: Result) -> Walked:
        request = self._leg(ends, result, "request", FIRST)
        walked = Walked(result.choices, result.share, request)
        end = result.main
        if end.delivered:
            walked = replace(walked, wrong_host=all(self._wrong_host(ends, one) for one in result.ends))
            reply_result = self._reply(ends, end, SMALL if ends.proto == "tcp" else 84, syn=True)
        elif result.disposition is Disposition.LEFT_EVIDENCE and ends.dst.kind == "address":
            reply_result = self._reply_from_outside(ends, end)
        else:
            return walked
        if reply_result is None:
            return walked
        if result.disposition is Disposition.INSUFFICIENT_EVIDENCE:
            reply_result = _weaken(reply_result)
        walked = replace(walked, reply=self._leg(ends, reply_result, "reply", ANSWER))
        if not (end.delivered and reply_result.main.delivered) or ends.proto == "icmp":
            return walked
        return self._full_size(ends, walked, end, reply_result.main)

    def _full_size(self, ends: FlowEnds, walked: Walked, request: End, reply: End) -> Walked:
        there = self._mtu_at(reply.walk, request.walk.packet)
        back = self._mtu_at(request.walk, reply.walk.packet)
        sizes = [size for size in (there, back) if size is not None]
        if not sizes:
            return walked
        down = min(sizes) if ends.proto == "tcp" else (there or sizes[0])
        up = min(sizes) if ends.proto == "tcp" else (back or sizes[0])
        packet = replace(
            self._first_packet(ends),
            length=down,
            tcp_flags=frozenset({"ACK", "PSH"}) if ends.proto == "tcp" else frozenset(),
        )
        if ends.src.kind == "node":
            packet = replace(packet, src=reply.walk.packet.dst)
        again = _same_choice(outcomes(self._launch(ends, packet, dict(reply.walk.conntracks))), walked.choices)
        if again is None:
            return walked
        walked = replace(walked, request_full=self._leg(ends, again, "request", FULL_SIZE))
        if not again.main.delivered:
            return walked
        final = self._reply(ends, again.main, up, syn=False)
        return replace(walked, reply_full=self._leg(ends, final, "reply", FULL_SIZE)) if final is not None else walked

    def _mtu_at(self, walk: Walk, toward: Packet) -> int | None:
        """The MTU that the end where `walk` was delivered uses toward the other end: its route's or its interface's."""
        state = self.world.state(walk.node, walk.netns)
        if state is None:
            return None
        decision = routing.route_output(state, replace(walk.packet, dst=walk.packet.src, src=walk.packet.dst))[0]
        if decision.kind != "forward":
            return None
        return (decision.route.mtu if decision.route is not None else None) or state.mtu(decision.dev)

    def _reply(self, ends: FlowEnds, end: End, length: int, syn: bool) -> Result | None:
        """The answer, sent by the netns where the request was delivered, with the conntrack of every node."""
        packet = end.walk.packet
        if self.world.state(end.walk.node, end.walk.netns) is None:
            return None
        flags = frozenset({"SYN", "ACK"}) if syn else frozenset({"ACK", "PSH"})
        echo = {8: 0, 128: 129}.get(packet.icmp_type or 0)
        answer = Packet(
            packet.family,
            packet.proto,
            packet.dst,
            packet.src,
            sport=packet.dport,
            dport=packet.sport,
            tcp_flags=flags if packet.proto == "tcp" else frozenset(),
            icmp_type=echo,
            icmp_code=0 if echo is not None else None,
            icmp_id=packet.icmp_id,
            length=length,
        )
        start = Walk(answer, end.walk.node, end.walk.netns, conntracks=end.walk.conntracks, client=_client(ends))
        return _merge(outcomes(self.tracer.send(start)))

    def _reply_from_outside(self, ends: FlowEnds, end: End) -> Result | None:
        """The answer of an address outside, received by the interface that the request left by."""
        hop = end.walk.hops[-1] if end.walk.hops else None
        if hop is None or not hop.node:
            return None
        packet = end.walk.packet
        echo = {8: 0, 128: 129}.get(packet.icmp_type or 0)
        answer = Packet(
            packet.family,
            packet.proto,
            packet.dst,
            packet.src,
            sport=packet.dport,
            dport=packet.sport,
            tcp_flags=frozenset({"SYN", "ACK"}) if packet.proto == "tcp" else frozenset(),
            icmp_type=echo,
            icmp_code=0 if echo is not None else None,
            icmp_id=packet.icmp_id,
            length=SMALL,
        )
        step = Step("wire", Outcome.PASS, f"{packet.dst} answers (assumed)", before=answer)
        start = Walk(answer, "", WIRE, conntracks=end.walk.conntracks, client=_client(ends))
        start = start.step(step).assume(f"{packet.dst} answers")
        return _merge(outcomes(self.tracer.receive(start.enter(hop.node, HOST, hop.oif, answer))))

    def _wrong_host(self, ends: FlowEnds, end: End) -> bool:
        if not end.delivered:
            return False
        if ends.dst.kind == "pod":
            return (end.walk.node, end.walk.netns) != (ends.dst.node, f"pod:{ends.dst.name}")
        if ends.dst.kind == "node" and end.walk.packet.dst == ends.dst.ip:
            return end.walk.node != ends.dst.node
        return False

    def _leg(self, ends: FlowEnds, result: Result, direction: str, packet: str) -> Leg:
        end = result.main
        target = ends.dst.node if direction == "request" else ends.src.node
        if direction == "request" and (end.delivered or not target):
            target = end.walk.node if end.delivered else self._meant_for(end)
        hops = numbered(end.walk.hops, direction, target)
        trace = Trace(
            direction,
            packet,
            result.disposition,
            hops,
            result.choices,
            end.walk.assumptions,
            tuple(sorted({other.disposition for other in result.ends}, key=lambda d: d.value)),
            sum(step.outcome is Outcome.UNKNOWN for hop in hops for step in hop.steps),
        )
        return Leg(trace, result)

    def _meant_for(self, end: End) -> str:
        """The node that the packet of an unfinished walk was on its way to, as far as the walk knew it."""
        packet = end.walk.inner[0] if end.walk.inner else end.walk.packet
        place = self.world.pod_addresses.get(packet.dst)
        if place is not None:
            return place.node
        hosts = [hop.node for hop in end.walk.hops if hop.netns == HOST]
        return hosts[-1] if len(hosts) > 1 else ""


def numbered(hops: tuple[Hop, ...], direction: str, target: str) -> tuple[Hop, ...]:
    """Gives each hop its number in the method's picture (design 1); None where the picture does not fit."""
    leave, send, cross, hand = (1, 2, 3, 4) if direction == "request" else (5, 6, 7, 8)
    first_host = next((index for index, hop in enumerate(hops) if hop.netns == HOST), None)
    origin = hops[0].node if hops else ""
    result = []
    for index, hop in enumerate(hops):
        step: int | None = None
        if hop.netns == WIRE:
            step = cross if first_host is not None and index > first_host else None
        elif hop.netns == HOST:
            if hop.node == target:
                step = hand
            elif hop.node == origin and index == first_host:
                step = send
        else:
            step = leave if index == 0 else hand
        result.append(replace(hop, step=step))
    return tuple(result)


def _merge(results: tuple[Result, ...]) -> Result | None:
    """A reply follows its own choices (ECMP); the worst of them is shown, the others differ only in the next hop."""
    if not results:
        return None
    for result in results:
        if not result.main.delivered and not result.main.open_:
            return result
    return next((result for result in results if result.disposition is not Disposition.DELIVERED), results[0])


def _same_choice(results: tuple[Result, ...], choices: tuple[Choice, ...]) -> Result | None:
    labels = {choice.label for choice in choices}
    for result in results:
        if {choice.label for choice in result.choices} <= labels or not result.choices:
            return result
    return None


def _client(ends: FlowEnds) -> tuple[str, str] | None:
    """The netns whose socket asked: a pod's or a node's own."""
    if ends.src.kind == "pod":
        return ends.src.node, f"pod:{ends.src.name}"
    return (ends.src.node, HOST) if ends.src.kind == "node" else None


def _weaken(result: Result) -> Result:
    """After an undecided request an answer that arrives proves nothing."""
    if result.disposition is Disposition.DELIVERED:
        return replace(result, disposition=Disposition.INSUFFICIENT_EVIDENCE)
    return result
