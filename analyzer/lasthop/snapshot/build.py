"""Bundle -> Snapshot. Building touches no file's content: evidence is parsed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from lasthop.bundle import Bundle
from lasthop.facts.evidence import Absent, Artifact, Unparsed
from lasthop.facts.snapshot import Capture, NetNS, Node, Snapshot

from . import daemons, kinds
from .kinds import Place
from .lazy import LazyCluster, LazyMapping, LazyNetNS, LazyNode, LazySnapshot
from .objects import cluster_kind
from .reading import Reader
from .rulesets import KEYS, plain_backend, ruleset

_NETNS_KINDS: dict[str, Callable[[Place], Any]] = {
    "links": kinds.links,
    "addresses": kinds.addresses,
    "routes": lambda place: kinds.routes(place, 4),
    "routes6": lambda place: kinds.routes(place, 6),
    "routing_rules": lambda place: kinds.routing_rules(place, 4),
    "routing_rules6": lambda place: kinds.routing_rules(place, 6),
    "nexthop_objects": kinds.nexthop_objects,
    "route_cache": kinds.route_cache,
    "neighbours": lambda place: kinds.neighbours(place, 4),
    "neighbours6": lambda place: kinds.neighbours(place, 6),
    "fdb": kinds.fdb,
    "nft_chains": kinds.nft_chains,
    "nft": kinds.nft,
    "ipsets": kinds.ipsets,
    "conntrack": kinds.conntrack,
    "sysctls": kinds.sysctls,
    "sockets": kinds.sockets,
    "counters": kinds.counters,
}
_NODE_KINDS: dict[str, Callable[[Place], Any]] = {
    "bgp_sessions": daemons.bgp_sessions,
    "bird_protocols": daemons.bird_protocols,
    "bgp_routes": daemons.bgp_routes,
    "statuses": daemons.statuses,
    "processes": daemons.processes,
}


def build(bundle: Bundle) -> Snapshot:
    """The snapshot of a bundle. Every attribute of its nodes, netns and cluster is Evidence, parsed on first access."""
    reader = Reader(bundle)
    by_node: dict[str, dict[str, list[Artifact]]] = {name: {} for name in bundle.meta}
    for artifact in bundle.artifacts:
        by_node.setdefault(artifact.node, {}).setdefault(artifact.netns, []).append(artifact)
    captures: dict[str, list[Capture]] = {}
    for capture in bundle.captures:
        captures.setdefault(capture.node, []).append(capture)
        by_node.setdefault(capture.node, {})
    cluster_place = Place.of(reader, by_node.pop("", {}).get("", []))
    cluster = LazyCluster(lambda kind: cluster_kind(cluster_place, kind))
    nodes: dict[str, Node] = {}
    snapshot = LazySnapshot(
        nodes,
        cluster,
        lambda name: tuple(reader.unparsed) if name == "unparsed" else reader.lines,
        artifacts=bundle.artifacts,
        unrecognised=bundle.unrecognised,
        warnings=bundle.warnings,
        questions=bundle.questions,
    )
    object.__setattr__(snapshot, "note", reader.note)
    for name, by_netns in by_node.items():
        nodes[name] = _node(snapshot, bundle, reader, name, by_netns, tuple(captures.get(name, ())))
    return snapshot


def _node(
    snapshot: Snapshot,
    bundle: Bundle,
    reader: Reader,
    name: str,
    by_netns: dict[str, list[Artifact]],
    captures: tuple[Capture, ...],
) -> Node:
    place = Place.of(reader, by_netns.get("host", []))
    meta = bundle.meta.get(name, {})
    pods = dict.fromkeys(bundle.pods.get(name, {}))
    pods.update({netns[4:]: None for netns in by_netns if netns.startswith("pod:")})

    def host_load(kind: str) -> Any:
        return _netns_field(place, kind, lambda: "", lambda: "")

    host = LazyNetNS(name, "host", host_load)
    host_backend = cache(lambda: plain_backend(place))  # asked by every pod, and it reads a large file

    def pod(key: str) -> NetNS:
        inner = Place.of(reader, by_netns.get(f"pod:{key}", []))
        return LazyNetNS(
            name,
            f"pod:{key}",
            lambda kind: _netns_field(inner, kind, host_backend, lambda: _host_interface(snapshot, bundle, name, key)),
        )

    every = [a for artifacts in by_netns.values() for a in artifacts]
    starts = [a.start for a in every if a.start is not None]
    ends = [a.start + (a.duration or 0.0) for a in every if a.start is not None]

    def load(kind: str) -> Any:
        if kind == "meta":
            return meta
        if kind == "start":
            return _number(meta.get("start_epoch")) or min(starts, default=None)
        if kind == "end":
            return _number(meta.get("end_epoch")) or max(ends, default=None)
        return _NODE_KINDS[kind](place)

    return LazyNode(name, host, LazyMapping(tuple(pods), pod), captures, load)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _netns_field(place: Place, kind: str, backend: Callable[[], str], interface: Callable[[], str]) -> Any:
    if kind == "rulesets":
        return LazyMapping(KEYS, lambda key: ruleset(place, key[0], key[1], backend()))
    if kind == "host_interface":
        return interface()
    return _NETNS_KINDS[kind](place)


def _host_interface(snapshot: Snapshot, bundle: Bundle, node: str, pod: str) -> str:
    """The host side's interface of a pod: from pod.meta, the endpoint object, or the veth's two indexes; "" unknown."""
    meta = bundle.pods.get(node, {}).get(pod, {})
    if meta.get("host_interface"):
        return meta["host_interface"]
    for endpoint in snapshot.cluster.workload_endpoints.values:
        if f"{endpoint.namespace}/{endpoint.pod}" == pod and endpoint.node == node and endpoint.interface:
            return endpoint.interface
    host = {link.ifindex: link for link in snapshot.nodes[node].host.links.values if link.ifindex is not None}
    wanted = meta.get("host_ifindex", "")
    if wanted.isdigit() and int(wanted) in host:
        return host[int(wanted)].name
    for link in snapshot.nodes[node].pods[pod].links.values:
        other = host.get(link.peer_ifindex) if link.peer_ifindex is not None else None
        if other is not None and other.peer_ifindex == link.ifindex:
            return other.name
    return ""


def read_all(snapshot: Snapshot) -> None:
    """Parses everything that is still unread, so that `unparsed` and `lines` speak of the whole bundle."""
    for node in snapshot.nodes.values():
        for netns in (node.host, *node.pods.values()):
            for kind in _NETNS_KINDS:
                getattr(netns, kind)
            for key in KEYS:
                evidence = netns.ruleset(*key)
                if not isinstance(evidence, Absent):
                    _tokenise(snapshot, evidence.values)
        for kind in _NODE_KINDS:
            getattr(node, kind)
    for kind in snapshot.cluster.__dataclass_fields__:
        getattr(snapshot.cluster, kind)


def _tokenise(snapshot: Snapshot, rulesets: tuple[Any, ...]) -> None:
    note = getattr(snapshot, "note", None)
    for found in rulesets:
        for table in found.tables():
            for chain in found.chains(table):
                for rule in found.rules(table, chain.name):
                    if rule.unparsed and note is not None:
                        note(Unparsed(rule.source, "netfilter_rules", f"not understood: {rule.unparsed[:120]}"))
