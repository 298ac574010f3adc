"""Packets as bytes: encode a simulated packet for the wire, read back what the kernel made of it."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from lasthop.facts.network import Ip
from lasthop.facts.trace import Packet
from lasthop.sim.extensions.protocols import protocol_number

FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}


@dataclass(frozen=True)
class Seen:
    """A packet that left the router or reached it: `ident` is the number it was sent with, `where` the interface."""

    ident: int
    where: str
    src: Ip
    dst: Ip
    sport: int | None
    dport: int | None
    tos: int
    ttl: int


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo(packet: Packet, proto: int, length: int) -> bytes:
    if packet.family == 4:
        return packet.src.packed + packet.dst.packed + struct.pack("!BBH", 0, proto, length)
    return packet.src.packed + packet.dst.packed + struct.pack("!IHBB", length, 0, 0, proto)


def _transport(packet: Packet, proto: int, room: int) -> bytes:
    """The transport header and payload, `room` bytes long."""
    if proto == 6:
        client = (packet.sport or 0) >= (packet.dport or 0)
        base, peer = (1000, 5000) if client else (5000, 1000)
        seq = base if "SYN" in packet.tcp_flags else base + 1
        ack = peer + 1 if "ACK" in packet.tcp_flags else 0
        flags = sum(FLAGS[flag] for flag in packet.tcp_flags)
        head = struct.pack("!HHIIBBHHH", packet.sport or 0, packet.dport or 0, seq, ack, 5 << 4, flags, 64000, 0, 0)
        body = head.ljust(room, b"\0")
        total = checksum(_pseudo(packet, proto, len(body)) + body)
        return body[:16] + struct.pack("!H", total) + body[18:]
    if proto == 17:
        body = struct.pack("!HHHH", packet.sport or 0, packet.dport or 0, room, 0).ljust(room, b"\0")
        total = checksum(_pseudo(packet, proto, len(body)) + body) or 0xFFFF
        return body[:6] + struct.pack("!H", total) + body[8:]
    if proto in (1, 58):
        rest = struct.pack("!HH", packet.icmp_id or 0, 1)
        if packet.quoted is not None:
            rest = b"\0" * 4 + encode(packet.quoted, 7)[: 40 + 8 if packet.family == 6 else 20 + 8]
        body = (struct.pack("!BBH", packet.icmp_type or 0, packet.icmp_code or 0, 0) + rest).ljust(room, b"\0")
        pseudo = _pseudo(packet, proto, len(body)) if proto == 58 else b""
        return body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    if proto == 132:  # an INIT chunk: verification tag 0, one chunk
        chunk = struct.pack("!BBHIIHHI", 1, 0, room - 12, 7, 64000, 1, 1, 1)
        return (struct.pack("!HHII", packet.sport or 0, packet.dport or 0, 0, 0) + chunk).ljust(room, b"\0")
    return b"\0" * room


def encode(packet: Packet, ident: int) -> bytes:
    """The IP packet; `ident` is its IP id (IPv6: flow label)."""
    proto = protocol_number(packet.proto) or 0
    header = 20 if packet.family == 4 else 40
    body = _transport(packet, proto, packet.length - header)
    if packet.family == 4:
        total = header + len(body)
        fields = (0x45, packet.tos, total, ident, 0, packet.ttl, proto)
        head = struct.pack("!BBHHHBBH4s4s", *fields, 0, packet.src.packed, packet.dst.packed)
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    first = 6 << 28 | packet.tos << 20 | ident
    return struct.pack("!IHBB", first, len(body), proto, packet.ttl) + packet.src.packed + packet.dst.packed + body


def decode(data: bytes, where: str) -> Seen | None:
    """What is in an IP packet; None for other traffic."""
    if len(data) < 20:
        return None
    version = data[0] >> 4
    if version == 4:
        tos, ident, ttl, proto = data[1], struct.unpack("!H", data[4:6])[0], data[8], data[9]
        src, dst = ip_address(data[12:16]), ip_address(data[16:20])
        rest = data[(data[0] & 15) * 4 :]
    elif version == 6 and len(data) >= 40:
        first = struct.unpack("!I", data[:4])[0]
        tos, ident, proto, ttl = first >> 20 & 0xFF, first & 0xFFFFF, data[6], data[7]
        src, dst = ip_address(data[8:24]), ip_address(data[24:40])
        rest = data[40:]
    else:
        return None
    sport: int | None = None
    dport: int | None = None
    if proto in (6, 17, 132, 136) and len(rest) >= 4:
        sport, dport = struct.unpack("!HH", rest[:4])
    return Seen(ident, where, src, dst, sport, dport, tos, ttl)


def frame(packet: Packet, ident: int, dst_mac: str, src_mac: str) -> bytes:
    """An Ethernet frame."""
    kind = socket.htons(0x0800 if packet.family == 4 else 0x86DD)
    raw = bytes.fromhex(dst_mac.replace(":", "")) + bytes.fromhex(src_mac.replace(":", ""))
    return raw + struct.pack("=H", kind) + encode(packet, ident)
