"""`lasthop show KIND`: what the bundle says, line by line, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lasthop.errors import UsageError

from .arguments import Bundles, NoColor

if TYPE_CHECKING:
    from lasthop.facts.evidence import Evidence
    from lasthop.facts.snapshot import NetNS, Node, Snapshot

NETNS_KINDS = {
    "links": ("links",),
    "addresses": ("addresses",),
    "routes": ("routes", "routes6"),
    "routing-rules": ("routing_rules", "routing_rules6"),
    "neighbours": ("neighbours", "neighbours6"),
    "fdb": ("fdb",),
    "nexthops": ("nexthop_objects",),
    "sets": ("ipsets",),
    "conntrack": ("conntrack",),
    "sysctls": ("sysctls",),
    "sockets": ("sockets",),
    "nft": ("nft_chains",),
}
NODE_KINDS = {
    "bgp-sessions": ("bgp_sessions",),
    "bird": ("bird_protocols",),
    "bgp-routes": ("bgp_routes",),
    "processes": ("processes",),
}
CLUSTER_KINDS = {
    "endpoints": ("workload_endpoints",),
    "host-endpoints": ("host_endpoints",),
    "pools": ("ip_pools",),
    "blocks": ("ipam_blocks",),
    "affinities": ("block_affinities",),
    "policies": ("policies",),
    "calico-nodes": ("calico_nodes",),
    "pods": ("pods",),
    "nodes": ("nodes",),
    "services": ("services",),
    "endpoint-slices": ("endpoint_slices",),
    "namespaces": ("namespaces",),
}
KINDS = ("rules", *NETNS_KINDS, *NODE_KINDS, *CLUSTER_KINDS)


def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="One of: " + ", ".join(KINDS))],
    bundles: Bundles,
    node: Annotated[str | None, typer.Option("--node", metavar="NAME", help="Only this node.")] = None,
    pod: Annotated[
        str | None, typer.Option("--pod", metavar="NS/NAME", help="Inside this pod instead of on the nodes.")
    ] = None,
    match: Annotated[
        str, typer.Option("--match", "-m", metavar="TEXT", help="Only lines that hold this text.")
    ] = "",
    table: Annotated[str, typer.Option("--table", "-t", help="rules: only this table.")] = "",
    chain: Annotated[str, typer.Option("--chain", "-c", help="rules: only this chain.")] = "",
    no_color: NoColor = False,
) -> None:
    """Print facts of the bundle with file and line: routes, neighbours, rules, sets, endpoints, conntrack and more."""
    from .names import near

    if kind not in KINDS:
        raise UsageError(f"show {kind}: no such kind{near(kind, KINDS)} Known: {', '.join(KINDS)}.")
    if (table or chain) and kind != "rules":
        raise UsageError("--table and --chain belong to `show rules`.")

    from lasthop.report.text import cite, visible

    from . import output
    from .opening import open_snapshot
    from .progress import Progress

    with Progress() as progress:
        snapshot, _bundle = open_snapshot(bundles, progress)
    dim, plain = ("\x1b[2m", "\x1b[0m") if output.colored(no_color) else ("", "")
    for title, evidence, facts in _selected(snapshot, kind, node, pod, table, chain):
        rows = []
        for fact in facts:
            text = visible(_text(fact))
            if match in text:
                rows.append(f"{dim}{cite(fact.source.path, fact.source.line, fact.source.end_line)}{plain}  {text}")
        output.write(f"{visible(title)}: {_state(evidence, len(rows))}\n")
        for row in rows:
            output.write(f"  {row}\n")


def _nodes(snapshot: Snapshot, wanted: str | None) -> list[Node]:
    from .names import near

    if wanted is None:
        return [snapshot.nodes[name] for name in sorted(snapshot.nodes)]
    if wanted not in snapshot.nodes:
        raise UsageError(f"--node {wanted}: not in the bundle{near(wanted, snapshot.nodes)}")
    return [snapshot.nodes[wanted]]


def _spaces(snapshot: Snapshot, node: str | None, pod: str | None) -> list[NetNS]:
    from .names import near

    nodes = _nodes(snapshot, node)
    if pod is None:
        return [one.host for one in nodes]
    found = [one.pods[pod] for one in nodes if pod in one.pods]
    if not found:
        known = [name for one in nodes for name in one.pods]
        raise UsageError(f"--pod {pod}: its inside was not collected{near(pod, known)}")
    return found


def _selected(
    snapshot: Snapshot, kind: str, node: str | None, pod: str | None, table: str, chain: str
) -> Iterator[tuple[str, Evidence[Any], Iterable[Any]]]:
    if kind == "rules":
        for space in _spaces(snapshot, node, pod):
            for (backend, family), evidence in sorted(space.rulesets.items()):
                for ruleset in evidence.values:
                    for name in ruleset.tables():
                        if table and name != table:
                            continue
                        for head in ruleset.chains(name):
                            if not chain or head.name == chain:
                                title = f"{space.node} {space.name} {backend} ipv{family} {name} {head.name}"
                                yield title, evidence, ruleset.rules(name, head.name)
                if not evidence.values:
                    yield f"{space.node} {space.name} {backend} ipv{family}", evidence, ()
    elif kind in NETNS_KINDS:
        for space in _spaces(snapshot, node, pod):
            for attribute in NETNS_KINDS[kind]:
                evidence = getattr(space, attribute)
                yield f"{space.node} {space.name} {attribute}", evidence, evidence.values
    elif kind in NODE_KINDS:
        for one in _nodes(snapshot, node):
            for attribute in NODE_KINDS[kind]:
                evidence = getattr(one, attribute)
                yield f"{one.name} {attribute}", evidence, evidence.values
    else:
        for attribute in CLUSTER_KINDS[kind]:
            evidence = getattr(snapshot.cluster, attribute)
            facts = evidence.values
            if node is not None:
                facts = tuple(fact for fact in facts if getattr(fact, "node", node) == node)
            yield f"cluster {attribute}", evidence, facts


def _state(evidence: Evidence[Any], rows: int) -> str:
    from lasthop.facts.evidence import Absent, Partial

    if isinstance(evidence, Absent):
        return evidence.reason.value + (f" ({evidence.detail})" if evidence.detail else "")
    return f"{rows}" + (f", partial: {evidence.why}" if isinstance(evidence, Partial) else "")


def _text(fact: Any) -> str:
    """The line of the member itself; for objects, whose line says little, their fields that are set."""
    from dataclasses import MISSING, fields

    text = str(fact.source.text).strip()
    if (text and fact.source.end_line <= fact.source.line and text[0] not in "{[\"-") or text.startswith("-A "):
        return text
    parts = []
    for field in fields(fact):
        value = getattr(fact, field.name)
        if field.name in ("source", "raw") or value in ((), "", None) or value == {}:
            continue
        if field.default is not MISSING and value == field.default:
            continue
        parts.append(f"{field.name}={_value(value)}")
    return " ".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_value(item) for item in value) + "]"
    if isinstance(value, frozenset):
        return "[" + ",".join(sorted(str(item) for item in value)) + "]"
    if hasattr(value, "items"):
        return "{" + ",".join(f"{key}:{_value(item)}" for key, item in value.items()) + "}"
    return str(value)
