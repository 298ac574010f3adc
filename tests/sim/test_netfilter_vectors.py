"""What real kernels did with packets and rules, judged again without root (tests/oracle/vectors.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.vectors import FOLDER, parse_packet, replay

VECTORS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_kernel_did_the_same(path: Path) -> None:
    result = replay(path)
    assert [str(difference) for difference in result.differences] == []
    assert result.unknown == 0


def test_the_vectors_are_there() -> None:
    assert len(VECTORS) >= 80


@pytest.mark.parametrize("spoil", [("[1:60] -A ", "[2:120] -A "), ("where=eth0", "where=eth1"), ("ttl=63", "ttl=62")])
def test_a_vector_with_another_outcome_fails(tmp_path: Path, spoil: tuple[str, str]) -> None:
    """The judge sees a wrong counter, a wrong way out and a wrong header."""
    text = (FOLDER / "known-mark-mask-nft.txt").read_text()
    head, kernel, tail = text.partition("== kernel")
    if spoil[0].startswith("["):
        head = head.replace(*spoil, 1)
    else:
        tail = tail.replace(*spoil)
    changed = head + kernel + tail
    assert changed != text
    spoiled = tmp_path / "spoiled.txt"
    spoiled.write_text(changed)
    assert replay(spoiled).differences


def test_a_packet_line_names_every_field() -> None:
    packet = parse_packet(
        "family=4 proto=icmp src=10.0.0.1 dst=10.0.0.2 icmp_type=3 icmp_code=3 "
        "quoted family=4 proto=udp src=10.0.0.2 dst=10.0.0.1 sport=7 dport=9"
    )
    assert packet.quoted is not None and packet.quoted.dport == 9 and packet.icmp_type == 3
