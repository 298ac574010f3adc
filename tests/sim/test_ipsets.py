"""Membership in IP sets, by the rules of net/netfilter/ipset. The oracle compares the common types with the kernel;
hash:mac, hash:net,net and the rest that it lacks stand here."""

# ruff: noqa: E501 - tables read best as one line

from __future__ import annotations

from dataclasses import replace

import pytest

from lasthop.facts.evidence import NOT_COLLECTED, Complete, Doubt, Evidence, Partial
from lasthop.facts.netfilter import IpSet
from lasthop.facts.network import Link
from lasthop.facts.trace import Mark, MatchResult, Packet
from lasthop.sim.extensions.context import Context
from lasthop.sim.ipsets import SetStore, parse_port_part

from .ruletext import HERE, Nowhere, packet, sets

UDP = packet(proto="udp", tcp_flags=frozenset(), sport=53, dport=80)
PING = packet(proto="icmp", tcp_flags=frozenset(), sport=None, dport=None, icmp_type=8, icmp_code=0)
GRE = packet(proto="gre", tcp_flags=frozenset(), sport=None, dport=None)


def member(evidence: Evidence[IpSet], directions: str, one: Packet, name: str = "s") -> bool | None:
    store = SetStore(evidence)
    links: Evidence[Link] = Complete(())
    answer = store.test(name, directions.split(","), Context(one, "FORWARD", Nowhere(), store, links, Complete(())))
    return None if isinstance(answer, MatchResult) else answer


@pytest.mark.parametrize(
    ("kind", "elements", "directions", "one", "expected"),
    [
        ("hash:ip", "10.0.0.1", "src", packet(), True), ("hash:ip", "10.0.0.1", "dst", packet(), False),
        ("hash:ip", "0.0.0.1", "src", packet("0.0.0.0"), False),
        ("hash:ip family inet netmask 24", "10.0.0.0", "src", packet(), True),
        ("hash:ip family inet netmask 24", "10.0.1.0", "src", packet(), False),
        ("hash:net", "10.0.0.0/8 10.0.0.0/24,nomatch", "src", packet(), False),
        ("hash:net", "10.0.0.0/8,nomatch 10.0.0.1", "src", packet(), True),
        ("hash:net", "0.0.0.0/1 128.0.0.0/1", "src", packet(), True),
        ("hash:ip,port", "10.0.9.9,tcp:80", "dst,dst", packet(), True),
        ("hash:ip,port", "10.0.9.9,80", "dst,dst", packet(), True),
        ("hash:ip,port", "10.0.9.9,udp:80", "dst,dst", packet(), False),
        ("hash:ip,port", "10.0.9.9,udp:53", "dst,src", UDP, True),
        ("hash:ip,port", "10.0.9.9,icmp:8/0", "dst,dst", PING, True),
        ("hash:ip,port", "10.0.9.9,icmp:echo-request", "dst,src", PING, True),
        ("hash:ip,port", "10.0.9.9,icmp:echo-reply", "dst,dst", PING, False),
        ("hash:ip,port", "10.0.9.9,gre:0", "dst,dst", GRE, True), ("hash:ip,port", "10.0.9.9,tcp:80", "dst", packet(), False),
        ("hash:ip,port", "10.0.9.9,tcp:80", "dst,dst", packet(dport=None), None),
        ("hash:net,port", "10.0.0.0/16,tcp:80 10.0.9.0/24,tcp:80,nomatch", "dst,dst", packet(), False),
        ("hash:net,port", "10.0.0.0/16,tcp:80 10.0.9.0/24,tcp:81,nomatch", "dst,dst", packet(), True),
        ("hash:ip,port,ip", "10.0.9.9,tcp:80,10.0.0.1", "dst,dst,src", packet(), True),
        ("hash:ip,port,ip", "10.0.9.9,tcp:80,10.0.0.2", "dst,dst,src", packet(), False),
        ("hash:ip,port,net", "10.0.9.9,tcp:80,10.0.0.0/24", "dst,dst,src", packet(), True),
        ("hash:net,port,net", "10.0.0.0/16,tcp:80,10.0.0.0/24", "dst,dst,src", packet(), True),
        ("hash:net,net", "10.0.0.0/24,10.0.9.0/24", "src,dst", packet(), True),
        ("hash:net,net", "10.0.0.0/24,10.0.9.0/24", "dst,src", packet(), False),
        ("hash:net,net", "10.0.0.0/8,10.0.9.9 10.0.0.0/24,10.0.0.0/8,nomatch", "src,dst", packet(), False),
        ("hash:mac", "02:00:00:00:00:0A", "src", packet(src_mac="02:00:00:00:00:0a"), True),
        ("hash:mac", "02:00:00:00:00:0A", "src", packet(), None),
        ("hash:ip,mac", "10.0.0.1,02:00:00:00:00:0A", "src,src", packet(src_mac="02:00:00:00:00:0a"), True),
        ("hash:ip,mark", "10.0.0.1,0x00000005", "src,src", packet(mark=Mark(5)), True),
        ("hash:ip,mark", "10.0.0.1,0x00000005", "src,src", packet(mark=Mark(5, 0xF)), None),
        ("hash:ip,mark family inet markmask 0x0000000f", "10.0.0.1,0x00000005", "src,src", packet(mark=Mark(0x75)), True),
        ("hash:net,iface", "10.0.0.0/24,eth0", "src,src", packet(), True),
        ("hash:net,iface", "10.0.0.0/24,eth1", "src,src", packet(), False),
        ("hash:net,iface", "10.0.0.0/24,eth1 10.0.0.0/8,eth0", "src,src", packet(), False),
        ("hash:net,iface", "10.0.0.0/24,eth1 10.0.0.0/24,eth0", "src,src", packet(), True),
        ("bitmap:port", "80", "dst", packet(), True), ("bitmap:port", "80", "dst", UDP, True),
        ("bitmap:port", "0", "dst", PING, False), ("bitmap:ip", "10.0.0.1", "src", packet(), True),
        ("bitmap:ip,mac", "10.0.0.1,02:00:00:00:00:0A", "src,src", packet(src_mac="02:00:00:00:00:0a"), True),
        ("hash:unheard", "10.0.0.1", "src", packet(), None),
    ],
)  # fmt: skip
def test_membership(kind: str, elements: str, directions: str, one: Packet, expected: bool | None) -> None:
    text = f"create s {kind}\n"
    for element in elements.split():
        nomatch = element.endswith(",nomatch")
        text += f"add s {element.removesuffix(',nomatch')}{' nomatch' if nomatch else ''}\n"
    assert member(Complete(sets(text)), directions, one) is expected


def test_families_do_not_mix() -> None:
    six = Complete(sets("create s hash:net family inet6\nadd s fd00::/16\n"))
    assert member(six, "src", packet("fd00::1", "fd00::2")) is True
    assert member(six, "src", packet()) is False


def test_a_list_asks_its_members_in_order() -> None:
    text = "create a hash:ip\nadd a 10.9.9.9\ncreate b hash:ip,port\nadd b 10.0.0.1,tcp:40000\ncreate s list:set size 8\nadd s a\nadd s b\n"
    assert member(Complete(sets(text)), "src,src", packet()) is True
    assert member(Complete(sets(text)), "src", packet()) is False
    assert member(Complete(sets(text + "add s gone\n")), "src", packet()) is None


def test_what_was_not_collected_is_unknown() -> None:
    assert member(NOT_COLLECTED, "src", packet()) is None
    assert member(Complete(()), "src", packet()) is None


def test_a_partial_set_proves_presence_only() -> None:
    (one,) = sets("create s hash:ip\nadd s 10.0.0.1\n")
    cut = Complete((replace(one, complete=False),))
    assert member(cut, "src", packet()) is True
    assert member(cut, "dst", packet()) is None


def test_a_partial_dump_touches_the_sets_that_it_names() -> None:
    found = sets("create s hash:ip\nadd s 10.0.0.1\ncreate t hash:ip\n")
    named = Partial(found, "a line was not understood", (Doubt("?", HERE, "s"),))
    assert member(named, "dst", packet()) is None
    assert member(named, "dst", packet(), "t") is False
    assert member(Partial(found, "cut", (Doubt("cut", HERE),)), "dst", packet(), "t") is None


def test_an_incomplete_set_with_nomatch_decides_nothing() -> None:
    (one,) = sets("create s hash:net\nadd s 10.0.0.0/8\nadd s 10.1.0.0/16 nomatch\n")
    assert member(Complete((replace(one, complete=False),)), "src", packet()) is None


def test_an_element_that_is_not_understood_makes_the_set_incomplete() -> None:
    (one,) = sets("create s hash:ip\nadd s 10.0.0.7\n")
    odd = replace(one, entries=(*one.entries, replace(one.entries[0], parts=("what",))))
    assert member(Complete((odd,)), "src", packet()) is None


def test_port_parts() -> None:
    known = {"tcp": 6, "icmp": 1, "icmpv6": 58}
    assert parse_port_part("80", known) == (6, 80)
    assert parse_port_part("icmp:3/4", known) == (1, 3 << 8 | 4)
    assert parse_port_part("icmpv6:echo-request", known) == (58, 128 << 8)
    assert parse_port_part("47:0", known) == (47, 0)
