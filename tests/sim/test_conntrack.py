"""Lookup, states and confirmation. The handshake vectors hold what the kernel says; here is what they cannot reach."""

# ruff: noqa: E501 - tables read best as one line

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lasthop.facts.evidence import NOT_COLLECTED, Complete, Partial
from lasthop.facts.netfilter import ConntrackEntry, ConntrackTuple
from lasthop.facts.network import Sysctl
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Mark, Packet
from lasthop.sim.conntrack import ConntrackTable, connection_of, evidence_gap, flags_index, invert, valid_flags
from lasthop.sim.tcp_states import next_state

from .ruletext import HERE, packet

A, B, VIP, NODE = (ip_address(text) for text in ("10.0.0.1", "10.1.0.1", "10.96.0.1", "192.0.2.1"))


def entry(**fields: object) -> ConntrackEntry:
    base = ConntrackEntry("tcp", ConntrackTuple(A, VIP, 40000, 80), ConntrackTuple(B, NODE, 8080, 40000), HERE, "SYN_SENT",
                          frozenset({"UNREPLIED"}), mark=5)  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


def table(*entries: ConntrackEntry, **sysctls: str) -> ConntrackTable:
    values = tuple(Sysctl(f"net.netfilter.nf_conntrack_{name}", value, HERE) for name, value in sysctls.items())
    return ConntrackTable.of(NetNS("n", conntrack=Complete(entries), sysctls=Complete(values)))


def back(flags: str, **fields: object) -> Packet:
    return packet("10.1.0.1", "192.0.2.1", sport=8080, dport=40000, tcp_flags=frozenset(flags.split(",")), **fields)


FORTH = packet("10.0.0.1", "10.96.0.1")


def test_a_dump_entry_knows_its_translations() -> None:
    assert {"SNAT", "DNAT"} <= connection_of(entry()).status
    assert "SEEN_REPLY" not in connection_of(entry()).status
    plain = connection_of(entry(reply=ConntrackTuple(VIP, A, 80, 40000), status=frozenset({"ASSURED"})))
    assert plain.status & {"SNAT", "DNAT", "SEEN_REPLY", "ASSURED"} == {"SEEN_REPLY", "ASSURED"}
    moved_port = connection_of(entry(reply=ConntrackTuple(VIP, A, 80, 40001)))
    assert plain.status & {"SNAT"} == frozenset() and "SNAT" in moved_port.status and "DNAT" not in moved_port.status


def test_both_directions_of_an_old_entry_are_found() -> None:
    ours = table(entry())
    forth = ours.lookup(FORTH)
    assert (forth.packet.ctstate, forth.packet.ctdir, forth.packet.ctmark) == ("NEW", "original", Mark(5))
    answer = ours.lookup(back("SYN,ACK"))
    assert (answer.packet.ctstate, answer.packet.ctdir) == ("ESTABLISHED", "reply")
    assert answer.connection is not None and answer.connection.source == (HERE,)
    again = answer.table.lookup(replace(FORTH, tcp_flags=frozenset({"ACK"})))
    assert again.packet.ctstate == "ESTABLISHED" and "SEEN_REPLY" in again.packet.ctstatus


def test_the_table_is_a_value() -> None:
    ours = table()
    found = ours.lookup(FORTH)
    kept = ours.confirm(found.packet)
    assert ours.lookup(back("SYN,ACK")).packet.ctstate == "INVALID"
    assert kept != ours and kept == ours.confirm(found.packet) and hash(kept) == hash(ours.confirm(found.packet))


def test_a_packet_that_was_not_confirmed_leaves_nothing() -> None:
    ours = table()
    answer = packet("10.96.0.1", "10.0.0.1", sport=80, dport=40000, tcp_flags=frozenset({"SYN", "ACK"}))
    assert ours.lookup(FORTH).table.lookup(answer).packet.ctstate == "INVALID"
    assert ours.confirm(ours.lookup(FORTH).packet).lookup(answer).packet.ctstate == "ESTABLISHED"


@pytest.mark.parametrize(("loose", "state"), [("1", "NEW"), ("0", "INVALID")])
def test_mid_stream(loose: str, state: str) -> None:
    ack = replace(FORTH, tcp_flags=frozenset({"ACK"}))
    assert table(tcp_loose=loose).lookup(ack).packet.ctstate == state
    assert "not collected" in table().lookup(ack).note


def test_zones_are_apart() -> None:
    ours = table(entry(zone=4))
    assert ours.lookup(FORTH).note == "new connection"
    assert ours.lookup(replace(FORTH, ct_zone=4)).note == "entry of the dump"


def test_untracked_and_already_known_packets_are_left_alone() -> None:
    ours = table(entry())
    assert ours.lookup(replace(FORTH, ctstate="UNTRACKED")).packet.ctstate == "UNTRACKED"
    looped = ours.lookup(FORTH).packet
    assert ours.lookup(looped).packet is looped


def test_a_closed_connection_is_reopened_by_a_syn() -> None:
    closed = table(entry(state="TIME_WAIT", status=frozenset({"ASSURED"})))
    found = closed.lookup(FORTH)
    assert found.note == "new connection" and found.packet.ctstate == "NEW" and found.packet.ctstatus == frozenset()


@pytest.mark.parametrize(("count", "full"), [("99", False), ("100", True), ("101", True)])
def test_full(count: str, full: bool) -> None:
    ours = table(entry(), count=count, max="100")
    assert ours.lookup(packet()).full is full
    assert ours.lookup(FORTH).full is False, "a known connection needs no room"


def test_neighbour_discovery_is_not_tracked() -> None:
    solicit = packet("fd00::1", "fd00::2", proto="icmpv6", sport=None, dport=None, tcp_flags=frozenset(), icmp_type=135, icmp_code=0)
    assert table().lookup(solicit).packet.ctstate == "UNTRACKED"
    assert table().lookup(replace(solicit, icmp_type=128)).packet.ctstate == "NEW"
    assert table().lookup(replace(solicit, icmp_type=129)).packet.ctstate == "INVALID"


def test_an_error_must_come_to_the_sender_of_what_it_quotes() -> None:
    ours = table(entry())
    error = packet("10.9.9.9", "192.0.2.1", proto="icmp", sport=None, dport=None, tcp_flags=frozenset(), icmp_type=3, icmp_code=1,
                   quoted=packet("192.0.2.1", "10.1.0.1", sport=40000, dport=8080))  # fmt: skip
    related = ours.lookup(error)
    assert (related.packet.ctstate, related.packet.ctdir) == ("RELATED", "reply")
    assert ours.lookup(replace(error, dst=NODE, src=B, quoted=None)).packet.ctstate == "INVALID"
    assert ours.lookup(replace(error, dst=A)).packet.ctstate == "INVALID"


def test_flags() -> None:
    assert [flags_index(frozenset(text.split(","))) for text in ("SYN", "SYN,ACK", "FIN,ACK", "ACK", "RST,ACK", "PSH")] == [
        "SYN", "SYN-ACK", "FIN", "ACK", "RST", "none",
    ]  # fmt: skip
    assert valid_flags(frozenset({"ACK", "PSH", "ECE"})) and not valid_flags(frozenset({"SYN", "FIN"}))
    assert not valid_flags(frozenset())


@pytest.mark.parametrize(
    ("state", "index", "reply", "expected"),
    [
        ("NONE", "SYN", False, "SYN_SENT"), ("SYN_SENT", "SYN-ACK", True, "SYN_RECV"), ("SYN_RECV", "ACK", False, "ESTABLISHED"),
        ("ESTABLISHED", "SYN", False, "IGNORE"), ("ESTABLISHED", "SYN", True, "INVALID"), ("SYN_SENT", "ACK", False, "INVALID"),
        ("SYN_SENT", "ACK", True, "IGNORE"), ("FIN_WAIT", "ACK", True, "CLOSE_WAIT"), ("LAST_ACK", "ACK", False, "TIME_WAIT"),
        ("ESTABLISHED", "RST", True, "CLOSE"), ("SYN_SENT", "SYN", True, "SYN_SENT2"),
    ],
)  # fmt: skip
def test_state_table(state: str, index: str, reply: bool, expected: str) -> None:
    """Cells of tcp_conntracks in nf_conntrack_proto_tcp.c."""
    assert next_state(state, index, reply) == expected


def test_inverse_tuples() -> None:
    assert invert(6, (A, B, 1, 2)) == (B, A, 2, 1)
    assert invert(1, (A, B, 7, 8 << 8)) == (B, A, 7, 0)
    assert invert(1, (A, B, 7, 3 << 8)) is None


def test_gaps_are_sentences() -> None:
    assert evidence_gap(NetNS("n", conntrack=Complete(()))) == ""
    assert "not collected" in evidence_gap(NetNS("n", conntrack=NOT_COLLECTED))
    assert "cut" in evidence_gap(NetNS("n", conntrack=Partial((), "cut at 1 MB")))
