"""Sockets of `ss`, `netstat` and /proc/net/{tcp,tcp6,udp,udp6}."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Ip, Socket

from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, ip, number

_NETIDS = frozenset(
    ("tcp", "udp", "raw", "icmp6", "dccp", "sctp", "mptcp", "nl", "u_str", "u_dgr", "u_seq", "p_raw", "p_dgr", "v_str",
     "v_dgr", "xdp", "tipc", "???")
)  # fmt: skip
_INET = frozenset(("tcp", "udp", "raw", "icmp6", "dccp", "sctp", "mptcp"))
_STATES = frozenset(
    ("LISTEN", "UNCONN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE-WAIT",
     "LAST-ACK", "CLOSING", "UNKNOWN", "NEW-SYN-RECV", "BOUND-INACTIVE")
)  # fmt: skip
_PROCESS = re.compile(r'users:\(\(("[^"]*"[^()]*)\)')
_NETSTAT_STATES = {
    "ESTABLISHED": "ESTAB", "SYN_SENT": "SYN-SENT", "SYN_RECV": "SYN-RECV", "FIN_WAIT1": "FIN-WAIT-1",
    "FIN_WAIT2": "FIN-WAIT-2", "TIME_WAIT": "TIME-WAIT", "CLOSE": "UNCONN", "CLOSE_WAIT": "CLOSE-WAIT",
    "LAST_ACK": "LAST-ACK", "LISTEN": "LISTEN", "CLOSING": "CLOSING",
}  # fmt: skip
# include/net/tcp_states.h; an unbound or unconnected UDP socket is TCP_CLOSE.
_PROC_STATES = {
    1: "ESTAB", 2: "SYN-SENT", 3: "SYN-RECV", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT", 7: "UNCONN",
    8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN-RECV",
}  # fmt: skip


def _endpoint(text: str) -> tuple[str, str, int | None]:
    """(host, device, port) of "127.0.0.53%lo:53", "[::]:80", ":::22" or "*:*"; port None for "*"."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise Strange(f"no port in {text[:60]!r}")
    host, _, dev = host.partition("%")
    if dev.endswith("]"):
        host, dev = f"{host}]", dev[:-1]
    return host.removeprefix("[").removesuffix("]"), dev, None if port == "*" else number(port)


def _address(host: str) -> Ip | None:
    if host == "*":
        return None
    address = ip(host)
    return None if int(address) == 0 else address


def _ss(words: list[str], line: str, source: SourceRef, proto: str, old: bool) -> Socket | None:
    """One ss line; None for sockets that are not of an internet protocol."""
    at = 0
    if words[0] in _NETIDS:
        proto, at = words[0], 1
        if proto not in _INET:
            return None
    state = words[at]
    if state not in _STATES:
        raise Strange(f"unknown state {state[:40]!r}")
    host, dev, port = _endpoint(words[at + 3])
    peer_host, _, peer_port = _endpoint(words[at + 4])
    v6only: bool | None = None
    for word in words[at + 5 :]:
        if word.startswith("v6only:"):
            v6only = word[7:] == "1"
    six = ":" in host or ":" in peer_host
    if host == "*":
        # Since iproute2 4.14 "*" is an IPv6 wildcard that takes IPv4 too; before, it was the IPv4 wildcard.
        six = v6only is not None or not old
        v6only = v6only if v6only is not None or not six else False
    elif host == "::" and v6only is None and not old:
        v6only = True
    process = _PROCESS.search(line)
    return Socket(
        proto,
        state,
        _address(host),
        port or 0,
        6 if six else 4,
        source,
        dev,
        _address(peer_host),
        peer_port or None,
        number(words[at + 1]),
        number(words[at + 2]),
        v6only if six else None,
        process.group(1).split('"')[1] if process else "",
    )


def parse_ss(text: str, path: str) -> ParseResult[Socket]:
    """Sockets of `ss` with any of -lntuep, with or without heading.

    `ss -t` and `ss -u` alone print no protocol: there UNCONN is UDP's (TCP's listeners are LISTEN), else it is TCP.

    An IPv6 wildcard's `v6only` follows ss: "*" takes IPv4 too, "[::]" does not, `v6only:` of -e decides.
    """
    builder: ResultBuilder[Socket] = ResultBuilder(path, "sockets")
    # Old ss prints ":::22" and "*:22" for the two families, new ss "[::]:22" and "0.0.0.0:22".
    old = ":::" in text and "[::]" not in text and "0.0.0.0:" not in text
    seen = False
    proto = "udp" if re.search(r"^UNCONN\s", text, re.MULTILINE) else "tcp"
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0] in ("Netid", "State", "Recv-Q") or words[0][0] == "#":
            continue
        builder.lines += 1
        if line[0] in "\t " and seen and words[0] not in _NETIDS and words[0] not in _STATES:
            # Second lines of -i, -m and -e belong to the socket above.
            continue
        try:
            socket = _ss(words, line, cite(path, count, line), proto, old)
            seen = True
            if socket is not None:
                builder.values.append(socket)
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    return builder.result()


def parse_netstat(text: str, path: str) -> ParseResult[Socket]:
    """Sockets of `netstat -n` (net-tools, busybox). It does not tell `v6only`."""
    builder: ResultBuilder[Socket] = ResultBuilder(path, "sockets")
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0] in ("Active", "Proto") or words[0][0] == "#" or line.startswith("(Not all"):
            continue
        if words[0] in ("will", "netstat:"):
            continue
        builder.lines += 1
        if words[0] == "unix":
            continue
        try:
            proto = words[0]
            six = proto.endswith("6")
            host, dev, port = _endpoint(words[3])
            peer_host, _, peer_port = _endpoint(words[4])
            rest = words[5:]
            state = "UNCONN"
            if rest and rest[0] in _NETSTAT_STATES:
                state, rest = _NETSTAT_STATES[rest[0]], rest[1:]
            elif proto.startswith("tcp"):
                raise Strange("no state")
            process = next((word.partition("/")[2] for word in rest if "/" in word), "").rstrip(":")
            builder.values.append(
                Socket(proto.removesuffix("6"), state, _address(host), port or 0, 6 if six or ":" in host else 4,
                       cite(path, count, line), dev, _address(peer_host), peer_port, number(words[1]),
                       number(words[2]), None, process)
            )  # fmt: skip
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    return builder.result()


def _hex_ip(text: str, little: bool) -> Ip:
    """An address as the kernel prints it: 32-bit words in the byte order of the host, in hexadecimal."""
    raw = bytes.fromhex(text)
    if little:
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    if len(raw) == 4:
        return IPv4Address(raw)
    if len(raw) == 16:
        address = IPv6Address(raw)
        return address.ipv4_mapped or address
    raise Strange("not the length of an address")


def parse_proc_sockets(text: str, path: str, proto: str = "tcp", byteorder: str = "little") -> ParseResult[Socket]:
    """Sockets of /proc/net/tcp, tcp6, udp or udp6; the family follows the length of the addresses.

    `byteorder` is that of the node's processor (x86 and arm64: little). `v6only` is not in these files.
    """
    builder: ResultBuilder[Socket] = ResultBuilder(path, "sockets")
    little = byteorder == "little"
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0] == "sl" or words[0][0] == "#":
            continue
        builder.lines += 1
        try:
            if not words[0].endswith(":"):
                raise Strange("does not begin with a slot number")
            local, port = words[1].split(":")
            remote, peer_port = words[2].split(":")
            tx_queue, rx_queue = words[4].split(":")
            address, peer = _hex_ip(local, little), _hex_ip(remote, little)
            socket = Socket(proto, _PROC_STATES[int(words[3], 16)], address if int(address) else None, int(port, 16),
                            4 if len(local) == 8 else 6, cite(path, count, line), "", peer if int(peer) else None,
                            int(peer_port, 16) or None, int(rx_queue, 16), int(tx_queue, 16))  # fmt: skip
            if socket.family == 6 and isinstance(address, IPv4Address):
                # A connection of an IPv6 socket that speaks IPv4.
                socket = replace(socket, family=4)
            builder.values.append(socket)
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    return builder.result()
