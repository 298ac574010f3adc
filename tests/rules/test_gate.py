"""Evidence decides which (rule, node) may be asked; the rest is listed with what it lacks."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from lasthop.facts.calico import CalicoNode, CalicoObject, IPPool
from lasthop.facts.evidence import NOT_COLLECTED, Absent, AbsentReason, Complete, Doubt, Evidence, Partial, SourceRef
from lasthop.facts.network import Address, Route
from lasthop.facts.snapshot import Cluster, NetNS, Node, Snapshot
from lasthop.facts.trace import NotEvaluated
from lasthop.rules.load import load_pack
from lasthop.rules.model import AppliesWhen, Rule
from lasthop.rules.run import run_rules

HERE = SourceRef("f", 1, "x")
BASE = next(rule for rule in load_pack() if rule.id == "CAL-RT-001")
EMPTY: Complete[Any] = Complete(())
CUT: Partial[Any] = Partial((), "cut", (Doubt("cut", HERE),))


def asking(needs: dict[str, str], query: str = "SELECT node, netns FROM netns", **changes: Any) -> Rule:
    return dataclasses.replace(BASE, needs=needs, query=query, message="{node} {netns}", fix=(), verify=(), **changes)


def node(name: str, pods: dict[str, NetNS] | None = None, **host: Any) -> Node:
    return Node(name, NetNS(name, **host), pods or {})


def snapshot(*nodes: Node, **cluster: Any) -> Snapshot:
    return Snapshot({one.name: one for one in nodes}, Cluster(**cluster))


def asked(rule: Rule, of: Snapshot) -> tuple[list[str], list[NotEvaluated]]:
    findings, missing = run_rules(of, [rule])
    return [finding.because for finding in findings], list(missing)


@pytest.mark.parametrize(
    ("need", "routes", "evaluated"),
    [
        ("presence", EMPTY, True),
        ("presence", CUT, True),
        ("presence", NOT_COLLECTED, False),
        ("presence", Absent(AbsentReason.FAILED), False),
        ("absence", EMPTY, True),
        ("absence", CUT, False),
        ("absence", NOT_COLLECTED, False),
        ("absence", Absent(AbsentReason.UNPARSABLE), False),
        ("absence", Absent(AbsentReason.NOT_APPLICABLE), True),
    ],
)
def test_presence_and_absence(need: str, routes: Evidence[Route], evaluated: bool) -> None:
    found, missing = asked(asking({"routes": need}), snapshot(node("a", routes=routes)))
    assert found == (["a host"] if evaluated else [])
    assert missing == ([] if evaluated else [NotEvaluated("CAL-RT-001", "a", ("routes",))])


def test_node_by_node() -> None:
    of = snapshot(node("a", routes=EMPTY), node("b"), node("c", routes=EMPTY))
    found, missing = asked(asking({"routes": "absence"}), of)
    assert found == ["a host", "c host"]
    assert missing == [NotEvaluated("CAL-RT-001", "b", ("routes",))]


def test_a_node_does_not_see_another_nodes_rows() -> None:
    def route(text: str) -> Complete[Route]:
        return Complete((Route(IPv4Network(text), HERE),))

    of = snapshot(node("a", routes=route("10.0.0.0/8")), node("b", routes=route("10.1.0.0/16")))
    rule = asking({"routes": "presence"}, "SELECT group_concat(dst) AS node, 'x' AS netns FROM routes")
    assert asked(rule, of)[0] == ["10.0.0.0/8 x", "10.1.0.0/16 x"]


def test_cluster_objects_gate_the_rule_as_a_whole() -> None:
    rule = asking({"ip_pools": "presence", "routes": "presence"})
    assert asked(rule, snapshot(node("a", routes=EMPTY))) == ([], [NotEvaluated("CAL-RT-001", "", ("ip_pools",))])
    assert asked(rule, snapshot(node("a", routes=EMPTY), ip_pools=EMPTY))[0] == ["a host"]


def test_pods_each_by_itself() -> None:
    pods = {
        "s/good": NetNS("a", "pod:s/good", routes=EMPTY),
        "s/cut": NetNS("a", "pod:s/cut", routes=CUT),
        "s/none": NetNS("a", "pod:s/none"),
    }
    of = snapshot(node("a", pods))
    found, missing = asked(asking({"pod.routes": "absence"}, "SELECT node, netns FROM netns WHERE kind = 'pod'"), of)
    assert found == ["a pod:s/good"]
    assert missing == [NotEvaluated("CAL-RT-001", "a", ("routes of pod s/cut", "routes of pod s/none"))]


def test_no_pod_was_collected() -> None:
    found, missing = asked(asking({"pod.routes": "absence"}), snapshot(node("a")))
    assert (found, missing) == ([], [NotEvaluated("CAL-RT-001", "a", ("pod.routes",))])


def test_the_hosts_needs_come_first() -> None:
    of = snapshot(node("a", {"s/p": NetNS("a", "pod:s/p", routes=EMPTY)}))
    assert asked(asking({"pod.routes": "absence", "links": "presence"}), of) == (
        [],
        [NotEvaluated("CAL-RT-001", "a", ("links",))],
    )


def test_without_a_need_of_pods_only_the_host_is_seen() -> None:
    of = snapshot(node("a", {"s/p": NetNS("a", "pod:s/p", routes=EMPTY)}, routes=EMPTY))
    assert asked(asking({"routes": "presence"}), of)[0] == ["a host"]


def test_scope_cluster_needs_every_node() -> None:
    of = snapshot(node("a", routes=EMPTY), node("b"))
    rule = asking({"routes": "presence"}, scope="cluster")
    assert asked(rule, of) == ([], [NotEvaluated("CAL-RT-001", "b", ("routes",))])
    tolerant = dataclasses.replace(rule, tolerates_missing_nodes=True)
    assert asked(tolerant, of) == (["a host"], [NotEvaluated("CAL-RT-001", "b", ("routes",))])


def test_scope_cluster_misses_nodes_that_were_not_collected() -> None:
    nodes = Complete((CalicoNode("a", HERE), CalicoNode("z", HERE)))
    of = snapshot(node("a", routes=EMPTY), calico_nodes=nodes)
    rule = asking({"routes": "presence"}, scope="cluster")
    assert asked(rule, of) == ([], [NotEvaluated("CAL-RT-001", "z", ("routes",))])


def test_both_back_ends_or_no_proof_of_absence() -> None:
    one = node("a", rulesets={("nft", 4): EMPTY})
    both = node("a", rulesets={("nft", 4): EMPTY, ("legacy", 4): EMPTY})
    rule = asking({"hook_rules": "absence"})
    assert asked(rule, snapshot(one)) == ([], [NotEvaluated("CAL-RT-001", "a", ("hook_rules",))])
    assert asked(rule, snapshot(both))[0] == ["a host"]
    assert asked(asking({"hook_rules": "presence"}), snapshot(one))[0] == ["a host"]


def pool(**modes: str) -> Complete[IPPool]:
    return Complete((IPPool("p", IPv4Network("10.0.0.0/8"), HERE, **modes),))


@pytest.mark.parametrize(
    ("wanted", "pools", "found", "lacks"),
    [
        (("vxlan",), pool(vxlan_mode="Always"), ["a host"], False),
        (("vxlan",), pool(ipip_mode="CrossSubnet"), [], False),
        (("none",), pool(), ["a host"], False),
        (("ipip", "none"), pool(ipip_mode="Always"), ["a host"], False),
        (("vxlan",), NOT_COLLECTED, [], True),
    ],
)
def test_applies_when_encapsulation(
    wanted: tuple[str, ...], pools: Evidence[IPPool], found: list[str], lacks: bool
) -> None:
    rule = asking({"routes": "presence"}, applies_when=AppliesWhen(encapsulation=wanted))
    got, missing = asked(rule, snapshot(node("a", routes=EMPTY), ip_pools=pools))
    assert got == found
    assert bool(missing) == lacks


@pytest.mark.parametrize(
    ("condition", "version", "found"),
    [
        (">=3.20", "v3.27.5", ["a host"]),
        (">=3.28", "v3.27.5", []),
        (">=3.0,<3.27", "v3.26.9", ["a host"]),
        (">=3.0,<3.27", "v3.27.0", []),
        (">=3.28", "v3.33.0-0.dev-12-gabc", ["a host"]),
        (">=3.20", "", []),
    ],
)
def test_applies_when_version(condition: str, version: str, found: list[str]) -> None:
    info = CalicoObject("ClusterInformation", "default", HERE, raw={"spec": {"calicoVersion": version}})
    rule = asking({"routes": "presence"}, applies_when=AppliesWhen(calico=condition))
    got, missing = asked(rule, snapshot(node("a", routes=EMPTY), calico_objects=Complete((info,))))
    assert got == found
    assert bool(missing) == (version == "")


def test_a_slow_query_is_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lasthop.rules.guard.MAX_SECONDS", 0.1)
    endless = "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n) SELECT max(a) AS node, 1 AS netns FROM n"
    found, missing = asked(asking({}, endless), snapshot(node("a")))
    assert found == []
    assert "ran longer" in missing[0].lacks[0]


def test_addresses_of_both_families_compare() -> None:
    def held(text: str) -> Address:
        from ipaddress import ip_address

        return Address("eth0", ip_address(text), 64, HERE)

    of = snapshot(
        node("a", addresses=Complete((held("10.1.2.3"), held("fd00::1"), held("11.0.0.1")))),
        ip_pools=Complete((IPPool("p", IPv4Network("10.0.0.0/8"), HERE),)),
    )
    rule = asking(
        {"addresses": "presence", "ip_pools": "presence"},
        "SELECT a.ip AS node, p.name AS netns FROM addresses a "
        "JOIN ip_pools p ON a.ip_lo BETWEEN p.cidr_lo AND p.cidr_hi",
    )
    assert asked(rule, of)[0] == ["10.1.2.3 p"]
    assert IPv4Address("10.1.2.3") in IPv4Network("10.0.0.0/8")
