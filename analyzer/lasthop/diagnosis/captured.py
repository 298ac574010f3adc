"""Lays the captures on the walk: which points and which looks of the flow to search for."""

from __future__ import annotations

from lasthop.bundle.model import Bundle
from lasthop.capture.sightings import Point, Variant
from lasthop.capture.sightings import sightings as find
from lasthop.facts.trace import Sighting
from lasthop.sim.world import World

from .ends import FlowEnds
from .flow import Leg, Walked


def sightings(world: World, bundle: Bundle, ends: FlowEnds, walks: tuple[Walked, ...]) -> tuple[Sighting, ...]:
    """Sightings of the first packet and its answer at every captured interface on the walked path.

    A point after the place where the walk stops is not asked for: its absence follows from the stop.
    """
    captures = tuple(capture for node in world.snapshot.nodes.values() for capture in node.captures)
    points: dict[Point, None] = {}
    for walked in walks:
        for leg in (walked.request, walked.reply):
            if leg is not None:
                points |= dict.fromkeys(_points(world, leg))
        if walked.reply is None:
            points |= dict.fromkeys(
                Point(p.node, p.netns, p.interface, "reply", None, p.mac) for p in _points(world, walked.request)
            )
    return find(captures, bundle.read, ends.proto, _variants(ends, walks), tuple(points))


def _points(world: World, leg: Leg) -> list[Point]:
    points = []
    for hop in leg.trace.hops:
        if not hop.node:
            continue
        state = world.state(hop.node, hop.netns)
        for interface in (hop.iif, hop.oif):
            if interface:
                link = state.links.get(interface) if state is not None else None
                arrives = interface == hop.iif
                mac = link.mac.lower() if link is not None and arrives else ""
                points.append(Point(hop.node, hop.netns, interface, leg.trace.direction, hop.step, mac))
    return points


def _variants(ends: FlowEnds, walks: tuple[Walked, ...]) -> tuple[Variant, ...]:
    found: dict[Variant, None] = {}
    if ends.src.ip is not None and ends.dst.ip is not None:
        found[Variant(ends.src.ip, ends.dst.ip, ends.port)] = None
    for walked in walks:
        for hop in walked.request.trace.hops:
            for step in hop.steps:
                for packet in (step.before, step.after):
                    if packet is not None and not packet.encaps and packet.proto == ends.proto:
                        found[Variant(packet.src, packet.dst, packet.dport)] = None
    return tuple(found)


