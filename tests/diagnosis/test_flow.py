"""The numbers of the method's steps, and legs of a walked flow."""

from __future__ import annotations

import pytest

from lasthop.diagnosis.flow import numbered
from lasthop.facts.trace import Hop
from tests.sim.cluster import TwoNodes

from .asking import ask

POD_A, POD_B = "pod:shop/a", "pod:shop/b"


def steps(direction: str, target: str, *places: tuple[str, str]) -> list[int | None]:
    return [hop.step for hop in numbered(tuple(Hop(node, netns, ()) for node, netns in places), direction, target)]


WIRE = ("", "wire")


@pytest.mark.parametrize(
    ("direction", "target", "places", "expected"),
    [
        ("request", "n2", [("n1", POD_A), ("n1", "host"), WIRE, ("n2", "host"), ("n2", POD_B)], [1, 2, 3, 4, 4]),
        ("reply", "n1", [("n2", POD_B), ("n2", "host"), WIRE, ("n1", "host"), ("n1", POD_A)], [5, 6, 7, 8, 8]),
        ("request", "n1", [("n1", POD_A), ("n1", "host"), ("n1", "pod:shop/c")], [1, 4, 4]),
        ("reply", "n1", [("n1", "pod:shop/c"), ("n1", "host"), ("n1", POD_A)], [5, 8, 8]),
        # a node's own process, to a pod on another node and on its own
        ("request", "n2", [("n1", "host"), WIRE, ("n2", "host"), ("n2", POD_B)], [2, 3, 4, 4]),
        ("request", "n1", [("n1", "host"), ("n1", POD_A)], [4, 4]),
        # NodePort: a client outside, the node that is asked, the node of the backend
        ("request", "n2", [WIRE, ("n1", "host"), WIRE, ("n2", "host"), ("n2", POD_B)], [None, None, 3, 4, 4]),
        # a third node on the way (a wrong neighbour entry)
        (
            "request",
            "n2",
            [("n1", POD_A), ("n1", "host"), WIRE, ("n3", "host"), WIRE, ("n2", "host")],
            [1, 2, 3, None, 3, 4],
        ),
        # stopped early
        ("request", "n2", [("n1", POD_A)], [1]),
        ("request", "n2", [("n1", POD_A), ("n1", "host")], [1, 2]),
    ],
)
def test_numbers(direction: str, target: str, places: list[tuple[str, str]], expected: list[int | None]) -> None:
    assert steps(direction, target, *places) == expected


def test_the_three_packets_and_their_sizes() -> None:
    result = ask(TwoNodes("vxlan"))
    traces = [result.request, result.reply, result.request_full, result.reply_full]
    assert [(t.direction, t.packet) for t in traces if t] == [
        ("request", "first"),
        ("reply", "answer"),
        ("request", "full-size"),
        ("reply", "full-size"),
    ]
    full = result.request_full
    assert full is not None
    lengths = {step.before.length for hop in full.hops for step in hop.steps if step.stage == "encap" and step.before}
    assert lengths == {1450}


def test_tcp_sends_what_the_smaller_end_can_take() -> None:
    """Each side's MSS follows from its own MTU; a segment is never larger than the peer's allows (RFC 9293, 3.7.1)."""
    cluster = TwoNodes("vxlan")
    cluster.b.change(
        "links",
        "3: eth0@if5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450",
        "3: eth0@if5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400",
    )
    full = ask(cluster).request_full
    assert full is not None
    assert {s.before.length for hop in full.hops for s in hop.steps if s.stage == "encap" and s.before} == {1400}


def test_the_answer_uses_the_conntrack_of_the_request() -> None:
    """Without the entry that the request left, n2's INVALID drop would stop the SYN,ACK."""
    cluster = TwoNodes()
    cluster.n2.nft = cluster.n1.nft = (
        "*filter\n-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\n-A FORWARD -j DROP"
    )
    assert ask(cluster).breaks == ()
    cluster.n2.nft = "*filter\n-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\n-A FORWARD -j DROP"
    found = ask(cluster).breaks[0]
    assert (found.direction, found.node, found.step) == ("reply", "n2", 6)


def test_a_node_asks_with_the_address_that_its_route_prefers() -> None:
    request = ask(TwoNodes("vxlan"), src="node:n1").request
    assert request is not None
    sources = {str(s.before.src) for hop in request.hops for s in hop.steps if s.stage == "encap" and s.before}
    assert sources == {"10.244.1.0"}
