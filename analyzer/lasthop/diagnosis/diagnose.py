"""The whole way from a snapshot to a diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lasthop.bundle.model import Bundle
from lasthop.errors import NotInEvidence, UsageError
from lasthop.facts.evidence import SourceRef
from lasthop.facts.snapshot import Question, Snapshot
from lasthop.facts.trace import Disposition, Finding, MissingEvidence, NotEvaluated, Sighting
from lasthop.sim.edits import Edit
from lasthop.sim.tracer import Tracer

from . import discover
from .beyond import repair_of
from .ends import FlowEnds, resolve
from .flow import FlowWalker, Walked
from .health import health
from .knowledge import Knowledge
from .result import Diagnosis, FlowResult, Verdict
from .verdicts import Judge

Progress = Callable[[str, int, int], None]

ASKED = frozenset({"asked", "collected-for"})
SEVERITY = {"critical": 0, "high": 1, "medium": 2, "low": 3, "info": 4}
ORDER = [Verdict.BREAK, Verdict.PARTIAL, Verdict.INCONCLUSIVE, Verdict.CLEAR_IN_NODES, Verdict.NO_BREAK]
CONTEXT_LINES = 2
MAX_BLOCKERS = 6
MAX_RULE_NODES = 64
OBJECT_LINES = 200


def _silent(label: str, done: int, total: int) -> None:
    return None


class Diagnoser:
    """Walks and judges flows of one snapshot; what it builds is shared by all flows."""

    def __init__(self, snapshot: Snapshot, bundle: Bundle, level: str = "normal") -> None:
        self.snapshot = snapshot
        self.bundle = bundle
        knowledge = Knowledge.of(snapshot)
        self.knowledge = knowledge
        self.world = knowledge.world
        self.walker = FlowWalker(self.world, Tracer(self.world, level))
        self.judge = Judge(knowledge)

    def flow(self, question: Question) -> FlowResult:
        """Raises UsageError when the question cannot be asked of this snapshot."""
        ends = resolve(self.world, question)
        walks = self.walker.walk(ends)
        result = self.judge.judge(ends, walks, self._sightings(ends, walks))
        if len(walks) == 1 and result.breaks and question.origin in ASKED:
            result = replace(result, breaks=(*result.breaks, *self._beyond(ends, walks[0], result.breaks)))
        return result

    def _beyond(self, ends: FlowEnds, walked: Walked, known: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Further breaks, each seen once those before it are taken as repaired."""
        found: list[Finding] = []
        edits: tuple[Edit, ...] = ()
        for _ in range(MAX_BLOCKERS):
            stopped = next((leg for leg in walked.legs() if leg.disposition is not Disposition.DELIVERED), None)
            edit = repair_of(self.knowledge, stopped) if stopped is not None else None
            if edit is None or edit in edits:
                break
            edits = (*edits, edit)
            world = self.world.edited(edits)
            knowledge = replace(self.knowledge, world=world)
            again = FlowWalker(world, self.walker.tracer.edited(world)).walk(ends)
            if len(again) != 1:
                break
            (walked,) = again
            seen = {(finding.code, finding.node, finding.object) for finding in (*known, *found)}
            for finding in Judge(knowledge).breaks_of(ends, walked):
                if (finding.code, finding.node, finding.object) not in seen:
                    found.append(finding)
        return tuple(found)

    def _sightings(self, ends: FlowEnds, walks: tuple[Walked, ...]) -> tuple[tuple[Sighting, ...], ...]:
        if not any(node.captures for node in self.snapshot.nodes.values()):
            return tuple(() for _ in walks)
        from .captured import sightings

        return sightings(self.world, self.bundle, ends, walks)


def diagnose(
    snapshot: Snapshot,
    bundle: Bundle,
    questions: tuple[Question, ...] = (),
    extra_rules: Path | None = None,
    progress: Progress = _silent,
    level: str = "normal",
) -> Diagnosis:
    """Answers the questions, else the collector's own, else looks for failing flows itself.

    Raises UsageError when an asked question is wrong in itself; one that names what the evidence does not hold stays
    unanswered and is listed as missing.
    """
    diagnoser = Diagnoser(snapshot, bundle, level)
    flows, dropped = walk_flows(diagnoser, questions, progress)
    origin_asked = bool(questions or snapshot.questions)
    progress("asking the rules", 0, 0)
    findings, not_evaluated = _rules(_for_rules(snapshot, flows), extra_rules, tuple(flows))
    intended = () if origin_asked else tuple(_as_finding(flow) for flow in flows if _intended_deny(flow))
    judged = [flow for flow in flows if origin_asked or not _intended_deny(flow)]
    verdict = _overall(judged)
    summary = _summary(verdict, judged, flows, dropped)
    missing = _missing(flows, dropped, snapshot)
    diagnosis = Diagnosis(
        verdict,
        summary,
        tuple(judged),
        _sorted((*findings, *intended)),
        not_evaluated,
        missing,
        health(snapshot, bundle),
    )
    return with_context(diagnosis, bundle)


def walk_flows(
    diagnoser: Diagnoser, questions: tuple[Question, ...] = (), progress: Progress = _silent
) -> tuple[list[FlowResult], list[str]]:
    """(judged flows, most broken first; why questions could not be asked of this evidence).

    Raises UsageError where a question that was handed in is wrong in itself.
    """
    flows: list[FlowResult] = []
    dropped: list[str] = []

    def walk(asked: tuple[Question, ...]) -> None:
        for index, question in enumerate(asked):
            progress("walking", index, len(asked))
            try:
                flows.append(diagnoser.flow(question))
            except UsageError as error:
                if questions and not isinstance(error, NotInEvidence):
                    raise
                dropped.append(str(error))

    asked = questions or diagnoser.snapshot.questions
    if asked:
        walk(asked)
    else:
        failing = discover.failing_flows(diagnoser.world)
        named = {(question.src, question.dst, question.proto, question.port) for question in failing}
        silent = discover.unanswered_flows(diagnoser.world, diagnoser.bundle)
        walk((*failing, *(q for q in silent if (q.src, q.dst, q.proto, q.port) not in named)))
    if not asked and all(_intended_deny(flow) for flow in flows):
        walk(discover.samples(diagnoser.world))
    flows.sort(key=lambda flow: ORDER.index(flow.verdict))
    return flows, dropped


def _for_rules(snapshot: Snapshot, flows: list[FlowResult]) -> Snapshot:
    """The snapshot that the rules are asked of: all nodes, or of a large cluster those on the flows' ways. The rules
    list the others as not evaluated; every node has a route to every block, so asking all of all grows with the square.
    """
    if len(snapshot.nodes) <= MAX_RULE_NODES:
        return snapshot
    met: dict[str, None] = {}
    for flow in flows:
        for trace in (flow.request, flow.reply):
            met |= dict.fromkeys(hop.node for hop in (trace.hops if trace is not None else ()) if hop.node)
    chosen = [name for name in met if name in snapshot.nodes][:MAX_RULE_NODES]
    return replace(snapshot, nodes={name: snapshot.nodes[name] for name in chosen})


def _rules(
    snapshot: Snapshot, extra: Path | None, flows: tuple[FlowResult, ...]
) -> tuple[tuple[Finding, ...], tuple[NotEvaluated, ...]]:
    from lasthop.rules.load import load_pack
    from lasthop.rules.run import run_rules

    return run_rules(snapshot, load_pack((extra,) if extra is not None else ()), flows)


def _intended_deny(flow: FlowResult) -> bool:
    """A deny as written of a flow that nobody asked for: clusters are full of denied tries."""
    return bool(flow.breaks) and all(finding.policy == "as-written" for finding in flow.breaks)


def _as_finding(flow: FlowResult) -> Finding:
    first = flow.breaks[0]
    words = f"{flow.src.name} → {flow.dst.name} {flow.proto}/{flow.port}: {first.title}"
    return replace(first, title=words, severity="info")


def _overall(flows: list[FlowResult]) -> Verdict:
    if not flows:
        return Verdict.INCONCLUSIVE
    verdicts = {flow.verdict for flow in flows}
    return next(verdict for verdict in ORDER if verdict in verdicts)


def _summary(verdict: Verdict, judged: list[FlowResult], flows: list[FlowResult], dropped: list[str]) -> str:
    if not flows and dropped:
        return f"The question cannot be answered from this evidence: {dropped[0].rstrip('.')}"
    if not flows:
        return (
            "No flow could be judged: the evidence names none and no listening pod pair was found; "
            "ask with --from and --to"
        )
    if not judged:
        return "The only failing flows found are denied by policies as written"
    shown = next(flow for flow in judged if flow.verdict is verdict)
    if len(judged) == 1:
        return shown.summary
    same = sum(flow.verdict is verdict for flow in judged)
    return f"{same} of {len(judged)} flows: {shown.summary}"


def _missing(flows: list[FlowResult], dropped: list[str], snapshot: Snapshot) -> tuple[MissingEvidence, ...]:
    found = dict.fromkeys(entry for flow in flows for entry in flow.missing)
    if not flows and not snapshot.nodes:
        found[MissingEvidence("", "bundle", "no node's evidence is in the bundle", "sh collector.sh")] = None
    for sentence in dropped[:5]:
        found[MissingEvidence("", "question", sentence, "")] = None
    return tuple(found)


def _sorted(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (SEVERITY.get(f.severity, 5), f.code, f.node, f.object)))


def with_context(diagnosis: Diagnosis, bundle: Bundle) -> Diagnosis:
    """Adds the lines around every citation of a break, for reports that quote them."""
    context: dict[tuple[str, int], tuple[tuple[int, str], ...]] = {}
    cited: list[SourceRef] = [
        source for flow in diagnosis.flows for finding in flow.breaks for source in finding.evidence
    ]
    for source in cited:
        if not source.line:
            continue
        if source.end_line > source.line:
            # an object is its own context: its first line alone says nothing
            last = min(source.end_line, source.line + OBJECT_LINES)
            around = bundle.lines_around(source.path, source.line, OBJECT_LINES)
            context[(source.path, source.line)] = tuple(line for line in around if source.line <= line[0] <= last)
        else:
            context[(source.path, source.line)] = bundle.lines_around(source.path, source.line, CONTEXT_LINES)
    return replace(diagnosis, context=context)
