"""What a walked flow comes to: verdict, first break, direction, step and node (design, sections 1 and 5)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from lasthop.diagnosis.result import Verdict
from lasthop.facts.evidence import Complete
from lasthop.facts.snapshot import Cluster
from tests.sim.cluster import NODE_MAC, POD_MAC, TwoNodes

from .asking import ask, first

HALF = """*nat
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X
-A KUBE-SVC-X -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1
-A KUBE-SVC-X -j KUBE-SEP-2
-A KUBE-SEP-1 -p tcp -j DNAT --to-destination 10.244.2.2:80
-A KUBE-SEP-2 -p tcp -j DNAT --to-destination 10.244.2.3:80
"""


@pytest.mark.parametrize("kind", ["direct", "vxlan", "ipip"])
def test_healthy_without_captures_is_clear_in_nodes(kind: str) -> None:
    result = ask(TwoNodes(kind))
    assert (result.verdict, result.breaks, result.missing) == (Verdict.CLEAR_IN_NODES, (), ())
    assert result.request_full is not None and result.reply_full is not None


def test_same_pod_crosses_no_wire() -> None:
    cluster = TwoNodes()
    assert ask(cluster, "node:n2", "shop/b").verdict is Verdict.NO_BREAK


BREAKS: list[tuple[str, str, tuple[str, ...], tuple[str, str, int | None, str]]] = [
    # node or pod, change, its arguments, (code, direction, step, node)
    ("a", "remove", ("routes", "default"), ("pod-no-route", "request", 1, "n1")),
    (
        "n1",
        "change",
        ("sysctls", "net.ipv4.conf.cali1.forwarding = 1", "net.ipv4.conf.cali1.forwarding = 0"),
        ("forwarding-off", "request", 2, "n1"),
    ),
    ("n1", "add", ("routes", "blackhole 10.244.2.2"), ("route-blackhole", "request", 2, "n1")),
    ("n1", "change", ("neighbours", NODE_MAC[2], "02:de:ad:00:00:00"), ("neighbour-wrong-mac", "request", 2, "n1")),
    ("n2", "remove", ("routes", "10.244.2.2"), ("route-missing", "request", 4, "n2")),
    (
        "n2",
        "change",
        ("sysctls", "net.ipv4.conf.eth0.forwarding = 1", "net.ipv4.conf.eth0.forwarding = 0"),
        ("forwarding-off", "request", 4, "n2"),
    ),
    ("n2", "change", ("neighbours", POD_MAC[2], "0a:de:ad:00:00:00"), ("neighbour-wrong-mac", "request", 4, "n2")),
    ("b", "change", ("sockets", "0.0.0.0:80", "127.0.0.1:80"), ("listener-wrong-address", "request", 4, "n2")),
    ("b", "change", ("sockets", "0.0.0.0:80", "0.0.0.0:81"), ("no-listener", "request", 4, "n2")),
    ("b", "remove", ("routes", "default"), ("pod-no-route", "reply", 5, "n2")),
    ("n2", "add", ("routes", "blackhole 10.244.1.2"), ("route-blackhole", "reply", 6, "n2")),
    ("n1", "change", ("neighbours", POD_MAC[1], "0a:de:ad:00:00:00"), ("neighbour-wrong-mac", "reply", 8, "n1")),
]


@pytest.mark.parametrize(("where", "how", "arguments", "expected"), BREAKS, ids=lambda value: str(value)[:40])
def test_one_fault(
    where: str, how: str, arguments: tuple[Any, ...], expected: tuple[str, str, int | None, str]
) -> None:
    cluster = TwoNodes()
    getattr(getattr(cluster, where), how)(*arguments)
    result = ask(cluster)
    assert result.verdict is Verdict.BREAK and first(result) == expected
    assert result.breaks[0].confidence == "proven" and result.first == "proven" and result.breaks[0].evidence


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-A FORWARD -p tcp -m tcp --dport 80 -j DROP", ("foreign-rule-drop", "request", 4, "n2")),
        ("-A FORWARD -p tcp -m tcp --sport 80 -j DROP", ("foreign-rule-drop", "reply", 6, "n2")),
    ],
)
def test_a_foreign_rule_in_either_direction(rule: str, expected: tuple[str, str, int | None, str]) -> None:
    cluster = TwoNodes()
    cluster.n2.legacy = f"*filter\n{rule}"
    result = ask(cluster)
    assert first(result) == expected and "FORWARD" in result.breaks[0].object


def test_full_size_packets_that_nobody_tells_about() -> None:
    cluster = TwoNodes()
    cluster.n2.change(
        "links",
        "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500",
        "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400",
    )
    cluster.n2.nft = "*filter\n-A OUTPUT -p icmp -j DROP"
    result = ask(cluster)
    assert first(result) == ("mtu-blackhole", "reply", 6, "n2")
    assert result.reply is not None and result.reply.disposition.value == "DELIVERED"


def test_one_dead_backend_of_two_is_partial() -> None:
    cluster = TwoNodes()
    cluster.n1.nft = HALF
    result = ask(cluster, dst="10.96.0.10")
    assert result.verdict is Verdict.PARTIAL and result.breaks[0].share == Fraction(1, 2)
    assert "1 of 2 ways break" in result.summary
    assert sorted(branch.verdict.value for branch in result.branches) == ["break", "clear-in-nodes"]


# missing evidence weakens and never makes wrong


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize(
    "kind", ["links", "addresses", "routes", "rules", "neighbours", "sysctls", "sockets", "conntrack", "nft", "legacy"]
)
@pytest.mark.parametrize("mode", ["direct", "vxlan", "ipip"])
def test_a_healthy_flow_never_becomes_a_break(mode: str, node: str, kind: str) -> None:
    cluster = TwoNodes(mode)
    setattr(getattr(cluster, node), kind, None)
    result = ask(cluster)
    assert result.verdict in (Verdict.CLEAR_IN_NODES, Verdict.INCONCLUSIVE) and result.breaks == ()
    if kind in ("routes", "nft", "legacy"):
        assert result.verdict is Verdict.INCONCLUSIVE and any(entry.node == node for entry in result.missing)


@pytest.mark.parametrize("node", ["n1", "n2", "a", "b"])
@pytest.mark.parametrize("kind", ["links", "addresses", "routes", "rules", "neighbours", "sysctls", "sockets", "nft"])
def test_a_broken_flow_never_passes(node: str, kind: str) -> None:
    cluster = TwoNodes()
    cluster.n2.remove("routes", "10.244.2.2")
    setattr(getattr(cluster, node), kind, None)
    result = ask(cluster)
    assert result.verdict in (Verdict.BREAK, Verdict.INCONCLUSIVE)
    assert {found.node for found in result.breaks} <= {"n2"}


def test_a_later_proof_stands_behind_an_unknown_step() -> None:
    cluster = TwoNodes()
    cluster.n1.neighbours = None
    cluster.n2.remove("routes", "10.244.2.2")
    result = ask(cluster)
    assert (result.verdict, result.first, result.breaks[0].confidence) == (Verdict.BREAK, "unknown", "strong")


def test_rules_of_the_client_unknown_and_a_drop_by_address_later() -> None:
    """What n1 may have rewritten decides what n2 drops."""
    cluster = TwoNodes()
    cluster.n1.nft = None
    cluster.n2.legacy = "*filter\n-A FORWARD -p udp -j ACCEPT\n-A FORWARD -d 10.244.2.2/32 -j DROP"
    assert ask(cluster).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("gone", ["a", "b", "n1", "n2"])
def test_ends_that_were_not_collected(gone: str) -> None:
    result = ask(TwoNodes(missing=frozenset({gone})))
    assert result.verdict is Verdict.INCONCLUSIVE and result.breaks == () and result.missing


def test_a_break_without_the_pods_insides() -> None:
    cluster = TwoNodes(missing=frozenset({"a", "b"}))
    cluster.n2.remove("routes", "10.244.2.2")
    result = ask(cluster)
    assert result.verdict is Verdict.BREAK and first(result)[1:] == ("request", 4, "n2")


def test_empty_snapshot() -> None:
    cluster = TwoNodes(missing=frozenset({"n1", "n2"}), cluster=Cluster(workload_endpoints=Complete(())))
    assert ask(cluster, "10.244.1.2", "10.244.2.2").verdict is Verdict.INCONCLUSIVE


# other protocols and ends


def test_echo_both_ways() -> None:
    assert ask(TwoNodes(), proto="icmp", port=None).verdict is Verdict.CLEAR_IN_NODES
    cluster = TwoNodes()
    cluster.n2.legacy = "*filter\n-A FORWARD -p icmp -m icmp --icmp-type 0 -j DROP"
    assert first(ask(cluster, proto="icmp", port=None)) == ("foreign-rule-drop", "reply", 6, "n2")


def test_one_way_udp_needs_no_answer() -> None:
    for port, verdict in ((514, Verdict.CLEAR_IN_NODES), (53, Verdict.BREAK)):
        cluster = TwoNodes()
        cluster.b.sockets = f"udp UNCONN 0 0 0.0.0.0:{port} 0.0.0.0:*\n"
        cluster.n2.legacy = f"*filter\n-A FORWARD -p udp -m udp --sport {port} -j DROP"
        assert ask(cluster, proto="udp", port=port).verdict is verdict


def test_to_an_address_outside() -> None:
    result = ask(TwoNodes(), dst="198.51.100.7")
    assert result.verdict is Verdict.CLEAR_IN_NODES
    cluster = TwoNodes()
    cluster.n1.legacy = "*filter\n-A FORWARD -s 198.51.100.0/24 -j DROP"
    assert first(ask(cluster, dst="198.51.100.7"))[:2] == ("foreign-rule-drop", "reply")


def test_delivered_to_another_pod() -> None:
    """A /32 that leads into the wrong pod: somebody else answers."""
    cluster = TwoNodes()
    cluster.n1.add("routes", "10.244.2.2 dev cali1 scope link")
    cluster.a.add("addresses", "    inet 10.244.2.2/32 scope global eth0")
    cluster.a.add("routes", "local 10.244.2.2 dev eth0 table local")
    cluster.a.sockets = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\n"
    result = ask(cluster, src="node:n1")
    assert result.verdict is Verdict.BREAK and result.breaks[0].disposition is not None
