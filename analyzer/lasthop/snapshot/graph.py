"""The topology as a networkx graph: who is at the other end of an interface, who owns an address.

Vertices are tuples: ("node", node) · ("netns", node, netns) · ("if", node, netns, interface) · ("segment", prefix).
Edges carry `kind`:

    has      node - netns - interface
    veth     the two ends of a pair
    master   interface - its bridge, bond or VRF
    parent   VLAN - the interface it lies on
    segment  interface - the subnet that it shares with others
    tunnel   two tunnel interfaces of different nodes, `encap` vxlan, ipip or wireguard
    bgp      node - node, `sessions` as (node that says so, BgpSession) pairs

An edge or vertex with `derived` true comes from an object (a WorkloadEndpoint names pod and interface), not from the
pod's own netns. What a line of the evidence says has `sources`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

from lasthop.facts.network import Ip, Link
from lasthop.facts.snapshot import NetNS, Snapshot

if TYPE_CHECKING:
    import networkx as nx

    Topology = nx.Graph[tuple[str, ...]]

TUNNEL_KINDS = {"vxlan": "vxlan", "ipip": "ipip", "wireguard": "wireguard", "sit": "sit", "gre": "gre"}


def topology(snapshot: Snapshot) -> Topology:
    """The graph of everything in the snapshot. Reads links, addresses and FDB of every netns, and BGP sessions."""
    import networkx as nx  # 0.1 s to load: only for those who ask for the topology

    graph: Topology = nx.Graph()
    graph.graph["owners"] = {}
    for node in snapshot.nodes.values():
        graph.add_node(("node", node.name))
        for netns in (node.host, *node.pods.values()):
            _add_netns(graph, netns)
    for node in snapshot.nodes.values():
        for netns in node.pods.values():
            _pair_with_host(graph, node.host, netns)
    _add_endpoints(graph, snapshot)
    for node in snapshot.nodes.values():
        _add_segments(graph, node.host)
    _add_tunnels(graph, snapshot)
    _add_bgp(graph, snapshot)
    return graph


def other_end(graph: Topology, node: str, netns: str, interface: str) -> tuple[str, str, str] | None:
    """(node, netns, interface) at the other end of a veth pair; None when the evidence does not tell."""
    vertex = ("if", node, netns, interface)
    if vertex not in graph:
        return None
    for other, attributes in graph.adj[vertex].items():
        if attributes["kind"] == "veth":
            return other[1], other[2], other[3]
    return None


def owners(graph: Topology, ip: Ip) -> tuple[tuple[str, str, str], ...]:
    """Every (node, netns, interface) that has this address, in bundle order. More than one is a conflict, except for
    addresses that are meant to be everywhere (loopback, link-local)."""
    found: dict[Ip, list[tuple[str, str, str]]] = graph.graph["owners"]
    return tuple(found.get(ip, ()))


def node_of(graph: Topology, ip: Ip) -> str | None:
    """The node that owns an address, in its host or in one of its pods; None when none or several do."""
    nodes = {node for node, _, _ in owners(graph, ip)}
    return nodes.pop() if len(nodes) == 1 else None


def on_segment(graph: Topology, node: str, netns: str, interface: str) -> tuple[tuple[str, str, str], ...]:
    """The other interfaces that share a subnet with this one."""
    found = []
    for segment, attributes in _edges(graph, ("if", node, netns, interface)):
        if attributes["kind"] == "segment":
            found += [
                (other[1], other[2], other[3]) for other in graph.adj[segment] if other[1:] != (node, netns, interface)
            ]
    return tuple(found)


def tunnel_ends(graph: Topology, node: str, interface: str) -> tuple[tuple[str, str, str], ...]:
    """The tunnel interfaces of other nodes that this one reaches."""
    vertex = ("if", node, "host", interface)
    return tuple((o[1], o[2], o[3]) for o, attributes in _edges(graph, vertex) if attributes["kind"] == "tunnel")


def _edges(graph: Topology, vertex: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if vertex in graph:
        yield from graph.adj[vertex].items()


def _add_netns(graph: Topology, netns: NetNS) -> None:
    place = ("netns", netns.node, netns.name)
    graph.add_edge(("node", netns.node), place, kind="has")
    links = {link.name: link for link in netns.links.values}
    for link in links.values():
        graph.add_node(("if", netns.node, netns.name, link.name), link=link, sources=(link.source,))
        graph.add_edge(place, ("if", netns.node, netns.name, link.name), kind="has")
    for link in links.values():
        vertex = ("if", netns.node, netns.name, link.name)
        if link.master in links:
            graph.add_edge(vertex, ("if", netns.node, netns.name, link.master), kind="master", sources=(link.source,))
        if link.parent in links:
            kind = "veth" if link.kind == "veth" else "parent"
            graph.add_edge(vertex, ("if", netns.node, netns.name, link.parent), kind=kind, sources=(link.source,))
    for address in netns.addresses.values:
        found = graph.graph["owners"].setdefault(address.ip, [])
        found.append((netns.node, netns.name, address.dev))


def _pair_with_host(graph: Topology, host: NetNS, pod: NetNS) -> None:
    """Each end of a pair prints the other's index. Where the host's does not, the pod's host_interface decides."""
    by_index = {link.ifindex: link for link in host.links.values if link.ifindex is not None}
    for link in pod.links.values:
        if link.name == "lo" or link.kind in TUNNEL_KINDS:
            continue
        other = by_index.get(link.peer_ifindex) if link.peer_ifindex is not None else None
        if other is None or (other.peer_ifindex is not None and other.peer_ifindex != link.ifindex):
            continue
        if other.peer_ifindex is None and other.name != pod.host_interface:
            continue
        graph.add_edge(
            ("if", pod.node, pod.name, link.name),
            ("if", host.node, "host", other.name),
            kind="veth",
            sources=(link.source, other.source),
        )


def _add_endpoints(graph: Topology, snapshot: Snapshot) -> None:
    """Pods that endpoint objects place on a collected node and whose own netns is not in the bundle."""
    for endpoint in snapshot.cluster.workload_endpoints.values:
        node = snapshot.nodes.get(endpoint.node)
        if node is None or not endpoint.pod or f"{endpoint.namespace}/{endpoint.pod}" in node.pods:
            continue
        name = f"pod:{endpoint.namespace}/{endpoint.pod}"
        inner = ("if", endpoint.node, name, endpoint.endpoint)
        graph.add_node(inner, derived=True, sources=(endpoint.source,))
        graph.add_edge(("node", endpoint.node), ("netns", endpoint.node, name), kind="has", derived=True)
        graph.add_edge(("netns", endpoint.node, name), inner, kind="has", derived=True)
        for prefix in endpoint.ips:
            found = graph.graph["owners"].setdefault(prefix.network_address, [])
            found.append((endpoint.node, name, endpoint.endpoint))
        outer = ("if", endpoint.node, "host", endpoint.interface)
        if outer in graph:
            graph.add_edge(inner, outer, kind="veth", derived=True, sources=(endpoint.source,))


def _add_segments(graph: Topology, host: NetNS) -> None:
    links: dict[str, Link] = {link.name: link for link in host.links.values}
    for address in host.addresses.values:
        link = links.get(address.dev)
        if address.ip.is_loopback or address.ip.is_link_local or address.prefixlen >= address.ip.max_prefixlen - 1:
            continue
        if link is not None and (link.kind in TUNNEL_KINDS or link.kind == "dummy" or _local_bridge(link, links)):
            continue
        segment = ("segment", str(ip_interface(f"{address.ip}/{address.prefixlen}").network))
        interface = ("if", host.node, "host", address.dev)
        graph.add_edge(interface, segment, kind="segment", sources=(address.source,))


def _local_bridge(link: Link, links: dict[str, Link]) -> bool:
    """docker0, cni0: the same subnet exists on every node and is shared by none of them."""
    if link.kind != "bridge":
        return False
    return all(other.kind == "veth" for other in links.values() if other.master == link.name)


def _add_tunnels(graph: Topology, snapshot: Snapshot) -> None:
    tunnels: dict[tuple[str, str], list[tuple[str, Link]]] = {}
    for node in snapshot.nodes.values():
        for link in node.host.links.values:
            encap = TUNNEL_KINDS.get(link.kind)
            if encap is not None and link.up:
                key = (encap, str(link.vxlan_id) if encap == "vxlan" else "")
                tunnels.setdefault(key, []).append((node.name, link))
    for (encap, _), ends in tunnels.items():
        for at, (node_name, link) in enumerate(ends):
            for other_name, other in ends[at + 1 :]:
                if node_name != other_name and other.name == link.name:
                    graph.add_edge(
                        ("if", node_name, "host", link.name),
                        ("if", other_name, "host", other.name),
                        kind="tunnel",
                        encap=encap,
                        sources=(link.source, other.source),
                    )


def _add_bgp(graph: Topology, snapshot: Snapshot) -> None:
    named = {}
    for calico in snapshot.cluster.calico_nodes.values:
        for text in (calico.bgp_ipv4, calico.bgp_ipv6):
            if text:
                named[ip_address(text.split("/")[0])] = calico.name
    for node in snapshot.nodes.values():
        for session in node.bgp_sessions.values:
            if session.neighbour is None:
                continue
            peer = named.get(session.neighbour) or node_of(graph, session.neighbour) or str(session.neighbour)
            edge = (("node", node.name), ("node", peer))
            seen = graph.edges[edge]["sessions"] if graph.has_edge(*edge) else ()
            graph.add_edge(*edge, kind="bgp", sessions=(*seen, (node.name, session)))


__all__ = ["node_of", "on_segment", "other_end", "owners", "topology", "tunnel_ends"]
