"""What a rule may read: meta, ct, header fields, fib, chance. Each reader answers a value, BREAK or UNKNOWN.

BREAK is nf_tables' NFT_BREAK: the field is not there (no connection, other protocol), the rule does not match,
negated or not. Reading a header field implies its protocol, as nft's hidden dependencies do (src/payload.c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from lasthop.facts.trace import Mark, Packet
from lasthop.sim.extensions.context import ALL_BITS, Context
from lasthop.sim.extensions.protocols import DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE, WITH_PORTS, protocol_number

from . import datatypes as t
from .datatypes import DataType, Value, unknown


class Break:
    """The field is not there."""


BREAK = Break()
Read = Callable[[Context], "Value | Break"]


class Chooser:
    """A value that the kernel draws anew for each packet or flow: `count` equally likely numbers from `first`."""

    def __init__(self, count: int, first: int, words: str) -> None:
        self.count = count
        self.first = first
        self.words = words
        self.value = first

    def share(self, hits: int) -> Fraction:
        return Fraction(hits, self.count)


@dataclass(frozen=True, slots=True)
class Expression:
    """Fields of a concatenation (one for a plain expression), with their types and the chance that they depend on."""

    reads: tuple[Read, ...]
    types: tuple[DataType, ...]
    chooser: Chooser | None = None

    def values(self, c: Context) -> tuple[Value, ...] | Break:
        found: list[Value] = []
        for read in self.reads:
            value = read(c)
            if isinstance(value, Break):
                return BREAK
            found.append(value)
        return tuple(found)


def constant(value: int | str) -> Read:
    return lambda c: value


def not_known(why: str, decides: str = "") -> Read:
    answer = unknown(why, decides)
    return lambda c: answer


def _mark(mark: Mark) -> Value:
    return mark.value if mark.known == ALL_BITS else mark


def _ifindex(incoming: bool) -> Read:
    return (lambda c: c.iif) if incoming else (lambda c: c.oif)


def _owner(c: Context) -> Value | Break:
    """meta skuid and skgid: only packets of local sockets have an owner."""
    if c.hook in ("PREROUTING", "FORWARD") or (c.hook == "POSTROUTING" and not c.packet.local_out):
        return BREAK
    return unknown("the socket that sends or receives the packet is not known", "sockets")


def _pkttype(c: Context) -> Value:
    mac = c.packet.dst_mac.lower()
    if mac == "ff:ff:ff:ff:ff:ff":
        return 1
    if mac and not c.packet.local_out:
        return 2 if int(mac.split(":")[0], 16) & 1 else 0
    if c.packet.local_out:
        return 0 if not c.packet.dst.is_multicast else unknown("the packet type of sent multicast")
    if c.packet.dst.is_multicast:
        return 2
    found = c.address_type(c.dst, None)
    if found is None:
        return unknown("how the frame was addressed is not known")
    return 1 if found == "BROADCAST" else 0


def _l4proto(c: Context) -> Value:
    return unknown(f"protocol {c.packet.proto} has no known number") if c.proto is None else c.proto


META: dict[str, tuple[Read, DataType]] = {
    "mark": (lambda c: _mark(c.mark), t.MARK),
    "iif": (_ifindex(True), t.IFNAME),
    "iifname": (_ifindex(True), t.IFNAME),
    "oif": (_ifindex(False), t.IFNAME),
    "oifname": (_ifindex(False), t.IFNAME),
    "l4proto": (_l4proto, t.PROTOCOL),
    "nfproto": (lambda c: 2 if c.family == 4 else 10, t.NF_PROTO),
    "protocol": (lambda c: 0x0800 if c.family == 4 else 0x86DD, t.ETHER_TYPE),
    "length": (lambda c: c.packet.length, t.INTEGER),
    "pkttype": (_pkttype, t.PKTTYPE),
    "skuid": (_owner, t.INTEGER),
    "skgid": (_owner, t.INTEGER),
}
_META_UNKNOWN = frozenset({"cpu", "cgroup", "priority", "iifgroup", "oifgroup", "iiftype", "oiftype", "rtclassid",
                           "ibrname", "obrname", "ibriport", "iifkind", "oifkind", "ipsec", "secpath", "sdif",
                           "sdifname", "nftrace", "time", "day", "hour", "random", "broute"})  # fmt: skip
BARE_META = frozenset({"mark", "iif", "iifname", "oif", "oifname", "skuid", "skgid", "iifgroup", "oifgroup", "iiftype",
                       "oiftype", "rtclassid", "cgroup", "nftrace", "priority"})  # fmt: skip


def meta(key: str) -> tuple[Read, DataType]:
    if key in META:
        return META[key]
    if key in _META_UNKNOWN:
        return not_known(f"meta {key} is not in the evidence"), t.INTEGER
    raise ValueError(f"meta {key}")


# -- connection tracking ----------------------------------------------------------------------------------------------

_STATES = {"": 1, "INVALID": 1, "ESTABLISHED": 2, "RELATED": 4, "NEW": 8, "UNTRACKED": 64}
_STATUS_BITS = {"SEEN_REPLY": 2, "ASSURED": 4, "CONFIRMED": 8, "SNAT": 0x10, "DNAT": 0x20}
_STATUS_KNOWN = 0xFFFFFFFF & ~(0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000)


def _status(packet: Packet) -> Value:
    """Bits that nothing in a dump tells stay unknown; "done" bits are certain where the address was changed."""
    value = sum(bit for name, bit in _STATUS_BITS.items() if name in packet.ctstatus)
    known = _STATUS_KNOWN
    for name, bit in (("SNAT", 0x80), ("DNAT", 0x100)):
        if name in packet.ctstatus:
            value, known = value | bit, known | bit
    return Mark(value, known)


def _tracked(read: Callable[[Context], Value | Break]) -> Read:
    return lambda c: read(c) if c.packet.ct_original is not None else BREAK


def _ct_protocol(c: Context) -> Value:
    packet = c.packet
    shown = packet.quoted if packet.ctstate == "RELATED" and packet.quoted is not None else packet
    found = protocol_number(shown.proto)
    return unknown(f"protocol {shown.proto} has no known number") if found is None else found


def _ct_tuple(direction: str, position: int) -> Read:
    def read(c: Context) -> Value | Break:
        tuple_ = c.packet.ct_original if direction == "original" else c.packet.ct_reply
        if tuple_ is None:
            return BREAK
        found = tuple_[position]
        if found is None:
            return unknown("the connection has no known port here")
        return int(found)

    return read


_CT: dict[str, tuple[Read, DataType]] = {
    "state": (lambda c: _STATES[c.packet.ctstate], t.CT_STATE),
    "status": (_tracked(lambda c: _status(c.packet)), t.CT_STATUS),
    "mark": (_tracked(lambda c: _mark(c.ctmark)), t.MARK),
    "direction": (_tracked(lambda c: 1 if c.packet.ctdir == "reply" else 0), t.CT_DIR),
    "l3proto": (_tracked(lambda c: 2 if c.family == 4 else 10), t.NF_PROTO),
    "protocol": (_tracked(_ct_protocol), t.PROTOCOL),
    "zone": (_tracked(lambda c: c.packet.ct_zone), DataType("integer", 16)),
}
_CT_UNKNOWN = frozenset({"bytes", "packets", "avgpkt", "expiration", "helper", "label", "id", "event", "count",
                         "secmark"})  # fmt: skip
_POSITIONS = {"saddr": 0, "daddr": 1, "proto-src": 2, "proto-dst": 3}


def ct(words: list[str], family: str) -> tuple[Read, DataType]:
    """`words` are those after "ct": [original|reply] [ip|ip6] KEY."""
    direction = words.pop(0) if words[0] in ("original", "reply") else ""
    level = words.pop(0) if words[0] in ("ip", "ip6") else ""
    (key,) = words
    if key in _POSITIONS and direction:
        read = _ct_tuple(direction, _POSITIONS[key])
        if key.startswith("proto"):
            return read, t.SERVICE
        six = level == "ip6" or (not level and family == "ip6")
        wanted = 6 if six else 4
        return _only(read, lambda c: c.family == wanted), t.IPV6 if six else t.IPV4
    if key in _CT:
        return _CT[key]
    if key in _CT_UNKNOWN:
        return _tracked(not_known(f"ct {key} is not in the evidence")), t.INTEGER
    raise ValueError(f"ct {key}")


# -- headers ----------------------------------------------------------------------------------------------------------


def _only(read: Read, condition: Callable[[Context], bool]) -> Read:
    return lambda c: read(c) if condition(c) else BREAK


def _protocol(read: Read, *numbers: int) -> Read:
    def guarded(c: Context) -> Value | Break:
        if c.proto is None:
            return unknown(f"protocol {c.packet.proto} has no known number")
        return read(c) if c.proto in numbers else BREAK

    return guarded


def _port(source: bool) -> Read:
    def read(c: Context) -> Value | Break:
        found = c.sport if source else c.dport
        return unknown("the port of this packet is not known") if found is None else found

    return read


def _th_port(source: bool) -> Read:
    """Bytes 0-1 or 2-3 of any transport header: ports where the protocol has them."""
    port = _port(source)

    def read(c: Context) -> Value | Break:
        if c.proto in WITH_PORTS:
            return port(c)
        if source and c.proto in (ICMP, ICMPV6) and c.packet.icmp_type is not None:
            return c.packet.icmp_type << 8 | (c.packet.icmp_code or 0)
        return unknown(f"the first bytes of a {c.packet.proto} header are not known")

    return read


_FLAG_BITS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128}


def _flags(c: Context) -> Value | Break:
    return sum(_FLAG_BITS[flag] for flag in c.packet.tcp_flags)


_IP: dict[str, tuple[Read, DataType]] = {
    "saddr": (lambda c: c.src, t.IPV4),
    "daddr": (lambda c: c.dst, t.IPV4),
    "protocol": (_l4proto, t.PROTOCOL),
    "version": (constant(4), DataType("integer", 4)),
    "hdrlength": (constant(5), DataType("integer", 4)),
    "dscp": (lambda c: c.tos >> 2, t.DSCP),
    "ecn": (lambda c: c.tos & 3, t.ECN),
    "length": (lambda c: c.packet.length, DataType("integer", 16)),
    "ttl": (lambda c: c.packet.ttl, DataType("integer", 8)),
    # Whole packets are walked: no offset, no more-fragments bit.
    "frag-off": (lambda c: 0x4000 if c.packet.df else 0, DataType("integer", 16)),
}
_IP6: dict[str, tuple[Read, DataType]] = {
    "saddr": (lambda c: c.src, t.IPV6),
    "daddr": (lambda c: c.dst, t.IPV6),
    # Walked packets carry no extension headers.
    "nexthdr": (_l4proto, t.PROTOCOL),
    "version": (constant(6), DataType("integer", 4)),
    "dscp": (lambda c: c.tos >> 2, t.DSCP),
    "ecn": (lambda c: c.tos & 3, t.ECN),
    "length": (lambda c: c.packet.length - 40, DataType("integer", 16)),
    "hoplimit": (lambda c: c.packet.ttl, DataType("integer", 8)),
}
_UNKNOWN_FIELDS = {
    "ip": frozenset({"id", "checksum"}),
    "ip6": frozenset({"flowlabel"}),
    "tcp": frozenset({"sequence", "ackseq", "doff", "reserved", "window", "checksum", "urgptr", "option"}),
    "udp": frozenset({"checksum", "csumcov"}),
    "sctp": frozenset({"vtag", "checksum", "chunk"}),
    "dccp": frozenset({"type"}),
    "icmp": frozenset({"checksum", "sequence", "gateway", "mtu"}),
    "icmpv6": frozenset({"checksum", "sequence", "mtu", "parameter-problem", "max-delay", "taddr", "daddr"}),
}
_TRANSPORT = {"tcp": (TCP,), "udp": (UDP,), "sctp": (SCTP,), "dccp": (DCCP,), "udplite": (UDPLITE,)}
HEADERS = frozenset({"ip", "ip6", "th", "icmp", "icmpv6", *_TRANSPORT})


def _icmp(what: str) -> Read:
    def read(c: Context) -> Value | Break:
        packet = c.packet
        if packet.icmp_type is None:
            return unknown("the ICMP type of this packet is not known")
        if what == "type":
            return packet.icmp_type
        if what == "code":
            code = packet.icmp_code
            return unknown("the ICMP code of this packet is not known") if code is None else code
        if packet.icmp_type not in (0, 8, 128, 129):
            return BREAK
        return unknown("the ICMP id of this packet is not known") if packet.icmp_id is None else packet.icmp_id

    return read


def header(protocol: str, name: str) -> tuple[Read, DataType]:
    """A header field; ValueError when it is none."""
    read: Read
    type_: DataType
    if protocol in ("ip", "ip6"):
        fields, wanted = (_IP, 4) if protocol == "ip" else (_IP6, 6)
        if name in fields:
            read, type_ = fields[name]
        elif name in _UNKNOWN_FIELDS[protocol]:
            read, type_ = not_known(f"{protocol} {name} of the packet is not known"), t.INTEGER
        else:
            raise ValueError(f"{protocol} {name}")
        return _only(read, lambda c: c.family == wanted), type_
    if protocol == "th":
        if name not in ("sport", "dport"):
            raise ValueError(f"th {name}")
        return _th_port(name == "sport"), t.SERVICE
    if protocol in ("icmp", "icmpv6"):
        family, wanted = (4, ICMP) if protocol == "icmp" else (6, ICMPV6)
        types = {"type": t.ICMP_TYPE if family == 4 else t.ICMPV6_TYPE,
                 "code": t.ICMP_CODE if family == 4 else t.ICMPV6_CODE, "id": t.SERVICE}  # fmt: skip
        if name in types:
            read, type_ = _icmp(name), types[name]
        elif name in _UNKNOWN_FIELDS[protocol]:
            read, type_ = not_known(f"{protocol} {name} of the packet is not known"), t.INTEGER
        else:
            raise ValueError(f"{protocol} {name}")
        return _only(_protocol(read, wanted), lambda c: c.family == family), type_
    numbers = _TRANSPORT[protocol]
    if name in ("sport", "dport"):
        return _protocol(_port(name == "sport"), *numbers), t.SERVICE
    if (protocol, name) == ("tcp", "flags"):
        return _protocol(_flags, TCP), t.TCP_FLAG
    if name == "length" and protocol in ("udp", "udplite"):
        return _protocol(lambda c: c.packet.length - (20 if c.family == 4 else 40), *numbers), DataType("integer", 16)
    if name in _UNKNOWN_FIELDS.get(protocol, ()):
        return _protocol(not_known(f"{protocol} {name} of the packet is not known"), *numbers), t.INTEGER
    raise ValueError(f"{protocol} {name}")
