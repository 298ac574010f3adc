"""One direction of one packet as a list of stages, for the terminal's -v and the page's walk table."""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.facts.trace import Disposition, Hop, Outcome, Packet, RuleVisit, Step, Trace, Truth

from .text import cite, share_label, short_path, visible

OUTCOME_GLYPHS = {Outcome.PASS: "✓", Outcome.STOP: "✕", Outcome.UNKNOWN: "?", Outcome.INFO: "·"}
OUTCOME_WORDS = {
    Outcome.PASS: "passes",
    Outcome.STOP: "stops here",
    Outcome.UNKNOWN: "not evidenced",
    Outcome.INFO: "note",
}
TRUTH_GLYPHS = {Truth.YES: "=", Truth.NO: "≠", Truth.UNKNOWN: "?"}


@dataclass(frozen=True, slots=True)
class VisitView:
    """A rule that the packet met. `text` is the rule's line in the dump."""

    truth: Truth
    place: str
    text: str
    why: str
    cite: str


@dataclass(frozen=True, slots=True)
class StageView:
    """`changes` says what the stage did to the packet ("dst 10.96.0.1:80 → 10.244.2.17:8080")."""

    anchor: str
    step: int | None
    where: str
    stage: str
    outcome: Outcome
    detail: str
    disposition: str
    decides: str
    changes: tuple[str, ...]
    cites: tuple[tuple[str, str, str], ...]
    """(full citation, short citation, text) of what decided."""
    visits: tuple[VisitView, ...]
    near: tuple[VisitView, ...]
    skipped: int

    @property
    def glyph(self) -> str:
        return OUTCOME_GLYPHS[self.outcome]

    @property
    def word(self) -> str:
        return OUTCOME_WORDS[self.outcome]

    @property
    def matched(self) -> tuple[VisitView, ...]:
        return tuple(visit for visit in self.visits if visit.truth is not Truth.NO)


@dataclass(frozen=True, slots=True)
class WalkView:
    anchor: str
    direction: str
    packet: str
    disposition: Disposition
    stages: tuple[StageView, ...]
    endings: tuple[str, ...]
    assumptions: tuple[str, ...]
    choices: tuple[tuple[str, str, str], ...]
    """(where, label, share)."""

    @property
    def label(self) -> str:
        if self.packet == "full-size":
            return f"{self.direction}, full-size packet that may not be fragmented"
        return f"{self.direction}, {self.packet} packet" if self.packet == "first" else f"{self.direction}, answer"

    def alike(self, other: WalkView) -> bool:
        """True when both take the same stages to the same end, whatever the packet's size."""

        def told(line: WalkView) -> list[tuple[str, str, Outcome, str]]:
            return [(stage.where, stage.stage, stage.outcome, stage.detail) for stage in line.stages]

        return (self.direction, self.disposition) == (other.direction, other.disposition) and told(self) == told(other)

    @property
    def delivered(self) -> bool:
        return self.disposition is Disposition.DELIVERED

    @property
    def passed(self) -> int:
        return sum(stage.outcome is Outcome.PASS for stage in self.stages)

    @property
    def judged(self) -> int:
        return sum(stage.outcome is not Outcome.INFO for stage in self.stages)


def walk(anchor: str, trace: Trace) -> WalkView:
    """Every stage of every hop of `trace`, in order; anchors are unique while `anchor` is."""
    stages = [(hop, step) for hop in trace.hops for step in hop.steps]
    return WalkView(
        anchor=anchor,
        direction=trace.direction,
        packet=trace.packet,
        disposition=trace.disposition,
        stages=tuple(_stage(f"{anchor}-{i}", hop, step) for i, (hop, step) in enumerate(stages, 1)),
        endings=tuple(dict.fromkeys(ending.value for ending in trace.endings)) if len(set(trace.endings)) > 1 else (),
        assumptions=tuple(visible(text) for text in trace.assumptions),
        choices=tuple((visible(c.where), visible(c.label), share_label(c.share)) for c in trace.choices),
    )


def hop_name(hop: Hop) -> str:
    """"worker-1", "pod shop/db-0", "the wire", "outside the bundle"."""
    if hop.netns == "wire":
        return "the wire"
    if hop.netns.startswith("pod:"):
        return visible(f"pod {hop.netns[4:]}")
    return visible(hop.node) or "outside the bundle"


def _stage(anchor: str, hop: Hop, step: Step) -> StageView:
    return StageView(
        anchor=anchor,
        step=hop.step,
        where=hop_name(hop),
        stage=visible(step.stage),
        outcome=step.outcome,
        detail=visible(step.detail),
        disposition=step.disposition.value if step.disposition else "",
        decides=visible(step.decides),
        changes=packet_changes(step.before, step.after),
        cites=tuple(
            (
                cite(source.path, source.line, source.end_line),
                cite(short_path(source.path), source.line, source.end_line),
                visible(source.text),
            )
            for source in step.sources
        ),
        visits=tuple(_visit(visit) for visit in step.visits),
        near=tuple(_visit(visit) for visit in step.near_misses),
        skipped=step.skipped_rules,
    )


def _visit(visit: RuleVisit) -> VisitView:
    rule = visit.rule
    return VisitView(
        truth=visit.truth,
        place=visible(f"{rule.backend} {rule.table} {rule.chain} {rule.index}"),
        text=visible(rule.source.text),
        why=visible(visit.why),
        cite=cite(rule.source.path, rule.source.line, rule.source.end_line),
    )


def _address(ip: object, port: int | None) -> str:
    text = str(ip)
    if port is None:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def packet_changes(before: Packet | None, after: Packet | None) -> tuple[str, ...]:
    """What a stage changed of the packet, one sentence fragment each; () when nothing or not known."""
    if before is None or after is None:
        return ()
    changes = []
    for name, old, new in (
        ("src", _address(before.src, before.sport), _address(after.src, after.sport)),
        ("dst", _address(before.dst, before.dport), _address(after.dst, after.dport)),
        ("mark", f"{before.mark.value:#x}", f"{after.mark.value:#x}"),
        ("ttl", str(before.ttl), str(after.ttl)),
        ("ctstate", before.ctstate or "none", after.ctstate or "none"),
    ):
        if old != new:
            changes.append(f"{name} {old} → {new}")
    for encap in after.encaps[len(before.encaps) :]:
        vni = "" if encap.vni is None else f" vni {encap.vni}"
        changes.append(f"wrapped in {encap.kind}{vni} {encap.src} → {encap.dst}")
    for encap in before.encaps[len(after.encaps) :]:
        changes.append(f"unwrapped from {encap.kind} {encap.src} → {encap.dst}")
    return tuple(visible(change) for change in changes)
