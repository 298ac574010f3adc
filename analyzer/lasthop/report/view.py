"""The one view model: what the terminal and the page say, in words, with every bundle text made harmless.

Built once from a Diagnosis; the views only arrange it. Nothing here judges: a verdict, a step or a sentence that the
diagnosis does not hold is not in the view either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import lasthop
from lasthop.diagnosis.result import Branch, Diagnosis, Endpoint, FlowResult, Verdict
from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import Command, Finding, MissingEvidence, Sighting, Trace

from . import order
from .text import cite, share_label, short_path, visible
from .walk import WalkView, walk

GLYPHS = {
    Verdict.NO_BREAK: "✓",
    Verdict.BREAK: "✕",
    Verdict.PARTIAL: "◐",
    Verdict.CLEAR_IN_NODES: "◇",
    Verdict.INCONCLUSIVE: "?",
}
WORDS = {
    Verdict.NO_BREAK: "NO BREAK",
    Verdict.BREAK: "BREAK",
    Verdict.PARTIAL: "PARTIAL BREAK",
    Verdict.CLEAR_IN_NODES: "CLEAR IN NODES",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE",
}
ORIGINS = {
    "asked": "asked on the command line",
    "collected-for": "the bundle was collected for this flow",
    "conntrack": "found in conntrack: no reply",
    "capture": "found in a capture: no answer",
    "counter": "found by a counter",
    "sample": "a representative pair",
}
WHOLE_PICTURE = 8

Context = Mapping[tuple[str, int], tuple[tuple[int, str], ...]]


@dataclass(frozen=True, slots=True)
class QuoteLine:
    number: int
    text: str
    hit: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """A citation with its surrounding lines; `lines` is empty where the whole member is cited (proof by absence)."""

    path: str
    cite: str
    short: str
    text: str
    lines: tuple[QuoteLine, ...]


@dataclass(frozen=True, slots=True)
class CommandView:
    on: str
    command: str
    risk: str

    @property
    def changes(self) -> bool:
        return self.risk != "read-only"


@dataclass(frozen=True, slots=True)
class FindingView:
    """A break of a flow (`rank` counts from 1) or another finding (`rank` 0)."""

    rank: int
    title: str
    code: str
    rule: str
    severity: str
    confidence: str
    because: str
    direction: str
    step: int | None
    node: str
    where: str
    object: str
    died: str
    share: str
    policy: str
    quotes: tuple[Quote, ...]
    fix: tuple[CommandView, ...]
    verify: tuple[str, ...]

    @property
    def place(self) -> str:
        """"request, step 4 of 8, worker-2", as far as it is known."""
        parts = [self.direction] if self.direction else []
        if self.step is not None:
            parts.append(f"step {self.step} of {WHOLE_PICTURE}")
        if self.where:
            parts.append(self.where)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SightingView:
    text: str
    seen: bool
    cite: str
    note: str


@dataclass(frozen=True, slots=True)
class MissingView:
    node: str
    id: str
    why: str
    command: str


@dataclass(frozen=True, slots=True)
class BranchView:
    label: str
    target: str
    share: str
    verdict: Verdict
    request: str
    reply: str
    walks: tuple[WalkView, ...]


@dataclass(frozen=True, slots=True)
class FlowView:
    """`index` counts from 1 in the order of the report. `result` is what the picture is drawn from."""

    index: int
    verdict: Verdict
    source: str
    destination: str
    tuple_text: str
    summary: str
    origin: str
    first_unknown: bool
    breaks: tuple[FindingView, ...]
    walks: tuple[WalkView, ...]
    branches: tuple[BranchView, ...]
    sightings: tuple[SightingView, ...]
    seen: str
    missing: tuple[MissingView, ...]
    assumptions: tuple[str, ...]
    result: FlowResult

    @property
    def title(self) -> str:
        return f"{self.source} → {self.destination} {self.tuple_text}".rstrip()


@dataclass(frozen=True, slots=True)
class ReportView:
    version: str
    verdict: Verdict
    exit_code: int
    summary: str
    flows: tuple[FlowView, ...]
    findings: tuple[FindingView, ...]
    missing: tuple[MissingView, ...]
    not_evaluated: tuple[tuple[str, str, str], ...]
    """(rule, nodes, lacks) with the nodes of one rule and lack joined."""
    diagnosis: Diagnosis

    @property
    def counts(self) -> dict[Verdict, int]:
        found = dict.fromkeys(order.VERDICT_ORDER, 0)
        for flow in self.flows:
            found[flow.verdict] += 1
        return {verdict: count for verdict, count in found.items() if count}


def report_view(diagnosis: Diagnosis) -> ReportView:
    """Everything that the terminal and the page show, in the order in which they show it."""
    return ReportView(
        version=lasthop.__version__,
        verdict=diagnosis.verdict,
        exit_code=diagnosis.exit_code,
        summary=visible(diagnosis.summary),
        flows=tuple(_flow(i, flow, diagnosis.context) for i, flow in enumerate(order.flows(diagnosis), 1)),
        findings=tuple(_finding(0, finding, diagnosis.context) for finding in order.findings(diagnosis)),
        missing=tuple(_missing(entry) for entry in order.missing(diagnosis.missing)),
        not_evaluated=_not_evaluated(diagnosis),
        diagnosis=diagnosis,
    )


def endpoint_name(endpoint: Endpoint) -> str:
    """"shop/db-0 10.244.2.17"; an address alone where the endpoint has no other name."""
    name = visible(endpoint.name)
    address = "" if endpoint.ip is None else str(endpoint.ip)
    return name if not address or address == name else f"{name} {address}".strip()


def tuple_text(flow: FlowResult) -> str:
    proto = visible(flow.proto)
    return f"{proto}/{flow.port}" if flow.port is not None else proto


def share_text(share: Fraction) -> str:
    """"1/3 of new connections"; "" for all of them."""
    return "" if share == 1 else f"{share_label(share)} of new connections"


def _flow(index: int, flow: FlowResult, context: Context) -> FlowView:
    walks = [
        walk(f"f{index}-{name}", trace)
        for name, trace in (
            ("request", flow.request),
            ("reply", flow.reply),
            ("request-full", flow.request_full),
            ("reply-full", flow.reply_full),
        )
        if trace is not None
    ]
    return FlowView(
        index=index,
        verdict=flow.verdict,
        source=endpoint_name(flow.src),
        destination=endpoint_name(flow.dst),
        tuple_text=tuple_text(flow),
        summary=visible(flow.summary),
        origin=ORIGINS.get(flow.origin, visible(flow.origin)),
        first_unknown=flow.first == "unknown",
        breaks=tuple(_finding(rank, finding, context) for rank, finding in enumerate(flow.breaks, 1)),
        walks=tuple(walks),
        branches=tuple(_branch(f"f{index}-b{i}", branch) for i, branch in enumerate(flow.branches, 1)),
        sightings=tuple(_sighting(sighting) for sighting in flow.sightings),
        seen=_seen(flow.sightings),
        missing=tuple(_missing(entry) for entry in order.missing(flow.missing)),
        assumptions=tuple(visible(text) for text in flow.assumptions),
        result=flow,
    )


def _branch(anchor: str, branch: Branch) -> BranchView:
    def ending(trace: Trace | None) -> str:
        return "not walked" if trace is None else trace.disposition.value

    return BranchView(
        label=visible(branch.label),
        target=_branch_target(branch),
        share=share_label(branch.share),
        verdict=branch.verdict,
        request=ending(branch.request),
        reply=ending(branch.reply),
        walks=tuple(
            walk(f"{anchor}-{trace.direction}", trace) for trace in (branch.request, branch.reply) if trace is not None
        ),
    )


def _branch_target(branch: Branch) -> str:
    """Where the branch leads: the pod that its request reaches, else the address that it is on its way to."""
    hops = branch.request.hops if branch.request is not None else ()
    if len(hops) > 1 and hops[-1].netns.startswith("pod:"):
        return visible(hops[-1].netns[4:])
    for hop in reversed(hops):
        for step in reversed(hop.steps):
            packet = step.after or step.before
            if packet is not None:
                return str(packet.dst) if packet.dport is None else f"{packet.dst} port {packet.dport}"
    return ""


def _finding(rank: int, finding: Finding, context: Context) -> FindingView:
    where = finding.node
    if finding.netns.startswith("pod:"):
        pod = f"pod {finding.netns[4:]}"
        where = f"{where}, {pod}" if where else pod
    elif not where and (finding.netns == "wire" or finding.place == "wire"):
        where = "the wire"
    died = ""
    if finding.disposition is not None:
        died = finding.disposition.value
        if finding.died_node and (finding.died_node, finding.died_step) != (finding.node, finding.step):
            step = f" in step {finding.died_step}" if finding.died_step is not None else ""
            died += f" at {finding.died_node}{step}"
    return FindingView(
        rank=rank,
        title=visible(finding.title),
        code=visible(finding.code),
        rule=visible(finding.rule or ""),
        severity=finding.severity,
        confidence=finding.confidence,
        because=visible(finding.because),
        direction=finding.direction,
        step=finding.step,
        node=visible(finding.node),
        where=visible(where),
        object=visible(finding.object),
        died=visible(died),
        share=share_text(finding.share),
        policy=finding.policy or "",
        quotes=tuple(quote(source, context, f"{finding.because} {finding.object}") for source in finding.evidence),
        fix=tuple(_command(command) for command in finding.fix),
        verify=tuple(visible(text) for text in finding.verify),
    )


def quote(source: SourceRef, context: Context, about: str = "") -> Quote:
    """The cited lines marked among their neighbours; only the cited line where the diagnosis gave no neighbours.

    Of a long object only its first line and those that name what the sentence `about` names are quoted.
    """
    last = max(source.line, source.end_line)
    around = context.get((source.path, source.line), ())
    text = source.text
    if source.end_line > source.line:
        around, text = _telling_lines(around, about, text)
    lines = tuple(QuoteLine(n, visible(line), source.line <= n <= last) for n, line in around)
    if not lines and source.line > 0:
        lines = (QuoteLine(source.line, visible(source.text), True),)
    return Quote(
        path=visible(source.path),
        cite=cite(source.path, source.line, source.end_line),
        short=cite(short_path(source.path), source.line, source.end_line),
        text=visible(text),
        lines=lines,
    )


_NAMED = re.compile(r"[\w.:-]*\d[\w.:-]*|[a-z0-9-]+/[\w.-]+")
_MOST_OBJECT_LINES = 8


def _telling_lines(
    around: tuple[tuple[int, str], ...], about: str, text: str
) -> tuple[tuple[tuple[int, str], ...], str]:
    """(the object's first line and those that hold a name or address of `about`, the most telling of these)."""
    names = {name.strip(".:-") for found in _NAMED.findall(about) for name in found.split("/")}
    names = {name for name in names if len(name) > 3}
    named = [line for line in around[1:] if any(name in line[1] for name in names)][: _MOST_OBJECT_LINES - 1]
    if not named:
        return around[:_MOST_OBJECT_LINES], text
    best = max(named, key=lambda line: max(len(name) for name in names if name in line[1]))
    return (around[0], *named), best[1]


def _command(command: Command) -> CommandView:
    return CommandView(on=visible(command.on), command=visible(command.command), risk=command.risk)


def _missing(entry: MissingEvidence) -> MissingView:
    return MissingView(visible(entry.node), visible(entry.id), visible(entry.why), visible(entry.command))


def _tap(sighting: Sighting) -> str:
    netns = "" if sighting.netns == "host" else sighting.netns.removeprefix("pod:")
    return visible(" ".join(part for part in (sighting.node, netns, sighting.interface) if part))


def _sighting(sighting: Sighting) -> SightingView:
    what = sighting.direction + (f" ({sighting.packet})" if sighting.packet not in ("", "first", "answer") else "")
    text = visible(f"{what} {'seen' if sighting.seen else 'never seen'} at ") + _tap(sighting)
    if not sighting.received:
        text += ", but the interface does not take the frame"
    frames = ", ".join(str(n) for n in sighting.frames[:6]) + (", …" if len(sighting.frames) > 6 else "")
    source = cite(sighting.path, 0) + (f" frame {frames}" if frames else "")
    return SightingView(text=text, seen=sighting.seen, cite=source, note=visible(sighting.note))


def _seen(sightings: tuple[Sighting, ...]) -> str:
    """One line: "last at worker-2 eth0, never at worker-2 cali8a…"; "" without captures."""
    for direction in ("reply", "request"):
        own = [s for s in sightings if s.direction == direction]
        seen = [s for s in own if s.seen]
        if not seen and direction == "reply":
            continue
        unseen = [s for s in own if not s.seen]
        parts = []
        if seen:
            parts.append(f"last at {_tap(seen[-1])}")
        if unseen:
            parts.append(f"never at {_tap(unseen[0])}")
            if unseen[0].note:
                parts[-1] += f" ({visible(unseen[0].note)})"
        if parts:
            return f"{direction} " + ", ".join(parts)
    return ""


def _not_evaluated(diagnosis: Diagnosis) -> tuple[tuple[str, str, str], ...]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for entry in order.not_evaluated(diagnosis):
        grouped.setdefault((visible(entry.rule), visible(", ".join(entry.lacks))), []).append(entry.node or "cluster")
    return tuple((rule, visible(", ".join(nodes)), lacks) for (rule, lacks), nodes in grouped.items())
