"""All netns of a snapshot, and who is at the other end: owners of addresses and MACs, veth pairs, segments."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from lasthop.facts.calico import WorkloadEndpoint
from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.network import Ip, Link
from lasthop.facts.snapshot import NetNS, Node, Snapshot

from .edits import Edit
from .kernel_state import KernelState

HOST = "host"
TUNNEL_KINDS = frozenset({"vxlan", "ipip", "wireguard", "sit", "gre", "ip6tnl", "geneve"})
VIRTUAL_KINDS = TUNNEL_KINDS | {"bridge", "dummy", "ifb", "nlmon"}


@dataclass(frozen=True, slots=True)
class Place:
    """An interface of a netns."""

    node: str
    netns: str
    dev: str


@dataclass(frozen=True, slots=True)
class PodPlace:
    """Where a pod should be, with what says so. `collected` tells whether its netns is in the bundle."""

    name: str
    node: str
    interface: str
    ips: tuple[Ip, ...]
    mac: str
    collected: bool
    sources: tuple[SourceRef, ...]


class World:
    """Built once per snapshot; parses only what is asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.edits: tuple[Edit, ...] = ()
        self._states: dict[tuple[str, str], KernelState] = {}

    def edited(self, edits: tuple[Edit, ...]) -> World:
        """This world with supposed changes; what they do not touch is shared."""
        changed = {(edit.node, edit.netns) for edit in edits}
        world = copy(self)
        world.edits = edits
        world._states = {key: state for key, state in self._states.items() if key not in changed}
        return world

    def netns(self, node: str, name: str) -> NetNS | None:
        found = self.snapshot.nodes.get(node)
        if found is None:
            return None
        if name == HOST:
            return found.host
        return found.pods.get(name.removeprefix("pod:"))

    def state(self, node: str, name: str = HOST) -> KernelState | None:
        key = (node, name)
        if key not in self._states:
            netns = self.netns(node, name)
            if netns is None:
                return None
            own = tuple(edit for edit in self.edits if (edit.node, edit.netns) == key)
            self._states[key] = KernelState(netns, own)
        return self._states[key]

    def host_states(self) -> Iterator[KernelState]:
        for name in self.snapshot.nodes:
            state = self.state(name)
            if state is not None:
                yield state

    @cached_property
    def host_addresses(self) -> dict[Ip, Place]:
        """Host addresses that frames or tunnels can be sent to: not loopback, not of a workload interface."""
        owners: dict[Ip, Place] = {}
        for state in self.host_states():
            for address in state.netns.addresses.values:
                if address.ip.is_loopback or address.ip.is_link_local or address.dev == "lo":
                    continue
                link = state.links.get(address.dev)
                if link is not None and (link.kind == "dummy" or (link.kind == "bridge" and not link.running)):
                    continue
                owners.setdefault(address.ip, Place(state.node, HOST, address.dev))
        return owners

    @cached_property
    def node_addresses(self) -> dict[Ip, str]:
        """Address -> node name for every node that the cluster's objects or the bundle know, collected or not."""
        owners: dict[Ip, str] = {}
        for place_ip, place in self.host_addresses.items():
            owners[place_ip] = place.node
        for calico in self.snapshot.cluster.calico_nodes.values:
            for text in (calico.bgp_ipv4, calico.bgp_ipv6):
                if text:
                    owners.setdefault(ip_address(text.split("/")[0]), calico.name)
            for tunnel in (calico.vxlan_tunnel, calico.ipip_tunnel, calico.wireguard_ip):
                if tunnel is not None:
                    owners.setdefault(tunnel, calico.name)
            for ip, _ in calico.addresses:
                owners.setdefault(ip, calico.name)
        for kube in self.snapshot.cluster.nodes.values:
            for ip, kind in kube.addresses:
                if kind in ("InternalIP", "ExternalIP"):
                    owners.setdefault(ip, kube.name)
        return owners

    @cached_property
    def macs(self) -> dict[str, list[Place]]:
        """MAC -> host interfaces that have it (workload interfaces share ee:ee:ee:ee:ee:ee)."""
        owners: dict[str, list[Place]] = {}
        for state in self.host_states():
            for link in state.netns.links.values:
                if link.mac:
                    owners.setdefault(link.mac.lower(), []).append(Place(state.node, HOST, link.name))
        return owners

    @cached_property
    def pods(self) -> dict[str, PodPlace]:
        """"namespace/name" -> place. Endpoint objects say where a pod should be; netns of the bundle complete it."""
        places: dict[str, PodPlace] = {}
        for endpoint in self.snapshot.cluster.workload_endpoints.values:
            if endpoint.orchestrator == "k8s" and endpoint.pod:
                places[f"{endpoint.namespace}/{endpoint.pod}"] = self._from_endpoint(endpoint)
        for pod in self.snapshot.cluster.pods.values:
            key = f"{pod.namespace}/{pod.name}"
            if pod.host_network or key in places or pod.phase in ("Succeeded", "Failed") or not pod.ips:
                continue
            netns = self.netns(pod.node, f"pod:{key}")
            interface = netns.host_interface if netns is not None else ""
            places[key] = PodPlace(key, pod.node, interface, pod.ips, "", netns is not None, (pod.source,))
        for node in self.snapshot.nodes.values():
            for key in node.pods:
                if key not in places:
                    places[key] = self._from_netns(node, key)
        return places

    def _from_endpoint(self, endpoint: WorkloadEndpoint) -> PodPlace:
        key = f"{endpoint.namespace}/{endpoint.pod}"
        collected = self.netns(endpoint.node, f"pod:{key}") is not None
        ips = tuple(prefix.network_address for prefix in endpoint.ips)
        return PodPlace(key, endpoint.node, endpoint.interface, ips, endpoint.mac, collected, (endpoint.source,))

    def _from_netns(self, node: Node, key: str) -> PodPlace:
        netns = node.pods[key]
        found = [a for a in netns.addresses.values if a.dev != "lo" and not a.ip.is_link_local]
        sources = tuple(address.source for address in found)
        ips = tuple(address.ip for address in found)
        return PodPlace(key, node.name, netns.host_interface, ips, "", True, sources)

    @cached_property
    def pod_addresses(self) -> dict[Ip, PodPlace]:
        owners: dict[Ip, PodPlace] = {}
        for place in self.pods.values():
            for ip in place.ips:
                owners.setdefault(ip, place)
        return owners

    def pods_known(self) -> bool:
        """Whether the list of pods is complete enough to say that an address belongs to none."""
        cluster = self.snapshot.cluster
        return isinstance(cluster.workload_endpoints, Complete) or isinstance(cluster.pods, Complete)

    def owned(self, ip: Ip) -> bool:
        return ip in self.pod_addresses or ip in self.node_addresses

    def pod_behind(self, node: str, dev: str) -> PodPlace | None:
        """The pod whose host-side interface is `dev` on `node`."""
        return self._behind.get((node, dev))

    @cached_property
    def _behind(self) -> dict[tuple[str, str], PodPlace]:
        found: dict[tuple[str, str], PodPlace] = {}
        for place in self.pods.values():
            if place.interface:
                found.setdefault((place.node, place.interface), place)
        return found

    def pod_device(self, place: PodPlace) -> Link | None:
        """The pod's own interface that pairs with its host-side one: by index where known, else the address's."""
        state = self.state(place.node, f"pod:{place.name}")
        if state is None:
            return None
        host = self.state(place.node)
        host_link = host.links.get(place.interface) if host is not None else None
        for link in state.links.values():
            if host_link is not None and host_link.ifindex is not None and link.peer_ifindex == host_link.ifindex:
                return link
        for ip in place.ips:
            address = state.address_devs.get(ip)
            if address is not None:
                return state.links.get(address.dev)
        return state.links.get("eth0")

    def pod_mac(self, place: PodPlace) -> str:
        """The MAC that the host side must send to: its own interface's, else the endpoint object's; "" unknown."""
        link = self.pod_device(place)
        return (link.mac if link is not None and link.mac else place.mac).lower()
