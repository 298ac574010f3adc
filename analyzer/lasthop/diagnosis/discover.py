"""Without a question: the flows that conntrack and captures show failing, else one sample per pair of nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lasthop.bundle.model import Bundle
from lasthop.capture.unanswered import unanswered
from lasthop.facts.snapshot import Question
from lasthop.sim.world import PodPlace, World

from .verdicts import ONE_WAY_PORTS

MAX_SAMPLES = 400
MAX_FAILING = 50


def failing_flows(world: World) -> tuple[Question, ...]:
    """Flows whose conntrack entries saw no answer, most tries first. ESTABLISHED entries without a reply were picked
    up mid-stream and are not failures; neither are broadcasts and datagrams that expect no answer."""
    tries: Counter[tuple[str, str, str, int | None]] = Counter()
    for state in world.host_states():
        for entry in state.netns.conntrack.values:
            if "UNREPLIED" not in entry.status or entry.state == "ESTABLISHED":
                continue
            dst = entry.original.dst
            if entry.proto == "udp" and entry.original.dport in ONE_WAY_PORTS:
                continue
            if dst.is_multicast or entry.proto not in ("tcp", "udp", "sctp") or int(dst) == 0xFFFFFFFF:
                continue
            # A NodePort's or Service's address is no pod's: there the answer would have come from one.
            if not {entry.original.src, dst, entry.reply.src} & world.pod_addresses.keys():
                continue
            tries[(str(entry.original.src), str(dst), entry.proto, entry.original.dport)] += 1
    return tuple(
        Question(src, dst, proto, port, "conntrack") for (src, dst, proto, port), _ in tries.most_common(MAX_FAILING)
    )


def unanswered_flows(world: World, bundle: Bundle) -> tuple[Question, ...]:
    """TCP connections of pods that the captures saw begin and never saw answered, most attempts first."""
    captures = [capture for node in world.snapshot.nodes.values() for capture in node.captures]
    return tuple(
        Question(str(found.src), str(found.dst), "tcp", found.port, "capture")
        for found in unanswered(captures, bundle.read)
        if {found.src, found.dst} & world.pod_addresses.keys()
    )[:MAX_FAILING]


def samples(world: World) -> tuple[Question, ...]:
    """One pod pair per ordered pair of collected nodes and one per node, to a port that the server listens on."""
    by_node: dict[str, list[PodPlace]] = {}
    for place in world.pods.values():
        if place.collected and place.ips:
            by_node.setdefault(place.node, []).append(place)
    questions: list[Question] = []
    for clients in by_node.values():
        for servers in by_node.values():
            for server, port in _listening(world, servers):
                client = next((place for place in clients if place.name != server.name), None)
                if client is not None:
                    questions.append(Question(client.name, server.name, "tcp", port, "sample"))
                    break
            if len(questions) >= MAX_SAMPLES:
                return tuple(questions)
    return tuple(questions)


def _listening(world: World, places: Iterable[PodPlace]) -> Iterable[tuple[PodPlace, int]]:
    for place in places:
        state = world.state(place.node, f"pod:{place.name}")
        if state is None:
            continue
        for socket in state.netns.sockets.values:
            if (
                socket.proto.startswith("tcp")
                and socket.state == "LISTEN"
                and not (socket.ip and socket.ip.is_loopback)
            ):
                yield place, socket.port
                break
