"""Flows found without a question: conntrack entries without an answer, else samples to ports that listen."""

from __future__ import annotations

from lasthop.diagnosis.discover import failing_flows, samples
from lasthop.facts.snapshot import Question
from lasthop.sim.world import World
from tests.sim.cluster import TwoNodes


def found(*lines: str) -> list[tuple[str, str, str, int | None]]:
    cluster = TwoNodes()
    cluster.n1.conntrack = "".join(line + "\n" for line in lines)
    questions = failing_flows(World(cluster.snapshot()))
    assert all(question.origin == "conntrack" for question in questions)
    return [(question.src, question.dst, question.proto, question.port) for question in questions]


def entry(
    src: str = "10.244.1.2",
    dst: str = "10.244.2.2",
    dport: int = 80,
    state: str = "SYN_SENT",
    mark: str = "[UNREPLIED] ",
    answer: str = "",
    sport: int = 40000,
) -> str:
    return (
        f"tcp      6 60 {state} src={src} dst={dst} sport={sport} dport={dport} {mark}"
        f"src={answer or dst} dst={src} sport={dport} dport={sport} mark=0 use=1"
    )


def udp(dport: int) -> str:
    return (
        f"udp      17 20 src=10.244.1.2 dst=10.244.2.2 sport=4000 dport={dport} [UNREPLIED] "
        f"src=10.244.2.2 dst=10.244.1.2 sport={dport} dport=4000 mark=0 use=1"
    )


FLOW = ("10.244.1.2", "10.244.2.2", "tcp", 80)


def test_a_syn_without_answer() -> None:
    assert found(entry()) == [FLOW]


def test_answered_and_picked_up_entries_are_no_failures() -> None:
    assert found(entry(mark="", state="ESTABLISHED"), entry(state="ESTABLISHED")) == []


def test_tries_of_one_flow_are_one_question_and_most_tries_come_first() -> None:
    other = entry(dst="10.244.2.9", sport=1)
    assert found(other, entry(sport=2), entry(sport=3)) == [FLOW, ("10.244.1.2", "10.244.2.9", "tcp", 80)]


def test_flows_of_strangers_are_not_asked() -> None:
    assert found(entry(src="198.51.100.1", dst="198.51.100.2")) == []
    assert found(entry(src="198.51.100.1")) == [("198.51.100.1", "10.244.2.2", "tcp", 80)]


def test_a_nodeport_is_known_by_the_pod_behind_it() -> None:
    line = entry(src="198.51.100.1", dst="192.0.2.11", dport=30080, answer="10.244.2.2")
    assert found(line) == [("198.51.100.1", "192.0.2.11", "tcp", 30080)]


def test_udp_that_expects_no_answer() -> None:
    assert found(udp(514)) == [] and found(udp(53)) == [("10.244.1.2", "10.244.2.2", "udp", 53)]


def test_samples_cover_every_ordered_pair_of_nodes() -> None:
    cluster = TwoNodes()
    asked = samples(World(cluster.snapshot()))
    assert asked == (Question("shop/a", "shop/b", "tcp", 80, "sample"),)
    cluster.a.sockets = "tcp LISTEN 0 128 127.0.0.1:9000 0.0.0.0:*\ntcp LISTEN 0 128 0.0.0.0:8080 0.0.0.0:*\n"
    assert {(q.src, q.dst, q.port) for q in samples(World(cluster.snapshot()))} == {
        ("shop/a", "shop/b", 80),
        ("shop/b", "shop/a", 8080),
    }


def test_nothing_to_sample() -> None:
    cluster = TwoNodes(missing=frozenset({"a", "b"}))
    assert samples(World(cluster.snapshot())) == () and failing_flows(World(cluster.snapshot())) == ()
