"""The pcap reader: byte orders, resolutions, cut files (pcap-savefile(5))."""

from __future__ import annotations

import struct

import pytest

from lasthop.capture.pcap import End, NotPcap, frames

FRAMES = [b"\x01" * 60, b"\x02" * 14, b"\x03" * 100]


def pcap(
    bodies: list[bytes], order: str = "<", magic: int = 0xA1B2C3D4, linktype: int = 1, times: list[float] | None = None
) -> bytes:
    unit = 1_000_000_000 if magic == 0xA1B23C4D else 1_000_000
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, linktype)
    for index, body in enumerate(bodies):
        when = times[index] if times else 1000.5 + index
        out += struct.pack(order + "IIII", int(when), round(when % 1 * unit), len(body), len(body)) + body
    return out


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_byte_orders_and_resolutions(order: str, magic: int) -> None:
    found = list(frames(pcap(FRAMES, order, magic)))
    assert [frame.number for frame in found] == [1, 2, 3]
    assert [frame.time for frame in found] == [1000.5, 1001.5, 1002.5]
    assert [frame.data for frame in found] == FRAMES


def test_a_cut_file_gives_its_whole_frames_and_says_so() -> None:
    data = pcap(FRAMES)
    for cut in (1, 50, 100, 110):
        end = End()
        assert [frame.number for frame in frames(data[:-cut], end=end)] == [1, 2]
        assert not end.whole
    end = End()
    assert len(list(frames(data, end=end))) == 3 and end.whole
    assert len(list(frames(data, limit=2, end=end))) == 2 and not end.whole


def test_a_record_longer_than_any_frame_ends_the_reading() -> None:
    data = pcap(FRAMES[:1]) + struct.pack("<IIII", 1, 0, 0x7FFFFFFF, 0x7FFFFFFF) + b"x" * 100
    assert len(list(frames(data))) == 1


def test_needles_pick_frames_and_keep_their_numbers() -> None:
    bodies = [b"a" * 20, b"b" * 20, b"xxneedlexx", b"c" * 20, b"d" * 20]
    assert [frame.number for frame in frames(pcap(bodies), [b"needle"])] == [1, 3, 5]


def test_a_needle_across_two_frames_is_none() -> None:
    bodies = [b"a" * 20, b"b" * 20 + b"nee", b"dle" + b"c" * 20, b"d" * 20]
    assert [frame.number for frame in frames(pcap(bodies), [b"needle"])] == [1, 4]


@pytest.mark.parametrize(
    "data", [b"", b"\x0a\x0d\x0d\x0a" + b"\0" * 40, b"\xd4\xc3\xb2\xa1" + b"\0" * 10, b"hello" * 9]
)
def test_what_is_no_pcap(data: bytes) -> None:
    with pytest.raises(NotPcap):
        list(frames(data))


def test_an_empty_capture_is_whole() -> None:
    end = End()
    assert list(frames(pcap([]), end=end)) == [] and end.whole


def test_needles_keep_the_first_the_last_and_what_holds_one() -> None:
    bodies = [b"first---", b"nothing-", b"a needle", b"nothing-", b"neednot-", b"last----"]
    records = b"".join(struct.pack("<IIII", 100 + n, 0, 8, 8) + body for n, body in enumerate(bodies))
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + records
    assert [frame.number for frame in frames(data, [b"needle", b"absent"])] == [1, 3, 6]
    assert [frame.time for frame in frames(data, [b"needle"], 4)] == [100.0, 102.0, 103.0]
    assert [frame.number for frame in frames(data[:-1], [b"absent"])] == [1, 5]
    assert len(list(frames(data))) == 6
