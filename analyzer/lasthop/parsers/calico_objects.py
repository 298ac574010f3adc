"""Calico's objects -> facts: v1 lists (Calico 1.x, 2.x), projectcalico.org/v3 and crd.projectcalico.org/v1.

Field names: api/pkg/apis/projectcalico/v3/*.go (v3), v2.6.0:master/reference/calicoctl/resources/*.md (v1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from lasthop.facts.calico import (
    BlockAffinity,
    CalicoNode,
    CalicoObject,
    HostEndpoint,
    IPAMBlock,
    IPPool,
    Policy,
    PolicyRule,
    WorkloadEndpoint,
)
from lasthop.facts.evidence import SourceRef
from lasthop.facts.network import Ip, Prefix

from .objects import RawObject, string_map

CalicoFact = CalicoNode | WorkloadEndpoint | HostEndpoint | IPPool | IPAMBlock | BlockAffinity | Policy | CalicoObject

POLICY_KINDS = frozenset(
    {
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
        "StagedKubernetesNetworkPolicy",
    }
)
_V1_KINDS = {
    "node": "node",
    "ippool": "ipPool",
    "workloadendpoint": "workloadEndpoint",
    "hostendpoint": "hostEndpoint",
    "policy": "policy",
    "profile": "Profile",
    "bgppeer": "BGPPeer",
}


def is_calico(raw: RawObject) -> bool:
    """True for objects of Calico's API groups and for the lower-case kinds of calicoctl v1."""
    return "projectcalico.org/" in raw.api_version or _is_v1(raw)


def _is_v1(raw: RawObject) -> bool:
    return raw.api_version in ("v1", "") and raw.kind[:1].islower() and raw.kind.lower() in _V1_KINDS


def calico_fact(raw: RawObject) -> CalicoFact:
    """The fact of one object; kinds without a type of their own become CalicoObject.

    Raises ValueError (one sentence) when a field that makes the object what it is cannot be read.
    """
    if _is_v1(raw):
        return _V1[raw.kind.lower()](raw)
    if raw.kind in POLICY_KINDS:
        return _policy(raw)
    build = _V3.get(raw.kind)
    return build(raw) if build else _other(raw, raw.kind)


def _other(raw: RawObject, kind: str) -> CalicoObject:
    return CalicoObject(kind, raw.name, raw.source, raw.namespace, raw.api_version, raw.body)


def text(value: object) -> str:
    """A scalar as text; "" for None, lists and mappings."""
    return "" if value is None or isinstance(value, (dict, list)) else str(value)


def flag(value: object) -> bool:
    return value is True or text(value).lower() in ("true", "yes", "1")


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def integer(value: object) -> int | None:
    """The integer, also from text; None when it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    word = text(value).strip()
    return int(word) if word.isascii() and word.lstrip("-").isdigit() and len(word) < 19 else None


def address(value: object) -> Ip | None:
    """The address with or without a prefix length; None when it is none."""
    word = text(value).strip()
    try:
        return ip_interface(word).ip if "/" in word else ip_address(word)
    except ValueError:
        return None


def prefix(value: object) -> Prefix:
    return ip_network(text(value).strip(), strict=False)


def _mode(value: object) -> str:
    words = {"always": "Always", "crosssubnet": "CrossSubnet", "cross-subnet": "CrossSubnet", "never": "Never"}
    word = text(value).lower()
    if word not in words:
        raise ValueError(f"unknown encapsulation mode {text(value)!r}")
    return words[word]


def _ports(value: object) -> tuple[tuple[str, str, int], ...]:
    found = []
    for item in map(mapping, sequence(value)):
        port = integer(item.get("port"))
        if port is not None:
            found.append((text(item.get("name")), text(item.get("protocol") or "tcp").lower(), port))
    return tuple(found)


def _node(raw: RawObject) -> CalicoNode:
    spec, bgp = raw.spec, mapping(raw.spec.get("bgp"))
    wireguard = mapping(spec.get("wireguard"))
    listed = [
        (address(mapping(item).get("address")), text(mapping(item).get("type")))
        for item in sequence(spec.get("addresses"))
    ]
    return CalicoNode(
        name=raw.name,
        source=raw.source,
        bgp_ipv4=text(bgp.get("ipv4Address")),
        bgp_ipv6=text(bgp.get("ipv6Address")),
        as_number=integer(bgp.get("asNumber")),
        route_reflector_cluster_id=text(bgp.get("routeReflectorClusterID")),
        ipip_tunnel=address(bgp.get("ipv4IPIPTunnelAddr")),
        vxlan_tunnel=address(spec.get("ipv4VXLANTunnelAddr")),
        vxlan_tunnel_v6=address(spec.get("ipv6VXLANTunnelAddr")),
        vxlan_mac=text(spec.get("vxlanTunnelMACAddr")),
        wireguard_ip=address(wireguard.get("interfaceIPv4Address")),
        wireguard_key=text(raw.status.get("wireguardPublicKey")),
        addresses=tuple((ip, kind) for ip, kind in listed if ip is not None),
        labels=raw.labels,
    )


def _workload(raw: RawObject) -> WorkloadEndpoint:
    spec = raw.spec
    node, interface = text(spec.get("node")), text(spec.get("interfaceName"))
    if not node:
        raise ValueError("a workload endpoint without a node")
    pod = text(spec.get("pod")) or text(spec.get("workload"))
    return WorkloadEndpoint(
        namespace=raw.namespace,
        pod=pod,
        node=node,
        interface=interface,
        source=raw.source,
        ips=tuple(prefix(item) for item in sequence(spec.get("ipNetworks"))),
        mac=text(spec.get("mac")).lower(),
        endpoint=text(spec.get("endpoint")) or "eth0",
        orchestrator=text(spec.get("orchestrator")) or "k8s",
        workload=text(spec.get("workload")) or f"{raw.namespace}.{pod}",
        profiles=tuple(text(item) for item in sequence(spec.get("profiles"))),
        labels=raw.labels,
        container_id=text(spec.get("containerID")),
        ports=_ports(spec.get("ports")),
        service_account=text(spec.get("serviceAccountName")),
    )


def _host_endpoint(raw: RawObject) -> HostEndpoint:
    spec = raw.spec
    ips = (address(item) for item in sequence(spec.get("expectedIPs")))
    return HostEndpoint(
        name=raw.name,
        node=text(spec.get("node")),
        interface=text(spec.get("interfaceName")),
        source=raw.source,
        expected_ips=tuple(ip for ip in ips if ip is not None),
        profiles=tuple(text(item) for item in sequence(spec.get("profiles"))),
        labels=raw.labels,
        ports=_ports(spec.get("ports")),
    )


def _pool(raw: RawObject) -> IPPool:
    spec = raw.spec
    ipip = mapping(spec.get("ipip"))
    mode = spec.get("ipipMode") or (ipip.get("mode") if ipip else None) or "Never"
    return IPPool(
        name=raw.name or text(spec.get("cidr")),
        cidr=prefix(spec.get("cidr")),
        source=raw.source,
        ipip_mode=_mode(mode),
        vxlan_mode=_mode(spec.get("vxlanMode") or "Never"),
        nat_outgoing=flag(spec.get("natOutgoing") or spec.get("nat-outgoing")),
        disabled=flag(spec.get("disabled")),
        block_size=integer(spec.get("blockSize")),
        node_selector=text(spec.get("nodeSelector")),
        disable_bgp_export=flag(spec.get("disableBGPExport")),
        allowed_uses=tuple(text(item) for item in sequence(spec.get("allowedUses"))),
    )


def block_fact(spec: dict[str, Any], source: SourceRef) -> IPAMBlock:
    """An allocation block from a CRD's spec or from the datastore's own JSON (same keys).

    `allocations[i]` is null or the index into `attributes` of address i of the block
    (libcalico-go/lib/backend/model/block.go).
    """
    cidr = prefix(spec.get("cidr"))
    attributes = [mapping(item) for item in sequence(spec.get("attributes"))]
    allocated: list[tuple[Ip, str, dict[str, str]]] = []
    for ordinal, index in enumerate(sequence(spec.get("allocations"))[: cidr.num_addresses]):
        number = integer(index)
        if number is None:
            continue
        known = attributes[number] if 0 <= number < len(attributes) else {}
        handle = text(known.get("handle_id") or known.get("primary"))
        allocated.append((cidr.network_address + ordinal, handle, string_map(known.get("secondary"))))
    return IPAMBlock(
        cidr=cidr,
        affinity=affinity_node(text(spec.get("affinity"))),
        source=source,
        allocated=tuple(allocated),
        deleted=flag(spec.get("deleted")),
    )


def affinity_node(affinity: str) -> str:
    """The node of `host:NODE`; "" for none and for `virtual:...`, which no node owns."""
    return affinity[5:] if affinity.startswith("host:") else ""


def _block(raw: RawObject) -> IPAMBlock:
    return block_fact(raw.spec, raw.source)


def _affinity(raw: RawObject) -> BlockAffinity:
    spec = raw.spec
    return BlockAffinity(
        cidr=prefix(spec.get("cidr")),
        node=text(spec.get("node")),
        state=text(spec.get("state")),
        source=raw.source,
        deleted=flag(spec.get("deleted")),
        type=text(spec.get("type")) or "host",
    )


def rules(value: object) -> tuple[PolicyRule, ...]:
    """Calico rules in order; `action` capitalised as in v3 (v1 wrote them in lower case)."""
    return tuple(PolicyRule(text(item.get("action")).capitalize(), item) for item in map(mapping, sequence(value)))


def _order(value: object) -> float | None:
    try:
        return None if value is None or text(value) == "" else float(text(value))
    except ValueError:
        raise ValueError(f"unreadable order {text(value)!r}") from None


def _policy(raw: RawObject) -> Policy:
    """`types` as written, or what the API server would have filled in
    (api/pkg/defaults/networkpolicy.go: no egress rules -> Ingress; only egress rules -> Egress)."""
    spec = raw.spec
    ingress, egress = rules(spec.get("ingress")), rules(spec.get("egress"))
    types = tuple(text(item).capitalize() for item in sequence(spec.get("types")))
    if not types:
        types = ("Ingress",) if not egress else ("Egress",) if not ingress else ("Ingress", "Egress")
    return Policy(
        kind=raw.kind,
        name=raw.name,
        source=raw.source,
        namespace=raw.namespace,
        tier=text(spec.get("tier")) or "default",
        order=_order(spec.get("order")),
        selector=text(spec.get("selector")),
        types=types,
        ingress=ingress,
        egress=egress,
        pre_dnat=flag(spec.get("preDNAT")),
        do_not_track=flag(spec.get("doNotTrack")),
        apply_on_forward=flag(spec.get("applyOnForward")),
        raw=raw.body,
    )


# -- calicoctl v1


def _v1_node(raw: RawObject) -> CalicoNode:
    return _node(raw)


def _v1_workload(raw: RawObject) -> WorkloadEndpoint:
    """metadata.workload is `namespace.pod` with Kubernetes; a namespace has no dot, a pod's name may have."""
    metadata, spec = raw.metadata, raw.spec
    workload = text(metadata.get("workload"))
    namespace, dot, pod = workload.partition(".")
    node = text(metadata.get("node") or metadata.get("hostname"))
    if not node:
        raise ValueError("a workload endpoint without a node")
    return WorkloadEndpoint(
        namespace=namespace if dot else "",
        pod=pod if dot else workload,
        node=node,
        interface=text(spec.get("interfaceName")),
        source=raw.source,
        ips=tuple(prefix(item) for item in sequence(spec.get("ipNetworks"))),
        mac=text(spec.get("mac")).lower(),
        endpoint=raw.name or "eth0",
        orchestrator=text(metadata.get("orchestrator")) or "k8s",
        workload=workload,
        profiles=tuple(text(item) for item in sequence(spec.get("profiles"))),
        labels=raw.labels,
    )


def _v1_host_endpoint(raw: RawObject) -> HostEndpoint:
    spec, metadata = raw.spec, raw.metadata
    ips = (address(item) for item in sequence(spec.get("expectedIPs")))
    return HostEndpoint(
        name=raw.name,
        node=text(metadata.get("node") or metadata.get("hostname")),
        interface=text(spec.get("interfaceName")),
        source=raw.source,
        expected_ips=tuple(ip for ip in ips if ip is not None),
        profiles=tuple(text(item) for item in sequence(spec.get("profiles"))),
        labels=raw.labels,
    )


def _v1_pool(raw: RawObject) -> IPPool:
    """`ipip.enabled` without a mode means always."""
    cidr, spec = raw.metadata.get("cidr"), raw.spec
    ipip = mapping(spec.get("ipip"))
    mode = _mode(ipip.get("mode") or "always") if flag(ipip.get("enabled")) else "Never"
    return IPPool(
        name=text(cidr),
        cidr=prefix(cidr),
        source=raw.source,
        ipip_mode=mode,
        nat_outgoing=flag(spec.get("nat-outgoing")),
        disabled=flag(spec.get("disabled")),
    )


def _v1_policy(raw: RawObject) -> Policy:
    """v1 policies are global. Without `types` Felix 2.x applied both directions."""
    spec = raw.spec
    types = tuple(text(item).capitalize() for item in sequence(spec.get("types"))) or ("Ingress", "Egress")
    return Policy(
        kind="GlobalNetworkPolicy",
        name=raw.name,
        source=raw.source,
        order=_order(spec.get("order")),
        selector=text(spec.get("selector")),
        types=types,
        ingress=rules(spec.get("ingress")),
        egress=rules(spec.get("egress")),
        pre_dnat=flag(spec.get("preDNAT")),
        do_not_track=flag(spec.get("doNotTrack")),
        raw=raw.body,
    )


_V1: dict[str, Callable[[RawObject], CalicoFact]] = {
    "node": _v1_node,
    "ippool": _v1_pool,
    "workloadendpoint": _v1_workload,
    "hostendpoint": _v1_host_endpoint,
    "policy": _v1_policy,
    "profile": lambda raw: _other(raw, "Profile"),
    "bgppeer": lambda raw: _other(raw, "BGPPeer"),
}
_V3: dict[str, Callable[[RawObject], CalicoFact]] = {
    "Node": _node,
    "WorkloadEndpoint": _workload,
    "HostEndpoint": _host_endpoint,
    "IPPool": _pool,
    "IPAMBlock": _block,
    "BlockAffinity": _affinity,
}


def addresses(values: Iterable[object]) -> tuple[Ip, ...]:
    """Every readable address, duplicates removed, order kept."""
    found: dict[Ip, None] = {}
    for value in values:
        ip = address(value)
        if ip is not None:
            found[ip] = None
    return tuple(found)
