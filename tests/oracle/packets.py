"""Random packets for a case, with values from its pools; the answers to them, and errors about them."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address

from lasthop.facts.trace import Packet

from .layout import OWN_SOURCES, PORTS, out_interface
from .rulesets import PORT_POOL, Case

FLAG_SETS = (("SYN",), ("SYN",), ("SYN",), ("SYN", "ACK"), ("ACK",), ("ACK", "PSH"), ("FIN", "ACK"), ("RST",),
             ("RST", "ACK"), (), ("FIN",), ("SYN", "FIN"), ("ACK", "URG"))  # fmt: skip


class PacketGenerator:
    """Packets for one case. No two start the same connection by accident more often than the pools make it."""

    def __init__(self, rng: random.Random, case: Case) -> None:
        self.rng = rng
        self.case = case
        self.family = case.family

    def port(self) -> int:
        rng = self.rng
        if rng.random() < 0.3:
            return rng.randint(1024, 65535)
        return min(65535, max(1, rng.choice(PORT_POOL) + rng.choice((0, 0, -1, 1))))

    def packet(self) -> Packet:
        rng = self.rng
        family = self.family
        local_out = rng.random() < 0.15
        src = ip_address(OWN_SOURCES[family] if local_out else rng.choice(self.case.outside))
        dst = ip_address(rng.choice(self.case.hosts))
        if not local_out and rng.random() < 0.2:
            port = rng.choice(PORTS)
            dst = ip_address(port.own4 if family == 4 else port.own6)
        proto = rng.choice(("tcp", "tcp", "tcp", "udp", "udp", "icmp", "sctp", "4", "47"))
        iif = ""
        if not local_out:
            right = out_interface(src)
            iif = right if right and rng.random() < 0.7 else rng.choice(PORTS).name
        port = next((port for port in PORTS if port.name == iif), None)
        packet = Packet(
            family, proto, src, dst, iif=iif, local_out=local_out, length=rng.choice((60, 60, 61, 84, 99, 100, 101)),
            ttl=rng.choice((64, 64, 63, 62, 2)), tos=rng.choice((0, 0, 0x20, 0xB8, 0x28)), df=False,
            src_mac=port.neighbour_mac if port else "", dst_mac=port.mac if port else "",
        )  # fmt: skip
        if family == 6:
            packet = replace(packet, length=packet.length + 20, proto="icmpv6" if proto == "icmp" else proto)
        if proto in ("tcp", "udp", "sctp"):
            packet = replace(packet, sport=self.port(), dport=self.port())
        if proto == "tcp":
            packet = replace(packet, tcp_flags=frozenset(rng.choice(FLAG_SETS)))
        if proto == "icmp":
            kind = rng.choice((8, 8, 0, 13, 17)) if family == 4 else rng.choice((128, 128, 129))
            packet = replace(packet, icmp_type=kind, icmp_code=0, icmp_id=rng.randint(1, 65535))
        return packet

    def answer(self, sent: Packet, came_out: Packet, oif: str) -> Packet | None:
        """The other side's answer to a packet that left the router as `came_out` through `oif`."""
        port = next(port for port in PORTS if port.name == oif)
        back = replace(
            sent, src=came_out.dst, dst=came_out.src, sport=came_out.dport, dport=came_out.sport, iif=oif, ttl=64,
            local_out=False, src_mac=port.neighbour_mac, dst_mac=port.mac,
        )  # fmt: skip
        if sent.proto == "sctp":
            return None
        if sent.proto == "tcp":
            flags = ("SYN", "ACK") if sent.tcp_flags == frozenset({"SYN"}) else ("ACK",)
            return replace(back, tcp_flags=frozenset(flags))
        if sent.proto in ("icmp", "icmpv6"):
            inverse = {8: 0, 13: 14, 17: 18, 128: 129}.get(sent.icmp_type or 0)
            return None if inverse is None else replace(back, icmp_type=inverse, icmp_id=came_out.icmp_id)
        return back

    def error(self, came_out: Packet, oif: str) -> Packet | None:
        """An ICMP error about a packet that left the router, from its receiver or from a router on the way."""
        if came_out.proto not in ("tcp", "udp", "icmp", "icmpv6"):
            return None
        port = next(port for port in PORTS if port.name == oif)
        sender = came_out.dst if self.rng.random() < 0.6 else ip_address(self.rng.choice(self.case.hosts))
        proto, kind, code = ("icmp", 3, self.rng.choice((1, 3))) if self.family == 4 else ("icmpv6", 1, 4)
        quoted = replace(came_out, quoted=None)
        size = 20 + 8 + 20 + 8 if self.family == 4 else 40 + 8 + 40 + 8
        return Packet(
            self.family, proto, sender, came_out.src, icmp_type=kind, icmp_code=code, length=size, iif=oif,
            quoted=quoted, src_mac=port.neighbour_mac, dst_mac=port.mac, df=False,
        )  # fmt: skip
