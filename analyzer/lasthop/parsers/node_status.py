"""`calicoctl node status`: the tables of BGP peers and the sentences around them.

Source: calicoctl/calicoctl/commands/node/status.go. The borders and the case of the header differ between versions,
INFO may wrap over two rows, SINCE is a time or a date.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address

from lasthop.facts.calico import BgpSession, NodeStatus
from lasthop.facts.evidence import ParseResult, SourceRef, Unparsed

_BORDER = re.compile(r"^\+[-+]+\+?\s*(?:#.*)?$")
_TYPES = {"node-to-node mesh": "Mesh", "global": "Global", "node specific": "Node"}
_FAMILY = re.compile(r"^IPv([46]) BGP status$")
_NONE = re.compile(r"^No IPv([46]) peers found\.$")
_SAYINGS: tuple[tuple[re.Pattern[str], str, bool], ...] = (
    (re.compile(r"^Calico process is running\.$"), "calico", True),
    (re.compile(r"^Calico process is not running\.$"), "calico", False),
    (re.compile(r"^The BGP backend process \(BIRD\) is not running\.$"), "bird", False),
    (re.compile(r"^None of the BGP backend processes \(BIRD(?: or GoBGP)?\) are running\.$"), "bird", False),
    (re.compile(r"^INFO: BIRDv4 process: 'bird' is not running\.$"), "bird", False),
    (re.compile(r"^INFO: BIRDv6 process: 'bird6' is not running\.$"), "bird6", False),
)


def parse_node_status(text: str, path: str) -> ParseResult[BgpSession | NodeStatus]:
    """One BgpSession per row and one NodeStatus per sentence about a process.

    A session's `name` is BIRD's protocol name for the row (`Mesh_192_0_2_12`), so that it can be joined with
    `show protocols`; `info` is the INFO column with wrapped rows joined by a space.
    """
    values: list[BgpSession | NodeStatus] = []
    unparsed: list[Unparsed] = []
    count = 0
    family = 4
    row: int | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        body = line.strip()
        if not body:
            continue
        count += 1
        source = SourceRef(path, number, line)
        if body.startswith("|"):
            cells = [cell.strip() for cell in body.split("#", 1)[0].rstrip().strip("|").split("|")]
            if len(cells) == 5 and cells[0].upper() == "PEER ADDRESS":
                row = None
                continue
            if len(cells) == 5 and not cells[0] and row is not None:
                values[row] = _joined(values[row], cells)
                continue
            session = _session(cells, family, source)
            if session is not None:
                row = len(values)
                values.append(session)
                continue
        elif _BORDER.match(body):
            row = None
            continue
        elif match := _FAMILY.match(body):
            family = int(match.group(1))
            continue
        elif _NONE.match(body):
            continue
        elif found := _sentence(body, source):
            values.append(found)
            continue
        unparsed.append(Unparsed(source, "node_status", "not a line of calicoctl node status"))
    return ParseResult(tuple(values), tuple(unparsed), count)


def _sentence(body: str, source: SourceRef) -> NodeStatus | None:
    for pattern, what, running in _SAYINGS:
        if pattern.match(body):
            return NodeStatus(what, running, source, "", body)
    return None


def _session(cells: list[str], family: int, source: SourceRef) -> BgpSession | None:
    if len(cells) != 5:
        return None
    address, kind, state, since, info = cells
    try:
        neighbour = ip_address(address)
    except ValueError:
        return None
    prefix = _TYPES.get(kind)
    name = f"{prefix}_{re.sub('[.:]', '_', address)}" if prefix else address
    last_error = info.split(" ", 1)[1] if " " in info else ""
    return BgpSession(name, state, info, source, neighbour=neighbour, since=since, last_error=last_error, family=family)


def _joined(value: BgpSession | NodeStatus, cells: list[str]) -> BgpSession | NodeStatus:
    if not isinstance(value, BgpSession):
        return value
    info = f"{value.info} {cells[4]}".strip()
    return replace(
        value,
        state=f"{value.state}{cells[2]}",
        since=f"{value.since} {cells[3]}".strip(),
        info=info,
        last_error=info.split(" ", 1)[1] if " " in info else "",
    )
