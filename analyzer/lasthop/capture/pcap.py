"""A thin reader of classic pcap files: one frame after the other, cut files read as far as they go.

Format: pcap-savefile(5). Link types Ethernet (1), Linux cooked v1 (113) and v2 (276), raw IP (101, 12).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
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


@dataclass(slots=True)
class End:
    """How the reading ended: `whole` when the file's last byte was the last of a record."""

    whole: bool = False


def frames(
    data: bytes, needles: Iterable[bytes] = (), limit: int | None = None, end: End | None = None
) -> Iterator[Frame]:
    """The whole frames of a pcap file: all of them, or with `needles` the first, the last and every one that may
    hold one of those bytes. A record that is cut, or longer than any frame, ends the reading; so do `limit` frames.
    `end` is told how it ended.

    Raises NotPcap when the first frame is asked for and the file is something else (pcapng among them).
    """
    known = MAGICS.get(data[:4])
    if known is None or len(data) < 24:
        raise NotPcap("not a classic pcap file")
    order, resolution = known
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    stamp, length_at = struct.Struct(order + "II").unpack_from, struct.Struct(order + "I").unpack_from

    def frame(number: int, begin: int, end: int) -> Frame:
        seconds, fraction = stamp(data, begin)
        return Frame(number, seconds + fraction / resolution, data[begin + 16 : end], linktype)

    every = not needles
    hits = iter(_places(data, needles))
    hit = next(hits, len(data))
    offset, number, size, skipped = 24, 0, len(data), -1
    while offset + 16 <= size and number != limit:
        (captured,) = length_at(data, offset + 8)
        after = offset + 16 + captured
        if captured > MAX_FRAME or after > size:
            break
        number += 1
        while hit < offset + 16:
            hit = next(hits, size)
        if every or hit < after or number == 1:
            yield frame(number, offset, after)
            skipped = -1
        else:
            skipped = offset
        offset = after
    if end is not None:
        end.whole = offset == size
    if skipped >= 0:
        yield frame(number, skipped, offset)


def _places(data: bytes, needles: Iterable[bytes]) -> list[int]:
    """Where the needles begin in the file, sorted: a search over the whole is far cheaper than one per frame."""
    found = []
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            found.append(at)
            at = data.find(needle, at + 1)
    return sorted(found)
