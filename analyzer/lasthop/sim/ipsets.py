"""IP sets: is this packet in that set? As net/netfilter/ipset/ip_set_*.c test it.

Elements are keyed by the prefix lengths of their net dimensions; a lookup tries the longest prefixes first and the
first hit decides, so `nomatch` behaves as in the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Protocol

from lasthop.facts.evidence import Absent, Complete, Evidence, Partial, SourceRef
from lasthop.facts.netfilter import IpSet, SetEntry
from lasthop.facts.trace import Mark, MatchResult, Packet, Truth

DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "hash:ip": ("ip",), "hash:net": ("net",), "hash:mac": ("mac",), "hash:ip,port": ("ip", "port"),
    "hash:net,port": ("net", "port"), "hash:ip,mac": ("ip", "mac"), "hash:ip,mark": ("ip", "mark"),
    "hash:net,net": ("net", "net"), "hash:net,iface": ("net", "iface"), "hash:ip,port,ip": ("ip", "port", "ip"),
    "hash:ip,port,net": ("ip", "port", "net"), "hash:net,port,net": ("net", "port", "net"), "bitmap:ip": ("ip",),
    "bitmap:ip,mac": ("ip", "mac"), "bitmap:port": ("plainport",), "list:set": ("set",),
}  # fmt: skip

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58}
ICMP_NAMES = {"echo-reply": 0, "pong": 0, "echo-request": 8 << 8, "ping": 8 << 8}
ICMPV6_NAMES = {"echo-request": 128 << 8, "ping": 128 << 8, "echo-reply": 129 << 8, "pong": 129 << 8}


class Subject(Protocol):
    """What a set looks at; extensions.context.Context has it."""

    packet: Packet
    family: int
    proto: int | None
    src: int
    dst: int
    sport: int | None
    dport: int | None
    iif: str
    oif: str
    mark: Mark


def _unknown(why: str, decides: str = "ipset_save") -> MatchResult:
    return MatchResult(Truth.UNKNOWN, why, decides)


def parse_port_part(text: str, protocols: Mapping[str, int]) -> tuple[int, int]:
    """"tcp:80", "80" (tcp), "icmp:8/0", "icmp:echo-request", "47:0": (protocol, port or type<<8|code)."""
    name, colon, rest = text.partition(":")
    if not colon:
        return PROTOCOLS["tcp"], int(name)
    proto = int(name) if name.isdigit() else protocols[name.lower()]
    if proto in (1, 58) and not rest.isdigit():
        names = ICMP_NAMES if proto == 1 else ICMPV6_NAMES
        if rest in names:
            return proto, names[rest]
        kind, _, code = rest.partition("/")
        return proto, int(kind) << 8 | int(code)
    return proto, int(rest)


class CompiledSet:
    """One set ready for lookups. `complete` False means that elements may be missing."""

    def __init__(self, ipset: IpSet) -> None:
        self.name = ipset.name
        self.type = ipset.type
        self.dims = DIMENSIONS.get(ipset.type)
        self.family = ipset.family
        self.source: SourceRef = ipset.source
        self.size = len(ipset.entries)
        self.complete = ipset.complete
        self.has_nomatch = False
        options = dict(ipset.options)
        self.bits = 128 if ipset.family == 6 else 32
        self.netmask = int(options["netmask"]) if options.get("netmask", "").isdigit() else None
        self.odd_option = "bitmask" if "bitmask" in options else ""
        self.markmask = int(options["markmask"], 0) if "markmask" in options else 0xFFFFFFFF
        self.members: tuple[str, ...] = ()
        self.tables: dict[tuple[int, ...], dict[tuple[object, ...], SetEntry]] = {}
        if self.dims == ("set",):
            self.members = tuple(entry.parts[0] for entry in ipset.entries)
        elif self.dims is not None:
            for entry in ipset.entries:
                try:
                    self._add(entry)
                except (ValueError, KeyError, IndexError):
                    self.complete = False
        self.order = sorted(self.tables, reverse=True)
        self.nets: set[tuple[int, object]] | None = None
        if self.type == "hash:net,iface":
            self.nets = {(lengths[0], key[0]) for lengths, table in self.tables.items() for key in table}

    def _add(self, entry: SetEntry) -> None:
        assert self.dims is not None
        lengths: list[int] = []
        key: list[object] = []
        for position, dim in enumerate(self.dims):
            if position >= len(entry.parts):
                if dim == "mac":  # bitmap:ip,mac elements may lack the address: they match any
                    lengths.append(0)
                    key.append(None)
                    continue
                raise IndexError(entry.parts)
            part = entry.parts[position]
            if dim == "ip":
                key.append(int(ip_address(part.partition("/")[0])))
            elif dim == "net":
                head, _, length_text = part.partition("/")
                length = int(length_text) if length_text else self.bits
                lengths.append(length)
                key.append(int(ip_address(head)) >> (self.bits - length))
            elif dim == "port":
                key.append(parse_port_part(part, PROTOCOLS | {"gre": 47, "ah": 51, "esp": 50, "ipencap": 4}))
            elif dim == "plainport":
                key.append(int(part))
            elif dim == "mac":
                if self.type == "bitmap:ip,mac":
                    lengths.append(1)
                key.append(part.lower())
            elif dim == "mark":
                key.append(int(part, 0))
            else:
                key.append(part)
        self.has_nomatch = self.has_nomatch or entry.nomatch
        self.tables.setdefault(tuple(lengths), {})[tuple(key)] = entry

    def find(self, values: Sequence[object]) -> SetEntry | None:
        """The element that decides for these values (one per dimension, nets as host addresses)."""
        assert self.dims is not None
        for lengths in self.order:
            key: list[object] = []
            used = 0
            for dim, value in zip(self.dims, values, strict=False):
                if dim == "net":
                    assert isinstance(value, int)
                    key.append(value >> (self.bits - lengths[used]))
                    used += 1
                elif dim == "ip" and self.netmask is not None and isinstance(value, int):
                    shift = self.bits - self.netmask
                    key.append(value >> shift << shift)
                elif dim == "mac" and self.type == "bitmap:ip,mac":
                    key.append(value if lengths[0] else None)
                else:
                    key.append(value)
            entry = self.tables[lengths].get(tuple(key))
            if entry is not None:
                return entry
            if self.nets is not None and (lengths[0], key[0]) in self.nets:
                # hash:net,iface: the longest net decides, whatever interfaces its elements name (`multi` of
                # ip_set_hash_netiface.c).
                return None
        return None


def packet_port(c: Subject, source: bool) -> int | None:
    """The number that ip,port sets compare (ip_set_getport.c): port, ICMP type<<8|code, or 0; None when unknown."""
    if c.proto in (6, 17, 132, 136):
        return c.sport if source else c.dport
    if c.proto in (1, 58):
        if c.packet.icmp_type is None or c.packet.icmp_code is None:
            return None
        return c.packet.icmp_type << 8 | c.packet.icmp_code
    return 0


class SetStore:
    """All sets of a netns, compiled when first asked for."""

    def __init__(self, evidence: Evidence[IpSet]) -> None:
        self.evidence = evidence
        self._raw = {ipset.name: ipset for ipset in evidence.values}
        self._compiled: dict[str, CompiledSet] = {}

    def get(self, name: str) -> CompiledSet | None:
        if name not in self._compiled and name in self._raw:
            self._compiled[name] = CompiledSet(self._raw[name])
        return self._compiled.get(name)

    def _missing(self, name: str) -> MatchResult:
        if isinstance(self.evidence, Absent):
            return _unknown(f"set {name}: IP sets are {self.evidence.reason.value}")
        return _unknown(f"set {name} is not among the collected IP sets")

    def _complete(self, compiled: CompiledSet) -> bool:
        if not compiled.complete:
            return False
        if isinstance(self.evidence, Complete):
            return True
        doubts = self.evidence.doubts if isinstance(self.evidence, Partial) else ()
        return bool(doubts) and all(doubt.touches not in ("", compiled.name) for doubt in doubts)

    def test(
        self, name: str, directions: Sequence[str], c: Subject, *, return_nomatch: bool = False, depth: int = 0
    ) -> bool | MatchResult:
        """Whether the packet is in the set; `directions` are "src"/"dst" per dimension."""
        compiled = self.get(name)
        if compiled is None:
            return self._missing(name)
        if compiled.dims is None:
            return _unknown(f"set type {compiled.type} is not modelled")
        if compiled.odd_option:
            return _unknown(f"set {name} uses option {compiled.odd_option}, which is not modelled")
        if compiled.dims == ("set",):
            return self._test_list(compiled, directions, c, return_nomatch, depth)
        if len(directions) < len(compiled.dims):
            return False
        if compiled.family in (4, 6) and compiled.family != c.family and compiled.type != "hash:mac":
            return False
        values: list[object] = []
        for dim, direction in zip(compiled.dims, directions, strict=False):
            source = direction == "src"
            if dim in ("ip", "net"):
                value = c.src if source else c.dst
                if value == 0 and compiled.type == "hash:ip":
                    return False
                values.append(value)
            elif dim == "port":
                port = packet_port(c, source)
                if port is None or c.proto is None:
                    return _unknown(f"set {name}: the port of this packet is not known", "")
                values.append((c.proto, port))
            elif dim == "plainport":
                if c.proto not in (6, 17):
                    return False
                port = c.sport if source else c.dport
                if port is None:
                    return _unknown(f"set {name}: the port of this packet is not known", "")
                values.append(port)
            elif dim == "mac":
                mac = c.packet.src_mac if source else c.packet.dst_mac
                if not mac:
                    return _unknown(f"set {name}: the MAC addresses of this frame are not known", "ip_neigh")
                values.append(mac.lower())
            elif dim == "mark":
                if compiled.markmask & ~c.mark.known:
                    return _unknown(f"set {name}: the packet's mark is not known", "")
                values.append(c.mark.value & compiled.markmask)
            else:
                values.append(c.iif if source else c.oif)
        entry = compiled.find(values)
        if entry is None:
            if self._complete(compiled):
                return False
            return _unknown(f"set {name} was not read completely: membership cannot be excluded")
        if compiled.has_nomatch and not self._complete(compiled):
            return _unknown(f"set {name} was not read completely: a more specific element may decide")
        return entry.nomatch == return_nomatch

    def _test_list(
        self, compiled: CompiledSet, directions: Sequence[str], c: Subject, return_nomatch: bool, depth: int
    ) -> bool | MatchResult:
        if depth > 8:
            return _unknown(f"set {compiled.name} is nested too deeply")
        doubt: MatchResult | None = None
        for member in compiled.members:
            answer = self.test(member, directions, c, return_nomatch=return_nomatch, depth=depth + 1)
            if answer is True:
                return True
            if answer is not False:
                doubt = doubt or answer
        if doubt is not None:
            return doubt
        return False if self._complete(compiled) else _unknown(f"list {compiled.name} was not read completely")

    def describe(self, name: str) -> str:
        """"cali40s:... (hash:net, 12 members)" for explanations."""
        compiled = self.get(name)
        return f"{name} ({compiled.type}, {compiled.size} members)" if compiled else f"{name} (not collected)"
