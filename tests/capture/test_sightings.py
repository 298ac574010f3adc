"""Seen, provably not seen, and neither: what captures say of a flow's tries."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from lasthop.capture.sightings import Point, Tracks, Variant
from lasthop.facts.snapshot import Capture
from lasthop.facts.trace import Sighting

from .test_pcap import pcap

A, B, VIP = (ip_address(text) for text in ("10.244.1.2", "10.244.2.2", "10.96.0.10"))
FLOW = Variant(A, B, 80)
MAC1, MAC2, STRAY = "02:00:00:00:00:11", "02:00:00:00:00:12", "02:00:00:00:00:99"
LEFT = Point("n1", "host", "eth0", "request", 2, "")
RIGHT = Point("n2", "host", "eth0", "request", 4, MAC2)


def frame(
    src: str = "10.244.1.2",
    dst: str = "10.244.2.2",
    sport: int = 40000,
    dport: int = 80,
    flags: int = 2,
    seq: int = 1000,
    payload: int = 0,
    mac: str = MAC2,
) -> bytes:
    """Ethernet, IPv4 and TCP by hand (RFC 791, RFC 9293); checksums are nobody's business here."""
    ip = (
        struct.pack(">BBHHHBBH", 0x45, 0, 40 + payload, 1, 0x4000, 63, 6, 0)
        + ip_address(src).packed
        + ip_address(dst).packed
    )
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 65535, 0, 0)
    return bytes.fromhex(mac.replace(":", "")) + b"\x02" * 6 + b"\x08\x00" + ip + tcp + b"x" * payload


NOISE = frame("192.0.2.5", "192.0.2.6", 1, 2)


class Files:
    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.captures: list[Capture] = []

    def add(self, node: str, frames: list[tuple[float, bytes]], **fields: Any) -> None:
        path = f"{node}.pcap"
        self.data[path] = pcap([body for _, body in frames], times=[time for time, _ in frames])
        base = Capture(node, "host", "eth0", path, len(self.data[path]), start=0.0, end=100.0)
        self.captures.append(replace(base, **fields))

    def ask(self, *variants: Variant, points: tuple[Point, ...] = (LEFT, RIGHT)) -> tuple[Sighting, ...]:
        looks = variants or (FLOW,)
        tracks = Tracks(self.captures, self.data.__getitem__, "tcp", looks, points)
        return tracks.sightings(looks, points)


def said(found: tuple[Sighting, ...]) -> list[tuple[str, bool]]:
    return [(one.node, one.seen) for one in found]


def test_seen_on_both_sides() -> None:
    files = Files()
    files.add("n1", [(1.0, NOISE), (10.0, frame()), (12.0, frame())])
    files.add("n2", [(10.1, frame())])
    found = files.ask()
    assert said(found) == [("n1", True), ("n2", True)]
    assert found[0].frames == (2, 3) and found[0].first_time == 10.0 and found[0].attempt == 40000
    assert all(one.received for one in found)


def test_not_seen_is_proved_by_a_capture_of_that_time() -> None:
    files = Files()
    files.add("n1", [(10.0, frame())])
    files.add("n2", [(1.0, NOISE)])
    assert said(files.ask()) == [("n1", True), ("n2", False)]


def test_a_capture_that_proves_nothing() -> None:
    for change in ({"end": 9.0}, {"start": 11.0}, {"kernel_drops": 3}, {"known_place": False}, {"end": 10.5}):
        files = Files()
        files.add("n1", [(10.0, frame())])
        files.add("n2", [(1.0, NOISE)], **change)
        assert said(files.ask()) == [("n1", True)], change


def test_a_cut_file_proves_nothing_after_its_cut() -> None:
    files = Files()
    files.add("n1", [(10.0, frame())])
    files.add("n2", [(1.0, NOISE), (50.0, NOISE)])
    files.data["n2.pcap"] = files.data["n2.pcap"][:-5]
    assert said(files.ask()) == [("n1", True)]


def test_without_metadata_own_frames_enclose_the_try() -> None:
    for times, expected in (([1.0, 20.0], [("n1", True), ("n2", False)]), ([1.0, 2.0], [("n1", True)])):
        files = Files()
        files.add("n1", [(10.0, frame())])
        files.add("n2", [(time, NOISE) for time in times], start=None, end=None)
        assert said(files.ask()) == expected


def test_a_frame_for_another_mac_is_seen_but_not_received() -> None:
    files = Files()
    files.add("n2", [(10.0, frame(mac=STRAY))])
    (found,) = files.ask()
    assert found.seen and not found.received and STRAY in found.note


def test_tries_are_told_apart_by_the_clients_port() -> None:
    files = Files()
    files.add("n1", [(10.0, frame(sport=40000)), (20.0, frame(sport=40001))])
    files.add("n2", [(10.0, frame(sport=40000))])
    found = {(one.node, one.attempt): one.seen for one in files.ask()}
    assert found == {("n1", 40000): True, ("n2", 40000): True, ("n1", 40001): True, ("n2", 40001): False}


def test_other_ports_and_other_addresses_are_other_flows() -> None:
    files = Files()
    files.add("n1", [(10.0, frame(dport=81)), (11.0, frame(dst="10.244.2.3"))])
    assert files.ask() == ()


def test_the_flow_before_and_after_nat_is_one() -> None:
    files = Files()
    files.add("n1", [(10.0, frame(dst="10.96.0.10"))])
    files.add("n2", [(10.0, frame())])
    assert said(files.ask(Variant(A, VIP, 80), FLOW)) == [("n1", True), ("n2", True)]


def test_answers_are_looked_for_the_other_way_round() -> None:
    files = Files()
    back = Point("n1", "host", "eth0", "reply", 8, MAC1)
    files.add("n1", [(10.0, frame()), (10.2, frame("10.244.2.2", "10.244.1.2", 80, 40000, 0x12, mac=MAC1))])
    (found,) = files.ask(points=(back,))
    assert found.direction == "reply" and found.seen and found.received and found.frames == (2,)


def test_repeated_data_that_never_arrives() -> None:
    files = Files()
    large = frame(flags=0x18, seq=1001, payload=1400)
    small = frame(flags=0x18, seq=1001 + 1400, payload=10)
    files.add("n1", [(10.0, frame()), (10.1, large), (10.4, large), (11.0, large), (11.1, small)])
    files.add("n2", [(10.0, frame()), (11.1, small)])
    lost = [one for one in files.ask() if one.packet == "full-size"]
    assert said(tuple(lost)) == [("n1", True), ("n2", False)]
    assert lost[0].frames == (2, 3, 4) and lost[0].note == "3 times 1440 bytes; up to 50 bytes pass"


def test_data_in_other_pieces_did_arrive() -> None:
    """One large frame at the sender may be several at the receiver (segmentation offload)."""
    files = Files()
    large = frame(flags=0x18, seq=1001, payload=1400)
    files.add("n1", [(10.0, frame()), (10.1, large), (10.4, large)])
    files.add(
        "n2",
        [
            (10.0, frame()),
            (10.1, frame(flags=0x18, seq=1001, payload=700)),
            (10.1, frame(flags=0x18, seq=1701, payload=700)),
        ],
    )
    assert [one for one in files.ask() if one.packet == "full-size"] == []


def test_a_file_that_is_no_pcap_says_nothing() -> None:
    files = Files()
    files.add("n1", [(10.0, frame())])
    files.add("n2", [])
    files.data["n2.pcap"] = b"not a capture"
    assert said(files.ask()) == [("n1", True)]


def test_a_masqueraded_try_is_seen_under_another_port_at_its_time() -> None:
    node = ip_address("192.0.2.11")
    for when, expected in ((10.1, [("n1", True), ("n2", True)]), (60.0, [("n1", True), ("n2", False)])):
        files = Files()
        files.add("n1", [(10.0, frame(sport=40000))])
        files.add("n2", [(when, frame("192.0.2.11", sport=52000))])
        found = [one for one in files.ask(FLOW, Variant(node, B, 80)) if one.attempt == 40000]
        assert said(tuple(found)) == expected
