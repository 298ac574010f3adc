"""The innermost packet of a frame, against frames that scapy builds."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from lasthop.capture.decode import Seen, decode
from lasthop.capture.pcap import Frame

scapy: Any = pytest.importorskip("scapy.all")
# ruff: noqa: E402
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, CookedLinux, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

INNER = Ether(src="0a:00:00:00:01:02", dst="66:00:00:00:00:02") / IP(src="10.244.1.2", dst="10.244.2.2", id=7)
OUTER = Ether(src="02:00:00:00:00:11", dst="02:00:00:00:00:12") / IP(src="192.0.2.11", dst="192.0.2.12")
SYN = TCP(sport=40000, dport=80, flags="S", seq=1000)


def seen(packet: Any, linktype: int = 1, cut: int | None = None) -> Seen | None:
    return decode(Frame(1, 5.0, bytes(packet)[:cut], linktype))


def flow(found: Seen | None) -> tuple[str, str, str, int | None, int | None]:
    assert found is not None
    return found.proto, str(ip_address(found.src)), str(ip_address(found.dst)), found.sport, found.dport


WANTED = ("tcp", "10.244.1.2", "10.244.2.2", 40000, 80)


def test_plain_tcp() -> None:
    found = seen(INNER / SYN)
    assert flow(found) == WANTED and found is not None
    assert (found.flags, found.seq, found.payload, found.length, found.tunnel) == (0x02, 1000, 0, 40, "")
    assert found.dst_mac == "66:00:00:00:00:02"


def test_payload_is_counted_without_ethernet_padding() -> None:
    found = seen(
        bytes(INNER / TCP(sport=40000, dport=80, flags="PA", options=[("NOP", None)] * 4) / b"hello") + b"\0" * 9
    )
    assert found is not None and (found.payload, found.length) == (5, 20 + 24 + 5)


@pytest.mark.parametrize("tag", [Dot1Q(vlan=5), Dot1AD(vlan=5) / Dot1Q(vlan=6)])
def test_vlan_tags_are_looked_through(tag: Any) -> None:
    packet = Ether(dst="02:00:00:00:00:12") / tag / IP(src="10.244.1.2", dst="10.244.2.2") / SYN
    assert flow(seen(packet)) == WANTED


@pytest.mark.parametrize("port", [4789, 8472])
def test_vxlan_gives_the_inner_packet_and_the_outer_mac(port: int) -> None:
    packet = OUTER / UDP(sport=50000, dport=port) / VXLAN(vni=4096, flags=8) / INNER / SYN
    found = seen(packet)
    assert flow(found) == WANTED and found is not None
    assert (found.tunnel, found.dst_mac) == ("vxlan", "02:00:00:00:00:12")


def test_ipip() -> None:
    found = seen(OUTER / IP(src="10.244.1.2", dst="10.244.2.2") / SYN)
    assert flow(found) == WANTED and found is not None and found.tunnel == "ipip"


def test_other_udp_is_no_tunnel() -> None:
    assert flow(seen(OUTER / UDP(sport=4789, dport=53) / (b"x" * 60))) == ("udp", "192.0.2.11", "192.0.2.12", 4789, 53)


def test_cooked_and_raw_captures() -> None:
    body = IP(src="10.244.1.2", dst="10.244.2.2") / SYN
    assert flow(seen(CookedLinux(proto=0x0800) / body, 113)) == WANTED
    sll2 = b"\x08\x00" + b"\0" * 18 + bytes(body)
    assert flow(seen(sll2, 276)) == WANTED
    assert flow(seen(body, 101)) == WANTED


def test_ipv6() -> None:
    packet = Ether() / IPv6(src="fd00:1::2", dst="fd00:2::2") / SYN
    assert flow(seen(packet)) == ("tcp", "fd00:1::2", "fd00:2::2", 40000, 80)
    found = seen(Ether() / IPv6(src="fd00:1::2", dst="fd00:2::2") / ICMPv6EchoRequest(id=9))
    assert found is not None and (found.proto, found.sport, found.icmp_type) == ("icmpv6", 9, 128)
    assert flow(seen(IPv6(src="fd00:1::2", dst="fd00:2::2") / SYN, 101)) == ("tcp", "fd00:1::2", "fd00:2::2", 40000, 80)


def test_echo_is_known_by_its_id() -> None:
    found = seen(INNER / ICMP(type=8, id=77))
    assert found is not None and (found.proto, found.sport, found.dport, found.icmp_type) == ("icmp", 77, 77, 8)


def test_later_fragments_have_no_ports() -> None:
    packet = Ether() / IP(src="10.244.1.2", dst="10.244.2.2", frag=100, proto=6) / (b"x" * 40)
    assert flow(seen(packet)) == ("tcp", "10.244.1.2", "10.244.2.2", None, None)


def test_what_is_not_ip_or_is_cut() -> None:
    assert seen(Ether() / ARP()) is None
    assert seen(INNER / SYN, cut=13) is None
    assert seen(INNER / SYN, cut=30) is None
    assert seen(INNER / SYN, linktype=105) is None
    assert flow(seen(INNER / SYN, cut=34))[3:] == (None, None)
