"""Built-in -s -d -i -o -p -f, and the matches on addresses, interfaces and frames."""

from __future__ import annotations

from ipaddress import ip_address

from lasthop.facts.netfilter import Match
from lasthop.facts.trace import Truth

from .context import Answer, Context, unknown
from .protocols import protocol_number
from .registry import (
    CompiledMatch,
    MatchExtension,
    Support,
    Test,
    Value,
    always_unknown,
    group_text,
    register,
    single,
)


def parse_masked(text: str) -> tuple[int, int]:
    """"10.0.0.0/8", "10.0.0.1/255.0.255.0", "fd00::/8": (value, mask) as ints; masks need not be contiguous."""
    head, _, mask_text = text.partition("/")
    ip = ip_address(head)
    bits = ip.max_prefixlen
    if not mask_text:
        mask = (1 << bits) - 1
    elif mask_text.isdigit():
        length = int(mask_text)
        if length > bits:
            raise ValueError(text)
        mask = ((1 << bits) - 1) ^ ((1 << (bits - length)) - 1)
    else:
        mask = int(ip_address(mask_text))
    return int(ip) & mask, mask


def _address_test(match: Match, source: bool) -> tuple[Test, Value]:
    # One address per rule in dumps; a list would have been expanded when the rule was added.
    ((value, mask),) = (parse_masked(text) for text in match.values)
    if source:
        return (lambda c: c.src & mask == value), (lambda c: f"source {c.packet.src}")
    return (lambda c: c.dst & mask == value), (lambda c: f"destination {c.packet.dst}")


def interface_test(name: str, incoming: bool) -> Test:
    """`+` at the end matches any rest; `+` alone matches everything, also no interface."""
    if name.endswith("+"):
        prefix = name[:-1]
        if not prefix:
            return lambda c: True
        return (lambda c: c.iif.startswith(prefix)) if incoming else (lambda c: c.oif.startswith(prefix))
    return (lambda c: c.iif == name) if incoming else (lambda c: c.oif == name)


def _builtin(match: Match) -> tuple[Test, Value]:
    if match.option in ("source", "destination"):
        return _address_test(match, match.option == "source")
    if match.option in ("in-interface", "out-interface"):
        incoming = match.option == "in-interface"
        (name,) = match.values
        word = "in" if incoming else "out"
        return interface_test(name, incoming), (lambda c: f"{word} {(c.iif if incoming else c.oif) or '(none)'}")
    if match.option == "protocol":
        wanted = protocol_number(match.values[0])
        if wanted is None:
            raise ValueError(match.values[0])
        if wanted == 0:
            return (lambda c: True), (lambda c: f"protocol {c.packet.proto}")

        def protocol(c: Context) -> Answer:
            return unknown(f"protocol {c.packet.proto} has no known number") if c.proto is None else c.proto == wanted

        return protocol, (lambda c: f"protocol {c.packet.proto}")
    # -f matches second and later fragments; the walk follows whole packets.
    return (lambda c: False), (lambda c: "not a later fragment")


def _iprange(match: Match) -> tuple[Test, Value]:
    low_text, _, high_text = match.values[0].partition("-")
    low, high = int(ip_address(low_text)), int(ip_address(high_text or low_text))
    if match.option == "src-range":
        return (lambda c: low <= c.src <= high), (lambda c: f"source {c.packet.src}")
    return (lambda c: low <= c.dst <= high), (lambda c: f"destination {c.packet.dst}")


ADDRESS_TYPES = frozenset({
    "UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT",
    "THROW", "NAT", "XRESOLVE",
})  # fmt: skip


def _ipv6_types(c: Context, wanted: frozenset[str], source: bool, found: str | None) -> Answer:
    """match_type6: MULTICAST, UNICAST and UNSPEC are properties of the address and must all hold; LOCAL, ANYCAST and
    UNREACHABLE ask the routing table."""
    ip = c.packet.src if source else c.packet.dst
    if "MULTICAST" in wanted and not ip.is_multicast:
        return False
    if "UNICAST" in wanted and (ip.is_multicast or ip.is_unspecified):
        return False
    if "UNSPEC" in wanted and not ip.is_unspecified:
        return False
    routed = wanted & {"LOCAL", "ANYCAST", "UNREACHABLE"}
    if not routed:
        return True
    if found is None:
        return unknown(f"the type of address {ip} is not known", "ip6_route_all")
    return found in routed


def _addrtype(group: tuple[Match, ...]) -> list[CompiledMatch]:
    """net/netfilter/xt_addrtype.c addrtype_mt_v1: the limit applies to both tests of the same use."""
    options = {match.option for match in group}
    limit_in, limit_out = "limit-iface-in" in options, "limit-iface-out" in options
    compiled = []
    for match in group:
        if match.option not in ("src-type", "dst-type"):
            continue
        wanted = frozenset(match.values[0].split(","))
        if not wanted <= ADDRESS_TYPES:
            raise ValueError(match.values[0])
        source, negated = match.option == "src-type", match.negated

        def kind(c: Context, source: bool = source) -> str | None:
            dev = c.iif if limit_in else c.oif if limit_out else None
            return c.address_type(c.src if source else c.dst, dev)

        def test6(
            c: Context, wanted: frozenset[str] = wanted, source: bool = source, negated: bool = negated
        ) -> Answer:
            answer = _ipv6_types(c, wanted, source, kind(c, source))
            return answer if not isinstance(answer, bool) else answer != negated

        def test(
            c: Context, wanted: frozenset[str] = wanted, source: bool = source, negated: bool = negated
        ) -> Answer:
            if c.family == 6:
                return test6(c, wanted, source, negated)
            found = kind(c, source)
            if found is None:
                ip = c.packet.src if source else c.packet.dst
                return unknown(f"the type of address {ip} is not known", "ip4_route_all")
            return (found in wanted) != negated

        def value(c: Context, source: bool = source) -> str:
            ip = c.packet.src if source else c.packet.dst
            return f"{ip} is of type {kind(c, source) or 'unknown'}"

        compiled.append(CompiledMatch(test, group_text(group), value))
    return compiled


def _rpfilter(group: tuple[Match, ...]) -> list[CompiledMatch]:
    """net/ipv4/netfilter/ipt_rpfilter.c; YES of the surroundings means that the reverse path is right."""
    options = {match.option for match in group}
    loose, validmark, accept_local = "loose" in options, "validmark" in options, "accept-local" in options
    invert = "invert" in options

    def test(c: Context) -> Answer:
        if c.iif == "lo":
            return not invert
        result = c.around.reverse_path(c.current(), loose=loose, validmark=validmark, accept_local=accept_local)
        if result.truth is Truth.UNKNOWN:
            return result
        return (result.truth is Truth.YES) != invert

    def value(c: Context) -> str:
        result = c.around.reverse_path(c.current(), loose=loose, validmark=validmark, accept_local=accept_local)
        return result.why or f"reverse path of {c.packet.src} through {c.iif}: {result.truth.value}"

    return [CompiledMatch(test, group_text(group), value)]


def _mac(match: Match) -> tuple[Test, Value]:
    wanted = match.values[0].lower()

    def test(c: Context) -> Answer:
        if not c.packet.src_mac:
            return unknown("the source MAC address of the frame is not known here", "ip_neigh")
        return c.packet.src_mac.lower() == wanted

    return test, (lambda c: f"source MAC {c.packet.src_mac or 'unknown'}")


def _pkttype(match: Match) -> tuple[Test, Value]:
    wanted = match.values[0].lower()
    if wanted not in ("unicast", "broadcast", "multicast"):
        raise ValueError(wanted)

    def kind(c: Context) -> str | None:
        if c.packet.dst_mac:
            first = int(c.packet.dst_mac.split(":")[0], 16)
            if c.packet.dst_mac.lower() == "ff:ff:ff:ff:ff:ff":
                return "broadcast"
            return "multicast" if first & 1 else "unicast"
        if c.packet.dst.is_multicast:
            return "multicast"
        found = c.address_type(c.dst, None)
        return None if found is None else "broadcast" if found == "BROADCAST" else "unicast"

    def test(c: Context) -> Answer:
        found = kind(c)
        return unknown("how the frame was addressed is not known") if found is None else found == wanted

    return test, (lambda c: f"packet type {kind(c) or 'unknown'}")


def _physdev(match: Match) -> tuple[Test, Value]:
    """net/netfilter/xt_physdev.c: a packet that no bridge passed to iptables matches only what is negated."""

    def test(c: Context) -> Answer:
        link = c.link(c.iif) if c.iif else None
        if c.iif and link is None:
            return unknown(f"whether {c.iif} is a bridge is not known", "ip_link")
        if link is not None and (link.kind == "bridge" or link.master):
            return unknown(f"packets through bridge {link.master or link.name} are not followed by port yet")
        return False

    return test, (lambda c: "not a bridged packet")


register(
    MatchExtension(
        "",
        ("source", "destination", "in-interface", "out-interface", "protocol", "fragment"),
        Support.MODELLED,
        "whole packets are walked, so -f never matches",
        single(_builtin),
    )
)
register(MatchExtension("iprange", ("src-range", "dst-range"), Support.MODELLED, "", single(_iprange)))
register(
    MatchExtension(
        "addrtype",
        ("src-type", "dst-type", "limit-iface-in", "limit-iface-out"),
        Support.MODELLED,
        "UNKNOWN without the routing tables",
        _addrtype,
    )
)
register(
    MatchExtension(
        "rpfilter",
        ("loose", "validmark", "accept-local", "invert"),
        Support.MODELLED,
        "UNKNOWN without the routing tables",
        _rpfilter,
    )
)
register(MatchExtension("mac", ("mac-source",), Support.MODELLED, "UNKNOWN where the frame's MAC is not known",
                        single(_mac)))  # fmt: skip
register(MatchExtension("pkttype", ("pkt-type",), Support.MODELLED, "", single(_pkttype)))
register(
    MatchExtension(
        "physdev",
        ("physdev-in", "physdev-is-in", "physdev-out", "physdev-is-out", "physdev-is-bridged"),
        Support.MODELLED,
        "UNKNOWN for packets that came through a bridge",
        single(_physdev),
    )
)
register(
    MatchExtension("eui64", (), Support.ANSWERS_UNKNOWN, "needs the frame", always_unknown("eui64 is not evaluated"))
)
