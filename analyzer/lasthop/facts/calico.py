"""Calico's objects and BIRD's state, one dataclass per kind, whatever API version or file format they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .evidence import SourceRef
from .network import Ip, Prefix


@dataclass(frozen=True, slots=True)
class CalicoNode:
    """projectcalico.org/v3 Node. `bgp_ipv4` keeps the registered prefix length (its subnet decides CrossSubnet)."""

    name: str
    source: SourceRef
    bgp_ipv4: str = ""
    bgp_ipv6: str = ""
    as_number: int | None = None
    route_reflector_cluster_id: str = ""
    ipip_tunnel: Ip | None = None
    vxlan_tunnel: Ip | None = None
    vxlan_tunnel_v6: Ip | None = None
    vxlan_mac: str = ""
    wireguard_ip: Ip | None = None
    wireguard_key: str = ""
    addresses: tuple[tuple[Ip, str], ...] = ()
    """(address, type) pairs: InternalIP, ExternalIP, CalicoNodeIP."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkloadEndpoint:
    """`mac` is the pod's own interface's, not the host side's; "" where the datastore has none (Kubernetes API)."""

    namespace: str
    pod: str
    node: str
    interface: str
    source: SourceRef
    ips: tuple[Prefix, ...] = ()
    mac: str = ""
    endpoint: str = "eth0"
    orchestrator: str = "k8s"
    workload: str = ""
    profiles: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    container_id: str = ""
    ports: tuple[tuple[str, str, int], ...] = ()
    """Named ports: (name, protocol lower case, port)."""
    service_account: str = ""
    derived: bool = False
    """True when built from a Kubernetes Pod and its annotations, because no endpoint object was collected."""


@dataclass(frozen=True, slots=True)
class HostEndpoint:
    name: str
    node: str
    interface: str
    source: SourceRef
    expected_ips: tuple[Ip, ...] = ()
    profiles: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[tuple[str, str, int], ...] = ()
    """Named ports: (name, protocol lower case, port)."""


@dataclass(frozen=True, slots=True)
class IPPool:
    """Modes are Always, CrossSubnet or Never, capitalised so whatever the API version wrote."""

    name: str
    cidr: Prefix
    source: SourceRef
    ipip_mode: str = "Never"
    vxlan_mode: str = "Never"
    nat_outgoing: bool = False
    disabled: bool = False
    block_size: int | None = None
    node_selector: str = ""
    disable_bgp_export: bool = False
    allowed_uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IPAMBlock:
    """`affinity` is the owning node or "" (none, or a virtual load balancer); `allocated` are (address, handle,
    attributes) of used ordinals."""

    cidr: Prefix
    affinity: str
    source: SourceRef
    allocated: tuple[tuple[Ip, str, Mapping[str, str]], ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class BlockAffinity:
    cidr: Prefix
    node: str
    state: str
    source: SourceRef
    deleted: bool = False
    type: str = "host"


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One entry of ingress/egress; `raw` is the object itself for what has no field of its own."""

    action: str
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """Network policies of every kind. `kind` is NetworkPolicy, GlobalNetworkPolicy, StagedNetworkPolicy,
    KubernetesNetworkPolicy (networking.k8s.io), AdminNetworkPolicy, BaselineAdminNetworkPolicy ..."""

    kind: str
    name: str
    source: SourceRef
    namespace: str = ""
    tier: str = "default"
    order: float | None = None
    selector: str = ""
    types: tuple[str, ...] = ()
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    pre_dnat: bool = False
    do_not_track: bool = False
    apply_on_forward: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CalicoObject:
    """Any other object, kept as it is: tiers, profiles, network sets, BGP peers and configurations, Felix
    configurations, cluster information, IP reservations ... `kind` as in its `kind:` field."""

    kind: str
    name: str
    source: SourceRef
    namespace: str = ""
    api_version: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BgpSession:
    """One protocol of type BGP in `birdc show protocols [all]` or one row of `calicoctl node status`.

    `state` is BIRD's protocol state (up, start, down); `info` the BGP state word and last error as printed
    ("Established", "Active Socket: Connection refused"). `imported`/`exported` route counts are None if not shown.
    """

    name: str
    state: str
    info: str
    source: SourceRef
    neighbour: Ip | None = None
    neighbour_as: int | None = None
    local_as: int | None = None
    since: str = ""
    imported: int | None = None
    exported: int | None = None
    last_error: str = ""
    family: int = 4


@dataclass(frozen=True, slots=True)
class BirdProtocol:
    """Any other BIRD protocol (kernel, device, direct, static)."""

    name: str
    proto: str
    state: str
    source: SourceRef
    table: str = ""
    since: str = ""
    info: str = ""


@dataclass(frozen=True, slots=True)
class BgpRoute:
    """One route of `birdc show route [all]`; `best` is the `*`; `type` unicast, blackhole, unreachable."""

    prefix: Prefix
    source: SourceRef
    via: Ip | None = None
    dev: str = ""
    protocol: str = ""
    best: bool = False
    type: str = "unicast"
    next_hop: Ip | None = None
    origin: str = ""
    from_: Ip | None = None
    as_path: str = ""
    local_pref: int | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """A running process of interest: bird, bird6, confd, felix, kube-proxy, kubelet."""

    name: str
    pid: int
    source: SourceRef
    stat: str = ""
    args: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What `calicoctl node status` or `birdc show status` said in words: is the process running at all."""

    what: str
    running: bool
    source: SourceRef
    version: str = ""
    detail: str = ""
