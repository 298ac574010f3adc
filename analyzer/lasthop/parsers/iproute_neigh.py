"""`ip neigh`, `/proc/net/arp` and `bridge fdb`, text and JSON (iproute2 ip/ipneigh.c, bridge/fdb.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import FdbEntry, Neighbour

from .jsonitems import parse_items
from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, ip, number

STATES = frozenset(
    ("REACHABLE", "STALE", "PERMANENT", "FAILED", "INCOMPLETE", "NOARP", "DELAY", "PROBE", "NONE")
)


def _neighbour(words: list[str], source: SourceRef) -> Neighbour:
    address = ip(words[0])
    dev = mac = state = ""
    proxy = router = False
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if word == "dev":
            dev, at = words[at], at + 1
        elif word == "lladdr":
            mac, at = words[at].lower(), at + 1
        elif word in STATES:
            state = word
        elif word == "proxy":
            proxy = True
        elif word == "router":
            router = True
        elif word in ("ref", "probes", "proto", "protocol", "nhid"):
            number_or_word = words[at]
            at += 1
            if not number_or_word:
                raise Strange("empty value")
        elif word == "used":
            # iproute2 5 and 6 print "used 13/13/13probes 4" without the space.
            if words[at].endswith("probes"):
                at += 1
            at += 1
        elif word in ("extern_learn", "offload", "managed", "extern_valid"):
            pass
        elif word == "nud":
            state, at = words[at].upper(), at + 1
        elif word.startswith("0x"):
            # Several NUD bits at once have no name.
            state = word
        else:
            raise Strange(f"unknown word {word[:40]!r}")
    if not dev:
        raise Strange("no device")
    return Neighbour(dev, address, source, mac, state, proxy, router)


def parse_neighbours(text: str, path: str) -> ParseResult[Neighbour]:
    """Neighbours of `ip neigh` with or without -s, and `ip neigh show proxy`, both families."""
    builder: ResultBuilder[Neighbour] = ResultBuilder(path, "neighbours")
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        builder.lines += 1
        try:
            builder.values.append(_neighbour(words, cite(path, count, line)))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood", words[0])
    return builder.result()


def _json_neighbour(item: Mapping[str, Any], source: SourceRef) -> Neighbour:
    states = [str(state) for state in item.get("state", ())]
    return Neighbour(
        dev=str(item["dev"]),
        ip=ip(item["dst"]),
        source=source,
        mac=str(item.get("lladdr", "")).lower(),
        state=states[0] if states else "",
        proxy="proxy" in item,
        router="router" in item,
    )


def parse_neighbours_json(text: str, path: str) -> ParseResult[Neighbour]:
    return parse_items(text, path, "neighbours", _json_neighbour)


def parse_proc_arp(text: str, path: str) -> ParseResult[Neighbour]:
    """/proc/net/arp. Its flags tell complete (2), permanent (4) and published (8), not the NUD state: a complete entry
    has state "" (it may be REACHABLE or STALE), flags 0 is INCOMPLETE (or FAILED, which this file hides)."""
    builder: ResultBuilder[Neighbour] = ResultBuilder(path, "neighbours")
    for count, line in numbered(text):
        words = line.split()
        if not words or words[:2] == ["IP", "address"]:
            continue
        builder.lines += 1
        try:
            address, _hwtype, flags_text, mac, _mask, dev = words
            flags = number(flags_text)
            state = "PERMANENT" if flags & 4 else "" if flags & 2 else "INCOMPLETE"
            builder.values.append(
                Neighbour(dev, ip(address), cite(path, count, line), mac.lower() if flags & 2 else "", state,
                          proxy=bool(flags & 8))
            )  # fmt: skip
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200], words[0])
    return builder.result()


_FDB_FLAGS = frozenset(
    ("router", "sticky", "offload", "extern_learn", "added_by_user", "added_by_ext_learn", "blackhole", "locked",
     "activity_notify", "inactive", "norefresh", "managed", "dynamic", "use")
)  # fmt: skip
_FDB_STATES = frozenset(("permanent", "static", "stale", "local", "reachable", "noarp"))


def _fdb(words: list[str], source: SourceRef) -> FdbEntry:
    mac = words[0].lower()
    if mac.count(":") != 5 or len(mac) != 17:
        raise Strange("does not begin with a MAC address")
    dev = via = master = state = ""
    dst = vni = port = vlan = None
    own = permanent = False
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if word == "dev":
            dev, at = words[at], at + 1
        elif word == "dst":
            dst, at = ip(words[at]), at + 1
        elif word == "vni":
            vni, at = number(words[at]), at + 1
        elif word == "port":
            port, at = number(words[at]), at + 1
        elif word == "via":
            via, at = words[at], at + 1
        elif word == "master":
            # Old bridge(8) prints a bare "master" flag, newer ones the name behind it.
            if at < len(words) and words[at] not in _FDB_STATES and words[at] not in _FDB_FLAGS:
                master, at = words[at], at + 1
        elif word == "vlan":
            vlan, at = number(words[at]), at + 1
        elif word == "self":
            own = True
        elif word in _FDB_STATES:
            permanent = permanent or word == "permanent"
            state = word
        elif word in _FDB_FLAGS:
            pass
        elif word in ("used", "src_vni", "link-netnsid", "nhid", "proto"):
            at += 1
        elif word == "state":
            state, at = words[at], at + 1
        else:
            raise Strange(f"unknown word {word[:40]!r}")
    if not dev:
        raise Strange("no device")
    return FdbEntry(dev, mac, source, dst, vni, port, via, master, vlan, own, permanent, state)


def parse_fdb(text: str, path: str) -> ParseResult[FdbEntry]:
    """Entries of `bridge fdb show` (all devices, or `dev X`, which newer versions still print with `dev`)."""
    builder: ResultBuilder[FdbEntry] = ResultBuilder(path, "fdb")
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        builder.lines += 1
        try:
            builder.values.append(_fdb(words, cite(path, count, line)))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood", words[0].lower())
    return builder.result()


def _json_fdb(item: Mapping[str, Any], source: SourceRef) -> FdbEntry:
    flags = [str(flag) for flag in item.get("flags", ())]
    state = str(item.get("state", ""))
    return FdbEntry(
        dev=str(item["ifname"]),
        mac=str(item["mac"]).lower(),
        source=source,
        dst=ip(item["dst"]) if "dst" in item else None,
        vni=int(item["vni"]) if "vni" in item else None,
        port=int(item["port"]) if "port" in item else None,
        via=str(item.get("viaIf", item.get("via", ""))),
        master=str(item.get("master", "")),
        vlan=int(item["vlan"]) if "vlan" in item else None,
        self_="self" in flags,
        permanent=state == "permanent",
        state=state,
    )


def parse_fdb_json(text: str, path: str) -> ParseResult[FdbEntry]:
    return parse_items(text, path, "fdb", _json_fdb)
