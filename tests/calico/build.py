"""Small clusters written by hand, and snapshots of the reference cases' objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lasthop.facts.calico import (
    BlockAffinity,
    CalicoNode,
    CalicoObject,
    HostEndpoint,
    IPAMBlock,
    IPPool,
    Policy,
    WorkloadEndpoint,
)
from lasthop.facts.evidence import NOT_COLLECTED, Complete, Evidence, Partial
from lasthop.facts.kube import EndpointSlice, KubeNode, Namespace, Pod, Service
from lasthop.facts.snapshot import Cluster, Snapshot
from lasthop.parsers.cluster_objects import parse_cluster_objects
from tests.conftest import shared

KINDS: dict[type[Any], str] = {
    CalicoNode: "calico_nodes",
    WorkloadEndpoint: "workload_endpoints",
    HostEndpoint: "host_endpoints",
    IPPool: "ip_pools",
    IPAMBlock: "ipam_blocks",
    BlockAffinity: "block_affinities",
    Policy: "policies",
    CalicoObject: "calico_objects",
    Pod: "pods",
    KubeNode: "nodes",
    Service: "services",
    EndpointSlice: "endpoint_slices",
    Namespace: "namespaces",
}


def snapshot(*texts: str, absent: Iterable[str] = (), partial: Iterable[str] = ()) -> Snapshot:
    """A cluster of the objects in the texts. Every kind is Complete but those named by their field in Cluster."""
    found: dict[str, list[Any]] = defaultdict(list)
    for text in texts:
        result = parse_cluster_objects(text, "objects.yaml")
        assert not result.unparsed, result.unparsed
        for value in result.values:
            found[KINDS[type(value)]].append(value)
    fields: dict[str, Evidence[Any]] = {}
    for name in KINDS.values():
        values = tuple(found[name])
        fields[name] = Partial(values, "cut") if name in partial else Complete(values)
        if name in absent:
            fields[name] = NOT_COLLECTED
    return Snapshot({}, Cluster(**fields))


def reference(case: str) -> Snapshot:
    """The objects of an unpacked reference case; skips when it is not there."""
    folder = shared("reference-cluster", "cases", case)
    paths: list[Path] = sorted([*folder.glob("cluster/*.yaml"), *folder.glob("k8s-handmade/*.yaml")])
    return snapshot(*(path.read_text() for path in paths))


CLUSTER = """\
apiVersion: v1
kind: List
items:
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata: {name: n1}
  spec: {bgp: {ipv4Address: 192.0.2.11/25, ipv4IPIPTunnelAddr: 10.65.1.0}, ipv4VXLANTunnelAddr: 10.65.1.1}
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata: {name: n2}
  spec: {bgp: {ipv4Address: 192.0.2.12/25}, ipv4VXLANTunnelAddr: 10.65.2.1}
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata: {name: n3}
  spec: {bgp: {ipv4Address: 192.0.2.213/25}, ipv4VXLANTunnelAddr: 10.65.3.1}
- apiVersion: projectcalico.org/v3
  kind: WorkloadEndpoint
  metadata:
    name: n1-k8s-client-eth0
    namespace: default
    labels: {role: client, projectcalico.org/namespace: default, projectcalico.org/orchestrator: k8s}
  spec: {node: n1, pod: client, interfaceName: cali1, ipNetworks: [10.65.1.5/32], profiles: [kns.default]}
- apiVersion: projectcalico.org/v3
  kind: WorkloadEndpoint
  metadata:
    name: n2-k8s-web-eth0
    namespace: shop
    labels:
      app: web
      projectcalico.org/namespace: shop
      projectcalico.org/orchestrator: k8s
      projectcalico.org/serviceaccount: web
  spec:
    node: n2
    pod: web
    interfaceName: cali2
    ipNetworks: [10.65.2.5/32]
    profiles: [kns.shop]
    ports: [{name: http, port: 8080, protocol: TCP}]
- apiVersion: projectcalico.org/v3
  kind: Profile
  metadata: {name: kns.default}
  spec:
    ingress: [{action: Allow}]
    egress: [{action: Allow}]
    labelsToApply: {pcns.projectcalico.org/name: default, pcns.team: blue}
- apiVersion: projectcalico.org/v3
  kind: Profile
  metadata: {name: kns.shop}
  spec:
    ingress: [{action: Allow}]
    egress: [{action: Allow}]
    labelsToApply: {pcns.projectcalico.org/name: shop, pcns.team: red}
- apiVersion: crd.projectcalico.org/v1
  kind: BlockAffinity
  metadata: {name: n1-b}
  spec: {cidr: 10.65.1.0/26, node: n1, state: confirmed, deleted: 'false'}
- apiVersion: crd.projectcalico.org/v1
  kind: BlockAffinity
  metadata: {name: n2-b}
  spec: {cidr: 10.65.2.0/26, node: n2, state: confirmed, deleted: 'false'}
- apiVersion: crd.projectcalico.org/v1
  kind: BlockAffinity
  metadata: {name: n3-b}
  spec: {cidr: 10.65.3.0/26, node: n3, state: confirmed, deleted: 'false'}
"""


def pool(ipip: str = "Never", vxlan: str = "Never", extra: str = "") -> str:
    return (
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\n"
        f"spec: {{cidr: 10.65.0.0/16, ipipMode: {ipip}, vxlanMode: {vxlan}{extra}}}\n"
    )


def policy(spec: str, name: str = "p", namespace: str = "shop", tier: str = "") -> str:
    """A NetworkPolicy, or a GlobalNetworkPolicy where the namespace is ""; spec as a YAML flow mapping."""
    kind = "NetworkPolicy" if namespace else "GlobalNetworkPolicy"
    where = f", namespace: {namespace}" if namespace else ""
    more = f"tier: {tier}, " if tier else ""
    return (
        f"apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}{where}}}\nspec: {{{more}{spec}}}\n"
    )
