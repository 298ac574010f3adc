"""From a fact dataclass to the columns of its table, by introspection.

Every field becomes a column, a tuple of values becomes a child table. Addresses and prefixes are text plus `_lo` and
`_hi`, fixed-width hexadecimal with a family digit in front, so that "address in prefix" is
`a.ip_lo BETWEEN p.cidr_lo AND p.cidr_hi` for both families (docs/rule-language.md).
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Union, get_args, get_origin, get_type_hints

from lasthop.facts import calico, kube, netfilter, network
from lasthop.facts.evidence import SourceRef

Cell = str | int | float | None
Row = tuple[Cell, ...]


class Sources:
    """Numbers SourceRefs: the integers in `src` columns resolve to file, line and text here."""

    def __init__(self) -> None:
        self._refs: list[SourceRef] = []

    def number(self, ref: SourceRef) -> int:
        self._refs.append(ref)
        return len(self._refs)

    def get(self, number: int) -> SourceRef | None:
        return self._refs[number - 1] if 0 < number <= len(self._refs) else None


def address_key(address: IPv4Address | IPv6Address) -> str:
    """The sortable form of one address: family digit, then 32 hexadecimal digits."""
    return f"{address.version}{int(address):032x}"


def range_keys(text: str) -> tuple[str, str] | None:
    """First and last address key of an address, prefix or `a-b` range; None when the text is none of these."""
    try:
        if "-" in text:
            low, high = text.split("-", 1)
            return address_key(ip_address(low)), address_key(ip_address(high))
        if "/" in text:
            net = ip_network(text, strict=False)
            return address_key(net.network_address), address_key(net.broadcast_address)
        key = address_key(ip_address(text))
    except ValueError:
        return None
    return key, key


Encode = Callable[[Any, list[Cell], Sources], None]


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is TEXT, INTEGER or REAL; `of` is "address" or "prefix" where `_lo` and `_hi` belong to it."""

    name: str
    type: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """How one dataclass is laid out: its columns, its fields with what fills them, and the fields of child tables."""

    columns: tuple[Column, ...]
    encoders: tuple[tuple[str, Encode], ...]
    children: tuple[tuple[str, Any], ...]


_FIXED_TUPLES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("CalicoNode", "addresses"): ("ip", "type"),
    ("KubeNode", "addresses"): ("ip", "type"),
    ("IPAMBlock", "allocated"): ("ip", "handle", "attributes"),
    ("Pod", "ports"): ("proto", "port"),
    ("EndpointSlice", "ports"): ("name", "proto", "port"),
    ("NexthopObject", "group"): ("member", "weight"),
    ("NetfilterRule", "target_options"): ("option", "arguments"),
    ("IpSet", "options"): ("option", "argument"),
}
_RENAMED: Mapping[str, str] = {
    "table": "tbl",
    "index": "idx",
    "order": "ord",
    "values": "arguments",
    "from_": "learned_from",
    "self_": "self",
    "start": "started",
    "end": "ended",
    "filter": "expression",
    "NexthopObject.id": "number",
    "PolicyRoutingRule.src": "from_prefix",
    "PolicyRoutingRule.dst": "to_prefix",
}
"""Fields whose names are words of SQL, or would collide with `id` and `src`."""

_ADDRESS = frozenset((IPv4Address, IPv6Address))
_PREFIX = frozenset((IPv4Network, IPv6Network))


def _strip_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        rest = tuple(arg for arg in get_args(hint) if arg is not type(None))
        return rest[0] if len(rest) == 1 else Union[rest]
    return hint


def scalar(hint: Any, name: str) -> tuple[tuple[Column, ...], Encode] | None:
    """Columns and encoder of a value without parts; None when the hint has parts."""
    hint = _strip_none(hint)
    args = frozenset(get_args(hint)) if get_origin(hint) is Union else frozenset((hint,))
    if args <= _ADDRESS:
        columns = (Column(name, "TEXT", "address"), Column(f"{name}_lo", "TEXT"), Column(f"{name}_hi", "TEXT"))
        return columns, _put_address
    if args <= _PREFIX:
        columns = (Column(name, "TEXT", "prefix"), Column(f"{name}_lo", "TEXT"), Column(f"{name}_hi", "TEXT"))
        return (*columns, Column(f"{name}_len", "INTEGER")), _put_prefix
    if hint is SourceRef:
        return (Column("src" if name == "source" else f"{name}_src", "INTEGER"),), _put_source
    if hint is bool:
        return (Column(name, "INTEGER"),), _put_bool
    if hint is int:
        return (Column(name, "INTEGER"),), _put_plain
    if hint is float:
        return (Column(name, "REAL"),), _put_plain
    if hint is str:
        return (Column(name, "TEXT"),), _put_plain
    if get_origin(hint) is frozenset:
        return (Column(name, "TEXT"),), _put_words
    if isinstance(hint, type) and issubclass(hint, Enum):
        return (Column(name, "TEXT"),), _put_enum
    return None


def _put_plain(value: Any, row: list[Cell], sources: Sources) -> None:
    row.append(value)


def _put_bool(value: Any, row: list[Cell], sources: Sources) -> None:
    row.append(None if value is None else int(value))


def _put_enum(value: Any, row: list[Cell], sources: Sources) -> None:
    row.append(None if value is None else value.value)


def _put_words(value: Any, row: list[Cell], sources: Sources) -> None:
    """Words with a space on both sides of each: `flags LIKE '% LOWER_UP %'`."""
    row.append(f" {' '.join(sorted(value))} " if value else "")


def _put_address(value: Any, row: list[Cell], sources: Sources) -> None:
    if value is None:
        row += (None, None, None)
    else:
        key = address_key(value)
        row += (str(value), key, key)


def _put_prefix(value: Any, row: list[Cell], sources: Sources) -> None:
    if value is None:
        row += (None, None, None, None)
    else:
        low, high = address_key(value.network_address), address_key(value.broadcast_address)
        row += (str(value), low, high, value.prefixlen)


def _put_source(value: Any, row: list[Cell], sources: Sources) -> None:
    row.append(None if value is None else sources.number(value))


def put_json(value: Any, row: list[Cell], sources: Sources) -> None:
    """Appends the value as JSON text: free objects that have no columns of their own."""
    row.append(None if value is None else json.dumps(value, default=str, sort_keys=True))


def _put_joined(value: Any, row: list[Cell], sources: Sources) -> None:
    row.append(None if value is None else ",".join(map(str, value)))


def _put_group(encoders: Sequence[Encode], width: int) -> Encode:
    def put(value: Any, row: list[Cell], sources: Sources) -> None:
        if value is None:
            row += [None] * width
            return
        for encode, part in zip(encoders, value, strict=True):
            encode(part, row, sources)

    return put


def _put_nested(encoders: Sequence[tuple[str, Encode]], width: int) -> Encode:
    def put(value: Any, row: list[Cell], sources: Sources) -> None:
        if value is None:
            row += [None] * width
            return
        for name, encode in encoders:
            encode(getattr(value, name), row, sources)

    return put


def tuple_parts(cls: type, name: str, hint: Any) -> tuple[tuple[Column, ...], Encode]:
    """Columns of a fixed-length tuple such as a mark (value, mask): `<field>_1`, `<field>_2` unless named."""
    hints = get_args(hint)
    named = _FIXED_TUPLES.get((cls.__name__, name))
    columns: list[Column] = []
    encoders: list[Encode] = []
    for index, part in enumerate(hints):
        label = named[index] if named else f"{name}_{index + 1}"
        made = scalar(part, label) or ((Column(label, "TEXT"),), put_json)
        columns += made[0]
        encoders.append(made[1])
    return tuple(columns), _put_group(encoders, len(columns))


@cache
def shape(cls: type, nested: bool = False) -> Shape:
    """The layout of a fact dataclass. In child rows (`nested`) inner tuples become text joined by commas."""
    hints = get_type_hints(cls)
    columns: list[Column] = []
    encoders: list[tuple[str, Encode]] = []
    children: list[tuple[str, Any]] = []
    for field in fields(cls):
        name = _RENAMED.get(f"{cls.__name__}.{field.name}") or _RENAMED.get(field.name, field.name)
        hint = _strip_none(hints[field.name])
        made = scalar(hint, name)
        if made is None and is_dataclass(hint):
            inner = shape(hint, True)  # type: ignore[arg-type]
            columns_inner = tuple(Column(f"{name}_{c.name}", c.type, c.of) for c in inner.columns)
            made = columns_inner, _put_nested(inner.encoders, len(columns_inner))
        if made is None and get_origin(hint) is tuple:
            args = get_args(hint)
            if len(args) == 2 and args[1] is Ellipsis:
                if not nested:
                    children.append((field.name, args[0]))
                    continue
                made = (Column(name, "TEXT"),), _put_joined
            else:
                made = tuple_parts(cls, field.name, hint)
        if made is None:  # mappings: labels become a child table, free objects stay JSON text
            if get_args(hint) and get_args(hint)[1] is str and not nested:
                children.append((field.name, Mapping))
                continue
            made = (Column(name, "TEXT"),), put_json
        columns += made[0]
        encoders.append((field.name, made[1]))
    for name, type_, _ in _DERIVED.get(cls, ()):
        columns += _with_keys(name, type_)
    return Shape(tuple(columns), tuple(encoders), tuple(children))


def _with_keys(name: str, type_: str) -> tuple[Column, ...]:
    if type_ == "RANGE":
        return Column(name, "TEXT", "address"), Column(f"{name}_lo", "TEXT"), Column(f"{name}_hi", "TEXT")
    return (Column(name, type_),)


def fill(value: Any, cls: type, row: list[Cell], sources: Sources, nested: bool) -> None:
    """Appends the cells of `value` to `row`, in the order of `shape(cls, nested).columns`."""
    for name, encode in shape(cls, nested).encoders:
        encode(getattr(value, name), row, sources)
    for _, type_, derive in _DERIVED.get(cls, ()):
        made = derive(value)
        row.append(made)
        if type_ == "RANGE":
            row += range_keys(str(made)) or (None, None)


# --- Columns that are not fields: what nearly every rule would have to compute --------------------------------------


def _conf_key(part: int) -> Callable[[network.Sysctl], str | None]:
    """`net.ipv4.conf.<dev>.<name>` taken apart; a slash in the key is a dot of the interface's name."""

    def take(sysctl: network.Sysctl) -> str | None:
        words = sysctl.key.split(".")
        if len(words) == 5 and words[2] in ("conf", "neigh"):
            return words[part].replace("/", ".")
        return None

    return take


def _integer(sysctl: network.Sysctl) -> int | None:
    text = sysctl.value.strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _only_hop(attribute: str) -> Callable[[network.Route], str | None]:
    def take(route: network.Route) -> str | None:
        if len(route.nexthops) != 1:
            return None
        value = getattr(route.nexthops[0], attribute)
        return None if value is None or value == "" else str(value)

    return take


def _match(option: str) -> Callable[[netfilter.NetfilterRule], str | None]:
    def take(rule: netfilter.NetfilterRule) -> str | None:
        for match in rule.matches:
            if match.option == option:
                return ("! " if match.negated else "") + " ".join(match.values)
        return None

    return take


def _option(option: str) -> Callable[[netfilter.NetfilterRule], str | None]:
    return lambda rule: next((" ".join(values) for name, values in rule.target_options if name == option), None)


def _bare(text: str) -> str | None:
    return text.split("/")[0] or None


_DERIVED: Mapping[type, tuple[tuple[str, str, Callable[[Any], Cell]], ...]] = {
    network.Link: (("up", "INTEGER", lambda v: int(v.up)), ("running", "INTEGER", lambda v: int(v.running))),
    network.Route: (
        ("dev", "TEXT", _only_hop("dev")),
        ("via", "RANGE", _only_hop("via")),
        ("hops", "INTEGER", lambda v: len(v.nexthops)),
        ("hop_flags", "TEXT", lambda v: f" {' '.join(sorted(set().union(*(h.flags for h in v.nexthops))))} "),
        ("family", "INTEGER", lambda v: v.dst.version),
    ),
    network.Neighbour: (("family", "INTEGER", lambda v: v.ip.version),),
    network.Address: (("family", "INTEGER", lambda v: v.ip.version),),
    network.Sysctl: (
        ("dev", "TEXT", _conf_key(3)),
        ("name", "TEXT", _conf_key(4)),
        ("number", "INTEGER", _integer),
    ),
    netfilter.NetfilterRule: (
        ("iif", "TEXT", _match("in-interface")),
        ("oif", "TEXT", _match("out-interface")),
        ("saddr", "TEXT", _match("source")),
        ("daddr", "TEXT", _match("destination")),
        ("proto", "TEXT", _match("protocol")),
        ("dport", "TEXT", _match("dport")),
        ("ctstate", "TEXT", _match("ctstate")),
        ("match_count", "INTEGER", lambda v: sum(m.module != "comment" for m in v.matches)),
        ("to_destination", "TEXT", _option("to-destination")),
    ),
    netfilter.SetEntry: (("ip", "RANGE", lambda v: v.parts[0] if v.parts else None),),
    calico.CalicoNode: (
        ("bgp_ip", "RANGE", lambda v: _bare(v.bgp_ipv4)),
        ("bgp_net", "RANGE", lambda v: v.bgp_ipv4 or None),
    ),
    calico.WorkloadEndpoint: (
        ("ip", "RANGE", lambda v: next((str(p.network_address) for p in v.ips if p.version == 4), None)),
        ("netns", "TEXT", lambda v: f"pod:{v.namespace}/{v.pod}"),
    ),
    kube.Pod: (("ip", "RANGE", lambda v: next((str(ip) for ip in v.ips if ip.version == 4), None)),),
}
"""Class -> (column, type, value). RANGE is address or prefix text with its `_lo` and `_hi`."""
