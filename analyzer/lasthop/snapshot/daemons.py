"""BIRD, calicoctl node status and processes of one node."""

from __future__ import annotations

import re
from typing import Any

from lasthop.facts.calico import BgpRoute, BgpSession, BirdProtocol, NodeStatus
from lasthop.facts.evidence import (
    NOT_COLLECTED,
    Absent,
    Artifact,
    Complete,
    Evidence,
    Partial,
)

from .kinds import Place
from .reading import best, joined, keep

_PROTOCOLS = ("bird_protocols", "bird6_protocols")
_ENDINGS = re.compile(r"\.(?:txt|out)$")


def bgp_sessions(place: Place) -> Evidence[BgpSession]:
    """Sessions of BIRD itself, else those of `calicoctl node status`. A BIRD that two outputs say is not running has
    none: Complete and empty."""
    found = _protocols(place)
    if found is not None and not isinstance(found, Absent):
        return keep(found, lambda value: isinstance(value, BgpSession))
    table = _node_status(place)
    if isinstance(table, (Complete, Partial)) and any(isinstance(v, BgpSession) for v in table.values):
        return keep(table, lambda value: isinstance(value, BgpSession))
    if isinstance(found, Absent) and _surely_stopped(place):
        return Complete((), found.artifacts)
    if found is not None:
        return found
    if isinstance(table, (Complete, Partial)):
        # sentences about processes without a table of sessions: nothing is said about sessions
        return Partial((), "calicoctl node status lists no session", artifacts=table.artifacts)
    return table or NOT_COLLECTED


def bird_protocols(place: Place) -> Evidence[BirdProtocol]:
    found = _protocols(place)
    return NOT_COLLECTED if found is None else keep(found, lambda value: isinstance(value, BirdProtocol))


def _protocols(place: Place) -> Evidence[Any] | None:
    from lasthop.parsers.bird import parse_bird_protocols

    parts = []
    for identity in _PROTOCOLS:
        takes = [
            place.reader.read(a, "bird protocols", parse_bird_protocols, may_be_empty=False)
            for a in sorted(place.artifacts.get(identity, ()), key=lambda a: "all" not in a.command.split())
        ]
        chosen = best(takes)
        if chosen is not None and not (identity == "bird6_protocols" and isinstance(chosen, Absent)):
            parts.append(chosen)
    return joined(parts)


def bgp_routes(place: Place) -> Evidence[BgpRoute]:
    """`show route all` before `show route`: it has the attributes."""
    from lasthop.parsers.bird import parse_bird_routes

    parts = []
    for identity in ("bird_route", "bird6_route"):
        takes = sorted(place.artifacts.get(identity, ()), key=lambda a: "all" not in a.command.split())
        chosen = best([place.reader.read(a, "bird routes", parse_bird_routes, may_be_empty=False) for a in takes])
        if chosen is not None and not (identity == "bird6_route" and isinstance(chosen, Absent)):
            parts.append(chosen)
    found = joined(parts)
    return NOT_COLLECTED if found is None else keep(found, lambda value: isinstance(value, BgpRoute))


def statuses(place: Place) -> Evidence[NodeStatus]:
    """What is said to run or not to run, by birdcl (its error goes to stderr) and by `calicoctl node status`."""
    from lasthop.parsers.bird import parse_bird_status

    parts = [
        place.reader.read(artifact, "bird status", parse_bird_status, may_be_empty=False)
        for identity in ("bird_status", "bird6_status")
        for artifact in place.artifacts.get(identity, ())[:1]
    ]
    protocols = _protocols(place)
    table = _node_status(place)
    parts += [e for e in (protocols, table) if e is not None]
    values = tuple(v for part in parts for v in part.values if isinstance(v, NodeStatus))
    said = tuple(dict.fromkeys((*values, *_from_stderr(place))))
    if said:
        artifacts = tuple(dict.fromkeys(a for part in parts for a in part.artifacts))
        return Complete(said, artifacts)
    chosen = best(parts)  # may hold protocols that were read for their messages: not statuses
    return chosen if isinstance(chosen, Absent) else NOT_COLLECTED


def _node_status(place: Place) -> Evidence[Any] | None:
    from lasthop.parsers.node_status import parse_node_status

    return place.first(("calico_node_status",), "node status", parse_node_status, may_be_empty=False)


def _from_stderr(place: Place) -> list[NodeStatus]:
    from lasthop.parsers.bird import parse_bird_protocols

    said = []
    for identity in ("bird_protocols", "bird_status"):
        for artifact in place.artifacts.get(identity, ())[:1]:
            path = stderr_path(place, artifact)
            if artifact.stderr and path:
                found = parse_bird_protocols(artifact.stderr, path)
                said += [v for v in found.values if isinstance(v, NodeStatus)]
    return said


def stderr_path(place: Place, artifact: Artifact) -> str:
    """The member that holds the artifact's stderr, "" when there is none."""
    stem = _ENDINGS.sub("", artifact.path)
    members = place.reader.bundle.members
    return next((stem + end for end in (".err", ".stderr.txt", ".stderr") if stem + end in members), "")


def _surely_stopped(place: Place) -> bool:
    from_birdcl = any(not status.running for status in _from_stderr(place))
    table = _node_status(place)
    from_table = table is not None and any(
        isinstance(v, NodeStatus) and not v.running and v.what in ("bird", "calico") for v in table.values
    )
    running = processes(place)
    from_ps = isinstance(running, Complete) and bool(running.values) and all(p.name != "bird" for p in running.values)
    return [from_birdcl, from_table, from_ps].count(True) >= 2


def processes(place: Place) -> Evidence[Any]:
    from lasthop.parsers.processes import parse_processes

    return place.first(("processes", "processes_ps"), "processes", parse_processes, may_be_empty=False) or NOT_COLLECTED
