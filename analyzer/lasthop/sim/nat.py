"""Address rewriting: setting up a connection's mapping and applying it (net/netfilter/nf_nat_core.c)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lasthop.facts.network import Ip
from lasthop.facts.trace import Packet

from .conntrack import ConntrackTable, Tuple4, invert
from .extensions.context import Context, address
from .extensions.protocols import ICMP, ICMPV6, WITH_PORTS, protocol_number
from .extensions.targets import NatRequest


@dataclass(frozen=True, slots=True)
class NatOutcome:
    """`verdict` "" when the mapping was made, "drop" when the kernel would drop, "unknown" when it cannot be said."""

    packet: Packet
    verdict: str = ""
    detail: str = ""
    decides: str = ""


def apply_mapping(packet: Packet, manip: str) -> Packet:
    """nf_nat_packet: rewrite one end as the connection's other tuple demands. `manip` is "dst" or "src"."""
    if packet.ct_original is None or packet.ct_reply is None:
        return packet
    wanted = {"dst": "DNAT", "src": "SNAT"}[manip]
    if packet.ctdir == "reply":
        wanted = "SNAT" if wanted == "DNAT" else "DNAT"
    if wanted not in packet.ctstatus:
        return packet
    other = packet.ct_original if packet.ctdir == "reply" else packet.ct_reply
    if packet.ctstate == "RELATED" and packet.quoted is not None:
        return _apply_to_error(packet, other, manip)
    ported = protocol_number(packet.proto) in WITH_PORTS
    icmp = protocol_number(packet.proto) in (ICMP, ICMPV6)
    if manip == "dst":
        changed = replace(packet, dst=other[0], dport=other[2] if ported else packet.dport)
    else:
        changed = replace(packet, src=other[1], sport=other[3] if ported else packet.sport)
    return replace(changed, icmp_id=other[2]) if icmp else changed


def _apply_to_error(packet: Packet, other: Tuple4, manip: str) -> Packet:
    """nf_nat_icmp_reply_translation: the quoted packet is un-done and the error's own address follows."""
    quoted = packet.quoted
    assert quoted is not None
    # The quoted packet goes the other way: its source is what an answer would be sent to.
    if manip == "dst":
        return replace(packet, dst=other[0], quoted=replace(quoted, src=other[0], sport=other[2]))
    return replace(packet, src=other[1], quoted=replace(quoted, dst=other[1], dport=other[3]))


def set_up(c: Context, packet: Packet, request: NatRequest, table: ConntrackTable) -> NatOutcome:
    """nf_nat_setup_info for a new connection: choose the new tuple, alter the expected reply, rewrite the packet."""
    if packet.ct_original is None or packet.ct_reply is None:
        return NatOutcome(packet, detail="no connection: nothing is rewritten")
    if request.target == "NETMAP":  # the only target of both kinds: the hook decides, also in a called chain
        request = replace(request, kind="src" if c.hook in ("POSTROUTING", "INPUT") else "dst")
    proto = protocol_number(packet.proto) or 0
    current = invert(proto, packet.ct_reply)
    assert current is not None
    chosen = _choose(c, packet, current, request)
    if isinstance(chosen, NatOutcome):
        return chosen
    new, detail = chosen
    if proto in (ICMP, ICMPV6) or (request.kind == "src" and proto in WITH_PORTS):
        new, note = _free_port(packet, proto, new, request, table)
        detail += note
    done = "DST_NAT_DONE" if request.kind == "dst" else "SRC_NAT_DONE"
    status = packet.ctstatus | {done}
    reply = packet.ct_reply
    if new != current:
        inverted = invert(proto, new)
        assert inverted is not None
        reply = inverted
        status = status | {"DNAT" if request.kind == "dst" else "SNAT"}
    mapped = replace(packet, ct_reply=reply, ctstatus=status)
    return NatOutcome(apply_mapping(mapped, request.kind), detail=detail)


def _choose(
    c: Context, packet: Packet, current: Tuple4, request: NatRequest
) -> tuple[Tuple4, str] | NatOutcome:
    src, dst, sport, dport = current
    ported = protocol_number(packet.proto) in WITH_PORTS
    target = request.target
    if request.netmap is not None:
        value, mask = request.netmap
        old = src if request.kind == "src" else dst
        new_ip = address(int(old) & ~mask | value, packet.family)
        return ((new_ip, dst, sport, dport) if request.kind == "src" else (src, new_ip, sport, dport)), ""
    if target == "MASQUERADE":
        source = c.around.masquerade_source(packet, packet.oif)
        if source is None:
            if c.has_no_address(packet.oif):
                return NatOutcome(packet, "drop", f"MASQUERADE: {packet.oif} has no address")
            why = f"the address MASQUERADE takes on {packet.oif} is not known"
            return NatOutcome(packet, "unknown", why, "ip_addr")
        low = high = source
    elif target == "REDIRECT":
        if c.hook == "OUTPUT":
            low = high = address(0x7F000001 if packet.family == 4 else 1, packet.family)
        else:
            own = _first_address(c, packet)
            if own is None:
                if c.has_no_address(packet.iif):
                    return NatOutcome(packet, "drop", f"REDIRECT: {packet.iif} has no address")
                return NatOutcome(packet, "unknown", f"the first address of {packet.iif} is not known", "ip_addr")
            low = high = own
    else:
        low = request.low if request.low is not None else (src if request.kind == "src" else dst)
        high = request.high if request.high is not None else low
    if low != high:
        return NatOutcome(packet, "unknown", f"{target} to {low}-{high}: the kernel's choice is a hash of the flow")
    detail = ""
    if request.kind == "dst":
        port = dport
        if ported and request.port_low is not None:
            if request.port_low == request.port_high:
                port = request.port_low
            elif dport is None or not request.port_low <= dport <= (request.port_high or 0):
                return NatOutcome(packet, "unknown", f"{target}: the kernel chooses a port of the range at random")
        return (src, low, sport, port), detail
    port = sport
    if ported and request.port_low is not None and request.port_high is not None:
        if sport is None or not request.port_low <= sport <= request.port_high or request.random:
            port = request.port_low
            if request.port_low != request.port_high:
                detail = f"; the kernel chooses a source port of {request.port_low}-{request.port_high}"
    elif ported and request.random:
        detail = "; the kernel chooses the source port at random, shown as before"
    return (low, dst, port, dport), detail


def _first_address(c: Context, packet: Packet) -> Ip | None:
    """nf_nat_redirect_ipv4: the first address of the input interface; _ipv6: the first of the source's scope."""
    if packet.family == 4:
        return c.around.primary_address(packet.iif)
    for found in c.addresses.values:
        ip = found.ip
        if found.dev == packet.iif and ip.version == 6 and ip.is_link_local == packet.src.is_link_local:
            return ip
    return None


def _free_port(
    packet: Packet, proto: int, new: Tuple4, request: NatRequest, table: ConntrackTable
) -> tuple[Tuple4, str]:
    """A source port (ICMP: id) that no other connection of the table uses; the wanted one when it is free."""
    def taken(candidate: Tuple4) -> bool:
        inverted = invert(proto, candidate)
        return inverted is not None and table.taken(proto, inverted, packet.ct_zone)

    if new[2] is None or not taken(new):
        return new, ""
    low, high = (request.port_low or 1024), (request.port_high or 65535)
    for port in range(low, high + 1):
        candidate = (new[0], new[1], port, new[3])
        if not taken(candidate):
            return candidate, "; the source port is in use, the kernel chooses another"
    return new, "; every source port is in use"


def without_rule(packet: Packet, manip: str, table: ConntrackTable) -> NatOutcome:
    """A new connection that no nat rule rewrites keeps its tuple (nf_nat_alloc_null_binding), unless its answers would
    look like another connection's: then its source port changes."""
    done = "DST_NAT_DONE" if manip == "dst" else "SRC_NAT_DONE"
    if done in packet.ctstatus:
        return NatOutcome(packet)
    marked = replace(packet, ctstatus=packet.ctstatus | {done})
    proto = protocol_number(packet.proto) or 0
    if packet.ct_reply is None or not (proto in (ICMP, ICMPV6) or (manip == "src" and proto in WITH_PORTS)):
        return NatOutcome(marked)
    if not table.taken(proto, packet.ct_reply, packet.ct_zone):
        return NatOutcome(marked)
    current = invert(proto, packet.ct_reply)
    assert current is not None
    new, detail = _free_port(packet, proto, current, NatRequest("src", ""), table)
    reply = invert(proto, new)
    assert reply is not None
    changed = replace(marked, ct_reply=reply, ctstatus=marked.ctstatus | {"SNAT"})
    return NatOutcome(apply_mapping(changed, "src"), detail=detail.removeprefix("; "))
