"""Who has an address: pods, nodes, tunnels and services, from whatever objects the bundle holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_interface, ip_network

from lasthop.facts.calico import CalicoNode, HostEndpoint, WorkloadEndpoint
from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.kube import KubeNode, Pod, Service
from lasthop.facts.network import Address, Ip
from lasthop.facts.snapshot import Snapshot

from .names import workload_interface
from .selectors import LabelView
from .version import felix_setting

_GONE = frozenset({"Succeeded", "Failed"})
_ANNOTATION = "projectcalico.org/"


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of one address. `kind` is "pod", "node", "tunnel", "service" or "" (nobody known has it)."""

    ip: Ip
    kind: str = ""
    node: str = ""
    workload: WorkloadEndpoint | None = None
    service: Service | None = None
    host_endpoints: tuple[HostEndpoint, ...] = ()
    sources: tuple[SourceRef, ...] = ()


def calico_nodes(snapshot: Snapshot) -> dict[str, CalicoNode]:
    """Calico's view of each node by name: Node objects, else what calico-node writes into the annotations of
    Kubernetes' Node (libcalico-go/lib/backend/k8s/resources/node.go)."""
    found = {node.name: node for node in snapshot.cluster.calico_nodes.values}
    for node in snapshot.cluster.nodes.values:
        if node.name not in found and any(key.startswith(_ANNOTATION) for key in node.annotations):
            found[node.name] = _from_annotations(node)
    return found


def _from_annotations(node: KubeNode) -> CalicoNode:
    def note(key: str) -> str:
        return node.annotations.get(_ANNOTATION + key, "")

    number = note("ASNumber")
    return CalicoNode(
        name=node.name,
        source=node.source,
        bgp_ipv4=note("IPv4Address"),
        bgp_ipv6=note("IPv6Address"),
        as_number=int(number) if number.isascii() and number.isdigit() and len(number) < 11 else None,
        route_reflector_cluster_id=note("RouteReflectorClusterID"),
        ipip_tunnel=_ip(note("IPv4IPIPTunnelAddr")),
        vxlan_tunnel=_ip(note("IPv4VXLANTunnelAddr")),
        vxlan_tunnel_v6=_ip(note("IPv6VXLANTunnelAddr")),
        vxlan_mac=note("VXLANTunnelMACAddr"),
        wireguard_ip=_ip(note("IPv4WireguardInterfaceAddr")),
        wireguard_key=note("WireguardPublicKey"),
        addresses=node.addresses,
        labels=node.labels,
    )


def _ip(text: str) -> Ip | None:
    try:
        return ip_interface(text).ip if text else None
    except ValueError:
        return None


def workloads(snapshot: Snapshot) -> tuple[WorkloadEndpoint, ...]:
    """Endpoint objects, and where their list is missing or partial one derived from each pod that has none.

    With the Kubernetes datastore Calico itself derives them from pods in this way; the interface is the hash of
    namespace and name, and there is no MAC.
    """
    cluster = snapshot.cluster
    listed = cluster.workload_endpoints
    if isinstance(listed, Complete) and (listed.values or not cluster.pods.values):
        return listed.values
    present = {(endpoint.namespace, endpoint.pod) for endpoint in listed.values}
    prefix = str(felix_setting(snapshot, "", "interfacePrefix") or "cali").split(",")[0]
    derived = (
        derive(pod, prefix)
        for pod in cluster.pods.values
        if (pod.namespace, pod.name) not in present
        and pod.node
        and pod.ips
        and not pod.host_network
        and pod.phase not in _GONE
    )
    return (*listed.values, *derived)


def derive(pod: Pod, prefix: str = "cali") -> WorkloadEndpoint:
    """The workload endpoint that Calico computes from a pod; `prefix` is the first of Felix's interface prefixes
    (libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go)."""
    labels = {
        **pod.labels,
        "projectcalico.org/namespace": pod.namespace,
        "projectcalico.org/orchestrator": "k8s",
    }
    profiles = [f"kns.{pod.namespace}"]
    if pod.service_account:
        labels["projectcalico.org/serviceaccount"] = pod.service_account
        profiles.append(f"ksa.{pod.namespace}.{pod.service_account}")
    return WorkloadEndpoint(
        namespace=pod.namespace,
        pod=pod.name,
        node=pod.node,
        interface=workload_interface(pod.namespace, pod.name, prefix),
        source=pod.source,
        ips=tuple(ip_network(ip) for ip in pod.ips),
        workload=f"{pod.namespace}.{pod.name}",
        profiles=tuple(profiles),
        labels=labels,
        ports=pod.named_ports,
        service_account=pod.service_account,
        derived=True,
    )


class Endpoints:
    """Look-ups over one snapshot, indexed once. Two endpoints with one address are both returned, never merged."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.workloads = workloads(snapshot)
        self.calico_nodes = calico_nodes(snapshot)
        self._by_name: dict[str, list[WorkloadEndpoint]] = {}
        self._by_ip: dict[Ip, list[WorkloadEndpoint]] = {}
        self._by_interface: dict[tuple[str, str], WorkloadEndpoint] = {}
        for endpoint in self.workloads:
            self._by_name.setdefault(f"{endpoint.namespace}/{endpoint.pod}", []).append(endpoint)
            self._by_interface[endpoint.node, endpoint.interface] = endpoint
            for net in endpoint.ips:
                self._by_ip.setdefault(net.network_address, []).append(endpoint)
        self._profiles = _profile_labels(snapshot)
        self._hosts, self._tunnels = _host_addresses(snapshot, self.calico_nodes)

    def pod(self, name: str) -> WorkloadEndpoint | None:
        """The (first) workload endpoint of "namespace/pod"; "pod" alone finds it where the name is unique."""
        if "/" in name:
            found = self._by_name.get(name, [])
            return found[0] if found else None
        alike = [items[0] for key, items in self._by_name.items() if key.partition("/")[2] == name]
        return alike[0] if len(alike) == 1 else None

    def by_ip(self, ip: Ip) -> tuple[WorkloadEndpoint, ...]:
        return tuple(self._by_ip.get(ip, ()))

    def by_interface(self, node: str, interface: str) -> WorkloadEndpoint | None:
        return self._by_interface.get((node, interface))

    def kube_pod(self, name: str) -> Pod | None:
        """The Kubernetes pod of "namespace/pod", host-network pods included."""
        for pod in self.snapshot.cluster.pods.values:
            if f"{pod.namespace}/{pod.name}" == name:
                return pod
        return None

    def node_of(self, ip: Ip) -> str:
        """The node that has the address: of its pod, else of the host or tunnel; "" when nobody known has it or when
        two endpoints on different nodes claim it."""
        nodes = {endpoint.node for endpoint in self._by_ip.get(ip, ())}
        if nodes:
            return nodes.pop() if len(nodes) == 1 else ""
        return self._hosts.get(ip, ("", None))[0] or self._tunnels.get(ip, ("", None))[0]

    def host_node(self, ip: Ip) -> str:
        """The node whose own (not tunnel) address this is, or ""."""
        return self._hosts.get(ip, ("", None))[0]

    def tunnel_node(self, ip: Ip) -> str:
        return self._tunnels.get(ip, ("", None))[0]

    def place(self, ip: Ip) -> Place:
        """Everything known of one address. A pod wins over a tunnel address (which may equal a block's first one)."""
        found = self._by_ip.get(ip)
        if found:
            return Place(ip, "pod", self.node_of(ip), found[0], sources=tuple(item.source for item in found))
        for kind, table in (("node", self._hosts), ("tunnel", self._tunnels)):
            if ip in table:
                node, source = table[ip]
                return Place(
                    ip,
                    kind,
                    node,
                    host_endpoints=self.host_endpoints(node),
                    sources=(source,) if source is not None else (),
                )
        for service in self.snapshot.cluster.services.values:
            if ip in service.cluster_ips or ip in service.external_ips or ip in service.load_balancer_ips:
                return Place(ip, "service", service=service, sources=(service.source,))
        return Place(ip)

    def host_endpoints(self, node: str) -> tuple[HostEndpoint, ...]:
        return tuple(item for item in self.snapshot.cluster.host_endpoints.values if item.node == node)

    def node_address(self, node: str, family: int = 4) -> Ip | None:
        """The address by which other nodes reach this one: Calico's registered one, else the InternalIP."""
        known = self.calico_nodes.get(node)
        if known is not None:
            ip = _ip(known.bgp_ipv4 if family == 4 else known.bgp_ipv6)
            if ip is not None:
                return ip
        for item in self.snapshot.cluster.nodes.values:
            if item.name == node:
                for ip, kind in item.addresses:
                    if kind == "InternalIP" and ip.version == family:
                        return ip
        return None

    def service(self, name: str) -> Service | None:
        """The service of "namespace/name"."""
        for item in self.snapshot.cluster.services.values:
            if f"{item.namespace}/{item.name}" == name:
                return item
        return None

    def pods_complete(self) -> bool:
        """True when a pod that is not listed does not exist: a complete list of pods or of endpoint objects."""
        cluster = self.snapshot.cluster
        return isinstance(cluster.pods, Complete) or isinstance(cluster.workload_endpoints, Complete)

    def near(self, name: str, kind: str = "pod") -> tuple[str, ...]:
        """Up to three names that the user may have meant; kind is "pod", "node" or "service"."""
        cluster = self.snapshot.cluster
        names: Iterable[str]
        if kind == "pod":
            names = {*self._by_name, *(f"{pod.namespace}/{pod.name}" for pod in cluster.pods.values)}
        elif kind == "service":
            names = [f"{item.namespace}/{item.name}" for item in cluster.services.values]
        else:
            names = {*self.snapshot.nodes, *self.calico_nodes, *(item.name for item in cluster.nodes.values)}
        choice = sorted(names)
        tail = name.rpartition("/")[2]
        elsewhere = [item for item in choice if "/" in item and item.partition("/")[2] == tail]
        close = get_close_matches(name, choice, n=3, cutoff=0.6)
        return tuple(dict.fromkeys([*elsewhere, *close]))[:3]

    def labels(self, endpoint: WorkloadEndpoint | HostEndpoint) -> LabelView:
        """The labels that selectors see: own ones, and those inherited through profiles.

        Namespace labels arrive as `pcns.*` by profile kns.<namespace>, service account labels as `pcsa.*` by
        ksa.<namespace>.<account>. Without the profile objects the namespace's own labels stand in, and what cannot be
        known is said to be unknown.
        """
        inherited = self._inherited(endpoint.profiles)
        return LabelView({**inherited.values, **endpoint.labels}, inherited.unknown)

    def namespace_view(self, namespace: str) -> LabelView:
        """The labels that everything in a namespace inherits from it."""
        return self._inherited((f"kns.{namespace}",))

    def _inherited(self, profiles: tuple[str, ...]) -> LabelView:
        inherited: dict[str, str] = {}
        unknown: list[str] = []
        for name in profiles:
            profile = self._profiles.get(name)
            if profile is not None:
                inherited |= {key: value for key, value in profile.items() if key not in inherited}
            elif name.startswith("kns."):
                inherited |= self._namespace_labels(name[4:], unknown)
            elif name.startswith("ksa."):
                inherited["pcsa.projectcalico.org/name"] = name.rpartition(".")[2]
                unknown.append("pcsa.")
            elif not isinstance(self.snapshot.cluster.calico_objects, Complete):
                unknown.append("")
        return LabelView(inherited, tuple(unknown))

    def _namespace_labels(self, namespace: str, unknown: list[str]) -> dict[str, str]:
        # Calico itself sets pcns.projectcalico.org/name; conversion.go NamespaceToProfile.
        labels = {"pcns.projectcalico.org/name": namespace}
        for item in self.snapshot.cluster.namespaces.values:
            if item.name == namespace:
                return {**{f"pcns.{key}": value for key, value in item.labels.items()}, **labels}
        unknown.append("pcns.")
        return labels


def _profile_labels(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """labelsToApply of each profile (v3), or the profile's own labels (v1)."""
    found: dict[str, dict[str, str]] = {}
    for item in snapshot.cluster.calico_objects.values:
        if item.kind != "Profile":
            continue
        spec, metadata = item.raw.get("spec"), item.raw.get("metadata")
        apply = spec.get("labelsToApply") if isinstance(spec, dict) else None
        if apply is None and item.api_version == "v1" and isinstance(metadata, dict):
            apply = metadata.get("labels")
        found[item.name] = {str(k): str(v) for k, v in apply.items()} if isinstance(apply, dict) else {}
    return found


_Table = dict[Ip, tuple[str, SourceRef | None]]


def _host_addresses(snapshot: Snapshot, nodes: Mapping[str, CalicoNode]) -> tuple[_Table, _Table]:
    """(addresses of the nodes themselves, tunnel addresses) -> (node, where it is written)."""
    hosts: _Table = {}
    tunnels: _Table = {}
    for node in nodes.values():
        for tunnel in (node.ipip_tunnel, node.vxlan_tunnel, node.vxlan_tunnel_v6, node.wireguard_ip):
            if tunnel is not None:
                tunnels.setdefault(tunnel, (node.name, node.source))
        for text in (node.bgp_ipv4, node.bgp_ipv6):
            if (ip := _ip(text)) is not None:
                hosts.setdefault(ip, (node.name, node.source))
        for ip, kind in node.addresses:
            if kind in ("InternalIP", "ExternalIP", "CalicoNodeIP"):
                hosts.setdefault(ip, (node.name, node.source))
    for item in snapshot.cluster.nodes.values:
        for ip, kind in item.addresses:
            if kind in ("InternalIP", "ExternalIP"):
                hosts.setdefault(ip, (item.name, item.source))
    for ip, owners in _configured(snapshot).items():
        # One address on several nodes (docker0, a floating address, kube-ipvs0) tells nothing about where it is.
        if len(owners) == 1:
            name, address = owners[0]
            tunnel_device = address.dev.startswith(("tunl", "vxlan", "wireguard.", "wg-"))
            (tunnels if tunnel_device else hosts).setdefault(ip, (name, address.source))
    return hosts, tunnels


def _configured(snapshot: Snapshot) -> dict[Ip, list[tuple[str, Address]]]:
    found: dict[Ip, list[tuple[str, Address]]] = {}
    for name, node in snapshot.nodes.items():
        for address in node.host.addresses.values:
            if address.ip.is_loopback or address.ip.is_link_local or address.dev == "kube-ipvs0":
                continue
            owners = found.setdefault(address.ip, [])
            if all(owner != name for owner, _ in owners):
                owners.append((name, address))
    return found
