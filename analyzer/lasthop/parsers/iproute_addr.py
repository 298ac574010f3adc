"""Addresses of `ip addr` (text), and links and addresses of `ip -j link` and `ip -j addr`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Address, Ip, Link

from .iproute_link import Stanza, is_link_detail, stanzas
from .jsonitems import parse_items
from .result import STRANGE, ResultBuilder, cite
from .tokens import Strange, ip, number

_FLAGS = frozenset(
    ("secondary", "temporary", "tentative", "dadfailed", "deprecated", "home", "nodad", "optimistic", "permanent",
     "mngtmpaddr", "noprefixroute", "autojoin", "dynamic", "stable-privacy")
)  # fmt: skip


def _address(words: list[str], dev: str, source: SourceRef) -> Address:
    """`inet 10.0.0.1[/24 | peer 10.0.0.2/32] [metric N] [brd B] scope S [flags] [label] [valid_lft ...]`."""
    local_text, slash, length = words[1].partition("/")
    local = ip(local_text)
    prefixlen = number(length) if slash else local.max_prefixlen
    peer: Ip | None = None
    broadcast: Ip | None = None
    scope, label = "global", ""
    flags: set[str] = set()
    at = 2
    while at < len(words):
        word = words[at]
        at += 1
        if word == "peer":
            peer_text, slash, length = words[at].partition("/")
            peer, at = ip(peer_text), at + 1
            prefixlen = number(length) if slash else peer.max_prefixlen
        elif word == "brd":
            broadcast, at = ip(words[at]), at + 1
        elif word in ("any", "metric", "proto"):
            at += 1
        elif word == "scope":
            scope, at = words[at], at + 1
        elif word in _FLAGS:
            flags.add(word)
        elif word in ("valid_lft", "preferred_lft"):
            at += 1
        elif word.startswith("flags") and at < len(words):
            flags.add(words[at])
            at += 1
        elif not label and (word == dev or word.startswith(f"{dev}:") or local.version == 4):
            label = word
        else:
            raise Strange(f"unknown word {word[:40]!r}")
    if prefixlen > local.max_prefixlen:
        raise Strange("prefix length out of range")
    return Address(dev, local, prefixlen, source, scope, broadcast, peer, label, frozenset(flags))


def _read_addresses(stanza: Stanza, path: str, builder: ResultBuilder[Address]) -> None:
    numbers_follow = False
    for count, line, words in stanza.details:
        first = words[0]
        if first in ("inet", "inet6"):
            numbers_follow = False
            try:
                builder.values.append(_address(words, stanza.name, cite(path, count, line)))
            except STRANGE as error:
                builder.reject(count, line, str(error)[:200] or "not understood", stanza.name)
        elif numbers_follow and first[0].isdigit():
            numbers_follow = False
        elif not is_link_detail(first):
            # It could have been an address.
            builder.reject(count, line, f"unknown word {first[:40]!r}", stanza.name)
        else:
            numbers_follow = first in ("RX:", "TX:") or words[1:2] == ["errors:"]


def parse_addresses(text: str, path: str) -> ParseResult[Address]:
    """Addresses of `ip addr` in text. What the lines about the link itself say is left to parse_links."""
    builder: ResultBuilder[Address] = ResultBuilder(path, "addresses")
    for stanza in stanzas(text, builder):
        _read_addresses(stanza, path, builder)
    return builder.result()


def _json_address(entry: Mapping[str, Any], dev: str, source: SourceRef) -> Address:
    local = ip(entry["local"])
    return Address(
        dev=dev,
        ip=local,
        prefixlen=int(entry["prefixlen"]),
        source=source,
        scope=str(entry.get("scope", "global")),
        broadcast=ip(entry["broadcast"]) if "broadcast" in entry else None,
        peer=ip(entry["address"]) if "address" in entry else None,
        label=str(entry.get("label", "")),
        flags=frozenset(flag for flag in _FLAGS if entry.get(flag) is True),
    )


def parse_addresses_json(text: str, path: str) -> ParseResult[Address]:
    """Addresses of `ip -j addr`. An interface is one data line, cited whole."""

    def read(item: Mapping[str, Any], source: SourceRef) -> list[Address]:
        dev = str(item["ifname"])
        return [_json_address(entry, dev, source) for entry in item.get("addr_info", ()) if entry]

    return parse_items(text, path, "addresses", read)


def _data_ip(data: Mapping[str, Any], *keys: str) -> Ip | None:
    for key in keys:
        if key in data and data[key] not in ("any", "0.0.0.0", "::"):
            return ip(data[key])
    return None


def _json_link(item: Mapping[str, Any], source: SourceRef) -> Link:
    name = str(item["ifname"])
    info = item.get("linkinfo", {})
    kind = str(info.get("info_kind", ""))
    data: Mapping[str, Any] = info.get("info_data", {})
    slave_data: Mapping[str, Any] = info.get("info_slave_data", {})
    stats = item.get("stats64", item.get("stats", {}))
    rx, tx = stats.get("rx", {}), stats.get("tx", {})
    vxlan = data if kind == "vxlan" else {}
    tunnel = data if kind in ("ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap", "vti", "vti6") else {}
    vrf_table = data.get("table") if kind == "vrf" else slave_data.get("table")
    return Link(
        name=name,
        ifindex=int(item["ifindex"]) if "ifindex" in item else None,
        source=source,
        flags=frozenset(str(flag) for flag in item.get("flags", ())),
        mtu=int(item["mtu"]) if "mtu" in item else None,
        operstate=str(item.get("operstate", "")),
        mac=str(item.get("address", "")).lower(),
        link_type=str(item.get("link_type", "")),
        kind=kind,
        peer_ifindex=int(item["link_index"]) if "link_index" in item else None,
        link_netnsid=int(item["link_netnsid"]) if "link_netnsid" in item else None,
        parent=str(item.get("link") or ""),
        master=str(item.get("master", "")),
        slave_kind=str(info.get("info_slave_kind", "")),
        vxlan_id=int(vxlan["id"]) if "id" in vxlan else None,
        vxlan_local=_data_ip(vxlan, "local", "local6"),
        vxlan_remote=_data_ip(vxlan, "remote", "remote6", "group", "group6"),
        vxlan_port=int(vxlan["port"]) if "port" in vxlan else None,
        vxlan_dev=str(vxlan.get("link", "")),
        vxlan_learning=bool(vxlan["learning"]) if "learning" in vxlan else None,
        tunnel_local=_data_ip(tunnel, "local"),
        tunnel_remote=_data_ip(tunnel, "remote"),
        tunnel_ttl=int(tunnel["ttl"]) if "ttl" in tunnel else None,
        tunnel_pmtudisc=bool(tunnel["pmtudisc"]) if "pmtudisc" in tunnel else None,
        vlan_id=int(data["id"]) if kind == "vlan" and "id" in data else None,
        vrf_table=int(vrf_table) if vrf_table is not None else None,
        xdp="xdp" in item,
        qdisc=str(item.get("qdisc", "")),
        rx_packets=rx.get("packets"),
        rx_errors=rx.get("errors"),
        rx_dropped=rx.get("dropped"),
        tx_packets=tx.get("packets"),
        tx_errors=tx.get("errors"),
        tx_dropped=tx.get("dropped"),
        tx_carrier=tx.get("carrier_errors"),
    )


def parse_links_json(text: str, path: str) -> ParseResult[Link]:
    """Links of `ip -j link` or `ip -j addr`; tunnel_ttl 0 is "inherit", as in the text form."""
    return parse_items(text, path, "links", _json_link)
