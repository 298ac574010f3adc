"""All blockers in one run: each stop is taken as repaired and the walk repeated, until the flow passes or the next
stop has no repair that can be supposed.

A repair is only supposed where it is plain which state would be right: a rule deleted, a route, a sysctl, a neighbour
or FDB entry corrected, a link up, a process listening. What is found beyond a stop holds once the stop is repaired.
"""

from __future__ import annotations

from ipaddress import ip_network

from lasthop.calico.pools import Expectation
from lasthop.facts.evidence import SourceRef
from lasthop.facts.network import Ip, NextHop, Route
from lasthop.facts.trace import Disposition, Hop, Outcome, Step
from lasthop.sim import routing
from lasthop.sim.edits import Edit, rule_key
from lasthop.sim.kernel_state import KernelState
from lasthop.sim.world import HOST

from . import filter_stops
from .flow import Leg
from .knowledge import Knowledge

SUPPOSED = SourceRef("", 0, "supposed repair")


def repair_of(knowledge: Knowledge, leg: Leg) -> Edit | None:
    """The edit that would take the packet past the stop of `leg`; None where none can be supposed."""
    hop = leg.trace.hops[-1]
    step = hop.steps[-1]
    if step.disposition in (Disposition.DROPPED_BY_RULE, Disposition.REJECTED_BY_RULE):
        rule = filter_stops.decider(step)
        return Edit(hop.node, hop.netns, rules_ignored=frozenset({rule_key(rule)})) if rule is not None else None
    if step.disposition in (Disposition.NO_ROUTE, Disposition.BLACKHOLED, Disposition.LEFT_EVIDENCE):
        return _route(knowledge, hop, step)
    if step.disposition in (Disposition.NOT_FORWARDING, Disposition.RPF_FAILED):
        return _sysctl(hop, step)
    if step.disposition is Disposition.LINK_DOWN:
        return Edit(hop.node, hop.netns, links_up=(step.where,))
    if step.disposition in (Disposition.WRONG_VNI_OR_MAC, Disposition.NEIGHBOUR_FAILED):
        return _neighbour(knowledge, leg, hop, step)
    if step.disposition is Disposition.NO_LISTENER and step.before is not None and step.before.dport is not None:
        return Edit(hop.node, hop.netns, listens=((step.before.proto, step.before.dport),))
    return None


def _route(knowledge: Knowledge, hop: Hop, step: Step) -> Edit | None:
    packet = step.before
    if packet is None or packet.encaps or hop.netns != HOST:
        return None
    state = knowledge.world.state(hop.node)
    expected = knowledge.pools.expected_route(hop.node, packet.dst)
    if state is None or not expected.kind or not expected.prefixes:
        return None
    way = _next_hop(state, expected, packet.dst)
    if way is None:
        return None
    dst = ip_network(packet.dst)
    found = next((s for s in reversed(hop.steps) if s.stage == "route"), step)
    wrong = tuple(
        route
        for route in state.fib(packet.family).routes.values
        if route.source in found.sources and route.dst.prefixlen == dst.prefixlen
    )
    scope = "link" if way.via is None else "global"
    return Edit(hop.node, routes_added=(Route(dst, SUPPOSED, nexthops=(way,), scope=scope),), routes_removed=wrong)


def _next_hop(state: KernelState, expected: Expectation, dst: Ip) -> NextHop | None:
    """The way that the pool's mode demands, over a device that the node has."""
    if expected.kind == "local":
        return NextHop(expected.interface) if expected.interface in state.links else None
    if expected.kind == "vxlan":
        device = next((link.name for link in state.links.values() if link.kind == "vxlan"), "")
        return NextHop(device, expected.via[0], flags=frozenset({"onlink"})) if device and expected.via else None
    if expected.kind == "ipip":
        device = next((link.name for link in state.links.values() if link.kind == "ipip"), "")
        return NextHop(device, expected.via[0], flags=frozenset({"onlink"})) if device and expected.via else None
    if expected.kind == "direct" and expected.owner_ip is not None:
        from lasthop.facts.trace import Packet

        toward = routing.route_output(state, Packet(dst.version, "", expected.owner_ip, expected.owner_ip))[0]
        return NextHop(toward.dev, toward.gateway or expected.owner_ip) if toward.kind == "forward" else None
    return None


def _sysctl(hop: Hop, step: Step) -> Edit | None:
    if step.stage not in ("forwarding", "rp_filter") or not step.where.startswith("net."):
        return None
    if step.stage == "forwarding":
        return Edit(hop.node, hop.netns, sysctls=((step.where, "1"),))
    every = "net.ipv4.conf.all.rp_filter"
    return Edit(hop.node, hop.netns, sysctls=((step.where, "0"), (every, "0")))


def _neighbour(knowledge: Knowledge, leg: Leg, hop: Hop, step: Step) -> Edit | None:
    words = step.where.split()
    if step.stage == "neighbour" and len(words) == 4 and words[0] == "neighbour":
        packet = step.before
        targets = [packet.dst] if packet is not None else []
        state = knowledge.world.state(hop.node, hop.netns)
        known = state.neighbours if state is not None else {}
        wrong = [key for key in known if key[0] == words[3] and str(key[1]) == words[1]]
        return Edit(hop.node, hop.netns, neighbours_forgotten=tuple(wrong)) if wrong and targets else None
    if step.stage == "decap":
        return _vtep(knowledge, leg, step)
    return None


def _vtep(knowledge: Knowledge, leg: Leg, step: Step) -> Edit | None:
    """The FDB entry of the sender that brought the frame to the wrong node."""
    carried = step.before.encaps[-1] if step.before is not None and step.before.encaps else None
    sender = next((hop for hop in reversed(leg.trace.hops[:-1]) if hop.netns == HOST), None)
    if carried is None or sender is None:
        return None
    rightful = knowledge.world.macs.get(carried.inner_dst_mac, ())
    encap = next((s for s in reversed(sender.steps) if s.stage == "encap" and s.outcome is Outcome.PASS), None)
    if len(rightful) != 1 or encap is None:
        return None
    right = knowledge.endpoints.node_address(rightful[0].node)
    return Edit(sender.node, vteps=((encap.where, carried.inner_dst_mac, right),)) if right is not None else None
