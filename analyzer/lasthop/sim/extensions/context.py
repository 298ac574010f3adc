"""What a match may look at: the packet as numbers, the hook, and the surroundings that know about routing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from lasthop.facts.evidence import Complete, Evidence
from lasthop.facts.network import Address, Ip, Link
from lasthop.facts.trace import Mark, MatchResult, Packet, Truth
from lasthop.sim.ipsets import SetStore

from .protocols import protocol_number

ALL_BITS = 0xFFFFFFFF
NO_MARK = Mark()

Answer = bool | MatchResult
"""True, False, or a MatchResult whose truth is UNKNOWN."""


class Surroundings(Protocol):
    """What matches and targets need to know about routing; implemented by the FIB of the same netns."""

    def address_type(self, ip: Ip, dev: str | None) -> str | None:
        """"LOCAL", "UNICAST", "BROADCAST", ...; None when unknown. `dev` limits local addresses to one interface."""
        ...

    def reverse_path(self, packet: Packet, *, loose: bool, validmark: bool, accept_local: bool) -> MatchResult:
        """YES when a reply to `packet` would leave by the interface that it came in by (loose: by any)."""
        ...

    def masquerade_source(self, packet: Packet, oif: str) -> Ip | None:
        """The address MASQUERADE would use; None when unknown."""
        ...

    def primary_address(self, dev: str) -> Ip | None:
        """The interface's first address; None when it has none or when that is unknown."""
        ...


def unknown(why: str, decides: str = "") -> MatchResult:
    return MatchResult(Truth.UNKNOWN, why, decides)


def negate(answer: Answer) -> Answer:
    return (not answer) if isinstance(answer, bool) else answer


def number(ip: Ip) -> int:
    return int(ip)


def address(value: int, family: int) -> Ip:
    return IPv4Address(value) if family == 4 else IPv6Address(value)


@dataclass(slots=True)
class Context:
    """One packet at one hook. Header fields never change during a table's walk; the marks belong to the world that is
    being evaluated and are set before each rule."""

    packet: Packet
    hook: str
    around: Surroundings
    sets: SetStore
    links: Evidence[Link]
    addresses: Evidence[Address]
    mark: Mark = NO_MARK
    ctmark: Mark = NO_MARK
    tos: int = 0
    touched_sets: frozenset[str] = frozenset()
    family: int = 4
    proto: int | None = None
    src: int = 0
    dst: int = 0
    sport: int | None = None
    dport: int | None = None
    iif: str = ""
    oif: str = ""
    type_cache: dict[tuple[int, str | None], str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.load(self.packet)

    def load(self, packet: Packet) -> None:
        """Take over the header fields of a packet."""
        self.packet = packet
        self.family = packet.family
        self.proto = protocol_number(packet.proto)
        self.src = int(packet.src)
        self.dst = int(packet.dst)
        self.sport = packet.sport
        self.dport = packet.dport
        # POSTROUTING still knows the input interface of forwarded packets (ip_output, kernel 5.7 and newer).
        self.iif = "" if self.hook == "OUTPUT" else packet.iif
        self.oif = "" if self.hook in ("PREROUTING", "INPUT") else packet.oif
        self.mark = packet.mark
        self.ctmark = packet.ctmark
        self.tos = packet.tos

    def current(self) -> Packet:
        """The packet with the marks and TOS of the world being evaluated."""
        packet = self.packet
        if packet.mark == self.mark and packet.ctmark == self.ctmark and packet.tos == self.tos:
            return packet
        return replace(packet, mark=self.mark, ctmark=self.ctmark, tos=self.tos)

    def address_type(self, value: int, dev: str | None) -> str | None:
        key = (value, dev)
        if key not in self.type_cache:
            self.type_cache[key] = self.around.address_type(address(value, self.family), dev)
        return self.type_cache[key]

    def link(self, name: str) -> Link | None:
        for link in self.links.values:
            if link.name == name:
                return link
        return None

    def has_no_address(self, dev: str) -> bool:
        """True when it is certain that `dev` has no address of the packet's family."""
        if not isinstance(self.addresses, Complete):
            return False
        return not any(a.dev == dev and a.ip.version == self.family for a in self.addresses.values)
