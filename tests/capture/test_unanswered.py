"""Attempts without an answer, from captures made by scapy."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lasthop.capture.unanswered import Attempts, unanswered
from lasthop.facts.snapshot import Capture

scapy = pytest.importorskip("scapy.all")


def packet(time: float, src: str, dst: str, sport: int, dport: int, flags: str) -> Any:
    made = scapy.Ether() / scapy.IP(src=src, dst=dst) / scapy.TCP(sport=sport, dport=dport, flags=flags)
    made.time = time
    return made


def attempts(tmp_path: Path, packets: list[Any]) -> tuple[Attempts, ...]:
    path = tmp_path / "a.pcap"
    scapy.wrpcap(str(path), packets)
    return unanswered([Capture("n", "host", "eth0", "a.pcap", 1)], lambda name: path.read_bytes())


def test_attempts_without_answer_are_counted_by_connection(tmp_path: Path) -> None:
    found = attempts(
        tmp_path,
        [
            packet(1.0, "10.0.0.1", "10.0.0.2", 4000, 80, "S"),
            packet(2.0, "10.0.0.1", "10.0.0.2", 4000, 80, "S"),
            packet(3.0, "10.0.0.1", "10.0.0.2", 4001, 80, "S"),
            packet(9.0, "10.0.0.9", "10.0.0.8", 1, 2, "A"),
        ],
    )
    assert found == (Attempts(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 80, 2),)


@pytest.mark.parametrize("flags", ["SA", "RA"])
def test_an_answered_flow_is_not_one(tmp_path: Path, flags: str) -> None:
    found = attempts(
        tmp_path,
        [
            packet(1.0, "10.0.0.1", "10.0.0.2", 4000, 80, "S"),
            packet(1.1, "10.0.0.2", "10.0.0.1", 80, 4000, flags),
            packet(9.0, "10.0.0.9", "10.0.0.8", 1, 2, "A"),
        ],
    )
    assert found == ()


def test_an_attempt_just_before_the_end_may_still_be_answered(tmp_path: Path) -> None:
    assert attempts(tmp_path, [packet(1.0, "10.0.0.1", "10.0.0.2", 4000, 80, "S")]) == ()
