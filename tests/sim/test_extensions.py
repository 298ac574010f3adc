"""Each match true, false and negated; each mutation. Expected values by hand from the kernel's match functions."""

# ruff: noqa: E501 - tables and rules read best as one line

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from lasthop.facts.evidence import Complete
from lasthop.facts.netfilter import NetfilterRule
from lasthop.facts.network import Link
from lasthop.facts.trace import Mark, MatchResult, Packet
from lasthop.parsers.iptables_rule import read_spec
from lasthop.sim import model
from lasthop.sim.extensions import (
    Support,
    TargetKind,
    compile_matches,
    compile_target,
    match_extensions,
    match_support,
    target_extensions,
)
from lasthop.sim.extensions.context import Context
from lasthop.sim.extensions.protocols import protocol_number
from lasthop.sim.extensions.targets import NatRequest
from lasthop.sim.ipsets import SetStore

from .ruletext import HERE, Nowhere, packet, sets

SETS = "create s hash:net family inet\nadd s 10.0.0.0/24\nadd s 10.0.0.128/25 nomatch\n"


def context(one: Packet, hook: str = "FORWARD") -> Context:
    links = Complete((Link("eth0", 1, HERE), Link("br0", 2, HERE, kind="bridge")))
    return Context(one, hook, Nowhere(), SetStore(Complete(sets(SETS))), links, Complete(()))


def ask(condition: str, one: Packet, hook: str = "FORWARD") -> bool | None:
    """True, False, or None for UNKNOWN."""
    spec = read_spec(condition)
    assert not spec.unparsed, spec.unparsed
    answers = [match.test(context(one, hook)) for match in compile_matches(spec.matches)]
    if False in answers:
        return False
    return None if any(isinstance(answer, MatchResult) for answer in answers) else True


TCP = packet()
UDP = packet(proto="udp", tcp_flags=frozenset(), sport=5000, dport=53)
PING = packet(proto="icmp", tcp_flags=frozenset(), sport=None, dport=None, icmp_type=8, icmp_code=0)
UNREACHABLE = packet(proto="icmp", tcp_flags=frozenset(), sport=None, dport=None, icmp_type=3, icmp_code=4)
SIX = packet("fd00::1", "fd00::2")
FIRST = packet(ctstate="NEW", ct_original=(TCP.src, TCP.dst, 40000, 80), ct_reply=(TCP.dst, TCP.src, 80, 40000))
TRANSLATED = packet(
    ctstate="ESTABLISHED", ctdir="original", ctstatus=frozenset({"DNAT", "SEEN_REPLY", "ASSURED", "CONFIRMED"}),
    ct_original=(TCP.src, ip_address("10.96.0.1"), 40000, 443), ct_reply=(TCP.dst, TCP.src, 80, 40000), ctmark=Mark(6),
)  # fmt: skip
UNTRACKED = packet(ctstate="UNTRACKED")


@pytest.mark.parametrize(
    ("condition", "one", "expected"),
    [
        ("-s 10.0.0.0/24", TCP, True), ("! -s 10.0.0.0/24", TCP, False), ("-s 10.0.1.0/24", TCP, False),
        ("-s 10.0.0.1/255.0.0.255", TCP, True), ("-s 10.0.0.2/255.0.0.255", TCP, False), ("-d 0.0.0.0/0", TCP, True),
        ("-d fd00::/64", SIX, True), ("-d fd01::/64", SIX, False), ("! -d fd00::2/128", SIX, False),
        ("-i eth0", TCP, True), ("-i eth+", TCP, True), ("-i eth", TCP, False), ("! -i cali+", TCP, True),
        ("-o +", TCP, True), ("-o eth1", TCP, False), ("! -o eth1", TCP, True),
        ("-p tcp", TCP, True), ("-p 6", TCP, True), ("! -p udp", TCP, True), ("-p all", TCP, True),
        ("-p ipencap", packet(proto="ipip"), True), ("-p 4", packet(proto="ipencap"), True), ("-p udp", TCP, False),
        ("-f", TCP, False), ("! -f", TCP, True),
        ("-p tcp -m tcp --dport 80", TCP, True), ("-p tcp -m tcp --dport 81:", TCP, False),
        ("-p tcp -m tcp --dport :80", TCP, True), ("-p tcp -m tcp ! --sport 40000", TCP, False),
        ("-p tcp -m tcp --dport 80", UDP, False), ("-p udp -m udp --dport 53", UDP, True),
        ("-p udp -m udp ! --dport 53", UDP, False), ("-p tcp -m tcp", TCP, True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", TCP, True), ("-p tcp -m tcp ! --syn", TCP, False),
        ("-p tcp -m tcp --tcp-flags ALL NONE", packet(tcp_flags=frozenset()), True),
        ("-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK", TCP, False), ("-p tcp -m tcp --tcp-option 5", TCP, None),
        ("-p tcp -m tcp --dport 80", packet(dport=None), None),
        ("-p icmp -m icmp --icmp-type 8", PING, True), ("-p icmp -m icmp --icmp-type 8/1", PING, False),
        ("-p icmp -m icmp --icmp-type any", PING, True), ("-p icmp -m icmp ! --icmp-type any", PING, False),
        ("-p icmp -m icmp --icmp-type fragmentation-needed", UNREACHABLE, True),
        ("-p icmp -m icmp --icmp-type 3", UNREACHABLE, True), ("-p icmp -m icmp ! --icmp-type 3/3", UNREACHABLE, True),
        ("-p tcp -m multiport --dports 22,80:90", TCP, True), ("-p tcp -m multiport --dports 81:90", TCP, False),
        ("-p tcp -m multiport ! --dports 81", TCP, True), ("-p tcp -m multiport --ports 40000", TCP, True),
        ("-p tcp -m multiport --sports 80", TCP, False), ("-p udp -m multiport --dports 53", UDP, True),
        ("-m mark --mark 0x4/0x4", packet(mark=Mark(0xC)), True), ("-m mark --mark 0x0/0x4", packet(mark=Mark(0xC)), False),
        ("-m mark ! --mark 0x0", packet(mark=Mark(1)), True), ("-m mark --mark 0x4/0x4", packet(mark=Mark(0, 3)), None),
        ("-m mark --mark 0x5/0x5", packet(mark=Mark(0, 1)), False),
        ("-m mark ! --mark 0x5/0x5", packet(mark=Mark(0, 1)), True),
        ("-m connmark --mark 0x2/0x2", TRANSLATED, True), ("-m connmark ! --mark 0x2/0x2", TRANSLATED, False),
        ("-m connmark --mark 0x0", UNTRACKED, False), ("-m connmark ! --mark 0x1", UNTRACKED, False),
        ("-m conntrack --ctstate NEW", FIRST, True), ("-m conntrack ! --ctstate NEW", FIRST, False),
        ("-m conntrack --ctstate DNAT", TRANSLATED, True), ("-m conntrack ! --ctstate DNAT", TRANSLATED, False),
        ("-m conntrack --ctstate SNAT", TRANSLATED, False), ("-m conntrack --ctstate INVALID", TCP, True),
        ("-m conntrack --ctstate UNTRACKED", UNTRACKED, True), ("-m conntrack --ctstate NEW,RELATED", UNTRACKED, False),
        ("-m conntrack --ctdir ORIGINAL", TRANSLATED, True), ("-m conntrack --ctdir REPLY", TRANSLATED, False),
        ("-m conntrack --ctstate UNTRACKED --ctdir REPLY", UNTRACKED, True), ("-m conntrack --ctdir ORIGINAL", UNTRACKED, False),
        ("-m conntrack --ctorigdst 10.96.0.0/16", TRANSLATED, True), ("-m conntrack ! --ctorigdst 10.96.0.1", TRANSLATED, False),
        ("-m conntrack --ctorigdstport 443", TRANSLATED, True), ("-m conntrack --ctorigdstport 80", TRANSLATED, False),
        ("-m conntrack --ctreplsrc 10.0.9.9", TRANSLATED, True), ("-m conntrack --ctproto 6", TRANSLATED, True),
        ("-m conntrack --ctstatus ASSURED", TRANSLATED, True), ("-m conntrack --ctstatus NONE", TRANSLATED, False),
        ("-m conntrack ! --ctstatus NONE", TRANSLATED, True), ("-m conntrack --ctexpire 1:100", TRANSLATED, None),
        ("-m state --state ESTABLISHED", TRANSLATED, True), ("-m state ! --state NEW", UNTRACKED, True),
        ("-m set --match-set s src", TCP, True), ("-m set ! --match-set s src", TCP, False),
        ("-m set --match-set s src", packet("10.0.0.200"), False),
        ("-m set --match-set s src --return-nomatch", packet("10.0.0.200"), True),
        ("-m set --match-set s dst", TCP, False), ("-m set --match-set missing dst", TCP, None),
        ("-m set --match-set s src --packets-gt 5", TCP, None),
        ("-m iprange --src-range 10.0.0.0-10.0.0.1", TCP, True), ("-m iprange --dst-range 10.0.0.0-10.0.9.8", TCP, False),
        ("-m iprange ! --src-range 10.0.0.1-10.0.0.1", TCP, False),
        ("-m length --length 60:61", TCP, True), ("-m length ! --length 60", TCP, False),
        ("-m ttl --ttl-eq 64", TCP, True), ("-m ttl --ttl-gt 64", TCP, False), ("-m ttl --ttl-lt 65", TCP, True),
        ("-m ttl ! --ttl-eq 64", TCP, False), ("-m hl --hl-eq 64", SIX, True),
        ("-m dscp --dscp 0x2e", packet(tos=0xB8), True), ("-m dscp --dscp-class EF", packet(tos=0xB9), True),
        ("-m tos --tos 0x10/0x1c", packet(tos=0x33), True), ("-m tos ! --tos 0x10/0x1c", packet(tos=0x33), False),
        ("-m addrtype --dst-type LOCAL", packet(dst="192.0.2.1"), True), ("-m addrtype ! --dst-type LOCAL", packet(dst="192.0.2.1"), False),
        ("-m addrtype --dst-type LOCAL", TCP, None), ("-m rpfilter --invert", TCP, None),
        ("-m mac --mac-source 02:00:00:00:00:01", TCP, None),
        ("-m mac --mac-source 02:00:00:00:00:0A", packet(src_mac="02:00:00:00:00:0a"), True),
        ("-m pkttype --pkt-type multicast", packet(dst="224.0.0.5"), True),
        ("-m pkttype --pkt-type unicast", packet(dst_mac="02:00:00:00:00:01"), True),
        ("-m physdev --physdev-is-bridged", TCP, False), ("-m physdev ! --physdev-is-bridged", TCP, True),
        ("-m physdev --physdev-in eth1", packet(iif="br0"), None), ("-m physdev --physdev-in eth1", packet(iif="new0"), None),
        ("-m owner --uid-owner 0", TCP, False), ("-m owner ! --uid-owner 0", TCP, True),
        ("-m owner --uid-owner 0", packet(local_out=True), None),
        ("-m limit --limit 5/sec", TCP, None), ("-m recent --set --name x --rsource", TCP, True),
        ("-m recent ! --set --name x", TCP, False), ("-m rt --rt-type 0", SIX, False), ("-m rt ! --rt-type 0", SIX, False),
        ("-m recent --rcheck --name x", TCP, None), ("-m socket", TCP, None),
        ("-m bpf --bytecode 1", TCP, None), ("-m time --utc", TCP, None), ("-m policy --dir in --pol none", TCP, None),
        ('-m comment --comment "-j DROP"', TCP, True), ("-m nfacct --nfacct-name x", TCP, True),
        ("-m unheardof --of 3", TCP, None), ("-p tcp -m tcp --new-option 3", TCP, None),
        ("-m mark --mark banana", TCP, None), ("-m conntrack --ctstate SOMETHING", TCP, None),
    ],
)  # fmt: skip
def test_match(condition: str, one: Packet, expected: bool | None) -> None:
    assert ask(condition, one) is expected


def test_addrtype_uses_are_kept_apart() -> None:
    """The limit belongs to the use that it stands in (Calico's MASQUERADE on tunl0)."""
    seen: list[tuple[str, str | None]] = []

    class Recording(Nowhere):
        def address_type(self, ip, dev):  # type: ignore[no-untyped-def]
            seen.append((str(ip), dev))
            return "UNICAST" if dev else "LOCAL"

    spec = read_spec("-m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL")
    c = context(packet(oif="tunl0"), "POSTROUTING")
    c.around = Recording()
    assert [match.test(c) for match in compile_matches(spec.matches)] == [True, True]
    assert seen == [("10.0.0.1", "tunl0"), ("10.0.0.1", None)]


def test_ipv6_address_types_must_all_hold() -> None:
    """xt_addrtype match_type6: UNICAST is a property of the address, LOCAL asks the table."""
    own = packet("fd00::1", "fd00::9")
    around = Nowhere("fd00::9")
    for condition, expected in (("UNICAST", True), ("LOCAL", True), ("UNICAST,LOCAL", True), ("MULTICAST", False)):
        spec = read_spec(f"-m addrtype --dst-type {condition}")
        c = context(own)
        c.around = around
        assert [match.test(c) for match in compile_matches(spec.matches)] == [expected], condition


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ("--mode random --probability 0.50000000000", Fraction(1, 2)),
        ("--mode random --probability 0.33333333349", Fraction(715827883, 2**31)),
        ("--mode random ! --probability 0.25000000000", Fraction(3, 4)),
        ("--mode nth --every 3 --packet 0", Fraction(1, 3)),
        ("--mode nth ! --every 4 --packet 1", Fraction(3, 4)),
    ],
)
def test_statistic_is_a_choice(words: str, share: Fraction) -> None:
    (match,) = compile_matches(read_spec(f"-m statistic {words}").matches)
    assert match.choice == share


def apply(target: str, mark: Mark = Mark(), ctmark: Mark = Mark(), tos: int = 0, one: Packet = FIRST) -> Context:
    spec = read_spec(target)
    kind, payload = compile_target(NetfilterRule("nft", 4, "mangle", "PREROUTING", 1, HERE, (), spec.target, spec.target_options))
    assert kind is TargetKind.CONTINUE and callable(payload)
    c = context(one)
    c.mark, c.ctmark, c.tos = mark, ctmark, tos
    assert payload(c) == ""
    return c


@pytest.mark.parametrize(
    ("target", "before", "after"),
    [
        ("-j MARK --set-xmark 0x1/0xff", 0xF0F, 0xF01), ("-j MARK --set-xmark 0x3/0x1", 0x2, 0x1),
        ("-j MARK --set-xmark 0x4/0x0", 0x6, 0x2), ("-j MARK --set-mark 0x10/0x1", 0x1, 0x10),
        ("-j MARK --set-mark 0x10/0x1", 0x11, 0x10), ("-j MARK --set-mark 7", 0xFF00, 7), ("-j MARK --and-mark 0xf0", 0xFF, 0xF0), ("-j MARK --or-mark 0x8", 0x1, 0x9),
        ("-j MARK --xor-mark 0x3", 0x1, 0x2),
    ],
)  # fmt: skip
def test_mark_targets(target: str, before: int, after: int) -> None:
    assert apply(target, Mark(before)).mark == Mark(after)
    assert apply(target.replace("MARK", "CONNMARK", 1), ctmark=Mark(before)).ctmark == Mark(after)
    assert apply(target.replace("MARK", "CONNMARK", 1), ctmark=Mark(before), one=UNTRACKED).ctmark == Mark(before)


def test_marks_become_known_where_they_are_set() -> None:
    assert apply("-j MARK --set-xmark 0x1/0xf", Mark(0, 0xFFFFFFF0)).mark == Mark(1)
    assert apply("-j MARK --set-xmark 0x10/0x0", Mark(0, 0xFFFFFFEF)).mark.known == 0xFFFFFFEF


def test_connmark_save_and_restore_use_both_masks() -> None:
    saved = apply("-j CONNMARK --save-mark --nfmask 0x3f --ctmask 0xf0", Mark(0xFF), Mark(0x105))
    assert saved.ctmark == Mark((0x105 & ~0xF0) ^ 0x3F)
    restored = apply("-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0x33", Mark(0xFF), Mark(0x3F))
    assert restored.mark == Mark((0xFF & ~0xF) ^ 0x33)
    assert apply("-j CONNMARK --restore-mark", Mark(0), Mark(0, 0xFFFF0000)).mark == Mark(0, 0xFFFF0000)


def test_header_rewriting() -> None:
    assert apply("-j DSCP --set-dscp 0x2e", tos=0x03).tos == 0xBB
    assert apply("-j DSCP --set-dscp-class AF11").tos == 0x28
    assert apply("-j TOS --set-tos 0x21/0xf0", tos=0xBB).tos == (0xBB & 0x0F) ^ 0x21
    assert apply("-j TTL --ttl-dec 10").packet.ttl == 54
    assert apply("-j TTL --ttl-set 3").packet.ttl == 3
    assert apply("-j CT --notrack", one=packet()).packet.ctstate == "UNTRACKED"
    assert apply("-j CT --zone 7", one=packet()).packet.ct_zone == 7
    assert apply("-j HMARK --hmark-tuple src --hmark-mod 4").mark.known == 0
    assert apply("-j NOTRACK", one=FIRST).packet.ctstate == "NEW"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("-j DNAT --to-destination 10.1.1.1:80", ("dst", "10.1.1.1", "10.1.1.1", 80, 80)),
        ("-j DNAT --to-destination [fd00::1]:80", ("dst", "fd00::1", "fd00::1", 80, 80)),
        ("-j DNAT --to-destination fd00::1", ("dst", "fd00::1", "fd00::1", None, None)),
        ("-j DNAT --to-destination 10.1.1.1-10.1.1.9:80-90", ("dst", "10.1.1.1", "10.1.1.9", 80, 90)),
        ("-j SNAT --to-source 10.1.1.1 --random-fully", ("src", "10.1.1.1", "10.1.1.1", None, None)),
        ("-j MASQUERADE --to-ports 1024-2000", ("src", "None", "None", 1024, 2000)),
        ("-j REDIRECT --to-ports 15001", ("dst", "None", "None", 15001, 15001)),
    ],
)
def test_nat_requests(target: str, expected: tuple[object, ...]) -> None:
    spec = read_spec(target)
    kind, request = compile_target(NetfilterRule("nft", 4, "nat", "x", 1, HERE, (), spec.target, spec.target_options))
    assert kind is TargetKind.NAT and isinstance(request, NatRequest)
    assert (request.kind, str(request.low), str(request.high), request.port_low, request.port_high) == expected
    assert request.random == ("random" in target)


def test_protocol_numbers_do_not_ask_this_machine() -> None:
    assert [protocol_number(name) for name in ("tcp", "ipencap", "4", "ipv6-icmp", "sctp", "what")] == [6, 4, 4, 58, 132, None]


def test_every_extension_says_how_far_it_goes() -> None:
    rows = model.rows()
    assert {row.kind for row in rows} == {"match", "target", "set", "netfilter"}
    for row in rows:
        assert row.support is not Support.UNRECOGNISED
        if row.support is Support.ANSWERS_UNKNOWN:
            assert row.note, row
    names = {extension.module for extension in match_extensions()} | {extension.name for extension in target_extensions()}
    assert {"set", "conntrack", "rpfilter", "statistic", "DNAT", "CT", "CONNMARK", "NFQUEUE"} <= names
    assert match_support(read_spec("-m nonsense --x 1").matches[0]) is Support.UNRECOGNISED


def test_matches_that_answer_unknown_accept_their_documented_options() -> None:
    for extension in match_extensions():
        if extension.support is Support.ANSWERS_UNKNOWN and extension.options:
            assert ask(f"-m {extension.module} --{extension.options[0]} 1", TCP) is None
