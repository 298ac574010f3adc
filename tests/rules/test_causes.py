"""Codes are the vocabulary that the walk and the rules share."""

from __future__ import annotations

import re

import pytest

from lasthop.errors import LasthopError, UsageError
from lasthop.rules.causes import causes, parse_causes
from lasthop.rules.explain import explain
from lasthop.rules.load import load_pack
from lasthop.rules.store import all_layouts
from tests.conftest import REPO

OF_THE_WALK = {
    "pod-no-sandbox", "pod-no-route", "pod-gateway-neighbour", "pod-interface-down", "veth-missing",
    "proxy-arp-off", "forwarding-off", "rp-filter-drop", "martian-source", "policy-deny", "policy-default-deny",
    "policy-rendered-differs", "foreign-rule-drop", "calico-rule-drop", "stale-ipset", "kube-proxy-no-endpoints",
    "service-backend-dead", "route-missing", "route-blackhole", "route-wrong-nexthop", "route-wrong-device",
    "neighbour-failed", "neighbour-wrong-mac", "fdb-missing", "fdb-wrong", "vxlan-vni-mismatch",
    "vxlan-device-down", "ipip-device-down", "tunnel-source-wrong", "encapsulation-dropped", "mtu-blackhole",
    "ttl-expired", "routing-loop", "wrong-host", "conntrack-full", "conntrack-invalid", "nat-stale-entry",
    "no-listener", "listener-wrong-address", "listen-overflow", "wire-lost", "reply-lost", "bypass-unsupported",
    "left-evidence", "insufficient-evidence", "bird-down", "bgp-session-down", "bgp-filter", "ipam-conflict",
    "duplicate-address", "address-not-in-pool", "wireguard-key-mismatch",
}  # fmt: skip


def test_the_walks_codes_are_there() -> None:
    assert set(causes()) >= OF_THE_WALK


def test_the_rules_codes_are_there() -> None:
    assert {rule.code for rule in load_pack()} <= set(causes())


def test_codes_named_in_the_diagnosis_are_there() -> None:
    """Literal codes in the program: `code="…"` and `code = "…"`."""
    source = REPO / "analyzer" / "lasthop" / "diagnosis"
    named = {
        code
        for path in source.rglob("*.py")
        for code in re.findall(r'\bcode\s*=\s*"([a-z0-9-]+)"', path.read_text(encoding="utf-8"))
    }
    assert named <= set(causes())


def test_every_part_says_something() -> None:
    for cause in causes().values():
        for text in (cause.title, cause.meaning, cause.evidence, cause.fix, cause.verify):
            assert len(text) > 10, cause.code


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("### a-b\n**T**\n\nM\n\nEvidence: e\n\nFix: f\n", "needs the paragraphs"),
        ("### a-b\n**T**\n\nM\n\nFix: f\n\nEvidence: e\n\nVerify: v\n", "in that order"),
        ("### a-b\n**T**\n\nM\n\nEvidence: e\n\nFix: f\n\nVerify: v\n" * 2, "two sections"),
    ],
)
def test_a_page_that_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(LasthopError, match=sentence):
        parse_causes(text)


def test_a_page() -> None:
    made = parse_causes("### a-b\n**T t**\n\nM\nm\n\nEvidence: e\ne\n\nFix: f\n\nVerify: v\n\n## Next group\n\nwords\n")
    assert (made["a-b"].title, made["a-b"].meaning, made["a-b"].evidence, made["a-b"].verify) == (
        "T t", "M m", "e e", "v",
    )  # fmt: skip


def test_explain_takes_either() -> None:
    pack = load_pack()
    assert explain("cal-rt-001", pack).startswith("CAL-RT-001: No route to a pod of this node\n")
    page = explain("route-missing", pack)
    assert page.startswith("route-missing: ")
    assert "Rule CAL-RT-001" in page
    assert "routes: id, node, netns, dst*" in explain("tables", pack)
    with pytest.raises(UsageError, match='did you mean "route-missing"'):
        explain("route-mising", pack)


def test_the_page_of_the_rule_language_names_every_table() -> None:
    page = (REPO / "docs" / "rule-language.md").read_text(encoding="utf-8")
    for layout in all_layouts().values():
        if not layout.parent:
            assert re.search(rf"\b{layout.name}\b", page), layout.name
