"""`ip route`, `ip route show table all`, `ip route show cache`, their JSON, and `route -n`.

Word order and words: iproute2 ip/iproute.c print_route(), versions 3 to 6. Mixed output of both families is read line
by line; `default` takes its family from the other words of its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Ip, NextHop, Prefix, Route

from .jsonitems import parse_items
from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, duration, ip, number, prefix, table, tos

TYPES = frozenset(
    ("unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat")
)
HOP_FLAGS = frozenset(
    ("onlink", "linkdown", "dead", "pervasive", "offload", "notify", "unresolved", "rt_offload", "rt_trap",
     "rt_offload_failed", "trap", "offload_failed", "src-direct")
)  # fmt: skip
# Words with one value that say nothing about where a packet goes.
_VALUED = frozenset(
    ("advmss", "rtt", "rttvar", "window", "cwnd", "initcwnd", "initrwnd", "ssthresh", "reordering", "hoplimit",
     "features", "rto_min", "quickack", "congctl", "fastopen_no_cookie", "realm", "realms", "mark", "uid", "users",
     "used", "age", "iif", "error", "pref", "ttl-propagate", "tsage", "ipid", "ts", "irtt")
)  # fmt: skip
_ENCAP_END = frozenset(("via", "dev", "table", "proto", "scope", "weight"))


@dataclass(slots=True)
class _Draft:
    dst: str = ""
    type: str = "unicast"
    from_: str = ""
    table: tuple[int | None, str] = (254, "")
    nhid: int | None = None
    proto: str = "boot"
    scope: str = ""
    metric: int = 0
    prefsrc: Ip | None = None
    tos: int = 0
    mtu: int | None = None
    mtu_lock: bool = False
    encap: str = ""
    cached: bool = False
    expires: int | None = None
    six: bool | None = None
    dev: str = ""
    via: Ip | None = None
    weight: int = 1
    flags: set[str] = field(default_factory=set)
    hops: list[NextHop] = field(default_factory=list)
    number: int = 0
    end: int = 0
    line: str = ""


def _read_via(words: list[str], at: int) -> tuple[Ip, int]:
    """The address behind `via` and the index of the next word; `via inet6 ADDR` names its family."""
    if words[at] in ("inet", "inet6"):
        at += 1
    return ip(words[at]), at + 1


def _read_hop(words: list[str], at: int) -> tuple[NextHop, int]:
    """One `nexthop ...` from the word after it to the next `nexthop` or the end."""
    dev, via, weight = "", None, 1
    flags: set[str] = set()
    while at < len(words) and words[at] != "nexthop":
        word = words[at]
        if word == "via":
            via, at = _read_via(words, at + 1)
        elif word == "dev":
            dev, at = words[at + 1], at + 2
        elif word == "weight":
            weight, at = number(words[at + 1]), at + 2
        elif word == "encap":
            at += 1
            while at < len(words) and words[at] not in _ENCAP_END:
                at += 1
        elif word in ("realm", "realms"):
            at += 2
        elif word in HOP_FLAGS:
            flags.add(word)
            at += 1
        elif word == "\\":
            at += 1
        else:
            raise Strange(f"unknown word {word[:40]!r} of a next hop")
    return NextHop(dev, via, weight, frozenset(flags)), at


def _read_words(draft: _Draft, words: list[str], at: int) -> None:
    while at < len(words):
        word = words[at]
        at += 1
        if word == "dev":
            draft.dev, at = words[at], at + 1
        elif word == "via":
            if draft.via is not None:
                raise Strange("two via in one line")
            named = words[at] in ("inet", "inet6")
            draft.via, at = _read_via(words, at)
            if not named:
                draft.six = draft.via.version == 6
        elif word == "proto":
            draft.proto, at = words[at], at + 1
        elif word == "scope":
            draft.scope, at = words[at], at + 1
            if draft.scope in ("link", "host") and draft.six is None:
                # IPv6 routes have no other scope than global.
                draft.six = False
        elif word in ("metric", "priority", "preference"):
            draft.metric, at = number(words[at]), at + 1
        elif word == "src":
            draft.prefsrc, at = ip(words[at]), at + 1
            if draft.six is None:
                draft.six = draft.prefsrc.version == 6
        elif word == "table":
            draft.table, at = table(words[at]), at + 1
        elif word in HOP_FLAGS:
            draft.flags.add(word)
        elif word == "mtu":
            if words[at] == "lock":
                draft.mtu_lock, at = True, at + 1
            draft.mtu, at = number(words[at]), at + 1
        elif word == "nhid":
            draft.nhid, at = number(words[at]), at + 1
        elif word == "from":
            draft.from_, at = words[at], at + 1
            if ":" in draft.from_:
                draft.six = True
        elif word in ("tos", "dsfield"):
            draft.tos, at = tos(words[at]), at + 1
        elif word == "encap":
            start = at
            while at < len(words) and words[at] not in _ENCAP_END:
                at += 1
            draft.encap = " ".join(words[start:at])
        elif word == "nexthop":
            named = words[at : at + 2] in (["via", "inet"], ["via", "inet6"])
            hop, at = _read_hop(words, at)
            draft.hops.append(hop)
            if hop.via is not None and not named and draft.six is None:
                draft.six = hop.via.version == 6
        elif word == "expires":
            draft.expires, at = duration(words[at]), at + 1
        elif word == "as":
            at += 2 if words[at] == "to" else 1
        elif word in _VALUED:
            if word in ("pref", "error") and draft.six is None:
                draft.six = True
            at += 2 if words[at] == "lock" else 1
        elif word == "cache":
            draft.cached = True
        elif word.startswith("<") and word.endswith(">"):
            draft.flags.update(word[1:-1].split(","))
        elif word in ("cloned", "notify", "\\", "[link-nfail]"):
            pass
        else:
            raise Strange(f"unknown word {word[:40]!r}")
        if at > len(words):
            raise Strange(f"nothing behind {word[:40]!r}")


def _finish(draft: _Draft, family: int, source: SourceRef) -> Route:
    dst = prefix(draft.dst, family)
    hops = tuple(draft.hops)
    if not hops and (draft.dev or draft.via is not None):
        hops = (NextHop(draft.dev, draft.via, draft.weight, frozenset(draft.flags & HOP_FLAGS)),)
    src_prefix: Prefix | None = prefix(draft.from_, family) if draft.from_ and draft.from_ != "all" else None
    return Route(
        dst=dst,
        source=source,
        type=draft.type,
        table=draft.table[0],
        table_name=draft.table[1],
        nexthops=hops,
        nhid=draft.nhid,
        proto=draft.proto,
        scope=draft.scope,
        metric=draft.metric,
        prefsrc=draft.prefsrc,
        tos=draft.tos,
        mtu=draft.mtu,
        mtu_lock=draft.mtu_lock,
        encap=draft.encap,
        src_prefix=src_prefix,
        flags=frozenset(draft.flags),
        cached=draft.cached,
        expires=draft.expires,
    )


def _families(drafts: list[_Draft], family: int) -> list[int]:
    """The family of each route. A bare `default dev X` is of the family of the lines before it, else of those behind:
    the kernel dumps one family after the other."""
    known = [None if draft.six is None else 6 if draft.six else 4 for draft in drafts]
    last = next((value for value in known if value is not None), family)
    found: list[int] = []
    for value in known:
        last = last if value is None else value
        found.append(last)
    return found


class _RouteReader:
    """Collects drafts line by line; an indented line continues the route above."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.builder: ResultBuilder[Route] = ResultBuilder(path, "routes")
        self.drafts: list[_Draft] = []
        self.open = False
        self.lost = ""

    def line(self, count: int, line: str, words: list[str]) -> None:
        self.builder.lines += 1
        if line[0] in " \t" and words[0] in ("nexthop", "cache", "expires", "users", "mtu", "via"):
            self.continuation(count, line, words)
            return
        draft = _Draft(number=count, end=count, line=cite(self.path, count, line).text)
        self.open = False
        try:
            at = 1 if words[0] == "Deleted" else 0
            if words[at] in TYPES:
                draft.type = words[at]
                at += 1
            draft.dst = words[at]
            if draft.dst not in ("default", "all"):
                draft.six = prefix(draft.dst).version == 6
            _read_words(draft, words, at + 1)
            self.drafts.append(draft)
            self.open = True
        except STRANGE as error:
            self.lost = _touched(draft)
            self.builder.reject(count, line, str(error)[:200] or "not understood", self.lost)

    def continuation(self, count: int, line: str, words: list[str]) -> None:
        if not self.open:
            self.builder.reject(count, line, "continues a route that was not understood", self.lost)
            return
        draft = self.drafts[-1]
        try:
            _read_words(draft, words, 0)
            draft.end = count
        except STRANGE as error:
            # Half a route is no route.
            self.drafts.pop()
            self.open, self.lost = False, _touched(draft)
            self.builder.reject(count, line, str(error)[:200] or "not understood", self.lost)

    def result(self, family: int) -> ParseResult[Route]:
        for draft, own in zip(self.drafts, _families(self.drafts, family), strict=True):
            source = SourceRef(self.path, draft.number, draft.line, draft.end if draft.end != draft.number else 0)
            try:
                self.builder.values.append(_finish(draft, own, source))
            except STRANGE as error:
                self.builder.reject(draft.number, draft.line, str(error)[:200], _touched(draft))
        return self.builder.result()


def _touched(draft: _Draft) -> str:
    """The prefix that a strange line speaks of, "" when it cannot be read (a `default` of unknown family too)."""
    try:
        return str(prefix(draft.dst, 6 if draft.six else 4)) if draft.dst and draft.six is not None else ""
    except STRANGE:
        return ""


def parse_routes(text: str, path: str, family: int = 4) -> ParseResult[Route]:
    """Routes of `ip route` in every text form, of both families when the text mixes them.

    `family` is what `default` means when nothing in the text tells. A strange line touches its prefix. An
    indented `nexthop` or `cache` line belongs to the route above; if it is not understood that route is withdrawn.
    """
    reader = _RouteReader(path)
    for count, line in numbered(text):
        words = line.split()
        if words and not words[0].startswith("#"):
            reader.line(count, line, words)
    return reader.result(family)


def _json_hop(item: Mapping[str, Any]) -> NextHop:
    gateway = item.get("gateway")
    if gateway is None and isinstance(item.get("via"), Mapping):
        gateway = item["via"]["host"]
    return NextHop(
        dev=str(item.get("dev", "")),
        via=ip(gateway) if gateway is not None else None,
        weight=int(item.get("weight", 1)),
        flags=frozenset(str(flag) for flag in item.get("flags", ())),
    )


def _json_route(item: Mapping[str, Any], source: SourceRef, family: int) -> Route:
    dst_text = item["dst"]
    try:
        hop = _json_hop(item)
        hops = tuple(_json_hop(entry) for entry in item.get("nexthops", ()))
        via = hop.via if hop.via is not None else hops[0].via if hops else None
        if ":" in dst_text or "pref" in item:
            family = 6
        elif dst_text != "default" or item.get("scope") in ("link", "host"):
            family = 4
        elif via is not None and "via" not in item and not any("via" in entry for entry in item.get("nexthops", ())):
            family = via.version
        if not hops and (hop.dev or hop.via is not None):
            hops = (hop,)
        metrics: dict[str, Any] = {}
        for entry in item.get("metrics", ()):
            metrics.update(entry)
        number_, name = table(str(item.get("table", "main")))
        src = item.get("from")
        dst = prefix(dst_text, family)
        return Route(
            dst=dst,
            source=source,
            type=str(item.get("type", "unicast")),
            table=number_,
            table_name=name,
            nexthops=hops,
            nhid=int(item["nhid"]) if "nhid" in item else None,
            proto=str(item.get("protocol", "boot")),
            scope=str(item.get("scope", "")),
            metric=int(item.get("metric", 0)),
            prefsrc=ip(item["prefsrc"]) if "prefsrc" in item else None,
            tos=tos(str(item["tos"])) if "tos" in item else 0,
            mtu=int(metrics["mtu"]) if "mtu" in metrics else None,
            encap=str(item.get("encap", "")),
            src_prefix=prefix(src, dst.version) if isinstance(src, str) and src != "all" else None,
            flags=frozenset(str(flag) for flag in item.get("flags", ())),
            cached="cache" in item,
            expires=int(item["expires"]) if "expires" in item else None,
        )
    except STRANGE as error:
        raise Strange(str(error)[:200], str(dst_text)) from None


def parse_routes_json(text: str, path: str, family: int = 4) -> ParseResult[Route]:
    """Routes of `ip -j route`, of one or both families; it does not show whether a route's MTU is locked."""
    return parse_items(text, path, "routes", lambda item, source: _json_route(item, source, family))


def parse_route_n(text: str, path: str) -> ParseResult[Route]:
    """Routes of `route -n` and `netstat -rn` (net-tools): the main table, without types but `!` (reject).

    An interface `*` is a route without a device: the kernel sets `!` for unreachable and prohibit (given as
    "unreachable") and not for blackhole (net/ipv4/fib_trie.c fib_flag_trans; a throw route looks the same).
    """
    builder: ResultBuilder[Route] = ResultBuilder(path, "routes")
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0].startswith("#") or words[0] in ("Kernel", "Destination"):
            continue
        builder.lines += 1
        touches = ""
        try:
            dst_text = "0.0.0.0" if words[0] == "default" else words[0]
            dst = IPv4Network((dst_text, words[2]), strict=False)
            touches = str(dst)
            gateway, flags, dev = words[1], words[3], words[-1]
            if len(words) != 8:
                raise Strange("not the eight columns of route -n")
            via = ip(gateway) if gateway not in ("*", "-", "0.0.0.0") else None
            # The columns behind Flags are Metric Ref Use (route) or MSS Window irtt (netstat -r).
            metric = number(words[4]) if words[5] != "0" or words[4] != "0" else 0
            kind = "unicast"
            if dev in ("*", "-"):
                kind, dev, via = ("unreachable" if "!" in flags else "blackhole"), "", None
            elif "!" in flags:
                kind = "unreachable"
            hops = (NextHop(dev, via),) if kind == "unicast" else ()
            scope = "" if via is not None or kind != "unicast" else "link"
            source = cite(path, count, line)
            builder.values.append(
                Route(dst, source, type=kind, nexthops=hops, proto="", metric=metric, scope=scope)
            )
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood", touches)
    return builder.result()


def parse_proc_net_route(text: str, path: str, byteorder: str = "little") -> ParseResult[Route]:
    """Routes of /proc/net/route: the main table of IPv4, types as in parse_route_n. `byteorder` is the node's."""
    builder: ResultBuilder[Route] = ResultBuilder(path, "routes")

    def address(word: str) -> IPv4Address:
        return IPv4Address(int.from_bytes(bytes.fromhex(word), byteorder))  # type: ignore[arg-type]

    for count, line in numbered(text):
        words = line.split()
        if not words or words[0] == "Iface":
            continue
        builder.lines += 1
        try:
            dev, flags = words[0], int(words[3], 16)
            if len(words) != 11:
                raise Strange("not the eleven columns of /proc/net/route")
            dst = IPv4Network((str(address(words[1])), str(address(words[7]))), strict=False)
            gateway = address(words[2])
            via = gateway if int(gateway) else None
            kind = "unreachable" if flags & 0x200 else "blackhole" if dev == "*" else "unicast"
            builder.values.append(
                Route(dst, cite(path, count, line), type=kind,
                      nexthops=(NextHop(dev, via),) if kind == "unicast" else (), proto="", metric=number(words[6]),
                      scope="link" if kind == "unicast" and via is None else "", mtu=number(words[8]) or None)
            )  # fmt: skip
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    return builder.result()
