"""What a question's two ends are: pods, nodes, Services, addresses, and sentences for what cannot be asked."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from lasthop.diagnosis.ends import FlowEnds, resolve
from lasthop.errors import NotInEvidence, UsageError
from lasthop.facts.calico import CalicoNode
from lasthop.facts.evidence import Complete
from lasthop.facts.kube import Pod, Service, ServicePort
from lasthop.facts.snapshot import Cluster, Question
from lasthop.sim.world import World
from tests.sim.cluster import TwoNodes
from tests.sim.ruletext import HERE

WEB = Service(
    "shop",
    "web",
    HERE,
    cluster_ips=(ip_address("10.96.0.10"), ip_address("fd00:96::10")),
    external_ips=(ip_address("203.0.113.5"),),
    load_balancer_ips=(ip_address("203.0.113.6"),),
    ports=(ServicePort("http", "tcp", 80),),
)
CLUSTER = Cluster(
    services=Complete(
        (
            WEB,
            replace(WEB, name="two", ports=(ServicePort("a", "tcp", 1), ServicePort("b", "tcp", 2))),
            Service("shop", "bare", HERE, headless=True),
        )
    ),
    pods=Complete(
        (Pod("kube-system", "proxy-1", HERE, node="n2", ips=(ip_address("192.0.2.12"),), host_network=True),)
    ),
)


def ends(src: str = "shop/a", dst: str = "shop/b", proto: str = "tcp", port: int | None = 80) -> FlowEnds:
    return resolve(World(TwoNodes(cluster=CLUSTER).snapshot()), Question(src, dst, proto, port))


def test_pods() -> None:
    found = ends()
    assert (found.src.kind, found.src.name, str(found.src.ip), found.src.node, found.src.interface) == (
        "pod",
        "shop/a",
        "10.244.1.2",
        "n1",
        "cali1",
    )
    assert str(found.dst.ip) == "10.244.2.2"


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("10.244.2.2", "pod", "shop/b"),
        ("192.0.2.12", "node", "n2"),
        ("node:n2", "node", "n2"),
        ("10.96.0.10", "service", "shop/web"),
        ("203.0.113.5", "service", "shop/web"),
        ("203.0.113.6", "service", "shop/web"),
        ("svc:shop/web", "service", "shop/web"),
        ("198.51.100.9", "address", "198.51.100.9"),
        ("kube-system/proxy-1", "node", "n2"),
    ],
)
def test_kinds(text: str, kind: str, name: str) -> None:
    found = ends(dst=text).dst
    assert (found.kind, found.name) == (kind, name)


@pytest.mark.parametrize("text", ["shop/gone", "svc:shop/gone", "node:gone"])
def test_names_that_the_evidence_does_not_hold(text: str) -> None:
    with pytest.raises(NotInEvidence):
        ends(dst=text)


@pytest.mark.parametrize("text", ["", "web", "10.244.2.300", "svc:shop/bare"])
def test_what_cannot_be_asked(text: str) -> None:
    with pytest.raises(UsageError):
        ends(dst=text)


def test_families_must_meet() -> None:
    with pytest.raises(UsageError, match="no IP family in common"):
        ends(dst="fd00::9")


def test_of_two_addresses_the_common_family_is_taken() -> None:
    cluster = TwoNodes(cluster=CLUSTER)
    a, b = cluster.endpoints()
    b = replace(b, ips=(ip_network("fd00:2::2/128"), ip_network("10.244.2.2/32")))
    world = World(replace(cluster.snapshot(), cluster=replace(CLUSTER, workload_endpoints=Complete((a, b)))))
    assert str(resolve(world, Question("shop/a", "shop/b", "tcp", 80)).dst.ip) == "10.244.2.2"
    assert str(resolve(world, Question("198.51.100.9", "svc:shop/web", "tcp", 80)).dst.ip) == "10.96.0.10"


def test_ports_are_derived_only_where_they_are_clear() -> None:
    assert ends(port=None).port == 80 and ends(dst="svc:shop/web", port=None).port == 80
    assert ends(proto="icmp", port=None).port is None
    for text in ("svc:shop/two", "198.51.100.9", "shop/a"):
        with pytest.raises(UsageError, match="which port"):
            ends(src="shop/b", dst=text, port=None)


def test_a_nodes_address_is_calicos() -> None:
    node = CalicoNode("n2", HERE, bgp_ipv4="192.0.2.99/24")
    cluster = replace(CLUSTER, calico_nodes=Complete((node,)))
    world = World(TwoNodes(cluster=cluster).snapshot())
    assert str(resolve(world, Question("shop/a", "node:n2", "tcp", 80)).dst.ip) == "192.0.2.99"
