"""`ip route`, `ip route show table all`, `ip route show cache`, their JSON, and `route -n`.

Word order and words: iproute2 ip/iproute.c print_route(), versions 3 to 6. Mixed output of both families is read line
by line; `default` takes its family from the other words of its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Ip, NextHop, Prefix, Route

from .jsonitems import parse_items
from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, duration, ip, number, prefix, table

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
    six: bool = False
    dev: str = ""
    via: Ip | None = None
    weight: int = 1
    flags: set[str] = field(default_factory=set)
    hops: list[NextHop] = field(default_factory=list)
    number: int = 0
    end: int = 0
    line: str = ""


def _tos(text: str) -> int:
    names = {"lowdelay": 0x10, "throughput": 8, "reliability": 4, "mincost": 2}
    return names[text] if text in names else number(text)


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
            draft.six = draft.six or (not named and draft.via.version == 6)
        elif word == "proto":
            draft.proto, at = words[at], at + 1
        elif word == "scope":
            draft.scope, at = words[at], at + 1
        elif word in ("metric", "priority", "preference"):
            draft.metric, at = number(words[at]), at + 1
        elif word == "src":
            draft.prefsrc, at = ip(words[at]), at + 1
            draft.six = draft.six or draft.prefsrc.version == 6
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
            draft.six = draft.six or ":" in draft.from_
        elif word in ("tos", "dsfield"):
            draft.tos, at = _tos(words[at]), at + 1
        elif word == "encap":
            start = at
            while at < len(words) and words[at] not in _ENCAP_END:
                at += 1
            draft.encap = " ".join(words[start:at])
        elif word == "nexthop":
            hop, at = _read_hop(words, at)
            draft.hops.append(hop)
        elif word == "expires":
            draft.expires, at = duration(words[at]), at + 1
        elif word == "as":
            at += 2 if words[at] == "to" else 1
        elif word in _VALUED:
            if word in ("pref", "error"):
                draft.six = draft.six or draft.dst == "default"
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
    dst = prefix(draft.dst, 6 if draft.six else family)
    six = dst.version == 6
    hops = tuple(draft.hops)
    hop_flags = draft.flags & HOP_FLAGS
    if not hops and (draft.dev or draft.via is not None):
        hops = (NextHop(draft.dev, draft.via, draft.weight, frozenset(hop_flags)),)
    src_prefix: Prefix | None = prefix(draft.from_, 6 if six else 4) if draft.from_ and draft.from_ != "all" else None
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


def parse_routes(text: str, path: str, family: int = 4) -> ParseResult[Route]:
    """Routes of `ip route` in every text form, of both families when the text mixes them.

    `family` is what a `default` without any other hint means; after the first IPv6 line of mixed output it means 6,
    because the kernel dumps families one after the other. A line that is not understood touches its prefix. An
    indented `nexthop` or `cache` line belongs to the route above; if it is not understood that route is withdrawn.
    """
    builder: ResultBuilder[Route] = ResultBuilder(path, "routes")
    draft: _Draft | None = None

    def close() -> None:
        nonlocal draft, family
        if draft is None:
            return
        done, draft = draft, None
        try:
            source = SourceRef(path, done.number, done.line, done.end if done.end != done.number else 0)
            route = _finish(done, family, source)
        except STRANGE as error:
            builder.reject(done.number, done.line, str(error)[:200], done.dst)
            return
        family = route.dst.version
        builder.values.append(route)

    lost = ""
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        builder.lines += 1
        indented = line[0] in " \t"
        continues = indented and words[0] in ("nexthop", "cache", "expires", "users", "mtu", "via")
        if continues:
            if draft is None:
                builder.reject(count, line, "continues a route that was not understood", lost)
                continue
            try:
                _read_words(draft, words, 0)
                draft.end = count
            except STRANGE as error:
                lost, draft = draft.dst, None
                builder.reject(count, line, str(error)[:200] or "not understood", lost)
            continue
        close()
        start = _Draft(number=count, end=count, line=cite(path, count, line).text)
        try:
            at = 0
            if words[0] == "Deleted":
                at = 1
            if words[at] in TYPES:
                start.type = words[at]
                at += 1
            start.dst = words[at]
            start.six = ":" in start.dst
            prefix(start.dst, family)
            _read_words(start, words, at + 1)
            draft, lost = start, ""
        except STRANGE as error:
            try:
                lost = str(prefix(start.dst, 6 if start.six else family)) if start.dst else ""
            except STRANGE:
                lost = ""
            builder.reject(count, line, str(error)[:200] or "not understood", lost)
    close()
    return builder.result()


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
        six = ":" in dst_text or (hop.via is not None and hop.via.version == 6 and "via" not in item)
        six = six or "pref" in item
        if not hops and (hop.dev or hop.via is not None):
            hops = (hop,)
        metrics: dict[str, Any] = {}
        for entry in item.get("metrics", ()):
            metrics.update(entry)
        number_, name = table(str(item.get("table", "main")))
        src = item.get("from")
        dst = prefix(dst_text, 6 if six else family)
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
            tos=_tos(str(item["tos"])) if "tos" in item else 0,
            mtu=int(metrics["mtu"]) if "mtu" in metrics else None,
            mtu_lock=bool(metrics.get("lock", False)) or bool(metrics.get("mtu_lock", False)),
            encap=str(item.get("encap", "")),
            src_prefix=prefix(src, dst.version) if isinstance(src, str) and src != "all" else None,
            flags=frozenset(str(flag) for flag in item.get("flags", ())),
            cached="cache" in item,
            expires=int(item["expires"]) if "expires" in item else None,
        )
    except STRANGE as error:
        raise Strange(str(error)[:200], str(dst_text)) from None


def parse_routes_json(text: str, path: str, family: int = 4) -> ParseResult[Route]:
    """Routes of `ip -j route`. Without -6 it is IPv4 only, also with `table all`."""
    return parse_items(text, path, "routes", lambda item, source: _json_route(item, source, family))


def parse_route_n(text: str, path: str) -> ParseResult[Route]:
    """Routes of `route -n` and `netstat -rn` (net-tools): the main table, without types but `!` (reject).

    An interface `*` is a route without a device (a blackhole or unreachable one: net-tools cannot tell which); its
    type is given as "blackhole" when the flags lack `!`, "unreachable" with it.
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
