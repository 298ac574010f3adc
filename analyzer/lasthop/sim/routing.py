"""Routing decisions of one netns: what happens to a received packet, and to one that the netns itself sends.

Sources: net/ipv4/route.c (ip_route_input_slow, __mkroute_input, ip_route_output_key_hash_rcu), net/ipv4/fib_frontend.c
(fib_validate_source, __fib_validate_source). IPv6 has no reverse-path sysctl; its input checks: net/ipv6/ip6_input.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from lasthop.facts.evidence import SourceRef
from lasthop.facts.network import Ip, NextHop, Route
from lasthop.facts.trace import Disposition, MatchResult, Outcome, Packet, Step, Truth

from .fib import FlowKey, Lookup, whole
from .kernel_state import KernelState

NO = MatchResult(Truth.NO)
YES = MatchResult(Truth.YES)

FAILURES = {
    "none": (Disposition.NO_ROUTE, "no route"),
    "unreachable": (Disposition.NO_ROUTE, "an unreachable route"),
    "prohibit": (Disposition.NO_ROUTE, "a prohibit route"),
    "blackhole": (Disposition.BLACKHOLED, "a blackhole route"),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """`kind` is forward, local, drop, unknown. One per usable next hop, `share` its part of new flows."""

    kind: str
    steps: tuple[Step, ...]
    dev: str = ""
    gateway: Ip | None = None
    route: Route | None = None
    src: Ip | None = None
    share: Fraction = Fraction(1)
    hops: int = 1


def flow_of(packet: Packet, *, iif: str = "lo", oif: str = "") -> FlowKey:
    uid = None if iif == "lo" else 0
    return FlowKey(
        packet.dst, packet.src, iif, oif, packet.mark, packet.tos, packet.proto, packet.sport, packet.dport, uid
    )


def route_text(lookup: Lookup) -> str:
    if lookup.route is None or not lookup.route.source.text:
        return lookup.why or lookup.type
    return lookup.route.source.text.strip()


def _failed(lookup: Lookup, packet: Packet) -> Step:
    disposition, words = FAILURES[lookup.type]
    text = route_text(lookup) if lookup.route is not None else words
    return Step(
        "route",
        Outcome.STOP,
        f"{packet.dst}: {text}",
        lookup.sources,
        where=str(lookup.route.dst if lookup.route else packet.dst),
        before=packet,
        disposition=disposition,
    )


def _unknown(stage: str, why: str, decides: str, packet: Packet, sources: tuple[SourceRef, ...] = ()) -> Decision:
    step = Step(stage, Outcome.UNKNOWN, why, sources, before=packet, decides=decides)
    return Decision("unknown", (step,))


def route_input(state: KernelState, packet: Packet, dev: str) -> tuple[Decision, ...]:
    """ip_route_input_slow: the decision for a packet received on `dev`."""
    if packet.family == 4:
        martian = _martian(state, packet, dev)
        if martian is not None:
            return (martian,)
    fib = state.fib(packet.family)
    found = fib.lookup(flow_of(packet, iif=dev))
    if found.type == "unknown":
        return (_unknown("route", found.why, found.decides, packet, found.sources),)
    forwarding = state.forwarding(packet.family, dev)
    if found.type in FAILURES:
        return (Decision("drop", (_failed(found, packet),), route=found.route),)
    if found.type == "local":
        checks, verdict = _source_check(state, packet, dev, oif="")
        if verdict == "drop":
            return (Decision("drop", checks, route=found.route),)
        step = Step("route", Outcome.PASS, f"{packet.dst} is local", found.sources, where=route_text(found))
        return (Decision("local" if verdict == "pass" else "unknown", (*checks, step), dev="lo", route=found.route),)
    if found.type in ("broadcast", "multicast", "anycast"):
        return (_unknown("route", f"{found.type} delivery is not modelled", "", packet, found.sources),)
    gate = _forwarding_step(state, packet, dev, forwarding)
    if gate is not None and gate.outcome is Outcome.STOP:
        return (Decision("drop", (gate,), route=found.route),)
    decisions = []
    for hop, share in found.nexthops:
        checks, verdict = _source_check(state, packet, dev, oif=hop.dev)
        steps = (*((gate,) if gate is not None else ()), *checks)
        if verdict == "drop":
            decisions.append(Decision("drop", steps, hop.dev, hop.via, found.route, None, share, len(found.nexthops)))
            continue
        step = Step("route", Outcome.PASS, _via(packet.dst, hop, found), found.sources, where=route_text(found))
        unknown = verdict == "unknown" or gate is not None
        kind = "unknown" if unknown else "forward"
        decisions.append(
            Decision(kind, (*steps, step), hop.dev, hop.via, found.route, None, share, len(found.nexthops))
        )
    return tuple(decisions)


def _via(dst: Ip, hop: NextHop, lookup: Lookup) -> str:
    where = f"via {hop.via} dev {hop.dev}" if hop.via is not None else f"dev {hop.dev}"
    prefix = str(lookup.route.dst) if lookup.route is not None else ""
    return f"{dst}: {prefix} {where}"


def _forwarding_step(state: KernelState, packet: Packet, dev: str, forwarding: bool | None) -> Step | None:
    if forwarding:
        return None
    key = f"net.ipv{packet.family}.conf.{dev}.forwarding"
    sources = state.sysctl_source(key)
    if packet.family == 4:
        sources = (*sources, *state.sysctl_source("net.ipv4.ip_forward"))
    if forwarding is None:
        return Step("forwarding", Outcome.UNKNOWN, f"{key} is not known", before=packet, where=key, decides="sysctl")
    return Step(
        "forwarding",
        Outcome.STOP,
        f"{key} = 0: packets received on {dev} are not forwarded",
        sources,
        where=key,
        before=packet,
        disposition=Disposition.NOT_FORWARDING,
    )


def _martian(state: KernelState, packet: Packet, dev: str) -> Decision | None:
    src, dst = packet.src, packet.dst
    reason = ""
    if src.is_multicast or int(src) == 0xFFFFFFFF:
        reason = f"source {src} is multicast or broadcast"
    elif not int(src) or not int(dst):
        # Only 0.0.0.0 itself since Linux 5.3 (ipv4_is_zeronet); the whole of 0.0.0.0/8 before.
        reason = "source or destination is 0.0.0.0"
    elif (src.is_loopback or dst.is_loopback) and dev != "lo":
        local_net = state.conf_or(dev, "route_localnet")
        if local_net is None:
            return _unknown("martian", f"route_localnet of {dev} is not known", "sysctl", packet)
        if not local_net:
            reason = f"loopback address on {dev} without route_localnet"
    if not reason:
        return None
    step = Step("martian", Outcome.STOP, reason, before=packet, where=dev, disposition=Disposition.MARTIAN)
    return Decision("drop", (step,))


def _source_check(state: KernelState, packet: Packet, dev: str, oif: str) -> tuple[tuple[Step, ...], str]:
    """fib_validate_source: (steps, "pass" | "drop" | "unknown"). IPv6 has none."""
    if packet.family != 4 or dev == "lo":
        return (), "pass"
    rp_filter = state.conf_max(dev, "rp_filter")
    redirects = state.conf_or(dev, "send_redirects")
    accept_local = state.conf_or(dev, "accept_local")
    sources = (
        *state.sysctl_source(f"net.ipv4.conf.{dev}.rp_filter"),
        *state.sysctl_source("net.ipv4.conf.all.rp_filter"),
    )
    if rp_filter == 0 and not (dev == oif and redirects is not False):
        if accept_local:
            return (), "pass"
        own = state.owns(packet.src)
        if own and accept_local is False:
            return (_own_source(state, packet, dev),), "drop"
        if own:
            step = Step(
                "rp_filter",
                Outcome.UNKNOWN,
                f"accept_local of {dev} is not known",
                before=packet,
                where=dev,
                decides="sysctl",
            )
            return (step,), "unknown"
        if own is None:
            step = Step(
                "rp_filter", Outcome.UNKNOWN, "the node's own addresses are not known", before=packet, decides="ip_addr"
            )
            return (step,), "unknown"
        return (), "pass"
    results = {level: _full_check(state, packet, dev, oif, level, bool(accept_local)) for level in _levels(rp_filter)}
    truths = {result.truth for result in results.values()}
    if truths == {Truth.YES}:
        return (), "pass"
    if truths == {Truth.NO}:
        why = next(iter(results.values())).why
        if state.owns(packet.src):
            return (_own_source(state, packet, dev),), "drop"
        step = Step(
            "rp_filter",
            Outcome.STOP,
            f"rp_filter {'1' if rp_filter == 1 else rp_filter or 0} on {dev}: {why}",
            (*sources, *_reverse_sources(state, packet)),
            where=f"net.ipv4.conf.{dev}.rp_filter",
            before=packet,
            disposition=Disposition.RPF_FAILED,
        )
        return (step,), "drop"
    why = next((result.why for result in results.values() if result.truth is not Truth.YES), "")
    step = Step(
        "rp_filter",
        Outcome.UNKNOWN,
        why or f"rp_filter of {dev} is not known",
        sources,
        before=packet,
        where=dev,
        decides="sysctl",
    )
    return (step,), "unknown"


def _levels(rp_filter: int | None) -> tuple[int, ...]:
    return (0, 1, 2) if rp_filter is None else (rp_filter,)


def _own_source(state: KernelState, packet: Packet, dev: str) -> Step:
    address = state.address_devs.get(packet.src)
    sources = (address.source,) if address is not None else whole(state.netns.routes)
    return Step(
        "rp_filter",
        Outcome.STOP,
        f"source {packet.src} is an address of this netns itself and accept_local is off",
        sources,
        where=dev,
        before=packet,
        disposition=Disposition.MARTIAN,
    )


def _reverse_sources(state: KernelState, packet: Packet) -> tuple[SourceRef, ...]:
    return state.fib(4).lookup(FlowKey(packet.src, packet.dst, iif="lo")).sources


def _full_check(state: KernelState, packet: Packet, dev: str, oif: str, rpf: int, accept_local: bool) -> MatchResult:
    """__fib_validate_source for one value of rp_filter. YES passes."""
    fib = state.fib(4)
    vmark = state.conf_or(dev, "src_valid_mark")
    mark = packet.mark if vmark else type(packet.mark)()
    # fib4_rules_early_flow_dissect: rules that ask for ports see those of the packet turned round.
    flow = FlowKey(
        packet.src, packet.dst, oif or "lo", "", mark, packet.tos, packet.proto, packet.dport, packet.sport, 0
    )
    found = fib.lookup(flow)
    no_address = not state.addresses(dev)
    if found.type == "unknown":
        return MatchResult(Truth.UNKNOWN, found.why, found.decides)
    if found.type in FAILURES:
        return _last_resort(rpf, f"no usable route back to {packet.src}")
    if found.type != "unicast" and not (found.type == "local" and accept_local):
        return MatchResult(Truth.NO, f"source {packet.src} is {found.type}")
    if any(hop.dev == dev for hop, _ in found.nexthops):
        return YES
    if no_address:
        return _last_resort(rpf, f"the route back to {packet.src} leaves by {found.dev}, and {dev} has no address")
    if rpf == 1:
        return MatchResult(Truth.NO, f"the route back to {packet.src} leaves by {found.dev}, not by {dev}")
    return YES


def _last_resort(rpf: int, why: str) -> MatchResult:
    return MatchResult(Truth.NO, why) if rpf else YES


def reverse_path(
    state: KernelState, packet: Packet, *, loose: bool, validmark: bool, accept_local: bool
) -> MatchResult:
    """xt_rpfilter (net/ipv4/netfilter/ipt_rpfilter.c): YES when the reverse path check succeeds."""
    dev = packet.iif
    found = state.fib(packet.family).lookup(
        FlowKey(packet.src, packet.dst, mark=packet.mark if validmark else type(packet.mark)(), tos=packet.tos, uid=0)
    )
    if found.type == "unknown":
        return MatchResult(Truth.UNKNOWN, found.why, found.decides)
    if found.type in FAILURES:
        return MatchResult(Truth.NO, f"no route back to {packet.src}")
    if found.type != "unicast" and not (found.type == "local" and accept_local):
        return MatchResult(Truth.NO, f"source {packet.src} is {found.type}")
    if loose or any(hop.dev == dev for hop, _ in found.nexthops):
        return YES
    return MatchResult(Truth.NO, f"the route back to {packet.src} leaves by {found.dev}, not by {dev}")


def route_output(state: KernelState, packet: Packet, oif: str = "") -> tuple[Decision, ...]:
    """The decision for a packet that this netns sends; `src` of a decision is the address that it will carry."""
    found = state.fib(packet.family).lookup(flow_of(packet, oif=oif))
    if found.type == "unknown":
        return (_unknown("route", found.why, found.decides, packet, found.sources),)
    if found.type in FAILURES:
        return (Decision("drop", (_failed(found, packet),), route=found.route),)
    if found.type == "local":
        step = Step("route", Outcome.PASS, f"{packet.dst} is local", found.sources, where=route_text(found))
        return (Decision("local", (step,), "lo", None, found.route, packet.dst),)
    if found.type != "unicast":
        return (_unknown("route", f"{found.type} delivery is not modelled", "", packet, found.sources),)
    decisions = []
    for hop, share in found.nexthops:
        step = Step("route", Outcome.PASS, _via(packet.dst, hop, found), found.sources, where=route_text(found))
        src = source_address(state, found.route, hop, packet.dst)
        decisions.append(Decision("forward", (step,), hop.dev, hop.via, found.route, src, share, len(found.nexthops)))
    return tuple(decisions)


def source_address(state: KernelState, route: Route | None, hop: NextHop, dst: Ip) -> Ip | None:
    """fib_result_prefsrc / inet_select_addr: the route's src, else the first suitable primary address.

    None when the addresses of the interface are not known or there is none at all.
    """
    if route is not None and route.prefsrc is not None:
        return route.prefsrc
    toward = hop.via or dst
    candidates = [a for a in state.addresses(hop.dev, dst.version) if "secondary" not in a.flags]
    link_scope = route is not None and route.scope == "link" and hop.via is None
    usable = [a for a in candidates if a.scope == "global" or (a.scope == "link" and link_scope)]
    for address in usable:
        if _same_subnet(address.ip, toward, address.prefixlen):
            return address.ip
    if usable:
        return usable[0].ip
    for link in state.links.values():
        for address in state.addresses(link.name, dst.version):
            if address.scope == "global" and "secondary" not in address.flags:
                return address.ip
    return None


def _same_subnet(one: Ip, other: Ip, length: int) -> bool:
    if one.version != other.version:
        return False
    bits = 32 if one.version == 4 else 128
    return (int(one) ^ int(other)) >> (bits - length) == 0
