"""What a diagnosis comes to: the values that report/ turns into the terminal summary, JSON and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction

from lasthop.facts.evidence import SourceRef
from lasthop.facts.network import Ip
from lasthop.facts.snapshot import CoverageCell
from lasthop.facts.trace import Choice, Finding, MissingEvidence, NotEvaluated, Sighting, Trace


class Verdict(Enum):
    NO_BREAK = "no-break"
    BREAK = "break"
    PARTIAL = "partial"
    CLEAR_IN_NODES = "clear-in-nodes"
    INCONCLUSIVE = "inconclusive"


EXIT_CODES = {
    Verdict.NO_BREAK: 0,
    Verdict.BREAK: 1,
    Verdict.PARTIAL: 1,
    Verdict.CLEAR_IN_NODES: 3,
    Verdict.INCONCLUSIVE: 3,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`kind` is pod, node, address or service; `name` "namespace/pod", node name, address text, "namespace/service".
    `interface` is a pod's host-side workload interface, "" when there is none or it is unknown."""

    kind: str
    name: str
    ip: Ip | None = None
    node: str = ""
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """One outcome of the kernel's choices (a Service's backend, an ECMP next hop): judged by itself."""

    label: str
    share: Fraction
    verdict: Verdict
    choices: tuple[Choice, ...] = ()
    request: Trace | None = None
    reply: Trace | None = None
    request_full: Trace | None = None
    reply_full: Trace | None = None


@dataclass(frozen=True, slots=True)
class FlowResult:
    """`breaks` is ranked: the first is where the flow breaks first; `origin` and `first` as in the JSON schema.

    `request`, `reply`, `*_full` are those of the first breaking branch, or of the only one.
    """

    src: Endpoint
    dst: Endpoint
    proto: str
    port: int | None
    origin: str
    verdict: Verdict
    summary: str
    first: str = "proven"
    breaks: tuple[Finding, ...] = ()
    request: Trace | None = None
    reply: Trace | None = None
    request_full: Trace | None = None
    reply_full: Trace | None = None
    branches: tuple[Branch, ...] = ()
    assumptions: tuple[str, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    missing: tuple[MissingEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeHealth:
    name: str
    start: float | None = None
    end: float | None = None
    pods: int = 0
    collector: str = ""
    changed: tuple[str, ...] | None = None
    clock_offset: float | None = None


@dataclass(frozen=True, slots=True)
class BundleHealth:
    inputs: tuple[str, ...]
    nodes: tuple[NodeHealth, ...] = ()
    coverage: tuple[CoverageCell, ...] = ()
    spread_seconds: float | None = None
    lines: int = 0
    unparsed: int = 0
    unparsed_examples: tuple[SourceRef, ...] = ()
    unrecognised: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The whole answer. `lines_of` gives the lines around a citation for the page: (path, line) -> [(number, text)]."""

    verdict: Verdict
    summary: str
    flows: tuple[FlowResult, ...]
    findings: tuple[Finding, ...]
    not_evaluated: tuple[NotEvaluated, ...]
    missing: tuple[MissingEvidence, ...]
    bundle: BundleHealth
    context: Mapping[tuple[str, int], tuple[tuple[int, str], ...]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


__all__ = [
    "EXIT_CODES",
    "Branch",
    "BundleHealth",
    "CoverageCell",
    "Diagnosis",
    "Endpoint",
    "FlowResult",
    "NodeHealth",
    "Verdict",
]
