"""Native nftables through hooks: verdicts, maps, chance, missing evidence, attribution. Kernel equality is asked by
tests/oracle/nft; expected values here are nft(8)'s and nf_tables' rules applied by hand."""

# ruff: noqa: E501 - rules read best as one line

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from lasthop.facts.evidence import Complete, Doubt, Evidence, Partial, SourceRef
from lasthop.facts.netfilter import NftRuleset
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Disposition, Mark, Outcome, Packet, Truth
from lasthop.parsers.nft_ruleset import parse_nft_ruleset

from .ruletext import netns, packet, partly, run, verdicts


def listing(text: str) -> NftRuleset:
    parsed = parse_nft_ruleset(text, "nft.txt")
    assert not parsed.unparsed and not parsed.truncated
    return parsed.values[0]


def chain(*rules: str, hook: str = "forward", priority: str = "filter", policy: str = "accept", kind: str = "filter",
          family: str = "inet", more: str = "") -> str:  # fmt: skip
    body = "".join(f"\t\t{rule}\n" for rule in rules)
    head = f"\t\ttype {kind} hook {hook} priority {priority}; policy {policy};\n"
    return f"table {family} t {{\n{more}\tchain base {{\n{head}{body}\t}}\n}}\n"


def space(text: str, base: NetNS | None = None) -> NetNS:
    found: Evidence[NftRuleset] = Complete((listing(text),))
    return replace(base or netns(), nft=found)


def verdict(*rules: str, at: Packet | None = None, **fields: str) -> str:
    (result,) = run(space(chain(*rules, **fields)), fields.get("hook", "forward").upper(), at or packet())
    return result.verdict


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("ip saddr 10.0.0.0/24", True), ("ip saddr != 10.0.0.0/24", False), ("ip saddr 10.0.0.2-10.0.0.9", False),
        ("ip saddr & 255.0.0.255 == 10.0.0.1", True), ("ip6 saddr ::/0", False), ("ip6 saddr != fd00::1", False),
        ("tcp dport 80", True), ("tcp dport { 22, 79-81 }", True), ("tcp dport > 80", False), ("udp dport != 80", False),
        ("th dport 80", True), ("meta l4proto tcp", True), ("meta l4proto != { udp, tcp }", False),
        ("tcp flags syn", True), ("tcp flags syn / fin,syn,rst,ack", True), ("tcp flags != syn", False),
        ("tcp flags syn,ack", True), ("tcp flags == syn,ack", False), ("tcp flags ! fin,rst", True),
        ('iifname "eth*"', True), ('iifname { "eth1", "lo" }', False), ('oifname "eth0"', False),
        ("ct state new", True), ("ct state established,related", False), ("ct state ! invalid", True),
        ("ct state { established, new }", True), ("ct mark 0x0", False), ("ct status dnat", False),
        ("meta mark & 0x3 == 0x1", True), ("meta mark 0x4-0x8", True), ("meta mark ^ 0x4 == 0x1", True),
        ("ip saddr . tcp dport { 10.0.0.1 . 79, 10.0.0.0/8 . 80-90 }", True),
        ("ip daddr . meta l4proto . th dport { 10.0.9.9 . udp . 80 }", False),
        ("icmp type echo-request", False), ("ip protocol tcp", True), ("ip ttl 64", True), ("ip dscp cs0", True),
        ("meta nfproto ipv4", True), ("fib daddr type local", False),
    ],
)  # fmt: skip
def test_conditions(rule: str, matches: bool) -> None:
    at = replace(packet("10.0.0.1", "192.0.2.1" if "fib" in rule and matches else "10.0.9.9", ctstate="NEW"), mark=Mark(5))
    if rule.startswith("fib"):
        at = replace(at, dst=packet("192.0.2.1").src)
        matches = True  # the surroundings know one own address
    assert verdict(f"{rule} counter drop", at=at) == ("drop" if matches else "accept")


def test_statements_before_a_failing_condition_have_happened() -> None:
    (result,) = run(space(chain("meta mark set 0x7 udp dport 1 drop")), "FORWARD", packet())
    assert (result.verdict, result.packet.mark) == ("accept", Mark(7))


def test_accept_ends_only_its_base_chain() -> None:
    text = chain("accept", priority="-10") + chain("tcp dport 80 drop").replace("table inet t", "table ip u")
    (result,) = run(space(text), "FORWARD", packet())
    assert result.verdict == "drop"
    assert [step.stage for step in result.steps] == ["nftables inet t base", "nftables ip u base"]
    assert result.steps[1].disposition is Disposition.DROPPED_BY_RULE


def test_an_iptables_accept_does_not_save_from_a_native_drop() -> None:
    text = chain("ip saddr 10.0.0.1 reject", priority="filter + 10")
    (result,) = run(space(text, netns("*filter\n-A FORWARD -j ACCEPT")), "FORWARD", packet())
    assert (result.verdict, result.reject_with) == ("reject", "icmp-port-unreachable")
    assert result.steps[-1].visits[-1].rule.target == "REJECT"


@pytest.mark.parametrize(
    ("called", "expected"),
    [("return", "drop"), ("accept", "accept"), ("continue", "drop"), ("goto other", "drop"), ("jump other", "drop")],
)
def test_jump_comes_back_and_goto_does_not(called: str, expected: str) -> None:
    more = f"\tchain other {{\n\t\treturn\n\t}}\n\tchain c {{\n\t\t{called}\n\t}}\n"
    assert verdict("jump c", "drop", more=more) == expected
    assert verdict("goto c", "drop", more=more) == "accept"  # the policy, or the chain's own accept


def test_a_verdict_map_decides_and_a_miss_goes_on() -> None:
    more = '\tmap m {\n\t\ttype ifname : verdict\n\t\telements = { "eth0" : goto c }\n\t}\n\tchain c {\n\t\tdrop\n\t}\n'
    assert verdict("iifname vmap @m", more=more) == "drop"
    assert verdict("oifname vmap @m", "accept", more=more) == "accept"
    assert verdict("tcp dport vmap { 22 : accept, 80-90 : drop }") == "drop"


def test_chance_gives_exact_shares() -> None:
    more = "\tchain a {\n\t\tdrop\n\t}\n\tchain b {\n\t\taccept\n\t}\n"
    results = run(space(chain("numgen random mod 3 vmap { 0 : goto a, 1 : goto b }", more=more)), "FORWARD", packet())
    shares = {(r.verdict, r.choices[-1].label): r.choices[-1].share for r in results}
    assert shares == {("drop", "a"): Fraction(1, 3), ("accept", "b"): Fraction(1, 3), ("accept", "otherwise"): Fraction(1, 3)}
    results = run(space(chain("meta random & 255 < 64 drop")), "FORWARD", packet())
    assert sorted((r.verdict, r.choices[-1].share) for r in results) == [("accept", Fraction(3, 4)), ("drop", Fraction(1, 4))]


def test_destination_nat_by_a_map_of_address_and_port() -> None:
    rule = "dnat to ip daddr . tcp dport map { 10.0.9.9 . 80 : 10.1.0.1 . 8080 }"
    text = chain(rule, hook="prerouting", priority="dstnat", kind="nat", family="ip")
    (result,) = run(space(text), "PREROUTING", replace(packet(), iif="eth0"))
    assert (str(result.packet.dst), result.packet.dport) == ("10.1.0.1", 8080)


def test_a_nat_chain_is_asked_where_nat_is_done_whatever_its_priority() -> None:
    """nf_nat_core registers one hook; type nat chains only order among themselves."""
    text = chain("dnat to 10.1.0.1", hook="prerouting", priority="300", kind="nat", family="ip")
    text += chain("ip daddr 10.1.0.1 drop", hook="prerouting", priority="0").replace("inet t", "inet u")
    (result,) = run(space(text), "PREROUTING", packet())
    assert result.verdict == "drop"


def test_words_that_are_not_understood_fork_the_rule() -> None:
    results = run(space(chain("osf name \"Linux\" drop")), "FORWARD", packet())
    assert verdicts(results) == ["accept", "drop"] and all(result.assumed for result in results)
    (result,) = run(space(chain("ip saddr 10.9.9.9 osf name \"Linux\" drop")), "FORWARD", packet())
    assert result.verdict == "accept" and not result.assumed
    (result,) = run(space(chain("limit rate 10/second counter")), "FORWARD", packet())
    assert result.verdict == "accept" and not result.assumed


def test_an_unreadable_element_makes_misses_uncertain() -> None:
    more = "\tset s {\n\t\ttype ipv4_addr\n\t\telements = { what-is-this, 10.0.0.1 }\n\t}\n"
    assert verdict("ip saddr @s drop", more=more) == "drop"
    results = run(space(chain("ip daddr @s drop", more=more)), "FORWARD", packet())
    assert verdicts(results) == ["accept", "drop"]


def test_a_line_in_doubt_leaves_its_chain_open() -> None:
    doubt = Doubt("not understood", SourceRef("nft.txt", 3), "inet t base")
    found: Evidence[NftRuleset] = Partial((listing(chain()),), "", (doubt,))
    results = run(replace(netns(), nft=found), "FORWARD", packet())
    assert verdicts(results) == ["accept", "unknown"]


def test_equal_priority_in_unknown_order_is_unknown_only_where_it_matters() -> None:
    first = chain("meta mark set 0x1")
    second = chain("meta mark 0x1 drop").replace("table inet t", "table inet u")
    results = run(space(first + second), "FORWARD", packet())
    assert verdicts(results) == ["accept", "drop"]
    assert all(any("which is asked first" in step.detail for step in result.steps) for result in results)
    (result,) = run(space(first + chain("tcp dport 80 drop").replace("inet t", "inet u")), "FORWARD", packet())
    assert result.verdict == "drop" and not result.assumed


def test_chains_of_one_table_are_asked_from_the_last_made_to_the_first() -> None:
    """nf_hook_entries_grow puts a new hook before those of equal priority."""
    head = "\t\ttype filter hook forward priority filter; policy accept;\n"
    text = f"table inet t {{\n\tchain a {{\n{head}\t\tmeta mark 0x1 drop\n\t}}\n\tchain b {{\n{head}\t\tmeta mark set 0x1\n\t}}\n}}\n"
    (result,) = run(space(text), "FORWARD", packet())
    assert result.verdict == "drop" and not result.assumed


def test_iptables_tables_are_not_asked_twice() -> None:
    own = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tdrop\n\t}\n}\n"
    (result,) = run(space(own, netns("*filter\n-A FORWARD -s 10.7.0.1 -j DROP")), "FORWARD", packet())
    assert result.verdict == "accept" and result.assumed == ()


def test_a_table_that_iptables_save_left_out_is_read_from_nft() -> None:
    own = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tip saddr 10.0.0.1 drop\n\t}\n}\n"
    base = netns()
    cut = partly("*mangle\n-A FORWARD -s 10.7.0.1 -j DROP", Doubt("left out", SourceRef("rules", 0), "filter"))
    base = replace(base, rulesets={**base.rulesets, ("nft", 4): cut})
    (result,) = run(space(own, base), "FORWARD", packet())
    assert result.verdict == "drop" and result.assumed == ()


def test_chains_of_the_interface_are_named() -> None:
    text = 'table netdev n {\n\tchain in {\n\t\ttype filter hook ingress device "eth0" priority -500; policy accept;\n\t\tdrop\n\t}\n}\n'
    (result,) = run(space(text), "PREROUTING", packet())
    assert result.assumed and result.steps[0].outcome is Outcome.UNKNOWN
    (result,) = run(space(text), "PREROUTING", replace(packet(), iif="eth9"))
    assert not result.assumed


def test_a_drop_names_the_rule_and_what_would_have_let_it_pass() -> None:
    more = "\tset cali40s-abc {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.2 }\n\t}\n"
    rules = ('ip saddr @cali40s-abc tcp dport 80 accept comment "near"', 'counter drop comment "last"')
    (result,) = run(space(chain(*rules, more=more)), "FORWARD", packet())
    step = result.steps[-1]
    decided = step.visits[-1].rule
    assert (decided.backend, decided.table, decided.chain, decided.index, decided.comment) == ("native", "inet t", "base", 2, "last")
    (near,) = step.near_misses
    assert near.truth is Truth.NO and "cali40s-abc" in near.why and "10.0.0.1" in near.why
    assert near.rule.matches[0].values == ("cali40s-abc", "src")
