"""The state of the evidence itself: nodes, coverage, clocks, lines not understood."""

from __future__ import annotations

from collections.abc import Mapping

from lasthop.bundle.model import Bundle
from lasthop.facts.snapshot import Snapshot
from lasthop.snapshot.coverage import coverage

from .result import BundleHealth, NodeHealth

MAX_EXAMPLES = 20


def health(snapshot: Snapshot, bundle: Bundle) -> BundleHealth:
    """`unparsed` counts what was read so far: nothing is parsed only to be counted."""
    nodes = tuple(
        NodeHealth(
            node.name,
            node.start,
            node.end,
            len(node.pods),
            node.meta.get("collector_version", ""),
            _changed(node.meta),
            _number(node.meta.get("clock_offset", "")),
        )
        for node in snapshot.nodes.values()
    )
    starts = [node.start for node in nodes if node.start is not None]
    ends = [node.end for node in nodes if node.end is not None]
    spread = max(ends) - min(starts) if starts and ends else None
    examples = tuple(item.source for item in snapshot.unparsed[:MAX_EXAMPLES])
    return BundleHealth(
        tuple(str(name) for name in bundle.inputs),
        nodes,
        coverage(snapshot),
        spread,
        snapshot.lines,
        len(snapshot.unparsed),
        examples,
        snapshot.unrecognised,
        snapshot.warnings,
    )


def _changed(meta: Mapping[str, str]) -> tuple[str, ...] | None:
    """What differs between the collector's two fingerprints; None when it took none."""
    before = {k.removeprefix("fingerprint_before_"): v for k, v in meta.items() if k.startswith("fingerprint_before")}
    after = {k.removeprefix("fingerprint_after_"): v for k, v in meta.items() if k.startswith("fingerprint_after")}
    if not before or not after:
        return None
    return tuple(sorted(key for key in before if key in after and before[key] != after[key]))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
