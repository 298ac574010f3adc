"""A thin reader of classic pcap files: one frame after the other, cut files read as far as they go.

Format: pcap-savefile(5). Link types Ethernet (1), Linux cooked v1 (113) and v2 (276), raw IP (101, 12).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
MAX_FRAME = 262_144


@dataclass(frozen=True, slots=True)
class Frame:
    """`number` counts from 1 as Wireshark does; `time` is seconds since the epoch; `data` what was captured."""

    number: int
    time: float
    data: bytes
    linktype: int


class NotPcap(ValueError):
    """The file does not start like a classic pcap file."""


def frames(data: bytes) -> Iterator[Frame]:
    """All whole frames of a pcap file. A record that is cut, or longer than any frame, ends the reading.

    Raises NotPcap when the first frame is asked for and the file is something else (pcapng among them).
    """
    known = MAGICS.get(data[:4])
    if known is None or len(data) < 24:
        raise NotPcap("not a classic pcap file")
    order, resolution = known
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    offset, number, size = 24, 0, len(data)
    while offset + 16 <= size:
        seconds, fraction, captured, _ = record.unpack_from(data, offset)
        offset += 16
        if captured > MAX_FRAME or offset + captured > size:
            return
        number += 1
        yield Frame(number, seconds + fraction / resolution, data[offset : offset + captured], linktype)
        offset += captured
