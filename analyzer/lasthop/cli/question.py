"""`--from X --to Y[:port[/proto]]` as a Question."""

from __future__ import annotations

import ipaddress
import re

from lasthop.errors import UsageError
from lasthop.facts.snapshot import Question

PROTOCOLS = ("tcp", "udp", "icmp", "sctp")
_PORT = re.compile(r"(?:(?P<port>\d+)(?:/(?P<proto>[A-Za-z0-9]+))?|(?P<only>[A-Za-z]+)(?:/(?P<after>\d+))?)")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_FORMS = "namespace/pod, an address, node:NAME or svc:namespace/name"


def parse_question(source: str | None, destination: str | None) -> Question | None:
    """The question of the command line, None when neither end is given.

    Raises UsageError when only one end is given, or one cannot be read. The protocol is tcp unless said.
    """
    if source is None and destination is None:
        return None
    if source is None or destination is None:
        lacking, given = ("--from", "--to") if source is None else ("--to", "--from")
        raise UsageError(f"{given} needs {lacking} as well: a flow has two ends.")
    src, port, _ = parse_endpoint(source, "--from")
    if port is not None:
        raise UsageError(f"--from {source}: the source takes no port; write the port at --to.")
    dst, port, proto = parse_endpoint(destination, "--to")
    return Question(src=src, dst=dst, proto=proto, port=port, origin="asked")


def parse_endpoint(text: str, option: str) -> tuple[str, int | None, str]:
    """(endpoint as in Question, port, protocol) of "Y[:port[/proto]]"; also "Y:proto" and "Y:proto/port".

    An IPv6 address takes brackets when a port follows: "[fd00::1]:80/tcp". Addresses come back in canonical form.
    """
    text = text.strip()
    if not text:
        raise UsageError(f"{option} is empty: write {_FORMS}.")
    name, tail = _split(text, option)
    port, proto = _port(tail, text, option)
    return _endpoint(name, text, option), port, proto


def _split(text: str, option: str) -> tuple[str, str | None]:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"{option} {text}: write an IPv6 address with a port as [fd00::1]:80/tcp.")
        return inside, rest[1:] if rest else None
    if text.count(":") > 1:
        prefix = text.split(":", 1)[0]
        if prefix not in ("svc", "node"):
            try:
                ipaddress.IPv6Address(text)
            except ValueError:
                raise UsageError(
                    f"{option} {text}: not an IPv6 address; with a port write [fd00::1]:80/tcp."
                ) from None
            return text, None
    head = ""
    for prefix in ("svc:", "node:"):
        if text.startswith(prefix):
            head, text = prefix, text[len(prefix) :]
    name, colon, tail = text.partition(":")
    return head + name, tail if colon else None


def _port(tail: str | None, text: str, option: str) -> tuple[int | None, str]:
    if tail is None:
        return None, "tcp"
    match = _PORT.fullmatch(tail)
    if match is None:
        raise UsageError(f"{option} {text}: {tail!r} is not a port; write :port, :port/proto or :proto, as in :53/udp.")
    number = match["port"] or match["after"]
    proto = (match["proto"] or match["only"] or "tcp").lower()
    if proto not in PROTOCOLS:
        raise UsageError(f"{option} {text}: unknown protocol {proto!r}; known are {', '.join(PROTOCOLS)}.")
    if number is None:
        return None, proto
    if proto == "icmp":
        raise UsageError(f"{option} {text}: icmp has no ports; write :icmp.")
    port = int(number)
    if not 1 <= port <= 65535:
        raise UsageError(f"{option} {text}: port {number} is out of range; ports are 1 to 65535.")
    return port, proto


def _endpoint(name: str, text: str, option: str) -> str:
    for prefix in ("svc:", "node:"):
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            parts = rest.split("/")
            if len(parts) != (2 if prefix == "svc:" else 1) or not all(_NAME.fullmatch(part) for part in parts):
                form = "svc:namespace/name" if prefix == "svc:" else "node:NAME"
                raise UsageError(f"{option} {text}: write {form}.")
            return name
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        if ip.is_multicast or ip.is_unspecified or int(ip) == 0xFFFFFFFF:
            raise UsageError(f"{option} {text}: {ip} belongs to no single host; name a unicast address.")
        return str(ip)
    parts = name.split("/")
    if len(parts) == 2 and all(_NAME.fullmatch(part) for part in parts):
        return name
    if len(parts) == 1 and _NAME.fullmatch(name) and not re.fullmatch(r"[0-9.]+", name):
        raise UsageError(f"{option} {text}: which namespace? Write namespace/{name}, or node:{name} for a node.")
    raise UsageError(f"{option} {text}: cannot be read; write {_FORMS}.")
