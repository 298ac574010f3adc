"""What a lab cluster is made of: nodes, pods, Services and policies, with names and addresses as Calico derives
them.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network

POOL = IPv4Network("10.65.0.0/16")
SERVICE_CIDR = IPv4Network("10.96.0.0/12")
HOST_MAC = "ee:ee:ee:ee:ee:ee"
GATEWAY = "169.254.1.1"
VXLAN_DEVICE = "vxlan.calico"
VXLAN_OVERHEAD = 50
LAB_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def interface_name(namespace: str, pod: str) -> str:
    """`cali` and the first 11 hex digits of SHA1("namespace.pod") (workload_endpoint_default.go, all Calico 3
    versions).
    """
    return "cali" + hashlib.sha1(f"{namespace}.{pod}".encode()).hexdigest()[:11]


def stable_uid(*words: str) -> str:
    """The same UUID for the same words, so that a rebuilt sample differs only where the kernel differs."""
    return str(uuid.uuid5(LAB_NAMESPACE, "/".join(words)))


def stable_mac(first: str, *words: str) -> str:
    """A unicast MAC beginning with `first` (one octet, hex), the same for the same words."""
    digest = hashlib.sha1("/".join(words).encode()).hexdigest()
    return ":".join([first, *(digest[i : i + 2] for i in range(0, 10, 2))])


@dataclass(slots=True)
class Node:
    """One node: its address on its subnet, its IPAM block, and (VXLAN) its tunnel address, the first one of the
    block.
    """

    name: str
    address: IPv4Interface
    block: IPv4Network
    registered: tuple[str, IPv4Interface] | None = None

    @property
    def ip(self) -> str:
        return str(self.address.ip)

    @property
    def calico_address(self) -> IPv4Interface:
        """What Calico takes for the node's address: its own, or `registered` when detection chose wrongly."""
        return self.registered[1] if self.registered else self.address

    @property
    def calico_device(self) -> str:
        return self.registered[0] if self.registered else "eth0"

    @property
    def router(self) -> str:
        return str(self.address.network.network_address + 1)

    @property
    def tunnel_ip(self) -> str:
        return str(self.block.network_address)

    @property
    def vtep_mac(self) -> str:
        return stable_mac("66", "vtep", self.name)

    @property
    def eth0_mac(self) -> str:
        return stable_mac("52", "eth0", self.name)


@dataclass(slots=True)
class Port:
    """A port that the pod's container declares and (unless `listens` is off) really serves."""

    name: str
    number: int
    protocol: str = "TCP"
    listens: bool = True


@dataclass(slots=True)
class Pod:
    """One pod. `ip` is given by the cluster when it is built."""

    namespace: str
    name: str
    node: str
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    service_account: str = "default"
    ip: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def interface(self) -> str:
        return interface_name(self.namespace, self.name)

    @property
    def mac(self) -> str:
        return stable_mac("4a", "pod", self.key)

    @property
    def netns_name(self) -> str:
        return "cni-" + stable_uid("netns", self.key)

    @property
    def profiles(self) -> tuple[str, str]:
        return (f"kns.{self.namespace}", f"ksa.{self.namespace}.{self.service_account}")

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels of the WorkloadEndpoint: the pod's own and those that Calico adds."""
        return {
            **self.labels,
            "projectcalico.org/namespace": self.namespace,
            "projectcalico.org/orchestrator": "k8s",
            "projectcalico.org/serviceaccount": self.service_account,
        }


@dataclass(slots=True)
class Service:
    """A Service of one port. Endpoints are the pods of its namespace that carry `selector`."""

    namespace: str
    name: str
    cluster_ip: str
    port: int
    target_port: int
    selector: dict[str, str]
    port_name: str = "http"
    protocol: str = "TCP"
    node_port: int | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(slots=True)
class PolicyRule:
    """One rule of a policy. `peer` selects by label the source (ingress) or destination (egress), in `peer_namespace`
    when given, else
    in the policy's own namespace."""

    action: str
    protocol: str | None = None
    peer: dict[str, str] | None = None
    peer_namespace: str | None = None
    peer_nets: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass(slots=True)
class Policy:
    """A Calico NetworkPolicy of tier default, or a GlobalNetworkPolicy when `namespace` is None."""

    namespace: str | None
    name: str
    selector: dict[str, str]
    ingress: tuple[PolicyRule, ...] | None = None
    egress: tuple[PolicyRule, ...] | None = None
    order: int = 100

    def applies_to(self, pod: Pod) -> bool:
        if self.namespace is not None and pod.namespace != self.namespace:
            return False
        return matches(self.selector, pod)


@dataclass(slots=True)
class ClusterSpec:
    """A whole cluster. `routing` is bgp (BIRD, no encapsulation) or vxlan (VXLAN Always); `calico` is v3.33 or
    v3.27.
    """

    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    services: tuple[Service, ...] = ()
    policies: tuple[Policy, ...] = ()
    routing: str = "bgp"
    calico: str = "v3.33"
    backend: str = "nft"
    underlay_mtu: int = 1500

    def __post_init__(self) -> None:
        for node in self.nodes:
            first = 1 if self.routing == "vxlan" else 0
            for offset, pod in enumerate(self.pods_of(node.name), start=first):
                pod.ip = str(node.block.network_address + offset)

    @property
    def tunnel_mtu(self) -> int:
        return 1500 - (VXLAN_OVERHEAD if self.routing == "vxlan" else 0)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def pod(self, key: str) -> Pod:
        return next(pod for pod in self.pods if pod.key == key)

    def pods_of(self, node: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.node == node)

    def endpoints_of(self, service: Service) -> tuple[Pod, ...]:
        return tuple(p for p in self.pods if p.namespace == service.namespace and matches(service.selector, p))


def matches(selector: dict[str, str], pod: Pod) -> bool:
    """True when the pod carries every label of the selector."""
    return all(pod.labels.get(key) == value for key, value in selector.items())
