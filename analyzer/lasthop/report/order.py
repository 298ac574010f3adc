"""The order of everything that is listed: equal diagnoses give equal reports, the most broken first."""

from __future__ import annotations

from lasthop.diagnosis.result import BundleHealth, CoverageCell, Diagnosis, FlowResult, Verdict
from lasthop.facts.trace import Finding, MissingEvidence, NotEvaluated

VERDICT_ORDER = (
    Verdict.BREAK,
    Verdict.PARTIAL,
    Verdict.INCONCLUSIVE,
    Verdict.CLEAR_IN_NODES,
    Verdict.NO_BREAK,
)
SEVERITIES = ("critical", "high", "medium", "low", "info")


def flows(diagnosis: Diagnosis) -> list[FlowResult]:
    """Most broken first; flows of one verdict keep the diagnosis' own ranking."""
    return sorted(diagnosis.flows, key=lambda flow: VERDICT_ORDER.index(flow.verdict))


def findings(diagnosis: Diagnosis) -> list[Finding]:
    """Most severe first, then by rule or code, node and object."""
    return sorted(
        diagnosis.findings,
        key=lambda f: (SEVERITIES.index(f.severity), f.rule or f.code, f.code, f.node, f.netns, f.object, f.because),
    )


def not_evaluated(diagnosis: Diagnosis) -> list[NotEvaluated]:
    return sorted(diagnosis.not_evaluated, key=lambda n: (n.rule, n.node, n.lacks))


def missing(entries: tuple[MissingEvidence, ...]) -> list[MissingEvidence]:
    """In the diagnosis' order (what decides comes first), each (node, id, why) once."""
    seen: set[tuple[str, str, str]] = set()
    out = []
    for entry in entries:
        key = (entry.node, entry.id, entry.why)
        if key not in seen:
            seen.add(key)
            out.append(entry)
    return out


def coverage(bundle: BundleHealth) -> list[CoverageCell]:
    return sorted(bundle.coverage, key=lambda cell: (cell.node, cell.netns != "host", cell.netns, cell.kind))
