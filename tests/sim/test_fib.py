"""Route lookup: rules, longest match, metrics, throw, suppression, next hops, and what doubt does to each."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from lasthop.facts.evidence import NOT_COLLECTED, Complete, Doubt, Evidence, Partial
from lasthop.facts.network import NextHop, NexthopObject, Route
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Mark
from lasthop.parsers.iproute_route import parse_routes
from lasthop.parsers.iproute_rule import parse_rules
from lasthop.sim.fib import Fib, FlowKey, Lookup

from .cluster import RULES
from .ruletext import HERE

BASE = """default via 192.0.2.1 dev eth0
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.11
local 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11
"""


def fib(routes: str, rules: str | None = RULES, **facts: object) -> Fib:
    ruled: Evidence = Complete(parse_rules(rules, "rules", 4).values) if rules is not None else NOT_COLLECTED
    known = Complete(parse_routes(routes, "routes", 4).values)
    return Fib(NetNS("n", routes=known, routing_rules=ruled, **facts))  # type: ignore[arg-type]


def find(table: Fib, dst: str, src: str | None = None, **fields: object) -> Lookup:
    return table.lookup(FlowKey(ip_address(dst), ip_address(src) if src else None, **fields))  # type: ignore[arg-type]


def where(found: Lookup) -> str:
    return found.dev if found.type == "unicast" else found.type


def test_longest_match_beats_metric() -> None:
    table = fib(BASE + "10.0.0.0/8 dev a\n10.1.0.0/16 dev b metric 4000\n")
    assert find(table, "10.1.2.3").dev == "b" and find(table, "10.2.0.1").dev == "a"


def test_lower_metric_wins_for_one_prefix() -> None:
    """A left-over route without metric beats BIRD's 1024 (fib_alias order in net/ipv4/fib_trie.c)."""
    table = fib(BASE + "10.1.0.0/26 via 192.0.2.12 dev eth0 proto bird metric 1024\n10.1.0.0/26 dev old\n")
    assert find(table, "10.1.0.5").dev == "old"


def test_local_table_comes_first() -> None:
    assert find(fib(BASE + "192.0.2.11 dev trap\n"), "192.0.2.11").type == "local"


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_error_routes_end_the_lookup(kind: str) -> None:
    rules = RULES + "40000:\tfrom all lookup 7\n"
    table = fib(BASE + f"{kind} 10.1.0.0/26\n10.1.0.0/26 dev rescue table 7\n", rules)
    found = find(table, "10.1.0.5")
    assert found.type == kind and found.sources[0].line == 4


def test_throw_goes_on_with_the_next_rule() -> None:
    rules = "0:\tfrom all lookup local\n99:\tfrom all lookup 1\n32766:\tfrom all lookup main\n"
    table = fib(BASE + "throw 10.1.0.0/26 table 1\n10.1.0.0/24 dev wg table 1\n", rules)
    assert find(table, "10.1.0.5").dev == "eth0"
    assert find(table, "10.1.0.99").dev == "wg"


def test_a_blackhole_of_the_own_block_yields_to_the_pods_route() -> None:
    table = fib(BASE + "blackhole 10.1.0.0/26 proto bird\n10.1.0.2 dev cali1 scope link metric 1024\n")
    assert find(table, "10.1.0.2").dev == "cali1" and find(table, "10.1.0.3").type == "blackhole"


def test_rules_select_by_source_interface_and_mark() -> None:
    rules = (
        "0:\tfrom all lookup local\n10:\tfrom 10.9.0.0/16 lookup 1\n20:\tfrom all iif cali1 lookup 2\n"
        "30:\tfrom all fwmark 0x10/0xf0 lookup 3\n32766:\tfrom all lookup main\n"
    )
    table = fib(BASE + "".join(f"default dev t{n} table {n}\n" for n in (1, 2, 3)), rules)
    assert find(table, "8.8.8.8", "10.9.1.1").dev == "t1"
    assert find(table, "8.8.8.8", "10.8.1.1", iif="cali1").dev == "t2"
    assert find(table, "8.8.8.8", mark=Mark(0x1F)).dev == "t3"
    assert find(table, "8.8.8.8", mark=Mark(0x2F)).dev == "eth0"


def test_an_unknown_mark_bit_is_unknown_only_where_a_rule_asks_for_it() -> None:
    rules = "0:\tfrom all lookup local\n30:\tfrom all fwmark 0x10/0xf0 lookup 3\n32766:\tfrom all lookup main\n"
    table = fib(BASE + "default dev t3 table 3\n", rules)
    assert find(table, "8.8.8.8", mark=Mark(0, ~0x10 & 0xFFFFFFFF)).type == "unknown"
    assert find(table, "8.8.8.8", mark=Mark(0x20, ~0x10 & 0xFFFFFFFF)).dev == "eth0"
    assert find(table, "8.8.8.8", mark=Mark(0, ~0x1 & 0xFFFFFFFF)).dev == "eth0"


def test_not_in_a_rule_turns_it() -> None:
    """WireGuard's rule: everything that does not carry the device's own mark."""
    rules = (
        "0:\tfrom all lookup local\n99:\tnot from all fwmark 0x200000/0x200000 lookup 1\n32766:\tfrom all lookup main\n"
    )
    table = fib(BASE + "10.1.0.0/26 dev wireguard.cali scope link table 1\n", rules)
    assert find(table, "10.1.0.1").dev == "wireguard.cali"
    assert find(table, "10.1.0.1", mark=Mark(0x200000)).dev == "eth0"


def test_suppressed_default_route_is_passed_over() -> None:
    """fib4_rule_suppress (net/ipv4/fib_rules.c): prefix length <= N is suppressed, the next rule is asked."""
    rules = "0:\tfrom all lookup local\n50:\tfrom all lookup main suppress_prefixlength 0\n60:\tfrom all lookup 9\n"
    table = fib(BASE + "default dev vpn table 9\n", rules)
    assert find(table, "8.8.8.8").dev == "vpn" and find(table, "192.0.2.77").dev == "eth0"


def test_rule_actions() -> None:
    rules = "0:\tfrom all lookup local\n5:\tfrom all to 10.66.0.0/16 blackhole\n32766:\tfrom all lookup main\n"
    assert find(fib(BASE, rules), "10.66.1.1").type == "blackhole"
    rules = "0:\tfrom all lookup local\n5:\tfrom all goto 100\n6:\tfrom all blackhole\n100:\tfrom all lookup main\n"
    assert find(fib(BASE, rules), "8.8.8.8").dev == "eth0"


def test_tos_routes_are_only_for_their_tos() -> None:
    table = fib(BASE + "10.1.0.0/24 tos 0x10 dev fast\n10.1.0.0/24 dev slow\n")
    assert find(table, "10.1.0.1", tos=0x10).dev == "fast" and find(table, "10.1.0.1").dev == "slow"


def test_ecmp_shares_are_exact() -> None:
    table = fib(
        BASE + "10.1.0.0/24\n\tnexthop via 192.0.2.12 dev eth0 weight 1\n\tnexthop via 192.0.2.13 dev eth0 weight 2\n"
    )
    shares = {str(hop.via): share for hop, share in find(table, "10.1.0.1").nexthops}
    assert shares == {"192.0.2.12": Fraction(1, 3), "192.0.2.13": Fraction(2, 3)}


def test_a_dead_next_hop_takes_no_flows() -> None:
    text = "10.1.0.0/24\n\tnexthop via 192.0.2.12 dev eth0 dead linkdown\n\tnexthop via 192.0.2.13 dev eth1\n"
    ((hop, share),) = find(fib(BASE + text), "10.1.0.1").nexthops
    assert (str(hop.via), share) == ("192.0.2.13", 1)


def test_dead_only_route_falls_to_a_shorter_one() -> None:
    assert find(fib(BASE + "10.1.0.0/24 dev gone dead\n"), "10.1.0.1").dev == "eth0"


def test_nexthop_objects() -> None:
    text = BASE + "10.1.0.0/24 nhid 5 proto bird\n"
    assert find(fib(text), "10.1.0.1").type == "unknown"
    single = {n: NexthopObject(n, HERE, (NextHop(f"e{n}", ip_address(f"192.0.2.{n}")),)) for n in (1, 2)}
    group = NexthopObject(5, HERE, group=((1, 1), (2, 3)))
    found = find(fib(text, nexthop_objects=Complete((*single.values(), group))), "10.1.0.1")
    assert [(hop.dev, share) for hop, share in found.nexthops] == [("e1", Fraction(1, 4)), ("e2", Fraction(3, 4))]
    assert find(fib(text, nexthop_objects=Complete((single[1], group))), "10.1.0.1").type == "unknown"


def test_no_route_cites_the_whole_table() -> None:
    table = fib("192.0.2.0/24 dev eth0 scope link\nlocal 192.0.2.11 dev eth0 table local\n")
    assert find(table, "8.8.8.8").type == "none"


def test_default_rules_are_assumed_only_without_other_tables() -> None:
    assert find(fib(BASE, rules=None), "8.8.8.8").dev == "eth0"
    assert find(fib(BASE + "default dev x table 77\n", rules=None), "8.8.8.8").type == "unknown"


def partial(text: str, *doubts: Doubt) -> Fib:
    rules = Complete(parse_rules(RULES, "rules", 4).values)
    values = parse_routes(text, "routes", 4).values
    return Fib(NetNS("n", routes=Partial(values, "a line was not understood", doubts), routing_rules=rules))


def test_a_cut_table_proves_no_longest_match() -> None:
    assert find(partial(BASE), "8.8.8.8").type == "unknown"
    assert find(partial(BASE, Doubt("cut", HERE, "")), "8.8.8.8").type == "unknown"


def test_a_line_not_understood_casts_doubt_on_its_prefix_only() -> None:
    """Its table is not known: it may stand in the local one, which is asked first."""
    text = BASE + "10.1.0.0/24 dev known\n10.1.0.7 dev host\nlocal 10.1.0.9 dev eth0 table local\n"
    table = partial(text, Doubt("strange", HERE, "10.1.0.0/25"))
    assert find(table, "10.1.0.5").type == "unknown" and find(table, "10.1.0.7").type == "unknown"
    assert find(table, "10.1.0.9").type == "local"
    assert find(table, "10.1.0.200").dev == "known"
    assert find(table, "8.8.8.8").dev == "eth0"


def test_local_address_types() -> None:
    table = fib(BASE + "broadcast 192.0.2.255 dev eth0 table local\nlocal 127.0.0.0/8 dev lo table local\n")
    assert table.lookup_local(ip_address("127.9.9.9")) == ("LOCAL", frozenset({"lo"}))
    assert table.lookup_local(ip_address("192.0.2.255")) == ("BROADCAST", frozenset({"eth0"}))
    assert table.lookup_local(ip_address("192.0.2.12")) == ("UNICAST", frozenset())
    assert table.has_local(ip_address("192.0.2.255")) is False and table.has_local(ip_address("127.0.0.1")) is True


def test_families_do_not_mix() -> None:
    routes: tuple[Route, ...] = parse_routes("default via fe80::1 dev eth0\n2001:db8::/64 dev cali1\n", "r6", 6).values
    table = Fib(NetNS("n", routes6=Complete(routes), routing_rules6=Complete(parse_rules(RULES, "r", 6).values)), 6)
    assert find(table, "2001:db8::5").dev == "cali1"
    assert str(find(table, "2001:4860::1").nexthops[0][0].via) == "fe80::1"


def test_uid_rules() -> None:
    """A received packet is asked with uid 0 (ip_route_input_slow, sock_net_uid); a local one's is unknown."""
    rules = "0:\tfrom all lookup local\n10:\tfrom all uidrange 1000-2000 lookup 3\n32766:\tfrom all lookup main\n"
    table = fib(BASE + "default dev t3 table 3\n", rules)
    assert find(table, "8.8.8.8", iif="cali1", uid=0).dev == "eth0" and find(table, "8.8.8.8").type == "unknown"
    rooted = fib(BASE + "default dev t3 table 3\n", rules.replace("1000-2000", "0-0"))
    assert find(rooted, "8.8.8.8", iif="cali1", uid=0).dev == "t3"
