"""One network namespace, one node, the whole bundle: everything is Evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .calico import (
    BgpRoute,
    BgpSession,
    BirdProtocol,
    BlockAffinity,
    CalicoNode,
    CalicoObject,
    HostEndpoint,
    IPAMBlock,
    IPPool,
    NodeStatus,
    Policy,
    Process,
    WorkloadEndpoint,
)
from .evidence import NOT_COLLECTED, Artifact, Evidence, Unparsed
from .kube import EndpointSlice, KubeNode, Namespace, Pod, Service
from .netfilter import ConntrackEntry, IpSet, NftBaseChain, NftRuleset, Ruleset
from .network import (
    Address,
    Counter,
    FdbEntry,
    Link,
    Neighbour,
    NexthopObject,
    PolicyRoutingRule,
    Route,
    Socket,
    Sysctl,
)


@dataclass(frozen=True, slots=True)
class NetNS:
    """`name` is "host" or "pod:<namespace>/<pod>".

    `rulesets` is keyed by (backend, family) with backend "nft" or "legacy"; each holds at most one Ruleset.
    A plain `iptables-save` whose back end is not known is filed under the back end that its header line names
    ("(nf_tables)"/"(legacy)"), else under "nft" with the doubt noted.
    """

    node: str
    name: str = "host"
    links: Evidence[Link] = NOT_COLLECTED
    addresses: Evidence[Address] = NOT_COLLECTED
    routes: Evidence[Route] = NOT_COLLECTED
    routes6: Evidence[Route] = NOT_COLLECTED
    routing_rules: Evidence[PolicyRoutingRule] = NOT_COLLECTED
    routing_rules6: Evidence[PolicyRoutingRule] = NOT_COLLECTED
    nexthop_objects: Evidence[NexthopObject] = NOT_COLLECTED
    route_cache: Evidence[Route] = NOT_COLLECTED
    neighbours: Evidence[Neighbour] = NOT_COLLECTED
    neighbours6: Evidence[Neighbour] = NOT_COLLECTED
    fdb: Evidence[FdbEntry] = NOT_COLLECTED
    rulesets: Mapping[tuple[str, int], Evidence[Ruleset]] = field(default_factory=dict)
    nft_chains: Evidence[NftBaseChain] = NOT_COLLECTED
    nft: Evidence[NftRuleset] = NOT_COLLECTED
    """At most one: the text of `nft list ruleset`. JSON alone gives only `nft_chains`."""
    ipsets: Evidence[IpSet] = NOT_COLLECTED
    conntrack: Evidence[ConntrackEntry] = NOT_COLLECTED
    sysctls: Evidence[Sysctl] = NOT_COLLECTED
    sockets: Evidence[Socket] = NOT_COLLECTED
    counters: Evidence[Counter] = NOT_COLLECTED
    host_interface: str = ""
    """For a pod: the host side's interface name, from pod.meta, the endpoint object or the veth index."""

    def ruleset(self, backend: str, family: int) -> Evidence[Ruleset]:
        return self.rulesets.get((backend, family), NOT_COLLECTED)


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture file in the bundle. `data` is read when it is needed, through `Snapshot.open_member`."""

    node: str
    netns: str
    interface: str
    path: str
    size: int
    filter: str = ""
    snaplen: int | None = None
    start: float | None = None
    end: float | None = None
    kernel_drops: int | None = None
    known_place: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """`pods` is keyed "namespace/name". `meta` are node.meta's keys (docs/bundle-format.md)."""

    name: str
    host: NetNS
    pods: Mapping[str, NetNS] = field(default_factory=dict)
    captures: tuple[Capture, ...] = ()
    bgp_sessions: Evidence[BgpSession] = NOT_COLLECTED
    bird_protocols: Evidence[BirdProtocol] = NOT_COLLECTED
    bgp_routes: Evidence[BgpRoute] = NOT_COLLECTED
    statuses: Evidence[NodeStatus] = NOT_COLLECTED
    processes: Evidence[Process] = NOT_COLLECTED
    meta: Mapping[str, str] = field(default_factory=dict)
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    calico_nodes: Evidence[CalicoNode] = NOT_COLLECTED
    workload_endpoints: Evidence[WorkloadEndpoint] = NOT_COLLECTED
    host_endpoints: Evidence[HostEndpoint] = NOT_COLLECTED
    ip_pools: Evidence[IPPool] = NOT_COLLECTED
    ipam_blocks: Evidence[IPAMBlock] = NOT_COLLECTED
    block_affinities: Evidence[BlockAffinity] = NOT_COLLECTED
    policies: Evidence[Policy] = NOT_COLLECTED
    calico_objects: Evidence[CalicoObject] = NOT_COLLECTED
    pods: Evidence[Pod] = NOT_COLLECTED
    nodes: Evidence[KubeNode] = NOT_COLLECTED
    services: Evidence[Service] = NOT_COLLECTED
    endpoint_slices: Evidence[EndpointSlice] = NOT_COLLECTED
    namespaces: Evidence[Namespace] = NOT_COLLECTED


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: by the collector's flags (origin "collected-for") or on the command line ("asked").

    `src`/`dst` are "namespace/pod", an address, "node:<name>", "svc:<namespace>/<name>" or "" (any).
    """

    src: str
    dst: str
    proto: str = "tcp"
    port: int | None = None
    origin: str = "asked"


@dataclass(frozen=True, slots=True)
class Snapshot:
    nodes: Mapping[str, Node]
    cluster: Cluster = Cluster()
    artifacts: tuple[Artifact, ...] = ()
    unparsed: tuple[Unparsed, ...] = ()
    lines: int = 0
    """Data lines seen by the parsers; len(unparsed) / lines is the unparsed share."""
    unrecognised: tuple[str, ...] = ()
    """Members that no parser claims."""
    warnings: tuple[str, ...] = ()
    """Sentences about the bundle itself: truncated archive, node given twice, unknown version."""
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class CoverageCell:
    """`state` is complete, partial, absent or not-applicable; `hides` says which step cannot be judged without it."""

    node: str
    netns: str
    kind: str
    state: str
    why: str = ""
    command: str = ""
    hides: str = ""
