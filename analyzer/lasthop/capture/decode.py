"""From a frame to the innermost IPv4 or IPv6 packet: Ethernet, VLAN, cooked, VXLAN and IPIP are looked through."""

from __future__ import annotations

from dataclasses import dataclass

from .pcap import Frame

VXLAN_PORTS = frozenset({4789, 8472})
IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TYPES = frozenset({0x8100, 0x88A8})
PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6", 132: "sctp"}


@dataclass(frozen=True, slots=True)
class Seen:
    """The innermost packet of a frame. `tunnel` is "", "vxlan" or "ipip"; `dst_mac` the outermost frame's.

    Addresses are packed bytes (4 or 16). Ports are the ICMP id for echo messages; None beyond the snap length.
    """

    number: int
    time: float
    proto: str
    src: bytes
    dst: bytes
    sport: int | None = None
    dport: int | None = None
    flags: int = 0
    seq: int | None = None
    tunnel: str = ""
    dst_mac: str = ""
    icmp_type: int | None = None
    length: int = 0
    """The innermost packet's own length in bytes (IP total length; IPv6: header included)."""
    payload: int = 0
    """TCP payload bytes."""


def decode(frame: Frame) -> Seen | None:
    """None for what is not IP, or is cut before its addresses."""
    data = frame.data
    mac = ""
    if frame.linktype == 1:
        if len(data) < 14:
            return None
        mac = data[:6].hex(":")
        kind, offset = int.from_bytes(data[12:14]), 14
        while kind in VLAN_TYPES and len(data) >= offset + 4:
            kind, offset = int.from_bytes(data[offset + 2 : offset + 4]), offset + 4
    elif frame.linktype == 113:
        kind, offset = int.from_bytes(data[14:16]), 16
    elif frame.linktype == 276:
        kind, offset = int.from_bytes(data[0:2]), 20
    elif frame.linktype in (101, 12):
        kind, offset = (IPV6 if data[:1] and data[0] >> 4 == 6 else IPV4), 0
    else:
        return None
    return _ip(frame, data, kind, offset, "", mac)


def _ip(frame: Frame, data: bytes, kind: int, at: int, tunnel: str, mac: str) -> Seen | None:
    if kind == IPV4:
        if len(data) < at + 20 or data[at] >> 4 != 4:
            return None
        proto, src, dst = data[at + 9], data[at + 12 : at + 16], data[at + 16 : at + 20]
        fragment = int.from_bytes(data[at + 6 : at + 8]) & 0x1FFF
        upper = at + (data[at] & 15) * 4
        length = int.from_bytes(data[at + 2 : at + 4])
    elif kind == IPV6:
        if len(data) < at + 40 or data[at] >> 4 != 6:
            return None
        proto, src, dst = data[at + 6], data[at + 8 : at + 24], data[at + 24 : at + 40]
        fragment, upper = 0, at + 40
        length = 40 + int.from_bytes(data[at + 4 : at + 6])
    else:
        return None
    if proto == 4 and not fragment:
        inner = _ip(frame, data, IPV4, upper, "ipip", mac)
        if inner is not None:
            return inner
    name = PROTOCOLS.get(proto, str(proto))
    if fragment:
        return Seen(frame.number, frame.time, name, src, dst, tunnel=tunnel, dst_mac=mac)
    if name in ("tcp", "udp", "sctp") and len(data) >= upper + 4:
        sport, dport = int.from_bytes(data[upper : upper + 2]), int.from_bytes(data[upper + 2 : upper + 4])
        if name == "udp" and dport in VXLAN_PORTS and len(data) >= upper + 30:
            inner_kind = int.from_bytes(data[upper + 28 : upper + 30])
            inner = _ip(frame, data, inner_kind, upper + 30, "vxlan", mac)
            if inner is not None:
                return inner
        flags = data[upper + 13] if name == "tcp" and len(data) > upper + 13 else 0
        seq = int.from_bytes(data[upper + 4 : upper + 8]) if name == "tcp" and len(data) >= upper + 8 else None
        head = (data[upper + 12] >> 4) * 4 if name == "tcp" and len(data) > upper + 12 else 8
        payload = max(0, length - (upper - at) - head)
        return Seen(
            frame.number,
            frame.time,
            name,
            src,
            dst,
            sport,
            dport,
            flags,
            seq,
            tunnel,
            mac,
            length=length,
            payload=payload,
        )
    if name in ("icmp", "icmpv6") and len(data) >= upper + 8:
        ident = int.from_bytes(data[upper + 4 : upper + 6])
        return Seen(frame.number, frame.time, name, src, dst, ident, ident, 0, None, tunnel, mac, data[upper])
    return Seen(frame.number, frame.time, name, src, dst, tunnel=tunnel, dst_mac=mac)
