"""What captures and conntrack prove of the wire: crossed, lost on it, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lasthop.bundle.model import Bundle
from lasthop.diagnosis.diagnose import Diagnoser
from lasthop.diagnosis.ends import resolve
from lasthop.diagnosis.result import FlowResult, Verdict
from lasthop.facts.snapshot import Question
from lasthop.facts.trace import Sighting
from tests.sim.cluster import TwoNodes

from .asking import ask


def seen(node: str, direction: str, was_seen: bool = True, attempt: int = 1, **fields: Any) -> Sighting:
    return Sighting(
        node,
        "host",
        "eth0",
        direction,
        fields.pop("packet", "first"),
        was_seen,
        f"{node}.pcap",
        (1,),
        attempt=attempt,
        **fields,
    )


def judged(*sightings: Sighting, cluster: TwoNodes | None = None) -> FlowResult:
    diagnoser = Diagnoser((cluster or TwoNodes()).snapshot(), Bundle())
    ends = resolve(diagnoser.world, Question("shop/a", "shop/b", "tcp", 80))
    walks = diagnoser.walker.walk(ends)
    return diagnoser.judge.judge(ends, walks, tuple(sightings for _ in walks))


CROSSED = (seen("n1", "request"), seen("n2", "request"), seen("n2", "reply"), seen("n1", "reply"))


def test_seen_on_both_uplinks_both_ways_is_no_break() -> None:
    assert judged(*CROSSED).verdict is Verdict.NO_BREAK


@pytest.mark.parametrize("gone", range(4))
def test_three_of_four_sightings_prove_nothing(gone: int) -> None:
    assert judged(*(s for i, s in enumerate(CROSSED) if i != gone)).verdict is Verdict.CLEAR_IN_NODES


@pytest.mark.parametrize(("direction", "left", "right", "step"), [("request", "n1", "n2", 3), ("reply", "n2", "n1", 7)])
def test_left_and_never_arrived(direction: str, left: str, right: str, step: int) -> None:
    before = CROSSED[:2] if direction == "reply" else ()
    result = judged(*before, seen(left, direction), seen(right, direction, False))
    assert result.verdict is Verdict.BREAK
    found = result.breaks[0]
    assert (found.code, found.direction, found.step, found.node, found.netns) == (
        "wire-lost",
        direction,
        step,
        "",
        "wire",
    )
    assert found.confidence == "strong"


def test_not_seen_at_the_sender_either_is_no_loss_of_the_wire() -> None:
    assert judged(seen("n1", "request", False), seen("n2", "request", False)).breaks == ()


def test_another_try_that_arrived_is_no_loss() -> None:
    lost = (seen("n1", "request"), seen("n2", "request", False))
    assert judged(*lost, seen("n1", "request", attempt=2), seen("n2", "request", attempt=2)).breaks == ()


def test_of_different_tries_nothing_is_lost() -> None:
    assert judged(seen("n1", "request", attempt=1), seen("n2", "request", False, attempt=2)).breaks == ()


def test_a_frame_that_the_interface_ignores_did_not_cross() -> None:
    wrong = seen("n2", "request", received=False)
    assert judged(CROSSED[0], wrong, *CROSSED[2:]).verdict is Verdict.CLEAR_IN_NODES


def test_large_packets_lost() -> None:
    note = "3 times 1440 bytes; up to 60 bytes pass"
    result = judged(
        *CROSSED,
        seen("n2", "reply", packet="full-size", note=note),
        seen("n1", "reply", False, packet="full-size", note=note),
    )
    assert (result.verdict, result.breaks[0].code, result.breaks[0].step) == (Verdict.BREAK, "mtu-blackhole", 7)


def test_a_fault_inside_a_node_comes_before_the_wire() -> None:
    cluster = TwoNodes()
    cluster.n1.add("routes", "blackhole 10.244.2.2")
    result = judged(seen("n1", "request"), seen("n2", "request", False), cluster=cluster)
    assert result.breaks[0].code == "route-blackhole"


# conntrack

TIMEOUTS = (
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait = 120\nnet.netfilter.nf_conntrack_tcp_timeout_syn_sent = 120\n"
)


def entry(state: str, left: int, packets: int = 6, answered: bool = True, sport: int = 40000) -> str:
    mark = "" if answered else "[UNREPLIED] "
    return (
        f"tcp      6 {left} {state} src=10.244.1.2 dst=10.244.2.2 sport={sport} dport=80 packets={packets} "
        f"bytes=400 {mark}"
        f"src=10.244.2.2 dst=10.244.1.2 sport=80 dport={sport} packets={packets - 1} bytes=300 mark=0 use=1\n"
    )


def with_conntrack(one: str, two: str) -> Verdict:
    cluster = TwoNodes()
    cluster.n1.add("sysctls", TIMEOUTS)
    cluster.n2.add("sysctls", TIMEOUTS)
    cluster.n1.conntrack, cluster.n2.conntrack = one, two
    return ask(cluster).verdict


def test_answered_entries_on_both_nodes_prove_the_wire() -> None:
    assert with_conntrack(entry("TIME_WAIT", 100), entry("TIME_WAIT", 100)) is Verdict.NO_BREAK


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (entry("TIME_WAIT", 100), ""),
        (entry("TIME_WAIT", 100), entry("TIME_WAIT", 100, packets=5)),
        # a younger try without an answer: the old success says nothing of today
        (entry("TIME_WAIT", 50) + entry("SYN_SENT", 110, answered=False, sport=40001), entry("TIME_WAIT", 50)),
        (entry("SYN_SENT", 110, answered=False), entry("SYN_SENT", 110, answered=False)),
    ],
)
def test_what_conntrack_does_not_prove(one: str, two: str) -> None:
    assert with_conntrack(one, two) is Verdict.CLEAR_IN_NODES


def test_without_time_outs_ages_are_not_known() -> None:
    cluster = TwoNodes()
    cluster.n1.conntrack = cluster.n2.conntrack = entry("TIME_WAIT", 100)
    assert ask(cluster).verdict is Verdict.CLEAR_IN_NODES
