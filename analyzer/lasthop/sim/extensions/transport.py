"""Ports, TCP flags, ICMP types, and the simple header fields."""

from __future__ import annotations

from lasthop.facts.netfilter import Match

from .context import Answer, Context, unknown
from .protocols import ICMP, ICMPV6, SCTP, TCP, UDP, WITH_PORTS
from .registry import MatchExtension, Support, Test, Value, register, single

SERVICES: dict[str, int] = {
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68,
    "tftp": 69, "http": 80, "pop3": 110, "sunrpc": 111, "ntp": 123, "netbios-ns": 137, "netbios-dgm": 138,
    "netbios-ssn": 139, "imap2": 143, "snmp": 161, "bgp": 179, "ldap": 389, "https": 443, "microsoft-ds": 445,
    "isakmp": 500, "syslog": 514, "nfs": 2049, "mysql": 3306, "postgresql": 5432, "http-alt": 8080,
}  # fmt: skip
"""Names in hand-written rules; iptables-save prints numbers."""

Ranges = tuple[tuple[int, int], ...]


def parse_port(text: str) -> int:
    value = int(text) if text.isdigit() else SERVICES[text]
    if value > 65535:
        raise ValueError(text)
    return value


def parse_range(text: str) -> tuple[int, int]:
    """"80", "80:90", ":90", "80:"."""
    if ":" not in text:
        value = parse_port(text)
        return value, value
    low, high = text.split(":")
    return parse_port(low) if low else 0, parse_port(high) if high else 65535


def port_in(value: int | None, ranges: Ranges) -> Answer:
    if value is None:
        if any(low == 0 and high == 65535 for low, high in ranges):
            return True
        return unknown("the port of this packet is not known")
    return any(low <= value <= high for low, high in ranges)


def _ports(c: Context) -> str:
    return f"ports {c.sport if c.sport is not None else '?'} -> {c.dport if c.dport is not None else '?'}"


def _port_option(match: Match, proto: int) -> tuple[Test, Value]:
    ranges = (parse_range(match.values[0]),)
    low, high = ranges[0]
    if match.option == "sport":

        def source(c: Context) -> Answer:
            if c.proto != proto:
                return False
            return low <= c.sport <= high if c.sport is not None else port_in(None, ranges)

        return source, (lambda c: f"source port {c.sport}" if c.proto == proto else f"protocol {c.packet.proto}")

    def destination(c: Context) -> Answer:
        if c.proto != proto:
            return False
        return low <= c.dport <= high if c.dport is not None else port_in(None, ranges)

    return destination, (lambda c: f"destination port {c.dport}" if c.proto == proto else f"protocol {c.packet.proto}")


TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")


def parse_flags(text: str) -> frozenset[str]:
    if text == "ALL":
        return frozenset(TCP_FLAGS)
    if text == "NONE":
        return frozenset()
    flags = frozenset(text.split(","))
    if not flags <= frozenset(TCP_FLAGS):
        raise ValueError(text)
    return flags


def _tcp(match: Match) -> tuple[Test, Value]:
    if match.option in ("sport", "dport"):
        return _port_option(match, TCP)
    if match.option == "tcp-option":

        def option(c: Context) -> Answer:
            return unknown("TCP options of the packet are not known") if c.proto == TCP else False

        return option, (lambda c: "options not known")
    if match.option == "syn":
        mask, wanted = frozenset({"FIN", "SYN", "RST", "ACK"}), frozenset({"SYN"})
    else:
        words = [word for value in match.values for word in value.split()]
        mask, wanted = parse_flags(words[0]), parse_flags(words[1])

    def flags(c: Context) -> Answer:
        return c.proto == TCP and c.packet.tcp_flags & mask == wanted

    return flags, (lambda c: "flags " + (",".join(sorted(c.packet.tcp_flags)) or "none"))


def _udp(match: Match) -> tuple[Test, Value]:
    return _port_option(match, UDP)


def _sctp(match: Match) -> tuple[Test, Value]:
    if match.option in ("sport", "dport"):
        return _port_option(match, SCTP)
    return (lambda c: unknown("SCTP chunks of the packet are not known")), (lambda c: "chunks not known")


ICMP_NAMES: dict[str, tuple[int, int, int]] = {
    "any": (255, 0, 255), "echo-reply": (0, 0, 255), "pong": (0, 0, 255), "destination-unreachable": (3, 0, 255),
    "network-unreachable": (3, 0, 0), "host-unreachable": (3, 1, 1), "protocol-unreachable": (3, 2, 2),
    "port-unreachable": (3, 3, 3), "fragmentation-needed": (3, 4, 4), "source-route-failed": (3, 5, 5),
    "network-unknown": (3, 6, 6), "host-unknown": (3, 7, 7), "network-prohibited": (3, 9, 9),
    "host-prohibited": (3, 10, 10), "TOS-network-unreachable": (3, 11, 11), "TOS-host-unreachable": (3, 12, 12),
    "communication-prohibited": (3, 13, 13), "host-precedence-violation": (3, 14, 14),
    "precedence-cutoff": (3, 15, 15), "source-quench": (4, 0, 255), "redirect": (5, 0, 255),
    "network-redirect": (5, 0, 0), "host-redirect": (5, 1, 1), "TOS-network-redirect": (5, 2, 2),
    "TOS-host-redirect": (5, 3, 3), "echo-request": (8, 0, 255), "ping": (8, 0, 255),
    "router-advertisement": (9, 0, 255), "router-solicitation": (10, 0, 255), "time-exceeded": (11, 0, 255),
    "ttl-exceeded": (11, 0, 255), "ttl-zero-during-transit": (11, 0, 0), "ttl-zero-during-reassembly": (11, 1, 1),
    "parameter-problem": (12, 0, 255), "ip-header-bad": (12, 0, 0), "required-option-missing": (12, 1, 1),
    "timestamp-request": (13, 0, 255), "timestamp-reply": (14, 0, 255), "address-mask-request": (17, 0, 255),
    "address-mask-reply": (18, 0, 255),
}  # fmt: skip
ICMPV6_NAMES: dict[str, tuple[int, int, int]] = {
    "destination-unreachable": (1, 0, 255), "no-route": (1, 0, 0), "communication-prohibited": (1, 1, 1),
    "beyond-scope": (1, 2, 2), "address-unreachable": (1, 3, 3), "port-unreachable": (1, 4, 4),
    "failed-policy": (1, 5, 5), "reject-route": (1, 6, 6), "packet-too-big": (2, 0, 255),
    "time-exceeded": (3, 0, 255), "ttl-exceeded": (3, 0, 255), "ttl-zero-during-transit": (3, 0, 0),
    "ttl-zero-during-reassembly": (3, 1, 1), "parameter-problem": (4, 0, 255), "bad-header": (4, 0, 0),
    "unknown-header-type": (4, 1, 1), "unknown-option": (4, 2, 2), "echo-request": (128, 0, 255),
    "ping": (128, 0, 255), "echo-reply": (129, 0, 255), "pong": (129, 0, 255), "mld-listener-query": (130, 0, 255),
    "mld-listener-report": (131, 0, 255), "mld-listener-done": (132, 0, 255), "mld-listener-reduction": (132, 0, 255),
    "router-solicitation": (133, 0, 255), "router-advertisement": (134, 0, 255),
    "neighbour-solicitation": (135, 0, 255), "neighbor-solicitation": (135, 0, 255),
    "neighbour-advertisement": (136, 0, 255), "neighbor-advertisement": (136, 0, 255), "redirect": (137, 0, 255),
}  # fmt: skip


def parse_icmp(text: str, names: dict[str, tuple[int, int, int]]) -> tuple[int, int, int]:
    """(type, lowest code, highest code)."""
    if text in names:
        return names[text]
    kind, _, code = text.partition("/")
    number = int(kind)
    if code:
        return number, int(code), int(code)
    return number, 0, 255


def _icmp(match: Match, proto: int, names: dict[str, tuple[int, int, int]]) -> tuple[Test, Value]:
    kind, low, high = parse_icmp(match.values[0], names)
    everything = proto == ICMP and kind == 255

    def test(c: Context) -> Answer:
        if c.proto != proto:
            return False
        if everything:
            return True
        if c.packet.icmp_type is None:
            return unknown("the ICMP type of this packet is not known")
        if c.packet.icmp_type != kind:
            return False
        if (low, high) == (0, 255):
            return True
        if c.packet.icmp_code is None:
            return unknown("the ICMP code of this packet is not known")
        return low <= c.packet.icmp_code <= high

    return test, (lambda c: f"ICMP type {c.packet.icmp_type} code {c.packet.icmp_code}")


def _multiport(match: Match) -> tuple[Test, Value]:
    ranges = tuple(parse_range(item) for item in match.values[0].split(","))
    option = match.option

    def test(c: Context) -> Answer:
        # -p must name a protocol with ports; a packet without them reads as a non-match (xt_multiport.c).
        if c.proto not in WITH_PORTS:
            return False
        if option == "dports":
            return port_in(c.dport, ranges)
        if option == "sports":
            return port_in(c.sport, ranges)
        first, second = port_in(c.sport, ranges), port_in(c.dport, ranges)
        if first is True or second is True:
            return True
        return first if first is not False else second

    return test, _ports


def _length(match: Match) -> tuple[Test, Value]:
    low, high = parse_range(match.values[0])
    return (lambda c: low <= c.packet.length <= high), (lambda c: f"length {c.packet.length}")


def _ttl(match: Match) -> tuple[Test, Value]:
    wanted = int(match.values[0])
    how = match.option.split("-")[1]
    if how == "eq":
        test: Test = lambda c: c.packet.ttl == wanted  # noqa: E731
    elif how == "gt":
        test = lambda c: c.packet.ttl > wanted  # noqa: E731
    else:
        test = lambda c: c.packet.ttl < wanted  # noqa: E731
    return test, (lambda c: f"TTL {c.packet.ttl}")


DSCP_CLASSES: dict[str, int] = {
    "CS0": 0, "CS1": 8, "CS2": 16, "CS3": 24, "CS4": 32, "CS5": 40, "CS6": 48, "CS7": 56, "BE": 0, "AF11": 10,
    "AF12": 12, "AF13": 14, "AF21": 18, "AF22": 20, "AF23": 22, "AF31": 26, "AF32": 28, "AF33": 30, "AF41": 34,
    "AF42": 36, "AF43": 38, "EF": 46,
}  # fmt: skip


def _dscp(match: Match) -> tuple[Test, Value]:
    text = match.values[0]
    wanted = DSCP_CLASSES[text.upper()] if match.option == "dscp-class" else int(text, 0)
    return (lambda c: c.tos >> 2 == wanted), (lambda c: f"DSCP {c.tos >> 2:#04x}")


def _tos(match: Match) -> tuple[Test, Value]:
    value_text, _, mask_text = match.values[0].partition("/")
    value, mask = int(value_text, 0), int(mask_text, 0) if mask_text else 0xFF
    return (lambda c: c.tos & mask == value), (lambda c: f"TOS {c.tos:#04x}")


register(MatchExtension("tcp", ("sport", "dport", "tcp-option", "tcp-flags", "syn"), Support.MODELLED,
                        "--tcp-option answers UNKNOWN", single(_tcp)))  # fmt: skip
register(MatchExtension("udp", ("sport", "dport"), Support.MODELLED, "", single(_udp)))
register(MatchExtension("sctp", ("sport", "dport", "chunk-types"), Support.MODELLED,
                        "--chunk-types answers UNKNOWN", single(_sctp)))  # fmt: skip
register(MatchExtension("icmp", ("icmp-type",), Support.MODELLED, "", single(lambda m: _icmp(m, ICMP, ICMP_NAMES))))
for _module in ("icmp6", "icmpv6"):
    register(MatchExtension(_module, ("icmpv6-type",), Support.MODELLED, "",
                            single(lambda m: _icmp(m, ICMPV6, ICMPV6_NAMES))))  # fmt: skip
register(MatchExtension("multiport", ("sports", "dports", "ports"), Support.MODELLED, "", single(_multiport)))
register(MatchExtension("length", ("length",), Support.MODELLED, "", single(_length)))
register(MatchExtension("ttl", ("ttl-eq", "ttl-gt", "ttl-lt"), Support.MODELLED, "", single(_ttl)))
register(MatchExtension("hl", ("hl-eq", "hl-gt", "hl-lt"), Support.MODELLED, "", single(_ttl)))
register(MatchExtension("dscp", ("dscp", "dscp-class"), Support.MODELLED, "", single(_dscp)))
register(MatchExtension("tos", ("tos",), Support.MODELLED, "", single(_tos)))
