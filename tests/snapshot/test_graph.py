"""The topology graph answers who is at the other end and who owns an address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lasthop.bundle import open_bundle
from lasthop.snapshot.build import build
from lasthop.snapshot.graph import node_of, on_segment, other_end, owners, topology, tunnel_ends
from tests.conftest import shared
from tests.snapshot.making import bundle

HOST_LINKS = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP
3: docker0: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN
    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
    bridge forward_delay 1500
4: cali1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP
    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 0
    veth numtxqueues 1
5: cali2@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP
    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 1 promiscuity 0
    veth numtxqueues 1
6: eth0.100@eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
    link/ether 02:00:00:00:00:0b brd ff:ff:ff:ff:ff:ff promiscuity 0
    vlan protocol 802.1Q id 100 <REORDER_HDR>
7: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN
    link/ether 66:00:00:00:00:0{n} brd ff:ff:ff:ff:ff:ff promiscuity 0
    vxlan id 4096 local 192.0.2.1{n} dev eth0 srcport 0 0 dstport 4789 nolearning
"""
HOST_ADDRESSES = """\
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP
    inet 192.0.2.1{n}/24 scope global eth0
3: docker0: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN
    inet 172.17.0.1/16 scope global docker0
7: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN
    inet 10.65.{n}.0/32 scope global vxlan.calico
"""
POD_LINKS = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
2: eth0@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP
    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 0
    veth numtxqueues 1
"""
POD_ADDRESSES = "2: eth0@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450\n    inet 10.65.1.2/32 scope global eth0\n"
ENDPOINT = """\
apiVersion: projectcalico.org/v3
items:
- apiVersion: projectcalico.org/v3
  kind: WorkloadEndpoint
  metadata: {name: w, namespace: shop}
  spec: {node: n1, pod: web-2, orchestrator: k8s, endpoint: eth0, interfaceName: cali2, ipNetworks: [10.65.1.3/32]}
kind: WorkloadEndpointList
"""


@pytest.fixture(scope="module")
def graph() -> object:
    made = bundle({
        "ip_link": HOST_LINKS.replace("{n}", "1"), "ip_addr": HOST_ADDRESSES.replace("{n}", "1"),
        "calico_workloadendpoints": ENDPOINT,
    })  # fmt: skip
    for more in (
        bundle({"ip_link": POD_LINKS, "ip_addr": POD_ADDRESSES}, netns="pod:shop/web-1"),
        bundle({"ip_link": HOST_LINKS.replace("{n}", "2"), "ip_addr": HOST_ADDRESSES.replace("{n}", "2")}, node="n2"),
    ):
        made.artifacts += more.artifacts
        made.members = {**made.members, **more.members}
        made.meta = {**made.meta, **more.meta}
    return topology(build(made))


def test_the_two_ends_of_a_pair(graph: object) -> None:
    assert other_end(graph, "n1", "pod:shop/web-1", "eth0") == ("n1", "host", "cali1")  # type: ignore[arg-type]
    assert other_end(graph, "n1", "host", "cali1") == ("n1", "pod:shop/web-1", "eth0")  # type: ignore[arg-type]


def test_an_endpoint_object_names_the_end_of_a_pod_that_was_not_collected(graph: object) -> None:
    assert other_end(graph, "n1", "host", "cali2") == ("n1", "pod:shop/web-2", "eth0")  # type: ignore[arg-type]


def test_no_answer_where_the_evidence_has_none(graph: object) -> None:
    assert other_end(graph, "n1", "host", "eth0") is None  # type: ignore[arg-type]
    assert other_end(graph, "n2", "host", "cali1") is None  # type: ignore[arg-type]
    assert other_end(graph, "n9", "host", "eth0") is None  # type: ignore[arg-type]


def test_owners_of_addresses(graph: object) -> None:
    assert owners(graph, ip_address("192.0.2.12")) == (("n2", "host", "eth0"),)  # type: ignore[arg-type]
    assert owners(graph, ip_address("10.65.1.2")) == (("n1", "pod:shop/web-1", "eth0"),)  # type: ignore[arg-type]
    assert owners(graph, ip_address("10.65.1.3")) == (("n1", "pod:shop/web-2", "eth0"),)  # type: ignore[arg-type]
    assert node_of(graph, ip_address("10.65.1.3")) == "n1"  # type: ignore[arg-type]
    assert node_of(graph, ip_address("172.17.0.1")) is None  # type: ignore[arg-type]
    assert owners(graph, ip_address("203.0.113.1")) == ()  # type: ignore[arg-type]


def test_a_subnet_is_shared_but_docker0s_is_not(graph: object) -> None:
    assert on_segment(graph, "n1", "host", "eth0") == (("n2", "host", "eth0"),)  # type: ignore[arg-type]
    assert on_segment(graph, "n1", "host", "docker0") == ()  # type: ignore[arg-type]


def test_tunnels_join_the_nodes(graph: object) -> None:
    assert tunnel_ends(graph, "n1", "vxlan.calico") == (("n2", "host", "vxlan.calico"),)  # type: ignore[arg-type]


def test_a_vlan_lies_on_its_parent(graph: object) -> None:
    edge = graph.edges[("if", "n1", "host", "eth0.100"), ("if", "n1", "host", "eth0")]  # type: ignore[attr-defined]
    assert edge["kind"] == "parent"


def test_every_pod_of_a_real_cluster_pairs_with_its_endpoints_interface() -> None:
    found = build(open_bundle([shared("reference-cluster", "cases", "healthy-vxlan-nft.tar.xz")]))
    graph = topology(found)
    wanted = {
        (e.node, f"pod:{e.namespace}/{e.pod}", e.endpoint): ("host", e.interface)
        for e in found.cluster.workload_endpoints.values
    }
    assert len(wanted) == 12
    for (node, netns, dev), (host, interface) in wanted.items():
        assert other_end(graph, node, netns, dev) == (node, host, interface)
    sessions = [edge for *_, edge in graph.edges(data=True) if edge["kind"] == "bgp"]
    assert sessions == []  # VXLAN mode runs no BIRD


def test_bgp_sessions_of_a_real_cluster_join_all_three_nodes() -> None:
    graph = topology(build(open_bundle([shared("reference-cluster", "cases", "healthy-bgp-nft.tar.xz")])))
    sessions = {frozenset((a[1], b[1])): edge for a, b, edge in graph.edges(data=True) if edge["kind"] == "bgp"}
    assert set(sessions) == {frozenset(p) for p in (("node1", "node2"), ("node1", "node3"), ("node2", "node3"))}
    assert all(len(edge["sessions"]) == 2 for edge in sessions.values())
