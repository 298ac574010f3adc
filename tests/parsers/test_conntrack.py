"""conntrack(8) and /proc/net/nf_conntrack: expected values by hand."""

from __future__ import annotations

from ipaddress import ip_address

from lasthop.facts.netfilter import ConntrackEntry
from lasthop.parsers.conntrack import parse_conntrack


def one(line: str) -> ConntrackEntry:
    result = parse_conntrack(line + "\n", "c")
    assert not result.unparsed, result.unparsed
    (entry,) = result.values
    return entry


def test_extended_with_counters() -> None:
    entry = one(
        "ipv4     2 tcp      6 101 TIME_WAIT src=10.0.0.1 dst=10.96.0.1 sport=44022 dport=443 packets=7 bytes=588 "
        "src=10.0.0.5 dst=10.0.0.1 sport=6443 dport=44022 packets=5 bytes=612 [ASSURED] mark=65536 use=1"
    )
    assert (entry.proto, entry.family, entry.state, entry.timeout) == ("tcp", 4, "TIME_WAIT", 101)
    assert (entry.original.src, entry.original.dport) == (ip_address("10.0.0.1"), 443)
    assert (entry.reply.src, entry.reply.sport) == (ip_address("10.0.0.5"), 6443)
    assert (entry.packets, entry.bytes) == ((7, 5), (588, 612))
    assert (entry.status, entry.mark) == (frozenset({"ASSURED"}), 0x10000)


def test_plain_without_counters_unreplied() -> None:
    entry = one(
        "tcp      6 107 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 "
        "sport=2 dport=1 mark=0 use=1"
    )
    assert (entry.state, entry.status, entry.packets, entry.family) == ("SYN_SENT", frozenset({"UNREPLIED"}), None, 4)


def test_udp_has_no_state() -> None:
    entry = one(
        "udp      17 17 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=53 src=10.0.0.2 dst=10.0.0.1 sport=53 dport=1 use=1"
    )
    assert (entry.state, entry.timeout) == ("", 17)


def test_icmp_and_icmpv6() -> None:
    entry = one(
        "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 mark=0 use=1"  # noqa: E501
    )
    assert (entry.original.icmp, entry.reply.icmp, entry.original.sport) == ((8, 0, 77), (0, 0, 77), None)
    six = one(
        "ipv6     10 icmpv6   58 29 src=fe80::1 dst=fe80::2 type=128 code=0 id=5 [UNREPLIED] src=fe80::2 dst=fe80::1 "
        "type=129 code=0 id=5 mark=0 use=1"
    )
    assert (six.family, six.proto) == (6, "icmpv6")


def test_unknown_protocol_is_named_by_its_number() -> None:
    assert one("unknown  4 597 src=10.0.0.1 dst=10.0.0.2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 use=1").proto == "4"
    entry = one(
        "ipv4     2 unknown  112 599 src=10.0.0.1 dst=224.0.0.18 [UNREPLIED] src=224.0.0.18 dst=10.0.0.1 mark=0 use=2"
    )
    assert (entry.proto, entry.original.sport) == ("112", None)


def test_gre_keys_and_sctp_states() -> None:
    entry = one(
        "gre      47 179 timeout=30, stream_timeout=180 src=10.0.0.1 dst=10.0.0.2 srckey=0x0 dstkey=0x0 src=10.0.0.2 "
        "dst=10.0.0.1 srckey=0x0 dstkey=0x0 [ASSURED] use=1"
    )
    assert entry.proto == "gre"
    sctp = one(
        "sctp     132 3 COOKIE_WAIT src=10.0.0.1 dst=10.0.0.2 sport=5 dport=6 src=10.0.0.2 dst=10.0.0.1 sport=6 dport=5"
    )
    assert sctp.state == "COOKIE_WAIT"


def test_offload_has_no_timeout() -> None:
    entry = one(
        "ipv4     2 tcp      6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 "
        "[OFFLOAD] mark=0 zone=0 use=2"
    )
    assert (entry.timeout, entry.status) == (None, frozenset({"OFFLOAD"}))
    assert "HW_OFFLOAD" in one("tcp 6 src=1.1.1.1 dst=1.1.1.2 src=1.1.1.2 dst=1.1.1.1 [HW_OFFLOAD] use=2").status


def test_zones_secctx_helper_timestamps_id() -> None:
    entry = one(
        "tcp      6 5 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=21 zone-orig=3 src=10.0.0.2 dst=10.0.0.1 sport=21 "  # noqa: E501
        "dport=1 zone-reply=4 [ASSURED] mark=1 secctx=system_u:object_r:x zone=2 delta-time=5 [start=Mon] [stop=Tue] "
        "helper=ftp use=1 id=77"
    )
    assert (entry.zone, entry.zone_orig, entry.zone_reply, entry.mark) == (2, 3, 4, 1)


def test_events_and_time_stamps() -> None:
    entry = one(
        "[1700000000.123456]\t    [NEW] tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] "
        "src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
    )
    assert entry.status == {"NEW", "UNREPLIED"}
    gone = one("[DESTROY] tcp 6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1")
    assert (gone.status, gone.timeout) == (frozenset({"DESTROY"}), None)


def test_footer_is_not_data() -> None:
    result = parse_conntrack("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.\n", "c")
    assert (result.lines, result.unparsed) == (0, ())


def test_strange_lines_are_counted() -> None:
    text = (
        "tcp 6 5 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2\n"  # one tuple only
        "udp 6 5 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1\n"  # name and number differ
        "tcp 6 5 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=x dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1\n"
        "tcp 6 5 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 wat=5\n"  # noqa: E501
        "[weird] tcp 6\n"
        "x\n"
    )
    result = parse_conntrack(text, "c")
    assert (result.values, result.lines, len(result.unparsed)) == ((), 6, 6)
