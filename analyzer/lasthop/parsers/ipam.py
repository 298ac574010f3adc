"""IPAM state outside objects: the datastore's own dump, and `calicoctl ipam show --show-blocks`."""

from __future__ import annotations

import json
import re

from lasthop.facts.calico import BlockAffinity, IPAMBlock
from lasthop.facts.evidence import ParseResult, SourceRef, Unparsed

from .calico_objects import block_fact, flag, mapping, prefix, text

_BLOCK = re.compile(r"^/calico/ipam/v2/assignment/ipv[46]/block/(\S+)$")
_HOST = re.compile(r"^/calico/ipam/v2/host/([^/\s]+)/ipv[46]/block/(\S+)$")
_VIRTUAL = re.compile(r"^/calico/ipam/v2/(?!host/)([a-z-]+)/([^/\s]+)/ipv[46]/block/(\S+)$")
_KNOWN = re.compile(r"^/calico/(?:ipam/v2/(?:handle|config)|v1|resources|bgp)\b")


def parse_etcd_ipam(dump: str, path: str) -> ParseResult[IPAMBlock | BlockAffinity]:
    """`etcdctl get --prefix /calico/ipam`: a key line, then its value as one JSON line. Handles are passed over.

    Keys: libcalico-go/lib/backend/model/{block,block_affinity}.go; a block's key writes its prefix with "-".
    """
    values: list[IPAMBlock | BlockAffinity] = []
    unparsed: list[Unparsed] = []
    key, at = "", 0
    count = 0
    for number, line in enumerate(dump.split("\n"), 1):
        body = line.strip()
        if not body:
            continue
        count += 1
        if body.startswith("/"):
            key, at = body, number
            continue
        source = SourceRef(path, at or number, dump_line(key) or line[:300], number)
        try:
            fact = _fact(key, json.loads(body), source)
        except (ValueError, RecursionError) as error:
            unparsed.append(Unparsed(SourceRef(path, number, line[:300]), "etcd_ipam", str(error)[:200]))
            continue
        finally:
            key, at = "", 0
        if fact is not None:
            values.append(fact)
    return ParseResult(tuple(values), tuple(unparsed), count, truncated=bool(key))


def dump_line(key: str) -> str:
    return key[:300]


def _fact(key: str, value: object, source: SourceRef) -> IPAMBlock | BlockAffinity | None:
    if _BLOCK.match(key):
        return block_fact(mapping(value), source)
    if match := _HOST.match(key):
        return _affinity(match.group(1), match.group(2), "host", value, source)
    if (match := _VIRTUAL.match(key)) and not _KNOWN.match(key):
        return _affinity(match.group(2), match.group(3), match.group(1), value, source)
    if _KNOWN.match(key):
        return None
    raise ValueError("not a key of Calico's IPAM")


def _affinity(node: str, block: str, kind: str, value: object, source: SourceRef) -> BlockAffinity:
    """Values of old versions are the bare word of the state, quoted."""
    body = mapping(value)
    state = text(body.get("state")) if body else text(value)
    base, _, length = block.rpartition("-")
    cidr = prefix(f"{base}/{length}")
    return BlockAffinity(cidr, node, state or "confirmed", source, flag(body.get("deleted")), kind)


_ROW = re.compile(r"^\|\s*(?P<what>IP Pool|Block)\s*\|\s*(?P<cidr>[0-9A-Fa-f.:]+/\d+)\s*\|")
_TABLE = re.compile(r"^(?:\+[-+]+\+|\|\s*GROUPING\s*\|.*)$")


def parse_ipam_show(table: str, path: str) -> ParseResult[IPAMBlock]:
    """`calicoctl ipam show --show-blocks` names the blocks that exist and nothing about their owners: no fact comes
    from it; the lines are checked so that a strange one is counted."""
    unparsed: list[Unparsed] = []
    count = 0
    for number, line in enumerate(table.split("\n"), 1):
        body = line.strip()
        if not body:
            continue
        count += 1
        if not (_ROW.match(body) or _TABLE.match(body)):
            unparsed.append(Unparsed(SourceRef(path, number, line[:300]), "ipam_show", "not a row of ipam show"))
    return ParseResult((), tuple(unparsed), count)
