"""birdc / birdcl `show protocols`, `show route` (plain and `all`) and `show status` of BIRD 1.5, 1.6, 2 and 3.

Formats as printed by BIRD's nest/proto.c, nest/rt-show.c and nest/cmds.c; Calico runs a fork of 1.6
("BIRD v0.3.3+birdv1.6.8"). The numbered form of the raw control socket ("1002-...") is accepted as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from lasthop.facts.calico import BgpRoute, BgpSession, BirdProtocol, NodeStatus
from lasthop.facts.evidence import ParseResult, SourceRef, Unparsed
from lasthop.facts.network import Ip

_CODE = re.compile(r"^\d{4}[- ]")
_PROMPT = re.compile(r"^(?:bird> ?|\[[^\]]*\][#$] ?|[$#] ?|\S+@\S+[#$] ?)")
_READY = re.compile(r"^BIRD (\S+) ready\.$")
_UNREACHABLE = re.compile(r"^(?:birdcl?: )?Unable to connect to server control socket \((.*)\): (.*)$")
_NOISE = re.compile(
    r"^(?:Access restricted|Loading configuration|Reading configuration.*|Reconfigured.*"
    r"|Network not (?:in table|found))$"
)
_TIME = r"(?:\d{4}-\d\d-\d\d|\d\d-\d\d-\d{4}|[A-Z][a-z]{2}\d\d|\d\d:\d\d)(?:[ T]?\d\d:\d\d)?(?::\d\d)?(?:\.\d+)?"
_PROTOCOL = re.compile(rf"^(\S+)\s+(\S+)\s+(\S+)\s+(up|start|down|wait|feed|stop|flush)\s+({_TIME})(?:\s+(\S.*))?$")
_HEADER = re.compile(r"^name\s+proto\s+table\s+state\s+since\s+info$", re.I)
_DETAIL = re.compile(r"^([A-Za-z][\w ./-]*?):\s*(.*)$")
_COUNTS = re.compile(r"(\d+) (imported|exported)")
_PEER = re.compile(r"^(?:Mesh|Global|Node|Local_Workload)_(.+?)(?:_port_\d+)?$")

_NET = r"(?P<net>[0-9A-Fa-f.:]+/\d{1,2}\d?)"
_HOW = (
    r"(?:via (?P<via>\S+) on (?P<via_dev>\S+)(?P<more>(?: (?:onlink|mpls \S+|weight \d+))*)"
    r"|dev (?P<dev>\S+)|(?P<type>unicast|blackhole|unreachable|prohibited|prohibit|multipath))"
)
_FROM = rf"\[(?P<proto>\S+) (?P<since>{_TIME})(?: from (?P<from>[^\]\s]+))?\]"
_TAIL = r"(?P<best>(?: [*!])*)(?: \((?P<pref>\d+)(?:/[-?\d]+)?\))?(?: \[(?P<path>[^\]]*)\])?"
_ROUTE = re.compile(rf"^(?:{_NET})?\s*{_HOW} {_FROM}{_TAIL}\s*$")
_HOP = re.compile(r"^\s+(?:via (?P<via>\S+) on (?P<via_dev>\S+)|dev (?P<dev>\S+))(?P<more>(?: \S+)*?)\s*$")
_TABLE = re.compile(r"^Table \S+:$")
_TYPES = {"prohibited": "prohibit", "multipath": "unicast"}


@dataclass(slots=True)
class _Line:
    number: int
    text: str
    source: SourceRef


def _lines(text: str, path: str) -> Iterator[_Line]:
    """Data lines with prompts, banners and the codes of the raw socket taken away."""
    raw = False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        source = SourceRef(path, number, line)
        if _CODE.match(line):
            raw = raw or line.startswith("0001")
            if line.startswith(("0000", "0013")) and not line[5:].strip():
                continue
            if raw:
                line = line[5:]
        elif raw and line.startswith(" "):
            line = line[1:]
        if not line.strip() or _PROMPT.match(line):
            continue
        yield _Line(number, line, source)


def parse_bird_protocols(text: str, path: str) -> ParseResult[BgpSession | BirdProtocol | NodeStatus]:
    """`show protocols` and `show protocols all`: one BgpSession per BGP protocol, one BirdProtocol per other one.

    A BIRD that is not there ("Unable to connect ... No such file", "Connection refused") gives NodeStatus(running
    False) and no session: then there is none. Indented lines belong to the protocol above them.
    """
    values: list[BgpSession | BirdProtocol | NodeStatus] = []
    unparsed: list[Unparsed] = []
    count = 0
    current: BgpSession | None = None
    inside = False
    for line in _lines(text, path):
        count += 1
        body = line.text
        if body[0] in " \t":
            if inside:
                if current is not None:
                    current = _session_detail(current, body.strip())
                    values[-1] = current
                continue
        elif found := _protocol(line, path):
            values.append(found)
            current = found if isinstance(found, BgpSession) else None
            inside = True
            continue
        elif _READY.match(body) or _HEADER.match(body.strip()) or _NOISE.match(body):
            current, inside = None, False
            continue
        elif gone := _not_running(line, path):
            values.append(gone)
            inside = False
            continue
        unparsed.append(Unparsed(line.source, "bird_protocols", "not a line of show protocols"))
    return ParseResult(tuple(values), tuple(unparsed), count)


def _protocol(line: _Line, path: str) -> BgpSession | BirdProtocol | None:
    match = _PROTOCOL.match(line.text.rstrip())
    if match is None:
        return None
    name, proto, table, state, since, info = (group or "" for group in match.groups())
    if proto.upper() != "BGP":
        return BirdProtocol(name, proto, state, line.source, table, since, info)
    neighbour = peer_address(name)
    family = neighbour.version if neighbour is not None else (6 if "bird6" in path else 4)
    info = re.sub(r"\s{2,}", " ", info)
    error = info.partition(" ")[2]
    return BgpSession(name, state, info, line.source, neighbour=neighbour, since=since, last_error=error, family=family)


def peer_address(name: str) -> Ip | None:
    """The peer's address that confd wrote into a protocol's name (Mesh_192_0_2_12), or None.

    confd replaces "." and ":" by "_" (confd/pkg/backends/calico/bgp_processor.go), so both are tried.
    """
    match = _PEER.match(name)
    if match is None:
        return None
    for separator in (".", ":"):
        try:
            return ip_address(match.group(1).replace("_", separator))
        except ValueError:
            continue
    return None


def _session_detail(session: BgpSession, text: str) -> BgpSession:
    match = _DETAIL.match(text)
    if match is None:
        return session
    key, value = match.group(1).lower(), match.group(2).strip()
    if key == "neighbor address":
        ip = _ip(value)
        return replace(session, neighbour=ip, family=ip.version) if ip is not None else session
    if key == "neighbor as" and value.isascii() and value.isdigit():
        return replace(session, neighbour_as=int(value[:10]))
    if key == "local as" and value.isascii() and value.isdigit():
        return replace(session, local_as=int(value[:10]))
    if key == "last error":
        return replace(session, last_error=value)
    if key == "routes":
        counts = {word: int(number[:12]) for number, word in _COUNTS.findall(value)}
        imported = _plus(session.imported, counts.get("imported"))
        return replace(session, imported=imported, exported=_plus(session.exported, counts.get("exported")))
    return session


def _plus(before: int | None, more: int | None) -> int | None:
    """BIRD 2 counts per channel (ipv4, ipv6); a session's count is their sum."""
    if more is None:
        return before
    return more if before is None else before + more


def parse_bird_status(text: str, path: str) -> ParseResult[NodeStatus]:
    """`show status` -> one NodeStatus of "bird" (or "bird6"), or none when the text says neither."""
    count = 0
    version = ""
    details: list[str] = []
    unparsed: list[Unparsed] = []
    first: SourceRef | None = None
    running: SourceRef | None = None
    gone: NodeStatus | None = None
    for line in _lines(text, path):
        count += 1
        body = line.text.strip()
        if stopped := _not_running(line, path):
            gone = stopped
        elif ready := _READY.match(body):
            version, first = ready.group(1), line.source
        elif body.startswith("BIRD "):
            version = version or body[5:]
        elif body.startswith(("Router ID is", "Current server time", "Last reboot", "Last reconfiguration")):
            details.append(body)
        elif body == "Daemon is up and running":
            running = line.source
        elif re.match(r"(?:Shutdown in progress|Daemon is shutting down|Reconfiguration in progress)", body):
            running = line.source
            details.append(body)
        elif re.match(r"Graceful restart |Waiting for \d+ |Wait timer is |Hostname is ", body):
            details.append(body)
        elif not _NOISE.match(body):
            unparsed.append(Unparsed(line.source, "bird_status", "not a line of show status"))
    where = running or first
    if where is not None:
        status = NodeStatus(_daemon(path), True, where, version, "; ".join(details))
        return ParseResult((status,), tuple(unparsed), count)
    return ParseResult((gone,) if gone else (), tuple(unparsed), count)


def _daemon(path: str) -> str:
    return "bird6" if "bird6" in path else "bird"


def _not_running(line: _Line, path: str) -> NodeStatus | None:
    """No socket, or nobody behind it. Other errors (permission) say nothing about the daemon."""
    match = _UNREACHABLE.match(line.text.strip())
    if match is None or match.group(2) not in ("No such file or directory", "Connection refused"):
        return None
    what = "bird6" if "bird6" in match.group(1) else _daemon(path)
    return NodeStatus(what, False, line.source, "", line.text.strip())


def parse_bird_routes(text: str, path: str) -> ParseResult[BgpRoute | NodeStatus]:
    """`show route` and `show route all`: one BgpRoute per next hop; `touches` names the prefix of a doubtful line."""
    reader = _Routes(path)
    for line in _lines(text, path):
        reader.line(line)
    reader.flush()
    return ParseResult(tuple(reader.values), tuple(reader.unparsed), reader.count, touches=tuple(reader.touches))


class _Routes:
    def __init__(self, path: str) -> None:
        self.path = path
        self.values: list[BgpRoute | NodeStatus] = []
        self.unparsed: list[Unparsed] = []
        self.touches: list[str] = []
        self.count = 0
        self._net = ""
        self._route: BgpRoute | None = None
        self._hops: list[BgpRoute] = []

    def line(self, line: _Line) -> None:
        self.count += 1
        body = line.text
        indented = body[0] in " \t"
        if match := _ROUTE.match(body):
            self._begin(match, line)
        elif indented and self._route is not None and (hop := _HOP.match(body)):
            self._hops.append(self._with_hop(hop, line.source))
        elif indented and self._attribute(body.strip()):
            return
        elif gone := _not_running(line, self.path):
            self.values.append(gone)
        elif _READY.match(body) or _TABLE.match(body.strip()) or _NOISE.match(body):
            self.flush()
        else:
            self.flush()
            net = body.split()[0]
            self.unparsed.append(Unparsed(line.source, "bird_routes", "not a line of show route"))
            self.touches.append(net if "/" in net else "" if indented is False else self._net)

    def _begin(self, match: re.Match[str], line: _Line) -> None:
        self.flush()
        self._net = match["net"] or self._net
        try:
            prefix = ip_network(self._net, strict=False)
        except ValueError:
            self.unparsed.append(Unparsed(line.source, "bird_routes", "not a prefix"))
            self.touches.append("")
            return
        kind = match["type"] or "unicast"
        path = (match["path"] or "").strip()
        self._route = BgpRoute(
            prefix,
            line.source,
            via=_ip(match["via"] or ""),
            dev=match["via_dev"] or match["dev"] or "",
            protocol=match["proto"],
            best="*" in (match["best"] or ""),
            type=_TYPES.get(kind, kind),
            origin=path[-1:] if path[-1:] in ("i", "e", "?") else "",
            as_path=path[2:-1].strip() if path.startswith("AS") else "",
            from_=_ip(match["from"] or ""),
        )

    def _with_hop(self, hop: re.Match[str], source: SourceRef) -> BgpRoute:
        assert self._route is not None
        return replace(self._route, source=source, via=_ip(hop["via"] or ""), dev=hop["via_dev"] or hop["dev"] or "")

    def _attribute(self, text: str) -> bool:
        """Takes an attribute line of `all`; False when the text is something else."""
        match = _DETAIL.match(text)
        if match is None or self._route is None:
            return False
        # BIRD 3 writes bgp_next_hop where 1.x and 2.x write BGP.next_hop.
        key, value = match.group(1).lower().replace("bgp_", "bgp."), match.group(2).strip()
        change: dict[str, object] = {}
        if key == "bgp.next_hop":
            change = {"next_hop": _ip(value.split()[0] if value else "")}
        elif key == "bgp.origin":
            change = {"origin": value}
        elif key in ("bgp.as_path", "bgp.path"):
            change = {"as_path": value}
        elif key == "bgp.local_pref" and value.isascii() and value.isdigit():
            change = {"local_pref": int(value[:10])}
        elif key == "from":
            change = {"from_": _ip(value)}
        if change:
            self._route = replace(self._route, **change)  # type: ignore[arg-type]
            self._hops = [replace(hop, **change) for hop in self._hops]  # type: ignore[arg-type]
        return True

    def flush(self) -> None:
        if self._hops:
            self.values.extend(self._hops)
        elif self._route is not None:
            self.values.append(self._route)
        self._route, self._hops = None, []


def _ip(text: str) -> Ip | None:
    """The address, without a zone ("fe80::1%eth0"); None for anything else."""
    try:
        return ip_address(text.split("%")[0].strip())
    except ValueError:
        return None
