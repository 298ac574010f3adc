"""What a bundle holds and what it lacks, for `lasthop ls` and the page's evidence matrix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lasthop.diagnosis.result import BundleHealth, CoverageCell

from . import order
from .terminal import Canvas
from .text import cite, visible

STATE_GLYPHS = {"complete": "●", "partial": "◐", "absent": "○", "not-applicable": "·"}
STATE_WORDS = {
    "complete": "complete",
    "partial": "partial",
    "absent": "missing",
    "not-applicable": "not applicable",
}
_STATE_STYLE = {"complete": "ok", "partial": "unknown", "absent": "bad", "not-applicable": "muted"}
_WORST = ("absent", "partial", "complete", "not-applicable")
_USUAL = (
    "links", "addresses", "routes", "routes6", "rules", "routing_rules", "neighbours", "fdb", "iptables-nft",
    "iptables-legacy", "nft", "ipsets", "conntrack", "sysctls", "sockets", "bird", "pods", "captures",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One node: a state word per kind of the matrix, "" where nothing is said; `title` tells why."""

    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """`cluster` are (kind, state, why) of the objects that belong to no node."""

    kinds: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    cluster: tuple[tuple[str, str, str], ...]


def matrix(bundle: BundleHealth) -> Matrix:
    """Nodes by kinds of evidence; of several netns of a node the worst state counts, pods as a kind of their own."""
    cells: dict[str, dict[str, list[CoverageCell]]] = {}
    for cell in order.coverage(bundle):
        kind = "pods" if cell.netns.startswith("pod:") else cell.kind
        cells.setdefault(cell.node, {}).setdefault(kind, []).append(cell)
    cluster = cells.pop("", {})
    kinds = _order({kind for row in cells.values() for kind in row})
    rows = tuple(
        MatrixRow(visible(name), tuple(_state(cells[name].get(kind, [])) for kind in kinds)) for name in sorted(cells)
    )
    objects = tuple((visible(kind), *_state(cluster[kind])) for kind in _order(set(cluster)))
    return Matrix(tuple(visible(kind) for kind in kinds), rows, objects)


def _order(kinds: set[str]) -> list[str]:
    return [kind for kind in _USUAL if kind in kinds] + sorted(kinds - set(_USUAL))


def _state(cells: list[CoverageCell]) -> tuple[str, str]:
    """The worst state and why; ("", "") where nothing is said."""
    state = next((state for state in _WORST if any(cell.state == state for cell in cells)), "")
    told = dict.fromkeys(_told(cell) for cell in cells if cell.state == state and cell.why)
    return state, visible("; ".join(told))


def _told(cell: CoverageCell) -> str:
    place = "" if cell.netns in ("host", "") else f"{cell.netns.removeprefix('pod:')} {cell.kind}: "
    return place + cell.why


def gaps(bundle: BundleHealth) -> list[CoverageCell]:
    """Cells that are absent or partial, those that hide a step first."""
    found = [cell for cell in order.coverage(bundle) if cell.state in ("absent", "partial")]
    return sorted(found, key=lambda cell: (not cell.hides, cell.state != "absent"))


def moment(seconds: float | None) -> str:
    """"2026-11-22 03:21:00 UTC"; "unknown time" for None and for values that are no time."""
    if seconds is None:
        return "unknown time"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return "unknown time"


def inventory(bundle: BundleHealth, *, width: int, color: bool, verbose: int) -> str:
    """The text of `lasthop ls`: nodes, what is missing with what it hides, what was not understood; -v: everything."""
    canvas = Canvas(width=max(width, 20), color=color)
    for name in bundle.inputs:
        canvas.add(visible(name))
    for node in sorted(bundle.nodes, key=lambda node: node.name):
        changed = ""
        if node.changed is not None:
            changed = "; changed while collecting: " + ", ".join(node.changed) if node.changed else "; nothing changed"
        when = moment(node.start)
        by = f", collector {node.collector}" if node.collector else ""
        canvas.labelled("node", visible(f"{node.name}, {when}, pods inside: {node.pods}{by}{changed}"), most=3)
    table = matrix(bundle)
    for row in table.rows:
        held = [kind for kind, (state, _) in zip(table.kinds, row.cells, strict=True) if state == "complete"]
        _held(canvas, row.name, held)
    _held(canvas, "the cluster's objects", [kind for kind, state, _ in table.cluster if state == "complete"])
    missing = gaps(bundle)
    if missing:
        canvas.add()
        canvas.add(canvas.paint("missing or partial", "strong"))
    for cell in missing if verbose else _folded(missing):
        _gap(canvas, cell)
    if bundle.lines:
        canvas.add()
        share = bundle.unparsed / bundle.lines
        canvas.add(f"{bundle.lines} lines read, {bundle.unparsed} not understood ({share:.2%})")
        for source in bundle.unparsed_examples[: None if verbose else 5]:
            canvas.add(f"    {cite(source.path, source.line)}  {visible(source.text)}")
    _listed(canvas, "files that no parser claims", bundle.unrecognised, None if verbose else 10)
    _listed(canvas, "about the bundle", bundle.warnings, None)
    return "\n".join(canvas.lines) + "\n"


def _held(canvas: Canvas, name: str, kinds: list[str]) -> None:
    if kinds:
        canvas.add()
        canvas.add(canvas.paint(f"{name}: complete", "strong"))
        canvas.labelled("", ", ".join(kinds), most=6)


def _folded(cells: list[CoverageCell]) -> Iterable[CoverageCell]:
    """Pods' gaps alone are many and alike: without -v only those that hide a step and those of nodes."""
    return (cell for cell in cells if cell.hides or not cell.netns.startswith("pod:"))


def _gap(canvas: Canvas, cell: CoverageCell) -> None:
    glyph = canvas.paint(f"{STATE_GLYPHS[cell.state]} {STATE_WORDS[cell.state]:<8}", _STATE_STYLE[cell.state])
    netns = "" if cell.netns in ("host", "") else f" {cell.netns}"
    why = f": {cell.why}" if cell.why else ""
    canvas.add(f"  {glyph} " + visible(f"{cell.kind} of {cell.node or 'the cluster'}{netns}{why}"))
    if cell.hides:
        canvas.add("             hides " + visible(cell.hides))
    if cell.command:
        canvas.add("             fetch " + visible(cell.command))


def _listed(canvas: Canvas, title: str, entries: tuple[str, ...], most: int | None) -> None:
    if not entries:
        return
    canvas.add()
    canvas.add(canvas.paint(title, "strong"))
    for entry in entries[:most]:
        canvas.labelled("", visible(entry), most=3)
    if most is not None and len(entries) > most:
        canvas.labelled("", f"and {len(entries) - most} more (-v)")
