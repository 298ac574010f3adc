"""Fact tables: the snapshot as rows, for SQL rules and as DataFrames.

One table per kind of fact plus a child table per field that holds several values; `node` and `netns` say where a row
was seen and `src` numbers its line. Rows are made when a table is asked for and never before (docs/rule-language.md).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_origin

from lasthop.facts import calico, kube, netfilter, network
from lasthop.facts.evidence import Absent, AbsentReason, Artifact, Complete, Evidence, SourceRef
from lasthop.facts.snapshot import Capture, Cluster, NetNS, Node, Snapshot

from .columns import Cell, Column, Row, Sources, fill, put_json, scalar, shape, tuple_parts

if TYPE_CHECKING:
    import pandas as pd

Fetch = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """`level` is netns, node or cluster. `kinds` are the evidence attributes that fill it (`routes`, `routes6`);
    the first is the one that a rule's `needs` asks for by the table's name."""

    name: str
    singular: str
    cls: type
    level: str
    kinds: tuple[str, ...]
    fetch: Fetch


def _values(*names: str) -> Fetch:
    def fetch(owner: Any) -> Iterator[Any]:
        for name in names:
            yield from getattr(owner, name).values

    return fetch


def _rulesets(netns: NetNS) -> Iterator[netfilter.Ruleset]:
    for evidence in netns.rulesets.values():
        yield from evidence.values


def _chains(netns: NetNS) -> Iterator[netfilter.Chain]:
    for ruleset in _rulesets(netns):
        for table in ruleset.tables():
            yield from ruleset.chains(table)


def _static_chains(netns: NetNS) -> Iterator[netfilter.Chain]:
    """Chains that are not kube-proxy's per Service: a few hundred, where those may be tens of thousands."""
    for chain in _chains(netns):
        if not chain.name.startswith(("KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-")):
            yield chain


def _rules(only_base: bool) -> Callable[[NetNS], Iterator[netfilter.NetfilterRule]]:
    def fetch(netns: NetNS) -> Iterator[netfilter.NetfilterRule]:
        for ruleset in _rulesets(netns):
            for table in ruleset.tables():
                for chain in ruleset.chains(table):
                    if chain.policy or not only_base:
                        yield from ruleset.rules(table, chain.name)

    return fetch


def _static_ipsets(netns: NetNS) -> Iterator[netfilter.IpSet]:
    """Sets that are not Calico's selector sets: few and small, where those may hold every pod of a large cluster."""
    for ipset in netns.ipsets.values:
        if not ipset.name.startswith(("cali40s:", "cali60s:", "cali40s-", "cali60s-", "cali40n:", "cali60n:")):
            yield ipset


def _captures(node: Node) -> Iterator[Capture]:
    yield from node.captures


def _table(name: str, singular: str, cls: type, level: str, *kinds: str, fetch: Fetch | None = None) -> Table:
    return Table(name, singular, cls, level, kinds, fetch or _values(*kinds))


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _table("links", "link", network.Link, "netns", "links"),
        _table("addresses", "address", network.Address, "netns", "addresses"),
        _table("routes", "route", network.Route, "netns", "routes", "routes6"),
        _table("route_cache", "cached_route", network.Route, "netns", "route_cache"),
        _table("nexthop_objects", "nexthop_object", network.NexthopObject, "netns", "nexthop_objects"),
        _table("routing_rules", "routing_rule", network.PolicyRoutingRule, "netns", "routing_rules", "routing_rules6"),
        _table("neighbours", "neighbour", network.Neighbour, "netns", "neighbours", "neighbours6"),
        _table("fdb_entries", "fdb_entry", network.FdbEntry, "netns", "fdb"),
        _table("netfilter_chains", "chain", netfilter.Chain, "netns", "rulesets", fetch=_chains),
        _table("static_chains", "static_chain", netfilter.Chain, "netns", "rulesets", fetch=_static_chains),
        _table("hook_rules", "hook_rule", netfilter.NetfilterRule, "netns", "rulesets", fetch=_rules(True)),
        _table("netfilter_rules", "rule", netfilter.NetfilterRule, "netns", "rulesets", fetch=_rules(False)),
        _table("nft_chains", "nft_chain", netfilter.NftBaseChain, "netns", "nft_chains"),
        _table("ipsets", "ipset", netfilter.IpSet, "netns", "ipsets"),
        _table("static_ipsets", "static_ipset", netfilter.IpSet, "netns", "ipsets", fetch=_static_ipsets),
        _table("conntrack_entries", "conntrack_entry", netfilter.ConntrackEntry, "netns", "conntrack"),
        _table("sysctls", "sysctl", network.Sysctl, "netns", "sysctls"),
        _table("sockets", "socket", network.Socket, "netns", "sockets"),
        _table("counters", "counter", network.Counter, "netns", "counters"),
        _table("bgp_sessions", "bgp_session", calico.BgpSession, "node", "bgp_sessions"),
        _table("bird_protocols", "bird_protocol", calico.BirdProtocol, "node", "bird_protocols"),
        _table("bgp_routes", "bgp_route", calico.BgpRoute, "node", "bgp_routes"),
        _table("node_statuses", "node_status", calico.NodeStatus, "node", "statuses"),
        _table("processes", "process", calico.Process, "node", "processes"),
        _table("captures", "capture", Capture, "node", fetch=_captures),
        _table("calico_nodes", "calico_node", calico.CalicoNode, "cluster", "calico_nodes"),
        _table("workload_endpoints", "workload_endpoint", calico.WorkloadEndpoint, "cluster", "workload_endpoints"),
        _table("host_endpoints", "host_endpoint", calico.HostEndpoint, "cluster", "host_endpoints"),
        _table("ip_pools", "ip_pool", calico.IPPool, "cluster", "ip_pools"),
        _table("ipam_blocks", "ipam_block", calico.IPAMBlock, "cluster", "ipam_blocks"),
        _table("block_affinities", "block_affinity", calico.BlockAffinity, "cluster", "block_affinities"),
        _table("policies", "policy", calico.Policy, "cluster", "policies"),
        _table("calico_objects", "calico_object", calico.CalicoObject, "cluster", "calico_objects"),
        _table("pods", "pod", kube.Pod, "cluster", "pods"),
        _table("kube_nodes", "kube_node", kube.KubeNode, "cluster", "nodes"),
        _table("services", "service", kube.Service, "cluster", "services"),
        _table("endpoint_slices", "endpoint_slice", kube.EndpointSlice, "cluster", "endpoint_slices"),
        _table("namespaces", "namespace", kube.Namespace, "cluster", "namespaces"),
    )
}

_CHILD_NAMES: Mapping[tuple[str, str], str] = {
    ("ipsets", "entries"): "ipset_entries",
    ("endpoint_slices", "addresses"): "endpoint_addresses",
    ("endpoint_slices", "ports"): "endpoint_ports",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A table or child table as it is declared: `parent` names the table that its first column points to."""

    name: str
    columns: tuple[Column, ...]
    level: str
    kind: str
    parent: str = ""


def _child_name(table: Table, field: str) -> str:
    return _CHILD_NAMES.get((table.name, field), f"{table.singular}_{field}")


def _child_columns(table: Table, field: str, item: Any) -> tuple[Column, ...]:
    if item is Mapping:
        return Column("key", "TEXT"), Column("value", "TEXT")
    if isinstance(item, type) and hasattr(item, "__dataclass_fields__"):
        return shape(item, True).columns
    if get_origin(item) is tuple:
        return tuple(c for c in tuple_parts(table.cls, field, item)[0])
    made = scalar(item, "value")
    return made[0] if made else (Column("value", "TEXT"),)


def _place(table: Table) -> tuple[Column, ...]:
    own = {column.name for column in shape(table.cls).columns}
    names = {"netns": ("node", "netns"), "node": ("node",), "cluster": ()}[table.level]
    return tuple(Column(name, "TEXT") for name in names if name not in own)


@cache
def layouts() -> Mapping[str, Layout]:
    """Every table that a rule may read from the snapshot, by name, child tables included."""
    made: dict[str, Layout] = {}
    for table in TABLES.values():
        columns = (Column("id", "INTEGER"), *_place(table), *shape(table.cls).columns)
        made[table.name] = Layout(table.name, columns, table.level, table.name)
        for field, item in shape(table.cls).children:
            name = _child_name(table, field)
            columns = (
                Column(f"{table.singular}_id", "INTEGER"),
                *_place(table),
                Column("n", "INTEGER"),
                *_child_columns(table, field, item),
            )
            made[name] = Layout(name, columns, table.level, table.name, table.name)
    for name, columns in _BOOKKEEPING.items():
        made[name] = Layout(name, columns, _LEVELS.get(name, "cluster"), "")
    return made


def _text(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "TEXT") for name in names)


_BOOKKEEPING: Mapping[str, tuple[Column, ...]] = {
    "netns": _text("node", "netns", "kind", "namespace", "pod", "host_interface"),
    "nodes": (*_text("node"), Column("started", "REAL"), Column("ended", "REAL"), *_text("status", "kernel")),
    "coverage": (*_text("node", "netns", "kind", "state", "why"), Column("src", "INTEGER")),
    "bundle_warnings": _text("text"),
    "unparsed": (*_text("kind", "why"), Column("src", "INTEGER")),
}
"""Tables about the bundle itself. They need no evidence: they are what is known of it."""
_LEVELS: Mapping[str, str] = {"netns": "netns", "nodes": "node"}


def places(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """(node, netns) of everything collected, each node's host namespace before its pods."""
    return tuple((node.name, netns.name) for node in snapshot.nodes.values() for netns in _namespaces(node))


def _namespaces(node: Node) -> tuple[NetNS, ...]:
    return (node.host, *node.pods.values())


def owners(snapshot: Snapshot, level: str) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    """(place columns, number of the place, owner of the evidence) for every place of that level, -1 the cluster."""
    if level == "cluster":
        yield (), -1, snapshot.cluster
        return
    number = 0
    for node in snapshot.nodes.values():
        if level == "node":
            yield (node.name,), number, node
        for netns in _namespaces(node):
            if level == "netns":
                yield (node.name, netns.name), number, netns
            number += 1


def table_rows(snapshot: Snapshot, name: str, sources: Sources) -> Iterator[Row]:
    """Rows of one table, made from the snapshot as they are asked for. Each starts with the number of its place in
    `places` (-1 for cluster objects), then follow the columns of `layouts()[name].columns`."""
    if name in _BOOKKEEPING:
        yield from _bookkeeping(snapshot, name, sources)
        return
    layout = layouts()[name]
    table = TABLES[layout.kind]
    field, item = next(
        ((field, item) for field, item in shape(table.cls).children if _child_name(table, field) == name), ("", None)
    )
    keep_place = len(_place(table))
    identity = 0
    for place, number, owner in owners(snapshot, table.level):
        shown = place[:keep_place]
        for value in table.fetch(owner):
            identity += 1
            head: tuple[Cell, ...] = (number, identity, *shown)
            if field:
                yield from _child_rows(getattr(value, field), table, field, item, head, sources)
            else:
                row: list[Cell] = list(head)
                fill(value, table.cls, row, sources, False)
                yield tuple(row)


def _child_rows(
    parts: Any, table: Table, field: str, item: Any, head: tuple[Cell, ...], sources: Sources
) -> Iterator[Row]:
    if item is Mapping:
        yield from ((*head, n, key, str(value)) for n, (key, value) in enumerate(parts.items(), 1))
        return
    nested = isinstance(item, type) and hasattr(item, "__dataclass_fields__")
    if get_origin(item) is tuple:
        encode = tuple_parts(table.cls, field, item)[1]
    else:
        made = scalar(item, "value")
        encode = made[1] if made else put_json
    for n, part in enumerate(parts, 1):
        row: list[Cell] = [*head, n]
        if nested:
            fill(part, item, row, sources, True)
        else:
            encode(part, row, sources)
        yield tuple(row)


# --- What is known of the evidence itself ---------------------------------------------------------------------------


def state_of(evidence: Evidence[Any]) -> str:
    """complete, partial, absent or not-applicable, as the report's coverage says it."""
    if isinstance(evidence, Complete):
        return "complete"
    if isinstance(evidence, Absent):
        return "not-applicable" if evidence.reason is AbsentReason.NOT_APPLICABLE else "absent"
    return "partial"


def kinds(level: str) -> tuple[tuple[str, str], ...]:
    """(name used in `needs` and in `coverage`, attribute) of every kind of evidence at that level."""
    found: dict[str, str] = {}
    for table in TABLES.values():
        if table.level == level:
            for attribute in table.kinds:
                found.setdefault(attribute if attribute[-1:] == "6" else table.name, attribute)
    return tuple(found.items())


def evidence_state(owner: NetNS | Node | Cluster, attribute: str) -> tuple[str, str, tuple[Artifact, ...]]:
    """(state, why, artifacts) of one kind at one place. Rulesets are complete only when both IPv4 back ends are."""
    if attribute != "rulesets":
        evidence: Evidence[Any] = getattr(owner, attribute)
        return state_of(evidence), _why(evidence), evidence.artifacts
    assert isinstance(owner, NetNS)
    both = [owner.ruleset(backend, 4) for backend in ("nft", "legacy")]
    states = {state_of(evidence) for evidence in both}
    state = "partial" if states - {"absent"} else "absent"
    if states <= {"complete", "not-applicable"}:
        state = "complete"
    why = "; ".join(filter(None, map(_why, both)))
    return state, why, next((evidence.artifacts for evidence in both if evidence.artifacts), ())


def _why(evidence: Evidence[Any]) -> str:
    if isinstance(evidence, Complete):
        return ""
    if isinstance(evidence, Absent):
        return evidence.detail or evidence.reason.value
    return evidence.why


def _bookkeeping(snapshot: Snapshot, name: str, sources: Sources) -> Iterator[Row]:
    if name == "netns":
        for place, number, owner in owners(snapshot, "netns"):
            kind, _, rest = place[1].partition(":")
            namespace, _, pod = rest.partition("/")
            yield (number, *place, kind, namespace or None, pod or None, owner.host_interface or None)
    elif name == "nodes":
        for _, number, node in owners(snapshot, "node"):
            yield number, node.name, node.start, node.end, node.meta.get("status"), node.meta.get("kernel")
    elif name == "bundle_warnings":
        yield from ((-1, text) for text in snapshot.warnings)
    elif name == "unparsed":
        yield from ((-1, line.kind, line.why, sources.number(line.source)) for line in snapshot.unparsed)
    elif name == "coverage":
        yield from coverage_rows(snapshot, sources)


def coverage_rows(snapshot: Snapshot, sources: Sources, wanted: Container[str] | None = None) -> Iterator[Row]:
    """Rows of `coverage`, for the kinds in `wanted` or for all: asking for a kind reads its evidence."""
    for level in ("netns", "node", "cluster"):
        chosen = [pair for pair in kinds(level) if wanted is None or pair[0] in wanted]
        for place, _, owner in owners(snapshot, level) if chosen else ():
            where = (*place, "host")[:2] if place else ("", "")
            for kind, attribute in chosen:
                state, why, artifacts = evidence_state(owner, attribute)
                src = sources.number(SourceRef(artifacts[0].path, 0)) if artifacts else None
                yield -1, *where, kind, state, why, src


def dataframe(snapshot: Snapshot, name: str) -> pd.DataFrame:
    """One table as a DataFrame with the columns of docs/rule-language.md; `src` becomes `file` and `line`."""
    import pandas as pd

    sources = Sources()
    layout = layouts()[name]
    frame = pd.DataFrame(
        [row[1:] for row in table_rows(snapshot, name, sources)], columns=[column.name for column in layout.columns]
    )
    if "src" in frame:
        refs = [sources.get(int(number)) if pd.notna(number) else None for number in frame["src"]]
        frame["file"] = [ref.path if ref else None for ref in refs]
        frame["line"] = [ref.line if ref else None for ref in refs]
        frame = frame.drop(columns="src")
    return frame
