"""Targets: what a matching rule does. Mutations change the world's marks; NAT asks the table walk to rewrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from lasthop.facts.netfilter import NetfilterRule
from lasthop.facts.network import Ip
from lasthop.facts.trace import Mark

from .addresses import parse_masked
from .context import ALL_BITS, Context
from .marks import parse_value_mask
from .registry import Support, TargetExtension, TargetKind, register_target
from .transport import DSCP_CLASSES

Payload = tuple[TargetKind, object]
Mutation = Callable[[Context], str]
"""Changes the context's marks, TOS or packet; answers an error for what it could not do, else ""."""


@dataclass(frozen=True, slots=True)
class NatRequest:
    """What a NAT target asks for. `low`/`high` None: MASQUERADE, REDIRECT (the kernel chooses the address)."""

    kind: str
    """"dst" or "src"; of NETMAP the hook decides."""
    target: str
    low: Ip | None = None
    high: Ip | None = None
    port_low: int | None = None
    port_high: int | None = None
    random: bool = False
    netmap: tuple[int, int] | None = None


def options_of(rule: NetfilterRule) -> dict[str, tuple[str, ...]]:
    return dict(rule.target_options)


def _set_bits(mark: Mark, clear: int, flip: int) -> Mark:
    """(mark & ~clear) ^ flip; cleared bits become known, flipped unknown bits stay unknown."""
    return Mark((mark.value & ~clear & ALL_BITS) ^ flip, mark.known | clear)


def _mark(rule: NetfilterRule) -> Payload:
    options = options_of(rule)
    clear, flip = ALL_BITS, 0
    if "set-xmark" in options:
        flip, clear = parse_value_mask(options["set-xmark"][0])
    elif "set-mark" in options:
        flip, mask = parse_value_mask(options["set-mark"][0])
        clear = mask | flip
    elif "and-mark" in options:
        flip, clear = 0, ~int(options["and-mark"][0], 0) & ALL_BITS
    elif "or-mark" in options:
        flip = clear = int(options["or-mark"][0], 0)
    elif "xor-mark" in options:
        flip, clear = int(options["xor-mark"][0], 0), 0
    else:
        raise KeyError("MARK")

    def mutate(c: Context) -> str:
        c.mark = _set_bits(c.mark, clear, flip)
        return ""

    return TargetKind.CONTINUE, mutate


def _connmark(rule: NetfilterRule) -> Payload:
    """net/netfilter/xt_connmark.c connmark_tg_shift; without a connection the target does nothing."""
    options = options_of(rule)
    if {"left-shift-mark", "right-shift-mark"} & options.keys():
        raise ValueError("shift")
    if "save-mark" in options or "restore-mark" in options:
        mask = options.get("mask", ())
        ctmask = int((options.get("ctmask") or mask or ("0xffffffff",))[0], 0)
        nfmask = int((options.get("nfmask") or mask or ("0xffffffff",))[0], 0)
        save = "save-mark" in options

        def copy(c: Context) -> str:
            if c.packet.ct_original is None:
                return ""
            if save:
                source = Mark(c.mark.value & nfmask, c.mark.known | ~nfmask & ALL_BITS)
                c.ctmark = _copy_bits(c.ctmark, ctmask, source)
            else:
                source = Mark(c.ctmark.value & ctmask, c.ctmark.known | ~ctmask & ALL_BITS)
                c.mark = _copy_bits(c.mark, nfmask, source)
            return ""

        return TargetKind.CONTINUE, copy
    if "set-xmark" in options:
        flip, clear = parse_value_mask(options["set-xmark"][0])
    elif "set-mark" in options:
        flip, mask_value = parse_value_mask(options["set-mark"][0])
        clear = mask_value | flip
    elif "and-mark" in options:
        flip, clear = 0, ~int(options["and-mark"][0], 0) & ALL_BITS
    elif "or-mark" in options:
        flip = clear = int(options["or-mark"][0], 0)
    elif "xor-mark" in options:
        flip, clear = int(options["xor-mark"][0], 0), 0
    else:
        raise KeyError("CONNMARK")

    def mutate(c: Context) -> str:
        if c.packet.ct_original is not None:
            c.ctmark = _set_bits(c.ctmark, clear, flip)
        return ""

    return TargetKind.CONTINUE, mutate


def _copy_bits(old: Mark, clear: int, new: Mark) -> Mark:
    """(old & ~clear) ^ new, with the knowledge of both."""
    known = (old.known | clear) & new.known
    return Mark(((old.value & ~clear & ALL_BITS) ^ new.value) & ALL_BITS, known)


def _ct(rule: NetfilterRule) -> Payload:
    """CT and NOTRACK act on packets that have no connection yet (xt_CT.c)."""
    options = options_of(rule)
    notrack = rule.target == "NOTRACK" or "notrack" in options
    zone_text = (options.get("zone") or ("0",))[0]
    zone = None if zone_text == "mark" else int(zone_text, 0)
    split = {"zone-orig", "zone-reply"} & options.keys()

    def mutate(c: Context) -> str:
        if c.packet.ctstate:
            return ""
        if notrack:
            c.packet = replace(c.packet, ctstate="UNTRACKED")
            return ""
        if split:
            return "conntrack zones that differ by direction are not modelled"
        if zone is None:
            if c.mark.known != ALL_BITS:
                return "the conntrack zone is taken from a mark that is not known"
            c.packet = replace(c.packet, ct_zone=c.mark.value & 0xFFFF)
            return ""
        c.packet = replace(c.packet, ct_zone=zone)
        return ""

    return TargetKind.CONTINUE, mutate


def _address_range(text: str) -> tuple[Ip | None, Ip | None, int | None, int | None]:
    """"10.0.0.1", "10.0.0.1-10.0.0.9:80-90", "[fd00::1]:80", ":80"."""
    ports = ""
    if text.startswith("["):
        text, _, rest = text[1:].partition("]")
        ports = rest.lstrip(":")
    elif text.count(":") == 1:
        text, _, ports = text.partition(":")
    low_text, _, high_text = text.partition("-")
    low = ip_address(low_text) if low_text else None
    high = ip_address(high_text) if high_text else low
    port_low, port_high = _ports(ports)
    return low, high, port_low, port_high


def _ports(text: str) -> tuple[int | None, int | None]:
    if not text:
        return None, None
    if "/" in text:
        raise ValueError(text)  # port shifting (kernel 5.x "base port") is not modelled
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _nat(rule: NetfilterRule) -> Payload:
    options = options_of(rule)
    random = bool({"random", "random-fully"} & options.keys())
    if rule.target in ("DNAT", "SNAT"):
        kind, key = ("dst", "to-destination") if rule.target == "DNAT" else ("src", "to-source")
        low, high, port_low, port_high = _address_range(options[key][0])
        request = NatRequest(kind, rule.target, low, high, port_low, port_high, random)
    elif rule.target == "NETMAP":
        request = NatRequest("dst", "NETMAP", netmap=parse_masked(options["to"][0]))
    else:
        port_low, port_high = _ports((options.get("to-ports") or ("",))[0])
        kind = "dst" if rule.target == "REDIRECT" else "src"
        request = NatRequest(kind, rule.target, None, None, port_low, port_high, random)
    return TargetKind.NAT, request


def _reject(rule: NetfilterRule) -> Payload:
    default = "icmp-port-unreachable" if rule.family == 4 else "icmp6-port-unreachable"
    return TargetKind.REJECT, (options_of(rule).get("reject-with") or (default,))[0]


def _rewrite(rule: NetfilterRule) -> Payload:
    options = options_of(rule)
    if rule.target == "DSCP":
        text = (options.get("set-dscp") or options["set-dscp-class"])[0]
        dscp = DSCP_CLASSES[text.upper()] if text.upper() in DSCP_CLASSES else int(text, 0)

        def set_dscp(c: Context) -> str:
            c.tos = c.tos & 3 | dscp << 2
            return ""

        return TargetKind.CONTINUE, set_dscp
    if rule.target == "TOS":
        flip, _, mask_text = options["set-tos"][0].partition("/")
        value, mask = int(flip, 0), int(mask_text, 0) if mask_text else 0xFF

        def set_tos(c: Context) -> str:
            c.tos = c.tos & ~mask & 0xFF ^ value
            return ""

        return TargetKind.CONTINUE, set_tos
    how, _ = next((name, values) for name, values in rule.target_options if name.split("-")[0] in ("ttl", "hl"))
    amount = int(options[how][0])

    def set_ttl(c: Context) -> str:
        ttl = c.packet.ttl
        new = amount if how.endswith("set") else ttl + amount if how.endswith("inc") else ttl - amount
        c.packet = replace(c.packet, ttl=max(0, min(255, new)))
        return ""

    return TargetKind.CONTINUE, set_ttl


def _set(rule: NetfilterRule) -> Payload:
    names = [values[0].split()[0] for name, values in rule.target_options if name in ("add-set", "del-set", "map-set")]
    if not names or "map-set" in options_of(rule):
        raise ValueError("SET")

    def mutate(c: Context) -> str:
        c.touched_sets = c.touched_sets | set(names)
        return ""

    return TargetKind.CONTINUE, mutate


def _plain(kind: TargetKind, payload: object = None) -> Callable[[NetfilterRule], Payload]:
    return lambda rule: (kind, payload)


def _nothing(c: Context) -> str:
    return ""


def _hash(c: Context) -> str:
    c.mark = Mark(0, 0)
    return ""


def _register(names: str, support: Support, note: str, compile_rule: Callable[[NetfilterRule], Payload]) -> None:
    for name in names.split():
        register_target(TargetExtension(name, support, note, compile_rule))


_register("ACCEPT", Support.MODELLED, "", _plain(TargetKind.ACCEPT))
_register("DROP", Support.MODELLED, "", _plain(TargetKind.DROP))
_register("RETURN", Support.MODELLED, "", _plain(TargetKind.RETURN))
_register("REJECT", Support.MODELLED, "names the ICMP error or reset that the client gets", _reject)
_register("MARK", Support.MODELLED, "bit by bit", _mark)
_register("CONNMARK", Support.MODELLED, "bit by bit; shifts are UNKNOWN", _connmark)
_register("CT NOTRACK", Support.MODELLED, "zones per direction are UNKNOWN; helpers are not followed", _ct)
_register("DNAT SNAT MASQUERADE REDIRECT NETMAP", Support.MODELLED, "shifted port ranges are UNKNOWN", _nat)
_register("DSCP TOS TTL HL", Support.MODELLED, "", _rewrite)
_register("HMARK", Support.MODELLED, "goes on; the mark is no longer known", _plain(TargetKind.CONTINUE, _hash))
_register("TEE", Support.IRRELEVANT, "goes on; the copy is not followed", _plain(TargetKind.CONTINUE, _nothing))
_register("SET", Support.MODELLED, "goes on; later conditions on that set answer UNKNOWN", _set)
_register("LOG NFLOG ULOG TRACE AUDIT CHECKSUM CLASSIFY TCPMSS TCPOPTSTRIP ECN RATEEST LED IDLETIMER CONNSECMARK "
          "SECMARK", Support.IRRELEVANT, "goes on", _plain(TargetKind.CONTINUE, _nothing))  # fmt: skip
for _names, _why in (
    ("NFQUEUE QUEUE", "a user-space program decides"),
    ("TPROXY", "transparent proxying is not evaluated"),
    ("CLUSTERIP SYNPROXY DNPT SNPT TARPIT ACCOUNT", "the target is known but not evaluated"),
):
    _register(_names, Support.ANSWERS_UNKNOWN, _why, _plain(TargetKind.UNKNOWN, _why))
