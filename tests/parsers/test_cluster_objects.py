"""Objects -> facts. Samples by hand after api/pkg/apis/projectcalico/v3, calicoctl v1 resources, Kubernetes' API."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from lasthop.facts.kube import EndpointSlice, KubeNode, Namespace, Pod, Service
from lasthop.parsers.cluster_objects import parse_cluster_objects
from lasthop.parsers.ipam import parse_etcd_ipam, parse_ipam_show
from tests.conftest import shared

T = TypeVar("T")


def one(text: str, kind: type[T]) -> T:
    result = parse_cluster_objects(text, "x")
    assert result.unparsed == ()
    (value,) = result.values
    assert isinstance(value, kind)
    return value


def test_calico_node() -> None:
    node = one(
        """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node1, labels: {zone: a}}
spec:
  addresses:
  - {address: 192.0.2.11/24, type: CalicoNodeIP}
  - {address: 198.51.100.1, type: ExternalIP}
  bgp: {asNumber: 64512, ipv4Address: 192.0.2.11/24, ipv4IPIPTunnelAddr: 10.65.0.1, routeReflectorClusterID: 244.0.0.1}
  ipv4VXLANTunnelAddr: 10.65.0.2
  vxlanTunnelMACAddr: 66:00:00:00:00:01
  wireguard: {interfaceIPv4Address: 10.65.0.3}
status: {wireguardPublicKey: abc=}
""",
        CalicoNode,
    )
    assert (node.bgp_ipv4, node.as_number, node.route_reflector_cluster_id) == ("192.0.2.11/24", 64512, "244.0.0.1")
    assert (node.ipip_tunnel, node.vxlan_tunnel) == (ip_address("10.65.0.1"), ip_address("10.65.0.2"))
    assert (node.wireguard_ip, node.wireguard_key) == (ip_address("10.65.0.3"), "abc=")
    assert node.vxlan_mac == "66:00:00:00:00:01"
    assert node.addresses == (
        (ip_address("192.0.2.11"), "CalicoNodeIP"),
        (ip_address("198.51.100.1"), "ExternalIP"),
    )


def test_workload_endpoint_of_v3() -> None:
    endpoint = one(
        """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata:
  name: node1-k8s-web--0-eth0
  namespace: shop
  labels: {app: web}
spec:
  containerID: c0ffee
  endpoint: eth0
  interfaceName: calia4fc3c48bd8
  ipNetworks: [10.65.0.2/32, fd00::2/128]
  mac: 12:34:56:10:20:30
  node: node1
  pod: web-0
  profiles: [kns.shop, ksa.shop.web]
  ports:
  - {name: http, port: 8080, protocol: TCP}
  serviceAccountName: web
""",
        WorkloadEndpoint,
    )
    assert (endpoint.namespace, endpoint.pod, endpoint.node) == ("shop", "web-0", "node1")
    assert endpoint.mac == "12:34:56:10:20:30"
    assert endpoint.ips == (ip_network("10.65.0.2/32"), ip_network("fd00::2/128"))
    assert endpoint.ports == (("http", "tcp", 8080),)
    assert not endpoint.derived and endpoint.workload == "shop.web-0"


V1 = """\
- apiVersion: v1
  kind: workloadEndpoint
  metadata: {name: eth0, workload: shop.web.v2-0, orchestrator: k8s, node: n1, labels: {calico/k8s_ns: shop}}
  spec: {interfaceName: cali0d7763386da, mac: '52:A6:1B:00:00:01', ipNetworks: [10.65.0.2/32], profiles: [k8s_ns.shop]}
- apiVersion: v1
  kind: ipPool
  metadata: {cidr: 10.65.0.0/16}
  spec: {ipip: {enabled: true, mode: cross-subnet}, nat-outgoing: true}
- apiVersion: v1
  kind: ipPool
  metadata: {cidr: 10.66.0.0/16}
  spec: {ipip: {enabled: true}, disabled: true}
- apiVersion: v1
  kind: node
  metadata: {name: n1}
  spec: {bgp: {asNumber: '64512', ipv4Address: 192.0.2.11/24}}
- apiVersion: v1
  kind: policy
  metadata: {name: p}
  spec: {order: 10.5, selector: a == 'b', ingress: [{action: allow, protocol: tcp}], types: [ingress]}
- apiVersion: v1
  kind: profile
  metadata: {name: k8s_ns.shop, labels: {x: y}}
  spec: {ingress: [{action: allow}]}
- apiVersion: v1
  kind: hostEndpoint
  metadata: {name: eth0, node: n1}
  spec: {interfaceName: eth0, expectedIPs: [192.0.2.11]}
"""


def test_the_lists_of_calicoctl_v1() -> None:
    result = parse_cluster_objects(V1, "x")
    assert result.unparsed == ()
    endpoint, cross, always, node, policy, profile, host = result.values
    assert isinstance(endpoint, WorkloadEndpoint)
    assert (endpoint.namespace, endpoint.pod, endpoint.mac) == ("shop", "web.v2-0", "52:a6:1b:00:00:01")
    assert isinstance(cross, IPPool) and isinstance(always, IPPool)
    assert (cross.ipip_mode, cross.nat_outgoing, cross.disabled) == ("CrossSubnet", True, False)
    assert (always.ipip_mode, always.disabled) == ("Always", True)
    assert isinstance(node, CalicoNode) and node.as_number == 64512
    assert isinstance(policy, Policy)
    assert (policy.kind, policy.order, policy.types) == ("GlobalNetworkPolicy", 10.5, ("Ingress",))
    assert policy.ingress[0].action == "Allow"
    assert isinstance(profile, CalicoObject) and profile.kind == "Profile"
    assert isinstance(host, HostEndpoint) and host.expected_ips == (ip_address("192.0.2.11"),)


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ("{}", ("Ingress",)),
        ("{ingress: [{action: Allow}]}", ("Ingress",)),
        ("{egress: [{action: Allow}]}", ("Egress",)),
        ("{ingress: [{action: Allow}], egress: [{action: Deny}]}", ("Ingress", "Egress")),
        ("{types: [Egress]}", ("Egress",)),
    ],
)
def test_types_that_the_api_fills_in(spec: str, types: tuple[str, ...]) -> None:
    text = f"apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: a}}\nspec: {spec}\n"
    assert one(text, Policy).types == types


def test_ipam_block_of_a_crd() -> None:
    block = one(
        """\
apiVersion: crd.projectcalico.org/v1
kind: IPAMBlock
metadata: {name: 10-65-0-0-30}
spec:
  cidr: 10.65.0.0/30
  affinity: host:node-a
  allocations: [0, null, 1, 0]
  attributes:
  - handle_id: h0
    secondary: {namespace: shop, pod: web-0}
  - handle_id: h1
  deleted: false
""",
        IPAMBlock,
    )
    assert (block.cidr, block.affinity, block.deleted) == (ip_network("10.65.0.0/30"), "node-a", False)
    assert block.allocated == (
        (ip_address("10.65.0.0"), "h0", {"namespace": "shop", "pod": "web-0"}),
        (ip_address("10.65.0.2"), "h1", {}),
        (ip_address("10.65.0.3"), "h0", {"namespace": "shop", "pod": "web-0"}),
    )


def test_block_affinity_and_virtual_owner() -> None:
    text = (
        "apiVersion: crd.projectcalico.org/v1\nkind: BlockAffinity\nmetadata: {name: x}\n"
        "spec: {cidr: 10.65.0.0/26, node: n1, state: pendingDeletion, deleted: 'true'}\n"
    )
    affinity = one(text, BlockAffinity)
    assert (affinity.node, affinity.state, affinity.deleted) == ("n1", "pendingDeletion", True)
    text = (
        "apiVersion: crd.projectcalico.org/v1\nkind: IPAMBlock\nmetadata: {name: x}\n"
        "spec: {cidr: 10.65.0.0/26, affinity: 'virtual:load-balancer', allocations: [], attributes: []}\n"
    )
    assert one(text, IPAMBlock).affinity == ""


def test_etcd_dump() -> None:
    dump = (
        "/calico/ipam/v2/assignment/ipv4/block/10.65.0.0-30\n"
        '{"cidr":"10.65.0.0/30","affinity":"host:n1","allocations":[null,0,null,null],'
        '"attributes":[{"handle_id":"h","secondary":{"pod":"p"}}],"deleted":false}\n'
        "/calico/ipam/v2/handle/h\n"
        '{"block":{"10.65.0.0/30":1},"deleted":false}\n'
        "/calico/ipam/v2/host/n1/ipv4/block/10.65.0.0-30\n"
        '{"state":"confirmed","deleted":false}\n'
        "/calico/ipam/v2/host/n2/ipv6/block/fd00::40-122\n"
        '"pending"\n'
    )
    result = parse_etcd_ipam(dump, "e")
    assert result.unparsed == () and not result.truncated
    block, first, second = result.values
    assert isinstance(block, IPAMBlock)
    assert block.allocated == ((ip_address("10.65.0.1"), "h", {"pod": "p"}),)
    assert (block.source.line, block.source.end_line) == (1, 2)
    assert isinstance(first, BlockAffinity) and (first.node, first.state) == ("n1", "confirmed")
    assert isinstance(second, BlockAffinity)
    assert (second.cidr, second.state) == (ip_network("fd00::40/122"), "pending")
    cut = parse_etcd_ipam(dump[:100], "e")
    assert cut.values == () and len(cut.unparsed) == 1
    assert parse_etcd_ipam("/calico/ipam/v2/handle/h\n", "e").truncated


def test_ipam_show_gives_no_facts_and_counts_strange_rows() -> None:
    table = "+---+---+\n| GROUPING | CIDR |\n| IP Pool  | 10.65.0.0/16 | 1 |\n| Block    | 10.65.0.0/26 |\nwhat\n"
    result = parse_ipam_show(table, "s")
    assert (result.values, len(result.unparsed), result.lines) == ((), 1, 5)


def test_pod_by_template_and_from_annotations() -> None:
    pod = one(
        """\
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, uid: u, labels: {app: web}}
spec:
  nodeName: n1
  serviceAccountName: web
  containers:
  - {name: c, ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP}]}
status:
  phase: Running
  podIP: 10.65.0.2
  podIPs: [{ip: 10.65.0.2}, {ip: 'fd00::2'}]
  conditions: [{type: Ready, status: 'False'}]
""",
        Pod,
    )
    assert pod.ips == (ip_address("10.65.0.2"), ip_address("fd00::2"))
    assert (pod.node, pod.phase, pod.ready, pod.host_network) == ("n1", "Running", False, False)
    assert pod.ports == (("tcp", 8080), ("udp", 53)) and pod.named_ports == (("http", "tcp", 8080),)
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: b\n  annotations: "
        "{cni.projectcalico.org/podIP: 10.65.0.9/32}\nspec: {hostNetwork: true}\nstatus: {phase: Pending}\n"
    )
    pod = one(text, Pod)
    assert (pod.ips, pod.ready, pod.host_network) == ((ip_address("10.65.0.9"),), None, True)


def test_kubernetes_node_is_not_calicos() -> None:
    text = (
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1, annotations: {projectcalico.org/ASNumber: '64512'}}\n"
        "spec: {podCIDR: 10.65.0.0/24}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.11}, "
        "{type: Hostname, address: n1}], conditions: [{type: Ready, status: 'True'}]}\n"
    )
    node = one(text, KubeNode)
    assert node.addresses == ((ip_address("192.0.2.11"), "InternalIP"),)
    assert (node.pod_cidrs, node.ready) == ((ip_network("10.65.0.0/24"),), True)


def test_services() -> None:
    text = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  type: LoadBalancer
  externalIPs: [198.51.100.1]
  externalTrafficPolicy: Local
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, protocol: TCP}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
status: {loadBalancer: {ingress: [{ip: 203.0.113.5}, {hostname: x}]}}
"""
    service = one(text, Service)
    assert service.cluster_ips == (ip_address("10.96.0.1"),)
    assert (service.external_traffic_policy, service.internal_traffic_policy) == ("Local", "Cluster")
    http, dns = service.ports
    assert (http.proto, http.port, http.target_port, http.node_port) == ("tcp", 80, "web", 30080)
    assert (dns.target_port, dns.node_port) == ("5353", None)
    assert service.load_balancer_ips == (ip_address("203.0.113.5"),)
    headless = one("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n", Service)
    assert headless.headless and headless.cluster_ips == () and headless.namespace == "default"


def test_endpoint_slices_and_endpoints() -> None:
    slice_ = one(
        """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints:
- addresses: [10.65.0.2]
  conditions: {ready: true, terminating: false}
  nodeName: n1
  targetRef: {kind: Pod, name: web-0, namespace: shop}
- addresses: [10.65.0.3]
  conditions: {}
ports: [{name: http, port: 8080, protocol: TCP}]
""",
        EndpointSlice,
    )
    first, second = slice_.addresses
    assert (slice_.service, slice_.ports) == ("web", (("http", "tcp", 8080),))
    assert (first.ready, first.terminating, first.node, first.pod) == (True, False, "n1", "shop/web-0")
    assert second.ready is None
    old = one(
        """\
apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: shop}
subsets:
- addresses: [{ip: 10.65.0.2, nodeName: n1, targetRef: {kind: Pod, name: web-0}}]
  notReadyAddresses: [{ip: 10.65.0.3}]
  ports: [{port: 8080}]
""",
        EndpointSlice,
    )
    assert (old.kind, old.service, old.ports) == ("Endpoints", "web", (("", "tcp", 8080),))
    assert [(item.ready, item.pod) for item in old.addresses] == [(True, "shop/web-0"), (False, "")]


def test_kubernetes_policies() -> None:
    text = (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
        "spec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}\n"
    )
    policy = one(text, Policy)
    assert (policy.kind, policy.tier, policy.order) == ("KubernetesNetworkPolicy", "default", 1000.0)
    assert policy.types == ("Ingress", "Egress") and policy.egress[0].action == "Allow"
    text = (
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: a}\n"
        "spec: {priority: 5, subject: {namespaces: {}}, ingress: [{action: Pass, from: [{namespaces: {}}]}]}\n"
    )
    policy = one(text, Policy)
    assert (policy.tier, policy.order, policy.types) == ("adminnetworkpolicy", 5.0, ("Ingress",))


def test_other_kinds_are_kept_and_bad_ones_counted() -> None:
    text = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\nspec: {peerIP: 192.0.2.1}\n"
    peer = one(text, CalicoObject)
    assert (peer.kind, peer.name, peer.raw["spec"]) == ("BGPPeer", "tor", {"peerIP": "192.0.2.1"})
    assert one("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {x: y}}\n", Namespace).labels == {"x": "y"}
    text = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: bad}\nspec: {cidr: nonsense}\n"
    result = parse_cluster_objects(text, "x")
    assert result.values == () and result.touches == ("IPPool /bad",)


ALL = V1 + "- {apiVersion: v1, kind: Pod, spec: 7, status: [], metadata: x}\n- {kind: IPAMBlock, spec: {cidr: 1}}\n"


@given(st.integers(0, len(ALL)), st.text(alphabet="{}[]:,- \n'\"0a", max_size=6))
def test_never_raises(at: int, junk: str) -> None:
    parse_cluster_objects(ALL[:at] + junk + ALL[at:], "x")
    parse_etcd_ipam(ALL[:at] + junk, "x")
    parse_ipam_show(ALL[:at] + junk, "x")


KINDS = st.sampled_from(
    [
        "Node",
        "Pod",
        "Service",
        "Endpoints",
        "EndpointSlice",
        "Namespace",
        "NetworkPolicy",
        "IPPool",
        "IPAMBlock",
        "BlockAffinity",
        "WorkloadEndpoint",
        "HostEndpoint",
        "GlobalNetworkPolicy",
        "node",
        "ipPool",
        "workloadEndpoint",
        "policy",
        "profile",
        "AdminNetworkPolicy",
    ]
)
GROUPS = st.sampled_from(
    ["v1", "projectcalico.org/v3", "crd.projectcalico.org/v1", "networking.k8s.io/v1", "discovery.k8s.io/v1", ""]
)
KEYS = st.sampled_from(
    [
        "name",
        "namespace",
        "labels",
        "spec",
        "status",
        "metadata",
        "cidr",
        "affinity",
        "allocations",
        "attributes",
        "ports",
        "endpoints",
        "subsets",
        "addresses",
        "ingress",
        "egress",
        "ipNetworks",
        "node",
        "bgp",
        "conditions",
        "containers",
        "podIPs",
        "types",
        "order",
        "annotations",
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=6) | st.just("10.0.0.0/26"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(KINDS, GROUPS, JUNK, JUNK, JUNK)
def test_objects_of_any_shape(kind: str, group: str, metadata: object, spec: object, extra: object) -> None:
    import json

    body = {"kind": kind, "apiVersion": group, "metadata": metadata, "spec": spec, "status": extra}
    body |= {"endpoints": extra, "subsets": extra, "ports": extra}
    result = parse_cluster_objects(json.dumps(body), "x")
    assert len(result.values) + len(result.unparsed) >= 1 or kind == "Endpoints"


def test_real_cluster_is_understood_whole() -> None:
    folder = shared("reference-cluster", "cases", "healthy-vxlan-nft")
    counted = lines = 0
    for path in sorted([*folder.glob("cluster/*.yaml"), *folder.glob("k8s-handmade/*.yaml")]):
        result = parse_cluster_objects(path.read_text(), path.name)
        assert (result.unparsed, result.truncated) == ((), False), path.name
        counted, lines = counted + len(result.values), lines + result.lines
    assert counted > 60 and lines > 1000
