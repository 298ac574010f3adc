"""Connection attempts that a capture saw go out and saw no answer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from lasthop.facts.network import Ip
from lasthop.facts.snapshot import Capture

from .decode import decode
from .pcap import NotPcap, frames

MAX_FRAMES = 200_000
SYN, ACK = 0x02, 0x10
"""Bits of the TCP flags."""
MARGIN = 1.0
"""Seconds before the end of a capture in which an attempt may still be waiting for its answer."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """`count` connections (client ports) from `src` to `dst` without a SYN-ACK or RST in the capture that saw them."""

    src: Ip
    dst: Ip
    port: int
    count: int


def unanswered(captures: Iterable[Capture], read: Callable[[str], bytes]) -> tuple[Attempts, ...]:
    """Most attempts first. A flow of which any attempt was answered in the same capture is left out."""
    found: dict[tuple[bytes, bytes, int], int] = {}
    for capture in captures:
        for key, count in _of(read(capture.path)).items():
            found[key] = max(found.get(key, 0), count)
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return tuple(Attempts(ip_address(src), ip_address(dst), port, count) for (src, dst, port), count in ranked)


def _of(data: bytes) -> dict[tuple[bytes, bytes, int], int]:
    begun: dict[tuple[bytes, bytes, int, int], float] = {}
    answered: set[tuple[bytes, bytes, int]] = set()
    last = 0.0
    try:
        for frame in frames(data, limit=MAX_FRAMES):
            last = frame.time
            seen = decode(frame)
            if seen is None or seen.proto != "tcp" or seen.sport is None or seen.dport is None:
                continue
            if seen.flags & SYN and not seen.flags & ACK:
                begun.setdefault((seen.src, seen.dst, seen.dport, seen.sport), frame.time)
            else:
                answered.add((seen.dst, seen.src, seen.sport))
    except NotPcap:
        return {}
    counts: dict[tuple[bytes, bytes, int], int] = {}
    for (src, dst, port, _), time in begun.items():
        if (src, dst, port) not in answered and time <= last - MARGIN:
            counts[(src, dst, port)] = counts.get((src, dst, port), 0) + 1
    return counts
