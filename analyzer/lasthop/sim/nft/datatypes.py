"""nftables' data types: how the words of a listing become numbers (nftables src/datatype.c, proto.c, ct.c, fib.c)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from lasthop.facts.trace import Mark, MatchResult, Truth
from lasthop.sim.extensions.protocols import protocol_number


@dataclass(frozen=True, slots=True)
class DataType:
    """`bits` wide; `bitmask` types compare by "any of these bits" where no operator is written; `text` are names."""

    name: str
    bits: int = 32
    names: dict[str, int] = field(default_factory=dict, hash=False, compare=False)
    bitmask: bool = False
    text: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """All numbers from `low` to `high`."""

    low: int
    high: int

    @property
    def exact(self) -> bool:
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Text:
    """An interface name, or with `prefix` all names that begin so."""

    value: str
    prefix: bool = False

    @property
    def exact(self) -> bool:
        return not self.prefix


Pattern = Span | Text
Value = int | str | Mark | MatchResult
"""A field of a packet: a number, a name, a number of which some bits are known, or not known at all."""

_AF = {f"af{cls}{drop}": cls * 8 + drop * 2 for cls in range(1, 5) for drop in range(1, 4)}
_CS = {f"cs{cls}": cls * 8 for cls in range(8)}

INTEGER = DataType("integer")
MARK = DataType("mark")
IPV4 = DataType("ipv4_addr", 32)
IPV6 = DataType("ipv6_addr", 128)
SERVICE = DataType("inet_service", 16)
PROTOCOL = DataType("inet_proto", 8)
IFNAME = DataType("ifname", 128, text=True)
ETHER_TYPE = DataType("ether_type", 16, {"ip": 0x0800, "ip6": 0x86DD, "arp": 0x0806, "vlan": 0x8100, "8021q": 0x8100,
                                         "8021ad": 0x88A8})  # fmt: skip
NF_PROTO = DataType("nf_proto", 8, {"ipv4": 2, "ipv6": 10, "inet": 1, "arp": 3, "bridge": 7})
PKTTYPE = DataType("pkt_type", 8, {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3})
BOOLEAN = DataType("boolean", 1, {"exists": 1, "missing": 0})
CT_STATE = DataType("ct_state", 32, {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64},
                    bitmask=True)  # fmt: skip
CT_STATUS = DataType(
    "ct_status", 32,
    {"expected": 1, "seen-reply": 2, "assured": 4, "confirmed": 8, "snat": 0x10, "dnat": 0x20, "seq-adjust": 0x40,
     "snat-done": 0x80, "dnat-done": 0x100, "dying": 0x200, "fixed-timeout": 0x400, "template": 0x800,
     "nat-clash": 0x1000, "helper": 0x2000, "offload": 0x4000, "hw-offload": 0x8000}, bitmask=True,
)  # fmt: skip
CT_DIR = DataType("ct_dir", 8, {"original": 0, "reply": 1})
TCP_FLAG = DataType("tcp_flag", 8, {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64,
                                    "cwr": 128}, bitmask=True)  # fmt: skip
DSCP = DataType("dscp", 6, {**_CS, **_AF, "ef": 46, "be": 0, "lephb": 1, "va": 44, "df": 0})
ECN = DataType("ecn", 2, {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3})
ICMP_TYPE = DataType("icmp_type", 8, {
    "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
    "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
    "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16,
    "address-mask-request": 17, "address-mask-reply": 18,
})  # fmt: skip
ICMP_CODE = DataType("icmp_code", 8, {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
    "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
})  # fmt: skip
ICMPV6_TYPE = DataType("icmpv6_type", 8, {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
    "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
    "mld-listener-done": 132, "mld-listener-reduction": 132, "nd-router-solicit": 133, "nd-router-advert": 134,
    "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138,
    "ind-neighbor-solicit": 141, "ind-neighbor-advert": 142, "mld2-listener-report": 143,
})  # fmt: skip
ICMPV6_CODE = DataType("icmpv6_code", 8, {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5,
    "reject-route": 6,
})  # fmt: skip
ADDRESS_TYPE = DataType("fib_addrtype", 32, {
    "unspec": 0, "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6,
    "unreachable": 7, "prohibit": 8, "throw": 9, "nat": 10, "xresolve": 11,
})  # fmt: skip


def number(word: str, type_: DataType) -> int:
    """One word as a number of this type; ValueError when it is none."""
    if word in type_.names:
        return type_.names[word]
    if type_ is PROTOCOL:
        found = protocol_number(word)
        if found is None:
            raise ValueError(word)
        return found
    if type_ in (IPV4, IPV6):
        ip = ip_address(word)
        if ip.version != (4 if type_ is IPV4 else 6):
            raise ValueError(word)
        return int(ip)
    if type_.text or not word[:1].isdigit():
        raise ValueError(word)
    value = int(word, 0) if word[:2].lower() == "0x" or not word.startswith("0") else int(word)
    if value >> type_.bits:
        raise ValueError(word)
    return value


def pattern(word: str, type_: DataType) -> Pattern:
    """A word of a set or of a comparison: value, range, prefix, or interface name with a wildcard."""
    if type_.text:
        name = word[1:] if word.startswith('"') else word
        if name.endswith("\\*"):
            return Text(name[:-2] + "*")
        return Text(name[:-1], True) if name.endswith("*") else Text(name)
    if word == "*":
        return Span(0, (1 << type_.bits) - 1)
    if word in type_.names:
        return Span(type_.names[word], type_.names[word])
    head, slash, length = word.partition("/")
    if slash:
        base, bits = number(head, type_), int(length)
        if not 0 <= bits <= type_.bits:
            raise ValueError(word)
        rest = (1 << (type_.bits - bits)) - 1
        return Span(base & ~rest, base | rest)
    low, dash, high = word.partition("-")
    if dash and low and high and type_ is not PROTOCOL:
        return Span(number(low, type_), number(high, type_))
    value = number(word, type_)
    return Span(value, value)


def unknown(why: str, decides: str = "") -> MatchResult:
    return MatchResult(Truth.UNKNOWN, why, decides)


def compare(found: Value, wanted: Pattern) -> bool | MatchResult:
    """Whether the value of a field is in the pattern."""
    if isinstance(found, MatchResult):
        return found
    if isinstance(wanted, Text):
        if not isinstance(found, str):
            raise TypeError("a name compared with a number")
        return found.startswith(wanted.value) if wanted.prefix else found == wanted.value
    if isinstance(found, Mark):
        return compare_bits(found, wanted)
    if isinstance(found, str):
        raise TypeError("a number compared with a name")
    return wanted.low <= found <= wanted.high


def compare_bits(found: Mark, wanted: Span) -> bool | MatchResult:
    """A number of which only some bits are known, against an interval."""
    unsure = ~found.known & 0xFFFFFFFF
    if not unsure:
        return wanted.low <= found.value <= wanted.high
    lowest, highest = found.value & found.known, found.value & found.known | unsure
    if wanted.exact:
        if (wanted.low ^ found.value) & found.known:
            return False
    elif highest < wanted.low or lowest > wanted.high:
        return False
    elif wanted.low <= lowest and highest <= wanted.high:
        return True
    return unknown(f"bits {unsure:#x} are not known")
