"""Lays the captures on the walk: which points and which looks of the flow to search for."""

from __future__ import annotations

from lasthop.bundle.model import Bundle
from lasthop.capture.sightings import Point, Tracks, Variant
from lasthop.facts.trace import Sighting
from lasthop.sim.world import World

from .ends import FlowEnds
from .flow import Leg, Walked


def sightings(
    world: World, bundle: Bundle, ends: FlowEnds, walks: tuple[Walked, ...]
) -> tuple[tuple[Sighting, ...], ...]:
    """For each way of the flow: sightings of its tries at every captured interface on the walked path.

    Where the walk stops before an answer, the answer is looked for on the way back all the same.
    """
    captures = tuple(capture for node in world.snapshot.nodes.values() for capture in node.captures)
    looks = [_variants(ends, walked) for walked in walks]
    points = [_points(world, walked) for walked in walks]
    every = tuple(dict.fromkeys(variant for look in looks for variant in look))
    tracks = Tracks(captures, bundle.read, ends.proto, every, [point for own in points for point in own])
    return tuple(tracks.sightings(look, own) for look, own in zip(looks, points, strict=True))


def _points(world: World, walked: Walked) -> tuple[Point, ...]:
    points: dict[Point, None] = {}
    for leg in (walked.request, walked.reply):
        if leg is not None:
            points |= dict.fromkeys(_of_leg(world, leg))
    if walked.reply is None:
        points |= dict.fromkeys(
            Point(p.node, p.netns, p.interface, "reply", None, p.mac) for p in _of_leg(world, walked.request)
        )
    return tuple(points)


def _of_leg(world: World, leg: Leg) -> list[Point]:
    points = []
    for hop in leg.trace.hops:
        if not hop.node:
            continue
        state = world.state(hop.node, hop.netns)
        for interface in (hop.iif, hop.oif):
            if interface:
                link = state.links.get(interface) if state is not None else None
                mac = link.mac.lower() if link is not None and interface == hop.iif else ""
                points.append(Point(hop.node, hop.netns, interface, leg.trace.direction, hop.step, mac))
    return points


def _variants(ends: FlowEnds, walked: Walked) -> tuple[Variant, ...]:
    found: dict[Variant, None] = {}
    if ends.src.ip is not None and ends.dst.ip is not None:
        found[Variant(ends.src.ip, ends.dst.ip, ends.port)] = None
    for hop in walked.request.trace.hops:
        for step in hop.steps:
            for packet in (step.before, step.after):
                if packet is not None and not packet.encaps and packet.proto == ends.proto:
                    found[Variant(packet.src, packet.dst, packet.dport)] = None
    return tuple(found)
