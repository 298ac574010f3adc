"""`ip link` and `ip addr` in their text forms: links, and the stanzas that addresses are read from.

Words: iproute2 ip/ipaddress.c print_linkinfo(), ip/iplink_<kind>.c, versions 3 to 6, with -d, -s, -o in any mix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Ip, Link

from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, ip, number

_HEAD = re.compile(r"(\d+): ([^\s:@]+)(?:@([^\s:]+))?:\s+<([^>]*)>\s*(.*)$")
_ONELINE = re.compile(r"(\d+): ([^\s:@]+)(?:@([^\s:]+))?:?\s+(inet6?|link/\S+|inet6? peer)\s")
_PEER = re.compile(r"if(\d+)$")
_OPERSTATES = frozenset(("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"))

KINDS = frozenset(
    ("veth", "vxlan", "ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap", "vti", "vti6", "bridge", "bond",
     "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "dummy", "ifb", "tun", "vrf", "wireguard", "geneve", "nlmon",
     "team", "lowpan", "can", "vcan", "vxcan", "hsr", "ipoib", "xfrm", "macsec", "rmnet", "vsockmon", "netdevsim",
     "erspan", "ip6erspan", "bareudp", "gtp", "dsa", "amt", "openvswitch", "batadv", "netkit", "ovpn", "virt_wifi",
     "bridge_slave", "bond_slave", "vrf_slave", "team_slave", "dsa_slave", "openvswitch_slave", "hsr_slave",
     "lowpan_slave", "macsec_slave", "team_port")
)  # fmt: skip
_STATISTICS = frozenset(("RX:", "TX:", "RX", "TX"))
# First words of detail lines that belong to a link and that no fact needs.
_QUIET = frozenset(("valid_lft", "altname", "alias", "vf", "prog/xdp", "offload_xstats"))


def is_link_detail(first: str) -> bool:
    """Whether a detail line with this first word says something of the link, known or not needed."""
    return first in KINDS or first in _QUIET or first in _STATISTICS or first.startswith(("link/", "xdp"))


@dataclass(slots=True)
class Stanza:
    """One interface of the text: its head line and detail lines as (number, line, words)."""

    name: str
    ifindex: int
    number: int
    line: str
    other: str = ""
    flags: str = ""
    rest: str = ""
    headed: bool = True
    details: list[tuple[int, str, list[str]]] = field(default_factory=list)


def _segments(text: str) -> Iterator[tuple[int, str]]:
    """Lines; `ip -o` puts a backslash where the line break was."""
    for count, line in numbered(text):
        if "\\ " in line or "\\\t" in line or line.endswith("\\"):
            for part in re.split(r"\\(?=\s|$)", line):
                if part.strip():
                    yield count, part
        else:
            yield count, line


def stanzas(text: str, builder: ResultBuilder[Any]) -> list[Stanza]:
    """The interfaces of the text. Counts every line in `builder` and rejects those before any interface."""
    found: list[Stanza] = []
    current: Stanza | None = None
    counted = 0
    for count, line in _segments(text):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if count != counted:
            builder.lines += 1
            counted = count
        if line[0].isdigit():
            match = _HEAD.match(line)
            if match is not None:
                index, name, other, flags, rest = match.groups()
                current = Stanza(name, int(index), count, line, other or "", flags, rest)
                found.append(current)
                continue
            match = _ONELINE.match(line)
            if match is not None:
                index, name, other = match.group(1, 2, 3)
                if current is None or current.name != name:
                    current = Stanza(name, int(index), count, line, other or "", headed=False)
                    found.append(current)
                detail = line[match.start(4) :]
                current.details.append((count, detail, detail.split()))
                continue
            current = None
            builder.reject(count, line, "not the head of an interface")
        elif current is None:
            builder.reject(count, line, "belongs to an interface that was not understood")
        elif line[0] not in " \t" and not words[0].startswith(("link/", "inet", "RX", "TX")):
            builder.reject(count, line, "not a line of `ip link` or `ip addr`", current.name)
        else:
            current.details.append((count, line, words))
    return found


def _ip_or_none(text: str) -> Ip | None:
    return None if text in ("any", "0.0.0.0", "::") else ip(text)


def _read_head(values: dict[str, Any], stanza: Stanza) -> None:
    words = stanza.rest.split()
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "mtu":
            values["mtu"], at = number(words[at]), at + 1
        elif word == "qdisc":
            values["qdisc"], at = words[at], at + 1
        elif word == "master":
            values["master"], at = words[at], at + 1
        elif word == "state":
            values["operstate"], at = words[at], at + 1
        elif word.startswith("xdp"):
            values["xdp"] = True
        elif word == "link-netnsid":
            values["link_netnsid"], at = number(words[at]), at + 1
        elif word in ("mode", "group", "qlen", "link-netns", "event", "vrf"):
            at += 1
        elif word in _OPERSTATES or word in ("protodown", "proto_down"):
            pass
        elif word == "carrier_up" or word == "carrier_changes":
            at += 1
        else:
            raise Strange(f"unknown word {word[:40]!r}", stanza.name)


def _read_link_line(values: dict[str, Any], words: list[str]) -> None:
    values["link_type"] = words[0].partition("/")[2]
    at = 1
    if at < len(words) and words[at] not in ("brd", "peer", "promiscuity", "link-netnsid", "link-netns", "permaddr"):
        values["mac"] = words[at].lower()
        at += 1
    while at < len(words):
        word = words[at]
        at += 1
        if word == "link-netnsid" and at < len(words) and words[at] != "unknown":
            values["link_netnsid"] = number(words[at])
        elif word == "peer" and at < len(words) and values["link_type"] in ("ipip", "sit", "gre", "tunnel6", "gre6"):
            values.setdefault("tunnel_remote", _ip_or_none(words[at]))


def _read_vxlan(values: dict[str, Any], words: list[str]) -> None:
    values.setdefault("vxlan_learning", "nolearning" not in words)
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if word == "id":
            values["vxlan_id"] = number(words[at])
        elif word in ("local", "local6"):
            values["vxlan_local"] = _ip_or_none(words[at])
        elif word in ("remote", "remote6", "group", "group6"):
            values["vxlan_remote"] = _ip_or_none(words[at])
        elif word == "dev":
            values["vxlan_dev"] = words[at]
        elif word == "dstport":
            values["vxlan_port"] = number(words[at])


def _read_tunnel(values: dict[str, Any], words: list[str]) -> None:
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if word == "remote":
            values["tunnel_remote"] = _ip_or_none(words[at])
        elif word == "local":
            values["tunnel_local"] = _ip_or_none(words[at])
        elif word in ("ttl", "hoplimit"):
            values["tunnel_ttl"] = 0 if words[at] == "inherit" else number(words[at])
        elif word == "pmtudisc":
            values["tunnel_pmtudisc"] = True
        elif word == "nopmtudisc":
            values["tunnel_pmtudisc"] = False


_TUNNELS = frozenset(("ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap", "vti", "vti6"))


def _read_kind(values: dict[str, Any], words: list[str]) -> None:
    kind = words[0]
    if kind.endswith("_slave"):
        values["slave_kind"] = kind.removesuffix("_slave")
        if kind == "vrf_slave" and "table" in words:
            values["vrf_table"] = number(words[words.index("table") + 1])
        return
    values["kind"] = kind
    if kind == "vxlan":
        _read_vxlan(values, words)
    elif kind in _TUNNELS:
        _read_tunnel(values, words)
    elif kind == "vlan" and "id" in words:
        values["vlan_id"] = number(words[words.index("id") + 1])
    elif kind == "vrf" and "table" in words:
        values["vrf_table"] = number(words[words.index("table") + 1])


_STATS = {
    ("RX", "packets"): "rx_packets",
    ("RX", "errors"): "rx_errors",
    ("RX", "dropped"): "rx_dropped",
    ("TX", "packets"): "tx_packets",
    ("TX", "errors"): "tx_errors",
    ("TX", "dropped"): "tx_dropped",
    ("TX", "carrier"): "tx_carrier",
}


def _stats_head(words: list[str]) -> list[str]:
    """Names of the columns below `RX:  bytes packets ...`, each "" or the fact's field."""
    side = words[0].rstrip(":")
    if len(words) > 1 and words[1] == "errors:":
        return [""] * (len(words) - 2)
    return [_STATS.get((side, word), "") for word in words[1:]]


def read_link(stanza: Stanza, path: str, builder: ResultBuilder[Any]) -> Link:
    """The link of one stanza. Detail lines not understood are rejected with the name as key; a bad head raises."""
    values: dict[str, Any] = {}
    _read_head(values, stanza)
    match = _PEER.match(stanza.other)
    if match is not None:
        values["peer_ifindex"] = int(match.group(1))
    elif stanza.other not in ("", "NONE"):
        values["parent"] = stanza.other
    columns: list[str] | None = None
    end = stanza.number
    for count, line, words in stanza.details:
        end = count
        first = words[0]
        try:
            if columns is not None:
                if len(words) != len(columns):
                    raise Strange("statistics do not fit their heading")
                for name, word in zip(columns, words, strict=True):
                    if name:
                        values[name] = number(word)
                columns = None
            elif first.startswith("link/"):
                _read_link_line(values, words)
            elif first in ("RX:", "TX:") or (first in ("RX", "TX") and words[1:2] == ["errors:"]):
                columns = _stats_head(words)
            elif first in KINDS:
                _read_kind(values, words)
            elif first in ("prog/xdp",) or first.startswith("xdp"):
                values["xdp"] = True
            elif first not in ("inet", "inet6") and not is_link_detail(first):
                raise Strange(f"unknown word {first[:40]!r}")
        except STRANGE as error:
            columns = None
            builder.reject(count, line, str(error)[:200] or "not understood", stanza.name)
    return Link(
        name=stanza.name,
        ifindex=stanza.ifindex,
        source=SourceRef(path, stanza.number, cite(path, 0, stanza.line).text, end if end != stanza.number else 0),
        flags=frozenset(flag for flag in stanza.flags.split(",") if flag),
        **values,
    )


def parse_links(text: str, path: str) -> ParseResult[Link]:
    """Links of `ip link` or `ip addr`, with or without -d, -s, -o. `ip -o addr` shows no links: `truncated` then."""
    builder: ResultBuilder[Link] = ResultBuilder(path, "links")
    for stanza in stanzas(text, builder):
        if not stanza.headed:
            builder.truncated = True
            continue
        try:
            builder.values.append(read_link(stanza, path, builder))
        except STRANGE as error:
            builder.reject(stanza.number, stanza.line, str(error)[:200] or "not understood", stanza.name)
    return builder.result()
