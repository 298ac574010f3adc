"""Connection tracking of one netns: the dump's entries and the connections that this walk made.

Immutable: every change answers a new table. Follows net/netfilter/nf_conntrack_core.c (resolve_normal_ct),
nf_conntrack_proto_tcp.c (states, without windows: sequence numbers are in no dump), _proto_icmp.c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from lasthop.facts.evidence import Absent, Partial, SourceRef
from lasthop.facts.netfilter import ConntrackEntry, ConntrackTuple
from lasthop.facts.network import Ip
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Mark, Packet

from .extensions.protocols import GRE, ICMP, ICMPV6, TCP, WITH_PORTS, protocol_number
from .tcp_states import next_state

Tuple4 = tuple[Ip, Ip, int | None, int | None]
"""Source, destination, source port, destination port. ICMP: id, type << 8 | code. None where there is neither."""

ICMP_INVERSE = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17}
ICMP_OPENERS = frozenset({8, 13, 15, 17})
ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
ICMPV6_INVERSE = {128: 129, 129: 128, 139: 140, 140: 139}
ICMPV6_OPENERS = frozenset({128, 139})
ICMPV6_UNTRACKED = frozenset({130, 131, 132, 133, 134, 135, 136, 143})
NO_MARK = Mark()
DONE = frozenset({"SRC_NAT_DONE", "DST_NAT_DONE"})


@dataclass(frozen=True, slots=True)
class Connection:
    """One tracked connection. `entry` is the dump's line it came from; `state` the TCP state word or "".

    `status` holds SEEN_REPLY, ASSURED, CONFIRMED, SNAT, DNAT, SRC_NAT_DONE, DST_NAT_DONE.
    """

    proto: int
    original: Tuple4
    reply: Tuple4
    status: frozenset[str] = frozenset()
    state: str = ""
    mark: Mark = NO_MARK
    zone: int = 0
    entry: ConntrackEntry | None = None

    @property
    def source(self) -> tuple[SourceRef, ...]:
        return (self.entry.source,) if self.entry is not None else ()


Key = tuple[int, int, Tuple4]


class _Index:
    """The dump's entries by tuple, both directions. Built when first asked."""

    def __init__(self, entries: tuple[ConntrackEntry, ...]) -> None:
        self.entries = entries

    @cached_property
    def by_key(self) -> dict[Key, tuple[ConntrackEntry, bool]]:
        found: dict[Key, tuple[ConntrackEntry, bool]] = {}
        for entry in self.entries:
            proto = protocol_number(entry.proto)
            if proto is None:
                continue
            for tuple_, is_reply in ((entry.original, False), (entry.reply, True)):
                zone = entry.zone or (entry.zone_reply if is_reply else entry.zone_orig)
                found.setdefault((zone, proto, _from_entry(tuple_)), (entry, is_reply))
        return found


@lru_cache(maxsize=64)
def _index_of(held: _Held) -> _Index:
    return _Index(held.entries)


class _Held:
    """A dump's entries, compared by identity: walks over the same evidence share one index."""

    def __init__(self, entries: tuple[ConntrackEntry, ...]) -> None:
        self.entries = entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.entries is self.entries

    def __hash__(self) -> int:
        return id(self.entries)


def _from_entry(t: ConntrackTuple) -> Tuple4:
    if t.icmp is not None:
        return t.src, t.dst, t.icmp[2], t.icmp[0] << 8 | t.icmp[1]
    return t.src, t.dst, t.sport, t.dport


def connection_of(entry: ConntrackEntry) -> Connection:
    """A dump entry as the kernel holds it; NAT bits follow from the two tuples (nf_nat_setup_info sets them so)."""
    proto = protocol_number(entry.proto) or 0
    original, reply = _from_entry(entry.original), _from_entry(entry.reply)
    status = {"CONFIRMED", *DONE}
    if "UNREPLIED" not in entry.status:
        status.add("SEEN_REPLY")
    if "ASSURED" in entry.status:
        status.add("ASSURED")
    plain = invert(proto, original)
    if plain is not None:
        if (plain[1], plain[3]) != (reply[1], reply[3]):
            status.add("SNAT")
        if (plain[0], plain[2]) != (reply[0], reply[2]):
            status.add("DNAT")
    return Connection(proto, original, reply, frozenset(status), entry.state, Mark(entry.mark), entry.zone, entry)


def packet_tuple(packet: Packet) -> Tuple4 | None:
    """The tuple that conntrack looks up; None when a part of it is not known."""
    proto = protocol_number(packet.proto)
    if proto in (ICMP, ICMPV6):
        if packet.icmp_type is None:
            return None
        return packet.src, packet.dst, packet.icmp_id or 0, packet.icmp_type << 8 | (packet.icmp_code or 0)
    if proto in WITH_PORTS:
        if packet.sport is None or packet.dport is None:
            return None
        return packet.src, packet.dst, packet.sport, packet.dport
    return packet.src, packet.dst, None, None


def invert(proto: int, t: Tuple4) -> Tuple4 | None:
    """The tuple of the answer; None for ICMP types that have none."""
    src, dst, a, b = t
    if proto in (ICMP, ICMPV6):
        kinds = ICMP_INVERSE if proto == ICMP else ICMPV6_INVERSE
        kind = (b or 0) >> 8
        if kind not in kinds:
            return None
        return dst, src, a, kinds[kind] << 8 | (b or 0) & 0xFF
    return dst, src, b, a


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the lookup made of a packet. `note` is one line for people; `full` when there is no room for a new entry."""

    packet: Packet
    table: ConntrackTable
    connection: Connection | None = None
    note: str = ""
    full: bool = False


@dataclass(frozen=True, slots=True)
class ConntrackTable:
    """`made` are connections of this walk and entries of the dump that it changed; they come before the dump."""

    index: _Index
    made: tuple[Connection, ...] = ()
    gone: frozenset[int] = frozenset()
    """Identities of dump entries that a reopened connection replaced."""
    tcp_loose: bool | None = None
    count: int | None = None
    limit: int | None = None

    @classmethod
    def of(cls, netns: NetNS) -> ConntrackTable:
        """The table of a netns at the moment of its dump. Without a dump it is empty (see `evidence_gap`)."""
        values = {sysctl.key: sysctl.value.strip() for sysctl in netns.sysctls.values}

        def number(key: str) -> int | None:
            text = values.get(f"net.netfilter.{key}", "")
            return int(text) if text.isdigit() else None

        loose = number("nf_conntrack_tcp_loose")
        return cls(
            _index_of(_Held(netns.conntrack.values)),
            tcp_loose=None if loose is None else loose != 0,
            count=number("nf_conntrack_count"),
            limit=number("nf_conntrack_max"),
        )

    @classmethod
    def empty(cls) -> ConntrackTable:
        return cls(_Index(()))

    @property
    def is_full(self) -> bool:
        return self.count is not None and self.limit is not None and 0 < self.limit <= self.count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConntrackTable):
            return NotImplemented
        return self.index is other.index and self.made == other.made and self.gone == other.gone

    def __hash__(self) -> int:
        return hash((id(self.index), self.made, self.gone))

    def find(self, proto: int, t: Tuple4, zone: int = 0) -> tuple[Connection, bool] | None:
        """The connection with this tuple and whether it is its reply direction."""
        for connection in self.made:
            if connection.proto == proto and connection.zone == zone:
                if connection.reply == t:  # first: it decides where both directions look the same
                    return connection, True
                if connection.original == t:
                    return connection, False
        found = self.index.by_key.get((zone, proto, t))
        if found is None or id(found[0]) in self.gone:
            return None
        return connection_of(found[0]), found[1]

    def taken(self, proto: int, t: Tuple4, zone: int = 0) -> bool:
        """nf_nat_used_tuple: another connection already uses this tuple."""
        return self.find(proto, t, zone) is not None

    def put(self, connection: Connection) -> ConntrackTable:
        """With `connection` added, or in the place of the one with its original tuple."""
        rest = tuple(
            c for c in self.made
            if (c.proto, c.zone, c.original) != (connection.proto, connection.zone, connection.original)
        )  # fmt: skip
        gone = self.gone
        if connection.entry is not None:
            gone = gone | {id(connection.entry)}
        return replace(self, made=(*rest, connection), gone=gone)

    def without(self, connection: Connection) -> ConntrackTable:
        gone = self.gone
        if connection.entry is not None:
            gone = gone | {id(connection.entry)}
        return replace(self, made=tuple(c for c in self.made if c is not connection), gone=gone)

    def lookup(self, packet: Packet) -> Lookup:
        """nf_conntrack_in: state, direction, status and mark of the packet's connection.

        A packet that already has a connection (loopback) or was exempted (NOTRACK) is left as it is.
        """
        if packet.ctstate == "UNTRACKED" or packet.ct_original is not None:
            return Lookup(packet, self, None, "not tracked" if packet.ctstate == "UNTRACKED" else "already known")
        proto = protocol_number(packet.proto)
        if proto is None:
            return Lookup(replace(packet, ctstate=""), self, None, f"protocol {packet.proto} is not known")
        if proto == ICMPV6 and packet.icmp_type in ICMPV6_UNTRACKED:
            return Lookup(replace(packet, ctstate="UNTRACKED"), self, None, "neighbour discovery is not tracked")
        errors = ICMP_ERRORS if proto == ICMP else frozenset(range(1, 5))
        if proto in (ICMP, ICMPV6) and packet.icmp_type in errors:
            return self._error(packet)
        tuple_ = packet_tuple(packet)
        if tuple_ is None:
            return Lookup(packet, self, None, "ports not known: the connection cannot be looked up")
        if proto == TCP and not valid_flags(packet.tcp_flags):
            return self._invalid(packet, "the combination of TCP flags is invalid")
        found = self.find(proto, tuple_, packet.ct_zone)
        if found is None:
            return self._new(packet, proto, tuple_)
        connection, is_reply = found
        return self._existing(packet, connection, is_reply)

    def _invalid(self, packet: Packet, why: str) -> Lookup:
        return Lookup(replace(packet, ctstate="INVALID", ctstatus=frozenset(), ctmark=Mark()), self, None, why)

    def _error(self, packet: Packet) -> Lookup:
        """An ICMP error belongs to the connection of the packet that it quotes (nf_conntrack_inet_error)."""
        quoted = packet.quoted
        if quoted is None:
            return self._invalid(packet, "the ICMP error quotes no packet of a known connection")
        proto = protocol_number(quoted.proto)
        tuple_ = packet_tuple(quoted)
        inner = invert(proto, tuple_) if proto is not None and tuple_ is not None else None
        found = self.find(proto, inner, packet.ct_zone) if proto is not None and inner is not None else None
        if found is None:
            return self._invalid(packet, "the quoted packet belongs to no connection")
        connection, is_reply = found
        tuple_here = connection.reply if is_reply else connection.original
        if tuple_here[1] != packet.dst:
            return self._invalid(packet, "the ICMP error is not addressed to the sender of the quoted packet")
        related = _attach(packet, connection, "RELATED", is_reply)
        return Lookup(related, self, connection, "about a known connection")

    def _new(self, packet: Packet, proto: int, tuple_: Tuple4) -> Lookup:
        state = ""
        reply = invert(proto, tuple_)
        if proto == TCP:
            index = flags_index(packet.tcp_flags)
            state = next_state("NONE", index, False)
            if state in ("INVALID", "IGNORE"):
                return self._invalid(packet, f"a TCP {index} without a connection")
            if state != "SYN_SENT" and self.tcp_loose is False:
                return self._invalid(packet, "no connection, and nf_conntrack_tcp_loose is 0")
        openers = ICMP_OPENERS if proto == ICMP else ICMPV6_OPENERS
        if (proto in (ICMP, ICMPV6) and packet.icmp_type not in openers) or reply is None:
            return self._invalid(packet, f"ICMP type {packet.icmp_type} without a request")
        if self.is_full:
            return Lookup(packet, self, None, f"table full: {self.count} of {self.limit} entries", full=True)
        connection = Connection(proto, tuple_, reply, frozenset(), state, Mark(), packet.ct_zone)
        note = "new connection"
        if proto == TCP and state != "SYN_SENT":
            note = "picked up in mid-stream" + (
                " (nf_conntrack_tcp_loose not collected, taken as its default 1)" if self.tcp_loose is None else ""
            )
        return Lookup(_attach(packet, connection, "NEW", False), self, connection, note)

    def _existing(self, packet: Packet, connection: Connection, is_reply: bool) -> Lookup:
        table = self
        if connection.proto == TCP and connection.state:
            index = flags_index(packet.tcp_flags)
            state = next_state(connection.state, index, is_reply)
            if state == "INVALID":
                return self._invalid(packet, f"a TCP {index} does not fit the connection's state {connection.state}")
            if state == "SYN_SENT" and connection.state in ("TIME_WAIT", "CLOSE"):
                return self.without(connection).lookup(packet)
            if state != "IGNORE":
                status = connection.status
                if "SEEN_REPLY" not in status and index == "RST":
                    # tcp_packet: a reset that is the only answer deletes the entry, the packet still belongs to it.
                    note = "a reset without an answer before ends the connection"
                    word = "ESTABLISHED" if is_reply else "NEW"
                    attached = _attach(packet, connection, word, is_reply)
                    return Lookup(attached, self.without(connection), connection, note)
                if (
                    state == "ESTABLISHED"
                    and connection.state in ("SYN_RECV", "ESTABLISHED")
                    and "SEEN_REPLY" in status
                ):
                    status = status | {"ASSURED"}
                connection = replace(connection, state=state, status=status)
        if connection.proto == GRE and "SEEN_REPLY" in connection.status:
            connection = replace(connection, status=connection.status | {"ASSURED"})
        if is_reply and "SEEN_REPLY" not in connection.status:
            connection = replace(connection, status=connection.status | {"SEEN_REPLY"})
            word = "ESTABLISHED"
        else:
            word = "ESTABLISHED" if is_reply or "SEEN_REPLY" in connection.status else "NEW"
        table = self.put(connection)
        note = "entry of the dump" if connection.entry is not None else "connection of this walk"
        return Lookup(_attach(packet, connection, word, is_reply), table, connection, note)

    def clashes(self, packet: Packet) -> bool:
        """Whether a new connection cannot be entered because one of its tuples is taken (__nf_conntrack_confirm)."""
        if packet.ct_original is None or packet.ct_reply is None or "CONFIRMED" in packet.ctstatus:
            return False
        proto = protocol_number(packet.proto) or 0
        return self.taken(proto, packet.ct_original, packet.ct_zone) or self.taken(
            proto, packet.ct_reply, packet.ct_zone
        )

    def confirm(self, packet: Packet) -> ConntrackTable:
        """__nf_conntrack_confirm: the connection of a packet that left, or reached a socket, becomes an entry; later
        changes of its mark are kept too."""
        if packet.ct_original is None or packet.ct_reply is None:
            return self
        related = packet.ctstate == "RELATED"
        proto = protocol_number((packet.quoted or packet).proto if related else packet.proto) or 0
        if "CONFIRMED" in packet.ctstatus:
            found = self.find(proto, packet.ct_original, packet.ct_zone)
            if found is None or found[0].mark == packet.ctmark:
                return self
            return self.put(replace(found[0], mark=packet.ctmark))
        state = next_state("NONE", flags_index(packet.tcp_flags), False) if proto == TCP else ""
        return self.put(
            Connection(
                proto,
                packet.ct_original,
                packet.ct_reply,
                packet.ctstatus | {"CONFIRMED", *DONE},
                state,
                packet.ctmark,
                packet.ct_zone,
            )
        )


def _attach(packet: Packet, connection: Connection, word: str, is_reply: bool) -> Packet:
    return replace(
        packet,
        ctstate=word,
        ctdir="reply" if is_reply else "original",
        ctstatus=connection.status,
        ctmark=connection.mark,
        ct_original=connection.original,
        ct_reply=connection.reply,
    )


def flags_index(flags: frozenset[str]) -> str:
    """get_conntrack_index: which row of the state table a segment selects."""
    if "RST" in flags:
        return "RST"
    if "SYN" in flags:
        return "SYN-ACK" if "ACK" in flags else "SYN"
    if "FIN" in flags:
        return "FIN"
    return "ACK" if "ACK" in flags else "none"


_VALID_FLAGS = frozenset(
    frozenset(combination.split(","))
    for combination in ("SYN", "SYN,URG", "SYN,ACK", "RST", "RST,ACK", "FIN,ACK", "FIN,ACK,URG", "ACK", "ACK,URG")
)


def valid_flags(flags: frozenset[str]) -> bool:
    """tcp_valid_flags: PSH, ECE and CWR may be added to any."""
    return flags - {"PSH", "ECE", "CWR"} in _VALID_FLAGS


def evidence_gap(netns: NetNS) -> str:
    """A sentence when entries of the dump may be missing, else ""."""
    if isinstance(netns.conntrack, Absent):
        return f"no older conntrack entry of this flow acts (conntrack {netns.conntrack.reason.value})"
    if isinstance(netns.conntrack, Partial):
        return f"no older conntrack entry of this flow acts (conntrack dump incomplete: {netns.conntrack.why})"
    return ""
