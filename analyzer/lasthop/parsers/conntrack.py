"""`conntrack -L` (plain and -o extended), /proc/net/nf_conntrack, and `conntrack -E` lines.

Formats: libnetfilter_conntrack src/conntrack/snprintf_default.c; kernel net/netfilter/nf_conntrack_standalone.c.
"""

from __future__ import annotations

import re

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.netfilter import ConntrackEntry, ConntrackTuple

from .result import CITED, STRANGE, ResultBuilder, numbered
from .tokens import Strange, ip, number

_FAMILIES = {"ipv4": 4, "ipv6": 6}
_TCP_STATES = frozenset(
    ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
     "LISTEN", "SYN_SENT2", "MAX", "DELETED", "IGNORE")
)  # fmt: skip
_PROTOCOLS = {
    "tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58", "sctp": "132", "gre": "47", "dccp": "33", "udplite": "136",
}  # fmt: skip
_FOOTER = re.compile(r"conntrack v\d[\w.]* \(conntrack-tools\): ")
_STAMP = re.compile(r"\[\d+(?:\.\d+)?\s*\]$")
_EVENTS = frozenset(("[NEW]", "[UPDATE]", "[DESTROY]"))
_PER_DIRECTION = frozenset(
    ("src", "dst", "sport", "dport", "type", "code", "id", "packets", "bytes", "srckey", "dstkey")
)
_QUIET = frozenset(
    ("use", "secctx", "secmark", "delta-time", "helper", "labels", "id", "start", "stop", "timeout", "stream_timeout",
     "portid", "progname", "role", "synproxy")
)  # fmt: skip


# Nearly every line of a dump has this shape; a node has up to a few hundred thousand of them.
_COMMON = re.compile(
    r"\s*(?:(ipv4|ipv6)\s+\d+ )?(tcp      6|udp      17) (\d+) (?:([A-Z][A-Z_0-9]+) )?"
    r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) (?:packets=(\d+) bytes=(\d+) )?(\[UNREPLIED\] )?"
    r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) (?:packets=(\d+) bytes=(\d+) )?(\[ASSURED\] )?"
    r"(?:mark=(\d+) )?(?:zone=(\d+) )?use=\d+\s*$",
    re.ASCII,
)
_STATUS = {
    (False, False): frozenset[str](), (True, False): frozenset({"UNREPLIED"}), (False, True): frozenset({"ASSURED"}),
    (True, True): frozenset({"UNREPLIED", "ASSURED"}),
}  # fmt: skip


def read_common(line: str, source: SourceRef) -> ConntrackEntry | None:
    """What read_words says of the line, faster, for the common shape of TCP and UDP entries; None for any other."""
    match = _COMMON.match(line)
    if match is None:
        return None
    (family, proto, timeout, state, src, dst, sport, dport, packets, octets, unreplied, rsrc, rdst, rsport, rdport,
     rpackets, roctets, assured, mark, zone) = match.groups()  # fmt: skip
    if state is not None and state not in _TCP_STATES:
        return None
    original = ConntrackTuple(ip(src), ip(dst), int(sport), int(dport))
    counted = packets is not None and rpackets is not None
    return ConntrackEntry(
        proto[:3],
        original,
        ConntrackTuple(ip(rsrc), ip(rdst), int(rsport), int(rdport)),
        source,
        state or "",
        _STATUS[unreplied is not None, assured is not None],
        int(timeout),
        int(mark or 0),
        int(zone or 0),
        0,
        0,
        (int(packets), int(rpackets)) if counted else None,
        (int(octets), int(roctets)) if counted else None,
        _FAMILIES[family] if family else original.src.version,
    )


def _tuple(fields: dict[str, str]) -> ConntrackTuple:
    icmp = None
    if "type" in fields:
        icmp = (number(fields["type"]), number(fields["code"]), number(fields["id"]))
    return ConntrackTuple(
        ip(fields["src"]),
        ip(fields["dst"]),
        number(fields["sport"]) if "sport" in fields else None,
        number(fields["dport"]) if "dport" in fields else None,
        icmp,
    )


def _head(words: list[str], status: set[str]) -> tuple[int | None, str, int]:
    """(family if printed, protocol, index of the next word); event words and time stamps go to `status`."""
    at = 0
    while words[at] in _EVENTS or words[at][0] == "[":
        if words[at] in _EVENTS:
            status.add(words[at][1:-1])
        elif not _STAMP.match(words[at]) and words[at] != "[":
            raise Strange(f"unknown word {words[at][:40]!r}")
        at += 1
    family = None
    if words[at] in _FAMILIES:
        family = _FAMILIES[words[at]]
        at += 2
    proto, number_ = words[at], words[at + 1]
    if not number_.isdigit():
        raise Strange("no protocol number")
    if proto in _PROTOCOLS:
        if _PROTOCOLS[proto] != number_:
            raise Strange("protocol name and number differ")
    elif proto == "unknown":
        proto = number_
    return family, proto, at + 2


def read_words(words: list[str], source: SourceRef) -> ConntrackEntry:
    """One line of any shape. Raises ValueError or another of result.STRANGE on what is not understood."""
    status: set[str] = set()
    family, proto, at = _head(words, status)
    timeout: int | None = None
    state = ""
    if words[at].isdigit():
        timeout, at = int(words[at]), at + 1
    if "=" not in words[at] and words[at][0] != "[":
        if words[at] not in _TCP_STATES and not (words[at].isascii() and words[at].replace("_", "").isupper()):
            raise Strange(f"unknown state {words[at][:40]!r}")
        state, at = words[at], at + 1
    directions: list[dict[str, str]] = []
    mark = zone = zone_orig = zone_reply = 0
    for word in words[at:]:
        key, equals, value = word.partition("=")
        if not equals:
            if word[0] == "[" and word[-1] == "]":
                status.add(word[1:-1])
                continue
            raise Strange(f"unknown word {word[:40]!r}")
        if key == "src":
            if len(directions) == 2:
                raise Strange("three tuples")
            directions.append({})
        if directions and key in _PER_DIRECTION and key not in directions[-1]:
            directions[-1][key] = value
        elif key == "mark":
            mark = number(value)
        elif key == "zone":
            zone = number(value)
        elif key == "zone-orig":
            zone_orig = number(value)
        elif key == "zone-reply":
            zone_reply = number(value)
        elif key.lstrip("[") not in _QUIET:
            raise Strange(f"unknown key {key[:40]!r}")
    original, reply = (_tuple(fields) for fields in directions)
    counted = "packets" in directions[0] and "packets" in directions[1]
    return ConntrackEntry(
        proto,
        original,
        reply,
        source,
        state,
        frozenset(status),
        timeout,
        mark,
        zone,
        zone_orig,
        zone_reply,
        (number(directions[0]["packets"]), number(directions[1]["packets"])) if counted else None,
        (number(directions[0]["bytes"]), number(directions[1]["bytes"])) if counted else None,
        family or original.src.version,
    )


def parse_conntrack(text: str, path: str) -> ParseResult[ConntrackEntry]:
    """Entries in file order, both families. `proto` is the name as printed, the number for protocols without one.

    Of `conntrack -E` lines the event word (NEW, UPDATE, DESTROY) is in `status`. The tool's closing line ("N flow
    entries have been shown") is not data.
    """
    builder: ResultBuilder[ConntrackEntry] = ResultBuilder(path, "conntrack")
    append = builder.values.append
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0][0] == "#" or _FOOTER.match(line):
            continue
        builder.lines += 1
        source = SourceRef(path, count, line.strip()[:CITED])
        try:
            append(read_common(line, source) or read_words(words, source))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    return builder.result()
