"""Base chains of `nft list ruleset`: text in the form that nft 1.0 prints, expected values by hand from nft(8)."""

from __future__ import annotations

import json

import pytest

from lasthop.parsers.nft import native_rules, parse_nft_base_chains, priority_of

RULESET = """\
table inet fw { # handle 1
\tcomment "closing } brace"
\tset s { # handle 5
\t\ttype ipv4_addr
\t\tflags interval
\t\telements = { 1.1.1.1, 2.2.2.2,
\t\t\t     192.168.0.0/16 }
\t}

\tmap m {
\t\ttype inet_service : verdict
\t\telements = { 80 : accept, 443 : drop }
\t}

\tflowtable f {
\t\thook ingress priority filter - 5
\t\tdevices = { eth0, eth1 }
\t\tcounter
\t}

\tchain other { # handle 1
\t\tcounter name "c" # handle 7
\t}

\tchain in { # handle 2
\t\ttype filter hook input priority filter + 10; policy drop;
\t\tct state vmap { invalid : drop, established : accept } comment "x } y {" # handle 9
\t\ttcp dport { 22, 80 } accept # handle 11
\t}

\tchain fw {
\t\ttype filter hook forward priority filter - 1; policy accept;
\t}
}
table netdev nd {
\tchain ing {
\t\ttype filter hook ingress device "eth0" priority -500; policy accept;
\t\tip saddr 1.2.3.4 drop
\t}

\tchain ing2 {
\t\ttype filter hook ingress devices = { eth0, eth1 } priority filter; policy accept;
\t}
}
table bridge br {
\tchain pre {
\t\ttype filter hook prerouting priority dstnat; policy accept;
\t}
}
table ip empty {
}
"""

IPTABLES = """\
table ip filter {
\tchain INPUT {
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr 10.0.0.1 counter packets 0 bytes 0 drop
\t}

\tchain cali-INPUT {
\t}
}
table ip nat {
\tchain POSTROUTING {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t}
}
"""


def test_text() -> None:
    result = parse_nft_base_chains(RULESET, "n")
    assert not result.unparsed, result.unparsed
    assert not result.truncated
    rows = [(c.family, c.table, c.name, c.type, c.hook, c.priority, c.policy, c.device) for c in result.values]
    assert rows == [
        ("inet", "fw", "f", "flowtable", "ingress", -5, "", "eth0,eth1"),
        ("inet", "fw", "in", "filter", "input", 10, "drop", ""),
        ("inet", "fw", "fw", "filter", "forward", -1, "accept", ""),
        ("netdev", "nd", "ing", "filter", "ingress", -500, "accept", "eth0"),
        ("netdev", "nd", "ing2", "filter", "ingress", 0, "accept", "eth0,eth1"),
        ("bridge", "br", "pre", "filter", "prerouting", -300, "accept", ""),
    ]
    assert {c.table: c.rules for c in result.values} == {"fw": 3, "nd": 1, "br": 0}
    assert result.values[1].source.text == "chain in { # handle 2"
    assert result.values[1].source.line == 25


def test_tables_of_iptables_are_left_out() -> None:
    assert parse_nft_base_chains(IPTABLES, "n").values == ()


def test_a_native_table_called_filter_is_kept() -> None:
    text = IPTABLES.replace("chain INPUT", "chain input")
    assert [c.name for c in parse_nft_base_chains(text, "n").values] == ["input"]
    hook = "chain other {\n\t\ttype filter hook forward priority 5; policy drop;"
    both = IPTABLES.replace("chain cali-INPUT {", hook)
    assert [c.name for c in parse_nft_base_chains(both, "n").values] == ["other"]
    moved = IPTABLES.replace("hook input priority filter", "hook input priority filter - 1")
    assert [(c.name, c.priority) for c in parse_nft_base_chains(moved, "n").values] == [("INPUT", -1)]


def test_a_cut_ruleset_is_truncated_and_keeps_what_was_seen() -> None:
    result = parse_nft_base_chains(RULESET[: RULESET.index("tcp dport")], "n")
    assert result.truncated
    assert [c.name for c in result.values] == ["f", "in"]


def test_lines_outside_of_a_table_are_counted() -> None:
    result = parse_nft_base_chains("hello\ntable ip x {\n\tnonsense here\n}\n", "n")
    assert [line.source.line for line in result.unparsed] == [1, 3]


@pytest.mark.parametrize(
    ("text", "family", "number"),
    [("filter", "ip", 0), ("filter - 10", "inet", -10), ("dstnat", "ip", -100), ("srcnat + 10", "ip", 110), ("raw", "ip", -300),  # noqa: E501
     ("mangle", "ip6", -150), ("security", "ip", 50), ("dstnat", "bridge", -300), ("filter", "bridge", -200),
     ("srcnat", "bridge", 300), ("-1", "ip", -1), ("110", "ip", 110), ("later", "ip", None), ("filter * 2", "ip", None)],  # noqa: E501
)  # fmt: skip
def test_priorities(text: str, family: str, number: int | None) -> None:
    assert priority_of(text, family) == number


def test_json() -> None:
    items = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "fw", "handle": 1}},
        {"chain": {"family": "inet", "table": "fw", "name": "other"}},
        {"chain": {"family": "inet", "table": "fw", "name": "in", "type": "filter", "hook": "input", "prio": 10,
                   "policy": "drop"}},
        {"flowtable": {"family": "inet", "name": "f", "table": "fw", "hook": "ingress", "prio": -5, "dev": ["a", "b"]}},
        {"rule": {"family": "inet", "table": "fw", "chain": "in", "expr": []}},
        {"table": {"family": "ip", "name": "filter"}},
        {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "type": "filter", "hook": "input", "prio": 0,
                   "policy": "accept"}},
    ]  # fmt: skip
    text = json.dumps({"nftables": items})
    result = parse_nft_base_chains(text, "j")
    assert not result.unparsed
    chain, flowtable = result.values
    assert (chain.name, chain.priority, chain.policy, chain.rules) == ("in", 10, "drop", 1)
    assert chain.source.text in text
    assert '"name": "in"' in chain.source.text
    assert (flowtable.type, flowtable.device) == ("flowtable", "a,b")


def test_broken_json_is_truncated() -> None:
    result = parse_nft_base_chains('{"nftables": [{"table"', "j")
    assert result.truncated
    assert len(result.unparsed) == 1


def test_rules_that_iptables_did_not_write() -> None:
    text = """\
table ip filter {
\tset s {
\t\ttype ipv4_addr
\t}

\tchain FORWARD { # handle 1
\t\ttype filter hook forward priority filter; policy accept;
\t\tcounter packets 5 bytes 300 jump cali-FORWARD
\t\tip saddr @s drop comment "a counter of drops"
\t\tct state established accept # handle 7
\t}

\tchain cali-FORWARD {
\t\tmeta mark & 0x1 == 0x1 counter packets 0 bytes 0 accept
\t}
}
table inet fw {
\tchain in {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 accept
\t}
}
table ip6 nat {
\tchain X {
\t\tmasquerade
\t}
}
"""
    assert native_rules(text) == {(4, "filter", "FORWARD", 2), (4, "filter", "FORWARD", 3), (6, "nat", "X", 1)}
    assert native_rules(IPTABLES) == frozenset()
