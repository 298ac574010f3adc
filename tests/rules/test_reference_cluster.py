"""A healthy cluster has no finding above info; broken ones are no surprise to a rule that speaks of that state."""

from __future__ import annotations

import pytest

from lasthop.bundle import open_bundle
from lasthop.facts.trace import Finding
from lasthop.rules.load import load_pack
from lasthop.rules.run import run_rules
from lasthop.snapshot.build import build
from tests.conftest import shared

HEALTHY = (
    "healthy-bgp-nft", "healthy-bgp-nftables", "healthy-vxlan-nft", "healthy-xsub-nft", "o27-healthy-bgp-nft",
    "o27-healthy-vxlan-nft", "q01-healthy-ipip-nft", "q30-healthy-ipip-xsub", "q40-healthy-wg",
    "z02-redherring-intended-deny",
)  # fmt: skip


def findings(case: str) -> tuple[Finding, ...]:
    path = shared("reference-cluster", "cases", f"{case}.tar.xz")
    return run_rules(build(open_bundle([path])), load_pack())[0]


@pytest.mark.parametrize("case", HEALTHY)
def test_healthy(case: str) -> None:
    assert [(f.rule, f.node, f.because) for f in findings(case) if f.severity != "info"] == []


def test_harmless_oddities_are_not_grave() -> None:
    assert {f.severity for f in findings("z01-redherring-many")} <= {"info", "low"}


@pytest.mark.parametrize(
    ("case", "rule", "node"),
    [
        ("f05-pod-route-missing", "CAL-RT-001", "node2"),
        ("i14-ip-forward-off", "CAL-NODE-001", "node2"),
        ("v01-fdb-wrong-dst", "CAL-TUN-005", "node1"),
    ],
)
def test_broken(case: str, rule: str, node: str) -> None:
    found = [f for f in findings(case) if f.severity != "info"]
    assert [(f.rule, f.node) for f in found] == [(rule, node)]
    assert found[0].evidence
