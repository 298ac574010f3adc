"""What is known of each node, netns and kind of evidence, what fetches the rest, and which step it hides.

Nothing is parsed for this. Evidence that was read tells its own state; evidence that no question needed yet is judged
by how its commands ended. build.read_all() first makes every cell exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lasthop.facts.evidence import AbsentReason, Artifact, Complete, Evidence, Partial, Status
from lasthop.facts.snapshot import CoverageCell, Node, Snapshot


@dataclass(frozen=True, slots=True)
class _Kind:
    """`ids` are what the collector calls it, the first one is the one to ask for; `others` are loose forms of it.

    `hides` is what cannot be judged without it; "" where the walk does without.
    """

    name: str
    field: str
    ids: tuple[str, ...]
    hides: str
    others: tuple[str, ...] = ()
    pod: bool = True
    ruleset: tuple[str, int] | None = None


_HOST = (
    _Kind("links", "links", ("ip_link", "ip_addr"), "all steps: which interfaces exist and are up, and their MTU"),
    _Kind("addresses", "addresses", ("ip_addr",), "steps 0, 3, 4, 7, 8: which addresses are its own"),
    _Kind(
        "routes", "routes", ("ip4_route_all",), "steps 1-8: where a packet is sent next",
        ("ip_route_all", "ip4_route_main", "route_n", "proc_net_route"),
    ),
    _Kind(
        "routing_rules", "routing_rules", ("ip4_rule",), "steps 1-8: which routing table a packet is looked up in",
    ),
    _Kind(
        "neighbours", "neighbours", ("ip4_neigh",), "steps 1-3, 5-7: whether the next hop answers, and with which MAC",
        ("ip_neigh", "proc_net_arp"),
    ),
    _Kind("fdb", "fdb", ("bridge_fdb",), "steps 2, 6: which node a VXLAN frame goes to", pod=False),
    _Kind(
        "iptables-nft", "rulesets", ("iptables_nft_save",), "steps 1-8: policy, NAT and other packet filters",
        ("iptables_save",), ruleset=("nft", 4),
    ),
    _Kind(
        "iptables-legacy", "rulesets", ("iptables_legacy_save",), "steps 1-8: rules of the legacy back end",
        ("iptables_save", "ip_tables_names"), ruleset=("legacy", 4),
    ),
    _Kind("nft", "nft_chains", ("nft_ruleset",), "steps 1-8: packet filters in native nftables"),
    _Kind("ipsets", "ipsets", ("ipset_save",), "steps 2, 4, 6, 8: what rules with sets match", ("ipset_list",), False),
    _Kind(
        "conntrack", "conntrack", ("conntrack",), "steps 2-8: connections that already exist, their NAT and state",
        ("proc_nf_conntrack",), False,
    ),
    _Kind("sysctls", "sysctls", ("sysctl",), "steps 1-8: forwarding, rp_filter, proxy ARP and limits"),
    _Kind(
        "sockets", "sockets", ("ss_listen",), "steps 4, 8: whether anything listens",
        ("netstat", "proc_net_tcp", "proc_net_udp"),
    ),
    _Kind("counters", "counters", ("nstat", "proc_net_snmp"), "", ("conntrack_stats", "proc_net_netstat")),
    _Kind("nexthop_objects", "nexthop_objects", ("ip_nexthop",), "", pod=False),
    _Kind("route_cache", "route_cache", ("ip4_route_cache",), "", ("ip6_route_cache",), False),
    _Kind("routes6", "routes6", ("ip6_route_all",), "IPv6 flows", ("ip_route_all", "ip6_route_main")),
    _Kind("routing_rules6", "routing_rules6", ("ip6_rule",), "IPv6 flows", pod=False),
    _Kind("neighbours6", "neighbours6", ("ip6_neigh",), "IPv6 flows", ("ip_neigh",)),
    _Kind(
        "ip6tables-nft", "rulesets", ("ip6tables_nft_save",), "IPv6 flows", ("ip6tables_save",), False, ("nft", 6),
    ),
    _Kind(
        "ip6tables-legacy", "rulesets", ("ip6tables_legacy_save",), "IPv6 flows",
        ("ip6tables_save", "ip6_tables_names"), False, ("legacy", 6),
    ),
)  # fmt: skip
_NODE = (
    _Kind(
        "bird", "bgp_sessions", ("bird_protocols",), "steps 2, 6: why a BGP route is missing", ("calico_node_status",)
    ),
    _Kind("bgp_routes", "bgp_routes", ("bird_route",), ""),
    _Kind("processes", "processes", ("processes",), "", ("processes_ps",)),
)
_CLUSTER = (
    _Kind("calico_nodes", "calico_nodes", ("calico_nodes",), "which address belongs to which node"),
    _Kind(
        "workload_endpoints", "workload_endpoints", ("calico_workloadendpoints",),
        "step 0: where each pod should be, and on which interface",
    ),
    _Kind("ip_pools", "ip_pools", ("calico_ippools",), "steps 2, 6: which route and encapsulation a pool demands"),
    _Kind("ipam_blocks", "ipam_blocks", ("calico_ipamblocks",), "steps 2, 6: which node owns a block", ("etcd",)),
    _Kind("block_affinities", "block_affinities", ("calico_blockaffinities",), "", ("etcd",)),
    _Kind(
        "policies", "policies", ("calico_networkpolicies", "calico_globalnetworkpolicies"),
        "steps 2, 4, 6, 8: whether a deny is as written",
    ),
    _Kind("host_endpoints", "host_endpoints", ("calico_hostendpoints",), ""),
    _Kind("calico_objects", "calico_objects", ("calico_felixconfigurations", "calico_bgppeers", "calico_tiers"), ""),
    _Kind("pods", "pods", ("kube_pods",), ""),
    _Kind("kube_nodes", "nodes", ("kube_nodes",), ""),
    _Kind("services", "services", ("kube_services",), "flows to Services: their ports and addresses"),
    _Kind(
        "endpoint_slices", "endpoint_slices", ("kube_endpointslices",),
        "flows to Services: which backends there should be", ("kube_endpoints",),
    ),
    _Kind("namespaces", "namespaces", ("kube_namespaces",), ""),
)  # fmt: skip


def coverage(snapshot: Snapshot) -> tuple[CoverageCell, ...]:
    """One cell per node, netns and kind. `command` fetches what is not complete; "" where it is."""
    by_place: dict[tuple[str, str], dict[str, list[Artifact]]] = {}
    for artifact in snapshot.artifacts:
        by_place.setdefault((artifact.node, artifact.netns), {}).setdefault(artifact.id, []).append(artifact)
    cells: list[CoverageCell] = []
    for node in snapshot.nodes.values():
        cells.extend(_node_cells(node, by_place))
    in_cluster = by_place.get(("", ""), {})
    for kind in _CLUSTER:
        cells.append(_cell("", "", kind, _peek(snapshot.cluster, kind), in_cluster))
    cells.extend(_missing_pods(snapshot))
    return tuple(cells)


def _node_cells(node: Node, by_place: dict[tuple[str, str], dict[str, list[Artifact]]]) -> Iterator[CoverageCell]:
    host = by_place.get((node.name, "host"), {})
    for kind in _HOST:
        yield _cell(node.name, "host", kind, _peek(node.host, kind), host)
    for kind in _NODE:
        yield _cell(node.name, "host", kind, _peek(node, kind), host)
    wire = [capture for capture in node.captures if capture.netns == "host"]
    if wire:
        yield CoverageCell(node.name, "host", "captures", "complete")
    else:
        hides = "steps 3, 7: whether the packet crossed the wire"
        command = "sh collector.sh --capture 20"
        yield CoverageCell(node.name, "host", "captures", "absent", "no capture of this node", command, hides)
    for name in node.pods:
        place = f"pod:{name}"
        inside = by_place.get((node.name, place), {})
        for kind in _HOST:
            if kind.pod:
                yield _cell(node.name, place, kind, _peek(node.pods[name], kind), inside)


def _missing_pods(snapshot: Snapshot) -> Iterator[CoverageCell]:
    """Pods that endpoint objects place on a collected node, and whose netns is not in the bundle."""
    endpoints = getattr(snapshot.cluster, "_values", {}).get("workload_endpoints")
    if endpoints is None:
        return
    for endpoint in endpoints.values:
        name = f"{endpoint.namespace}/{endpoint.pod}"
        node = snapshot.nodes.get(endpoint.node)
        if endpoint.pod and node is not None and name not in node.pods:
            yield CoverageCell(
                endpoint.node, f"pod:{name}", "netns", "absent", "the inside of this pod was not collected",
                f"sh collector.sh --pod {_word(name)}", "steps 0, 1, 4, 5, 8 of flows of this pod",
            )  # fmt: skip


def _word(text: str) -> str:
    """Names come from the bundle: only what is safe to paste into a shell is printed."""
    return text if all(c.isalnum() or c in "./_-" for c in text) else "NS/NAME"


def _peek(owner: Any, kind: _Kind) -> Evidence[Any] | None:
    """The evidence if it was read already (eager values always are), else None."""
    values = getattr(owner, "_values", None)
    if values is None:
        return owner.ruleset(*kind.ruleset) if kind.ruleset else getattr(owner, kind.field)  # type: ignore[no-any-return]
    found = values.get(kind.field)
    if kind.ruleset is None or found is None:
        return found  # type: ignore[no-any-return]
    made = getattr(found, "made", None)
    return made(kind.ruleset) if made is not None else found.get(kind.ruleset)  # type: ignore[no-any-return]


def _cell(
    node: str, netns: str, kind: _Kind, read: Evidence[Any] | None, here: dict[str, list[Artifact]]
) -> CoverageCell:
    state, why = _told(read) if read is not None else _by_status(kind, here)
    if state in ("complete", "not-applicable"):
        return CoverageCell(node, netns, kind.name, state, why)
    command = "sh collector.sh --only " + ",".join(kind.ids)
    if netns.startswith("pod:"):
        command += f" --pod {_word(netns[4:])}"
    return CoverageCell(node, netns, kind.name, state, why, command, _hides(kind, netns))


def _hides(kind: _Kind, netns: str) -> str:
    if not netns.startswith("pod:") or not kind.hides:
        return kind.hides
    if kind.ruleset is not None or kind.name == "nft":
        return ""  # stated assumption: no packet filter inside a pod whose dumps were not collected
    _, colon, what = kind.hides.partition(": ")
    return f"steps 0, 1, 4, 5, 8 of this pod's flows: {what}" if colon else kind.hides


def _told(evidence: Evidence[Any]) -> tuple[str, str]:
    if isinstance(evidence, Complete):
        return "complete", ""
    if isinstance(evidence, Partial):
        return "partial", evidence.why
    state = "not-applicable" if evidence.reason is AbsentReason.NOT_APPLICABLE else "absent"
    return state, evidence.detail or evidence.reason.value


def _by_status(kind: _Kind, here: dict[str, list[Artifact]]) -> tuple[str, str]:
    takes = [
        a
        for identity in (*kind.ids, *kind.others)
        for a in (*here.get(identity, ()), *here.get(identity + "_json", ()))
    ]
    if kind.ruleset is not None:
        # which back end a plain dump is of is only known after reading it
        takes = [a for a in takes if a.id == kind.ids[0] or a.id.endswith("tables_save")]
    if any(a.status is Status.OK and a.path for a in takes):
        return "complete", ""
    cut = next((a for a in takes if a.status in (Status.TRUNCATED, Status.TIMEOUT, Status.ENOSPC)), None)
    if cut is not None:
        return "partial", cut.why or cut.status.value
    proved = next(
        (a for a in takes if a.status is Status.SKIPPED and a.why in ("not-loaded", "no-tables", "no-socket")), None
    )
    if proved is not None:
        return "not-applicable", proved.why
    if not takes:
        return "absent", AbsentReason.NOT_COLLECTED.value
    return "absent", takes[0].why or takes[0].status.value
