"""Who has an address, and what stands in for objects that were not collected."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lasthop.calico.endpoints import Endpoints
from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.network import Address
from lasthop.facts.snapshot import Cluster, NetNS, Node, Snapshot
from tests.calico.build import CLUSTER, snapshot

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: frontend-5gs43, namespace: default, labels: {app: f}}
spec: {nodeName: n1, serviceAccountName: sa, containers: [{ports: [{name: http, containerPort: 80}]}]}
status: {phase: Running, podIP: 10.65.1.9}
"""


def test_places() -> None:
    endpoints = Endpoints(snapshot(CLUSTER))
    for ip, kind, node in (
        ("10.65.1.5", "pod", "n1"),
        ("192.0.2.11", "node", "n1"),
        ("10.65.1.0", "tunnel", "n1"),
        ("10.65.2.1", "tunnel", "n2"),
        ("203.0.113.1", "", ""),
    ):
        place = endpoints.place(ip_address(ip))
        assert (place.kind, place.node) == (kind, node), ip
    assert endpoints.node_address("n3") == ip_address("192.0.2.213")


def test_endpoints_are_derived_from_pods_as_calico_does() -> None:
    endpoints = Endpoints(snapshot(POD, absent=["workload_endpoints", "calico_objects", "namespaces"]))
    found = endpoints.pod("default/frontend-5gs43")
    assert found is not None and found.derived
    assert (found.interface, found.node, found.ips) == ("cali7f48edf42e2", "n1", (ip_network("10.65.1.9/32"),))
    assert found.profiles == ("kns.default", "ksa.default.sa")
    assert found.ports == (("http", "tcp", 80),)
    labels = endpoints.labels(found)
    assert labels.values["projectcalico.org/serviceaccount"] == "sa"
    assert labels.values["pcns.projectcalico.org/name"] == "default"
    assert not labels.known("pcns.team") and not labels.known("pcsa.x") and labels.known("other")


@pytest.mark.parametrize(
    "change", [("phase: Running", "phase: Succeeded"), ("nodeName: n1", "nodeName: n1, hostNetwork: true")]
)
def test_finished_and_host_network_pods_have_none(change: tuple[str, str]) -> None:
    assert Endpoints(snapshot(POD.replace(*change), absent=["workload_endpoints"])).workloads == ()


def test_interfaces_take_the_prefix_of_felix() -> None:
    felix = (
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\n"
        "spec: {interfacePrefix: 'eni,cali'}\n"
    )
    (found,) = Endpoints(snapshot(POD, felix, absent=["workload_endpoints"])).workloads
    assert found.interface == "eni7f48edf42e2"


def test_a_complete_list_is_not_added_to() -> None:
    assert len(Endpoints(snapshot(CLUSTER, POD)).workloads) == 2
    assert len(Endpoints(snapshot(CLUSTER, POD, partial=["workload_endpoints"])).workloads) == 3


def test_two_pods_with_one_address_have_no_common_node() -> None:
    endpoints = Endpoints(snapshot(CLUSTER.replace("10.65.2.5/32", "10.65.1.5/32")))
    assert len(endpoints.by_ip(ip_address("10.65.1.5"))) == 2
    assert endpoints.node_of(ip_address("10.65.1.5")) == ""


def test_near_names() -> None:
    endpoints = Endpoints(snapshot(CLUSTER))
    assert endpoints.near("shop/wbe") == ("shop/web",)
    assert endpoints.near("default/web")[0] == "shop/web"
    assert endpoints.near("nothing-like-it/at-all") == ()
    assert endpoints.near("n11", "node") == ("n1",)
    assert endpoints.pod("web") == endpoints.pod("shop/web")


def test_nodes_of_the_kubernetes_datastore() -> None:
    text = (
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  annotations:\n"
        "    projectcalico.org/IPv4Address: 192.0.2.11/24\n    projectcalico.org/IPv4VXLANTunnelAddr: 10.65.1.1\n"
        "    projectcalico.org/WireguardPublicKey: k=\n"
    )
    node = Endpoints(snapshot(text, absent=["calico_nodes"])).calico_nodes["n1"]
    assert (node.bgp_ipv4, node.vxlan_tunnel, node.wireguard_key) == (
        "192.0.2.11/24",
        ip_address("10.65.1.1"),
        "k=",
    )


def test_an_address_of_several_nodes_belongs_to_none() -> None:
    def node(name: str, *ips: str) -> Node:
        source = SourceRef("x", 1)
        addresses = tuple(Address("eth0", ip_address(ip), 24, source) for ip in ips)
        return Node(name, NetNS(name, addresses=Complete(addresses)))

    nodes = {"a": node("a", "172.17.0.1", "192.0.2.1", "127.0.0.1"), "b": node("b", "172.17.0.1", "192.0.2.2")}
    endpoints = Endpoints(Snapshot(nodes, Cluster()))
    assert endpoints.host_node(ip_address("192.0.2.2")) == "b"
    assert endpoints.host_node(ip_address("172.17.0.1")) == ""
    assert endpoints.host_node(ip_address("127.0.0.1")) == ""
