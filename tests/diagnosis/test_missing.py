"""What is missing is named with node, evidence id and the command that fetches it."""

from __future__ import annotations

import pytest

from lasthop.facts.trace import MissingEvidence
from tests.sim.cluster import TwoNodes

from .asking import ask


@pytest.mark.parametrize(
    ("where", "kind", "node", "ident"),
    [
        ("n1", "routes", "n1", "ip4_route_all"),
        ("n2", "routes", "n2", "ip4_route_all"),
        ("n1", "neighbours", "n1", "ip4_neigh"),
        ("b", "sockets", "n2", "ss_listen"),
        ("a", "routes", "n1", "ip4_route_all"),
    ],
)
def test_one_item(where: str, kind: str, node: str, ident: str) -> None:
    cluster = TwoNodes()
    setattr(getattr(cluster, where), kind, None)
    found = ask(cluster).missing
    assert (node, ident) in {(entry.node, entry.id) for entry in found}
    command = next(entry.command for entry in found if entry.id == ident)
    assert command.startswith(f"sh collector.sh --only {ident}")
    if where in ("a", "b"):
        assert command.endswith(f"--pod shop/{where}")


def test_a_node_without_bundle() -> None:
    (entry,) = [one for one in ask(TwoNodes(missing=frozenset({"n2"}))).missing if one.id == "bundle"]
    assert entry.command == "sh collector.sh --pod shop/b --peer 10.244.1.2 --port tcp/80 --capture 20"


def test_a_pod_without_its_inside() -> None:
    found = ask(TwoNodes(missing=frozenset({"b"}))).missing
    assert [(entry.node, entry.id, entry.command) for entry in found] == [
        ("n2", "pod shop/b", "sh collector.sh --pod shop/b")
    ]


def test_nothing_is_missing_of_a_whole_walk() -> None:
    assert ask(TwoNodes()).missing == ()
    assert ask(TwoNodes(), dst="198.51.100.7").missing == ()


def test_one_item_is_named_once() -> None:
    cluster = TwoNodes()
    cluster.n1.nft = None
    found: tuple[MissingEvidence, ...] = ask(cluster).missing
    assert len({(entry.node, entry.id) for entry in found}) == len(found)
