"""From a row to a finding."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lasthop.facts.calico import WorkloadEndpoint
from lasthop.facts.evidence import Artifact, Complete, SourceRef
from lasthop.facts.network import Link, NextHop, Route
from lasthop.facts.snapshot import Cluster, NetNS, Node, Snapshot
from lasthop.facts.trace import Command, Disposition, Hop, Outcome, Packet, Sighting, Step, Trace
from lasthop.rules.load import load_pack
from lasthop.rules.model import Fix
from lasthop.rules.run import run_rules, substitute

PACK = {rule.id: rule for rule in load_pack()}


def cluster(routes: tuple[Route, ...]) -> Snapshot:
    link = Link("cali1", 7, SourceRef("link.txt", 3, "7: cali1"), flags=frozenset({"UP", "LOWER_UP"}))
    endpoint = WorkloadEndpoint(
        "shop", "web", "node2", "cali1", SourceRef("wep.yaml", 10, "- apiVersion", 40), (IPv4Network("10.1.0.5/32"),)
    )
    host = NetNS("node2", links=Complete((link,)), routes=Complete(routes, (Artifact("ip4_route_all", "routes.txt"),)))
    return Snapshot({"node2": Node("node2", host)}, Cluster(workload_endpoints=Complete((endpoint,))))


def test_a_missing_route_cites_three_places() -> None:
    blackhole = Route(IPv4Network("10.1.0.0/26"), SourceRef("routes.txt", 5, "blackhole 10.1.0.0/26"), "blackhole")
    findings, missing = run_rules(cluster((blackhole,)), [PACK["CAL-RT-001"]])
    assert missing == ()
    (finding,) = findings
    assert finding.because == "node2 has no /32 route to its own pod shop/web (10.1.0.5), although cali1 is up."
    assert (finding.rule, finding.code, finding.severity, finding.place) == (
        "CAL-RT-001", "route-missing", "high", "route",
    )  # fmt: skip
    assert (finding.node, finding.netns, finding.object, finding.direction, finding.step) == (
        "node2", "host", "shop/web", "", None,
    )  # fmt: skip
    assert finding.evidence == (
        SourceRef("wep.yaml", 10, "- apiVersion", 40),
        SourceRef("link.txt", 3, "7: cali1"),
        SourceRef("routes.txt", 0),
    )
    assert finding.fix[0] == Command("ip route add 10.1.0.5/32 dev cali1 scope link", "node2", "changes")
    assert finding.verify == ("on node2: ip route get 10.1.0.5 (shows: dev cali1)",)


def test_the_route_is_there() -> None:
    route = Route(IPv4Network("10.1.0.5/32"), SourceRef("routes.txt", 6, "…"), nexthops=(NextHop("cali1"),))
    assert run_rules(cluster((route,)), [PACK["CAL-RT-001"]]) == ((), ())


def test_substitution_is_nothing_but_columns() -> None:
    row = {"node": "n1", "ip": None, "n": 0}
    assert substitute("{node}/{ip}/{n}/{gone}", row) == "n1/?/0/?"
    assert substitute("{{node}} {node.__class__} {0} {node!r}", row) == "{node} {node.__class__} {0} {node!r}"
    assert substitute("{a}", {"a": "{node}", "node": "x"}) == "{node}", "values are not substituted again"


def test_a_pods_name_stays_text() -> None:
    nasty = "'; DROP TABLE x; --{node}</script>"
    of = cluster(())
    endpoint = dataclasses.replace(of.cluster.workload_endpoints.values[0], pod=nasty)
    of = dataclasses.replace(of, cluster=Cluster(workload_endpoints=Complete((endpoint,))))
    (finding,) = run_rules(of, [PACK["CAL-RT-001"]])[0]
    assert finding.object == f"shop/{nasty}"


def test_the_cap_is_told() -> None:
    links = tuple(Link(f"l{n}", n, SourceRef("l", n)) for n in range(60))
    of = Snapshot({"a": Node("a", NetNS("a", links=Complete(links)))})
    rule = dataclasses.replace(
        PACK["CAL-RT-001"], needs={"links": "presence"}, query="SELECT name AS object, src FROM links",
        message="{object}", fix=(Fix("show {object}", "read-only", "{node}"),), verify=(),
    )  # fmt: skip
    findings, _ = run_rules(of, [rule])
    assert len(findings) == 50
    assert sum("(and 10 more like it)" in finding.because for finding in findings) == 1


def test_gravest_first() -> None:
    of = cluster(())
    rules = [
        dataclasses.replace(PACK["CAL-RT-001"], id=f"X-RT-00{n}", severity=s) for n, s in enumerate(("info", "high"))
    ]
    assert [finding.severity for finding in run_rules(of, rules)[0]] == ["high", "info"]


@dataclass(frozen=True)
class End:
    kind: str
    name: str
    ip: IPv4Address | None
    node: str


@dataclass(frozen=True)
class Word:
    value: str


@dataclass(frozen=True)
class Flow:
    """As diagnosis.result.FlowResult, which rules may not import."""

    src: End
    dst: End
    request: Trace | None
    sightings: tuple[Sighting, ...]
    verdict: Word = Word("break")
    proto: str = "tcp"
    port: int = 80
    origin: str = "asked"
    first: str = "proven"
    summary: str = "It breaks."
    breaks: tuple[Any, ...] = ()
    reply: Trace | None = None
    request_full: Trace | None = None
    reply_full: Trace | None = None


def test_the_walk_can_be_asked() -> None:
    packet = Packet(4, "tcp", IPv4Address("10.1.0.5"), IPv4Address("10.1.1.5"), 40000, 80)
    steps = (
        Step("route", Outcome.PASS, "by eth0", (SourceRef("r", 1),), "eth0", after=packet),
        Step("rp_filter", Outcome.STOP, "drop", (SourceRef("s", 9),), "eth1", disposition=Disposition.RPF_FAILED),
    )
    trace = Trace("request", "first", Disposition.RPF_FAILED, (Hop("node2", "host", steps, 4, "eth0", "cali1"),))
    seen = Sighting("node2", "host", "eth0", "request", "first", True, "p.pcap", (3, 4), 1.5)
    flow = Flow(
        End("pod", "shop/web", IPv4Address("10.1.0.5"), "node1"), End("address", "10.1.1.5", None, ""), trace, (seen,)
    )
    rule = dataclasses.replace(
        PACK["CAL-RT-001"],
        needs={},
        scope="cluster",
        query="""
            SELECT t.node, t.netns, t.place AS object, t.direction, t.step, t.src, v.src_name, v.verdict,
                   s.frames, s.path
            FROM trace_steps t
            JOIN verdicts v ON v.flow = t.flow
            JOIN sightings s ON s.flow = t.flow AND s.node = t.node AND s.seen = 1
            WHERE t.disposition = 'RPF_FAILED' AND t.outcome = 'stop'
            """,
        message="{src_name} {verdict} at {object}, seen {frames} times in {path}",
        fix=(),
        verify=(),
    )
    (finding,) = run_rules(Snapshot({}), [rule], [flow])[0]
    assert finding.because == "shop/web break at eth1, seen 2 times in p.pcap"
    assert (finding.node, finding.direction, finding.step) == ("node2", "request", 4)
    assert finding.evidence == (SourceRef("s", 9),)
    assert finding.share == Fraction(1)


def test_the_walks_own_values_fit() -> None:
    """The real FlowResult has every attribute that the walk's tables read."""
    from lasthop.diagnosis.result import Endpoint, FlowResult, Verdict
    from lasthop.rules.walk_tables import WALK_TABLES, walk_rows
    from lasthop.snapshot.columns import Sources

    end = Endpoint("pod", "a/b", IPv4Address("10.0.0.1"), "n")
    flow = FlowResult(end, end, "tcp", 80, "asked", Verdict.NO_BREAK, "fine")
    for name, columns in WALK_TABLES.items():
        for row in walk_rows([flow], name, Sources()):
            assert len(row) == len(columns) + 1
    assert len(walk_rows([flow], "verdicts", Sources())) == 1
