"""The terminal summary: at most 12 lines at 80 columns, then the walk (-v) and every rule visited (-vv)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lasthop.diagnosis.result import Verdict
from lasthop.facts.trace import Outcome, Truth

from .text import clip, clip_middle, columns, wrap
from .view import GLYPHS, WORDS, FindingView, FlowView, MissingView, ReportView
from .walk import TRUTH_GLYPHS, StageView, WalkView

NARROW = 64
MOST_LINES = 12
LABEL = 9
_STYLES = {
    "bad": "\x1b[1;31m",
    "ok": "\x1b[32m",
    "unknown": "\x1b[33m",
    "muted": "\x1b[2m",
    "strong": "\x1b[1m",
    "accent": "\x1b[36m",
}
VERDICT_STYLE = {
    Verdict.NO_BREAK: "ok",
    Verdict.BREAK: "bad",
    Verdict.PARTIAL: "bad",
    Verdict.CLEAR_IN_NODES: "accent",
    Verdict.INCONCLUSIVE: "unknown",
}
OUTCOME_STYLE = {Outcome.PASS: "ok", Outcome.STOP: "bad", Outcome.UNKNOWN: "unknown", Outcome.INFO: "muted"}
_ASCII = str.maketrans(
    {
        "✓": "+", "✕": "x", "◐": "%", "◇": "o", "→": ">", "…": "~", "·": ".", "≠": "!", "●": "*", "○": "o",
        "–": "-", "—": "-", "│": "|",
    }
)  # fmt: skip


def plain_ascii(text: str) -> str:
    """For outputs that cannot say ✕ and →: their nearest ASCII signs; anything else is left to the encoder."""
    return text.translate(_ASCII)


@dataclass(slots=True)
class Canvas:
    """Collects lines. Every text that enters is already harmless (report/text.py); colours are the only escapes."""

    width: int
    color: bool
    tight: bool = False
    lines: list[str] = field(default_factory=list)

    @property
    def narrow(self) -> bool:
        return self.width < NARROW

    def paint(self, text: str, style: str) -> str:
        return f"{_STYLES[style]}{text}\x1b[0m" if self.color and text else text

    def add(self, text: str = "") -> None:
        self.lines.append(text.rstrip())

    def labelled(self, label: str, text: str, most: int = 2, style: str = "") -> None:
        """ "  why    text", wrapped under itself, at most `most` lines (no limit when narrow)."""
        indent = 2 if self.narrow else LABEL
        rows = wrap(text, max(self.width - indent, 16))
        if not self.narrow and len(rows) > most:
            rows = [*rows[: most - 1], clip(" ".join(rows[most - 1 :]), self.width - indent)]
        if self.narrow:
            head = wrap(f"{label} {text}", max(self.width - 2, 16))
            for i, row in enumerate(head):
                if i == 0:
                    row = self.paint(label, "muted") + row[len(label) :]
                self.add("  " + row)
            return
        for i, row in enumerate(rows):
            shown = self.paint(row, style) if style else row
            self.add((self.paint(f"  {label:<{LABEL - 2}}", "muted") if i == 0 else " " * LABEL) + shown)

    def command(self, label: str, on: str, command: str, note: str) -> None:
        """A command is never cut and never wrapped: what is copied must run."""
        prompt = f"{clip_middle(on, 40)} $ " if on else "$ "
        indent = 2 if self.narrow else LABEL
        line = self.paint(f"  {label:<{LABEL - 2}}", "muted") if not self.narrow else "  "
        if self.narrow:
            told = f" ({note})" if note else ""
            head = clip_middle(f"{label} on {on}" if on else label, self.width - 2 - columns(told))
            self.add("  " + self.paint(head, "muted") + told)
            self.add("  " + command)
            return
        used = indent + columns(prompt) + columns(command)
        line += self.paint(prompt, "muted") + command
        if note:
            gap = self.width - used - columns(note)
            if gap < 2 and not self.tight:
                self.add(line)
                line, gap = "", self.width - columns(note)
            if gap >= 2:
                line += " " * gap + self.paint(note, "muted")
        self.add(line)


def render(view: ReportView, *, width: int = 80, color: bool = False, verbose: int = 0, html: str = "") -> str:
    """The whole terminal output, one newline at its end. `html` is the path of the page, when one was written."""
    canvas = Canvas(width=max(width, 20), color=color)
    _summary(canvas, view, html)
    if len(canvas.lines) > MOST_LINES and not canvas.narrow:
        canvas = Canvas(width=canvas.width, color=color, tight=True)
        _summary(canvas, view, html)
    if verbose:
        _details(canvas, view, verbose)
    return "\n".join(canvas.lines) + "\n"


def _headline(canvas: Canvas, verdict: Verdict, text: str, confidence: str) -> None:
    tag = f"{GLYPHS[verdict]} {WORDS[verdict]}"
    room = canvas.width - columns(confidence) - 2 if confidence else canvas.width
    # wrap() joins words by one space; the tag is followed by two
    rows = wrap(f"{tag} {text}", room - 1)
    first = rows[0][len(tag) :].lstrip()
    style = VERDICT_STYLE[verdict]
    line = canvas.paint(tag, style) + ("  " + first if first else "")
    length = columns(tag) + (2 + columns(first) if first else 0)
    if confidence and not canvas.narrow:
        line += " " * max(canvas.width - length - columns(confidence), 2) + canvas.paint(confidence, "strong")
    canvas.add(line)
    rest = rows[1:]
    if not canvas.narrow and len(rest) > 1:
        rest = [clip(" ".join(rest), canvas.width - 2)]
    for row in rest:
        canvas.add("  " + row)
    if confidence and canvas.narrow:
        canvas.add("  " + canvas.paint(confidence, "strong"))


def _flow_line(canvas: Canvas, flow: FlowView) -> None:
    text = f"{flow.source} → {flow.destination} {flow.tuple_text}"
    if canvas.narrow:
        for row in wrap(text, canvas.width - 2):
            canvas.add("  " + row)
        return
    if columns(text) > canvas.width - 2:
        room = max((canvas.width - 2 - columns(flow.tuple_text) - 4) // 2, 10)
        text = f"{clip_middle(flow.source, room)} → {clip_middle(flow.destination, room)} {flow.tuple_text}"
    canvas.add("  " + text)


def _summary(canvas: Canvas, view: ReportView, html: str) -> None:
    """A tight one has twelve lines at most: headline 2, flow 1, why 2, evidence 2, seen, then, fix, check, also 1."""
    if not view.flows:
        _headline(canvas, view.verdict, view.summary, "")
        _need(canvas, view.missing, 2)
        _also(canvas, view, None, html)
        return
    flow = view.flows[0]
    found = flow.breaks[0] if flow.breaks and flow.verdict in (Verdict.BREAK, Verdict.PARTIAL) else None
    if found is None:
        _headline(canvas, flow.verdict, flow.summary, "")
        _flow_line(canvas, flow)
        _without_break(canvas, view, flow)
    else:
        place = found.place
        share = f"{found.share}: " if found.share else ""
        text = f"{share}{place}: {found.title}" if place else f"{share}{found.title}"
        confidence = found.confidence + (", earlier steps unknown" if flow.first_unknown else "")
        _headline(canvas, flow.verdict, text, confidence)
        _flow_line(canvas, flow)
        _broken(canvas, flow, found)
    _also(canvas, view, flow, html)


def _broken(canvas: Canvas, flow: FlowView, found: FindingView) -> None:
    why = found.because or found.title
    if found.policy:
        why += f" (policy: {found.policy})"
    canvas.labelled("why", why, most=2 if canvas.tight else 3)
    for quote in found.quotes[: 2 if canvas.tight else 3]:
        if canvas.narrow:
            canvas.add("  " + canvas.paint(clip_middle(quote.short, canvas.width - 2), "muted"))
            if _telling(quote.text):
                canvas.add("    " + clip(_telling(quote.text), canvas.width - 4))
            continue
        text = _telling(quote.text)
        room = canvas.width - LABEL - 2
        source = clip_middle(quote.short, max(min(room // 2, 36), room - columns(text)))
        text = clip(text, room - columns(source))
        canvas.add(" " * LABEL + canvas.paint(source, "muted") + (f"  {text}" if text else ""))
    if flow.seen:
        canvas.labelled("seen", flow.seen, most=1 if canvas.tight else 2)
    if len(flow.breaks) > 1:
        second = flow.breaks[1]
        more = f" (and {len(flow.breaks) - 2} more)" if len(flow.breaks) > 2 else ""
        canvas.labelled("then", f"{second.place}: {second.title}{more}", most=1)
    if found.fix:
        fix = next((command for command in found.fix if command.changes), found.fix[0])
        canvas.command("fix", fix.on, fix.command, "changes the node" if fix.changes else "read-only")
    if found.verify:
        canvas.command("check", found.node if found.node else "", found.verify[0], "read-only")


def _telling(text: str) -> str:
    """The cited text, "" where it says nothing by itself (the opening bracket of an object)."""
    return text.strip() if any(char.isalnum() for char in text) else ""


def _without_break(canvas: Canvas, view: ReportView, flow: FlowView) -> None:
    if flow.breaks:
        doubt = flow.breaks[0]
        canvas.labelled("maybe", f"{doubt.place}: {doubt.title} ({doubt.confidence})")
    for line in flow.walks[:2]:
        canvas.labelled("out" if line.direction == "request" else "back", _ending(line), most=1 if canvas.tight else 2)
    if flow.seen:
        canvas.labelled("seen", flow.seen, most=1)
    if flow.verdict is Verdict.NO_BREAK:
        return
    _need(canvas, flow.missing or view.missing, 2)


def _ending(line: WalkView) -> str:
    last = line.stages[-1] if line.stages else None
    where = f" at {last.where}, {last.stage}" if last is not None else ""
    if line.delivered:
        return f"delivered; {line.passed} stages pass"
    return f"{line.disposition.value}{where}" + (f": {last.detail}" if last is not None and last.detail else "")


def _need(canvas: Canvas, missing: tuple[MissingView, ...], most: int) -> None:
    for i, entry in enumerate(missing[:most]):
        place = f" of {entry.node}" if entry.node else ""
        canvas.labelled("need" if i == 0 else "", f"{entry.id}{place}: {entry.why}", most=1)
        if entry.command:
            canvas.command("", entry.node, entry.command, "")


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else (many or one + 's')}"


def _also(canvas: Canvas, view: ReportView, flow: FlowView | None, html: str) -> None:
    parts = []
    if len(view.flows) > 1:
        others = dict(view.counts)
        if flow is not None:
            others[flow.verdict] -= 1
        told = ", ".join(f"{count} {verdict.value}" for verdict, count in others.items() if count)
        parts.append(f"{_plural(len(view.flows) - 1, 'more flow')} ({told})")
    told_findings = [finding for finding in view.findings if finding.severity != "info"]
    if told_findings:
        parts.append(_plural(len(told_findings), "other finding"))
    # a walk without a break shows the first two gaps above
    gaps = len(view.missing)
    if gaps > 2 or (gaps and flow is not None and flow.verdict in (Verdict.BREAK, Verdict.PARTIAL, Verdict.NO_BREAK)):
        needless = flow is not None and flow.verdict in (Verdict.BREAK, Verdict.NO_BREAK) and not flow.missing
        parts.append(_plural(gaps, "gap") + (" (not needed here)" if needless else ""))
    text = ", ".join(parts)
    told = f"{text}   → {html}" if text else f"→ {html}"
    if html and not canvas.narrow and columns(told) <= canvas.width - LABEL:
        text, html = told, ""
    if text:
        canvas.labelled("also" if parts else "page", text, most=1)
    if html:
        # a path is never cut, so that it can be copied
        canvas.add(("  " if canvas.narrow else canvas.paint("  page   ", "muted")) + f"→ {html}")


def _details(canvas: Canvas, view: ReportView, verbose: int) -> None:
    if len(view.flows) > 1:
        _title(canvas, "flows")
        for flow in view.flows:
            tag = canvas.paint(f"{GLYPHS[flow.verdict]} {flow.verdict.value:<14}", VERDICT_STYLE[flow.verdict])
            canvas.add(f"  {tag} " + clip(flow.title, max(canvas.width - 19, 20)))
    if view.flows:
        flow = view.flows[0]
        for number, found in enumerate(flow.breaks[1:], 2):
            _title(canvas, f"break {number}: {found.place}: {found.title}")
            canvas.labelled("why", found.because, most=6)
            for quote in found.quotes:
                canvas.labelled("", f"{quote.cite}   {quote.text}", most=3)
        for line in flow.walks:
            twin = next((other for other in flow.walks if other.alike(line)), line)
            if twin is line:
                _walk(canvas, line, verbose)
            else:
                _title(canvas, f"{line.label}: {line.disposition.value}, stage by stage like the {twin.label}")
        for branch in flow.branches:
            tag = f"{GLYPHS[branch.verdict]} {branch.share} {branch.label} {branch.target}"
            canvas.add()
            canvas.add(canvas.paint(tag, VERDICT_STYLE[branch.verdict]) + f"  request {branch.request}, "
                       f"reply {branch.reply}")  # fmt: skip
        if flow.assumptions:
            _title(canvas, "assumed")
            for text in flow.assumptions:
                canvas.labelled("", text, most=4)
    if view.findings:
        _title(canvas, "findings")
        for finding in view.findings:
            head = f"{finding.severity}: {finding.title}" + (f" ({finding.where})" if finding.where else "")
            canvas.labelled("", head, most=3)
            for quote in finding.quotes[:3]:
                canvas.add(" " * (LABEL + 2) + canvas.paint(quote.cite, "muted"))
    if view.missing:
        _title(canvas, "not known")
        _need(canvas, view.missing, len(view.missing))
    if verbose > 1 and view.not_evaluated:
        _title(canvas, "rules not evaluated")
        for rule, nodes, lacks in view.not_evaluated:
            canvas.labelled("", f"{rule} on {nodes}: lacks {lacks}", most=3)


def _title(canvas: Canvas, text: str) -> None:
    canvas.add()
    for row in wrap(text, canvas.width):
        canvas.add(canvas.paint(row, "strong"))


def walk_text(line: WalkView, *, width: int, color: bool, verbose: int) -> str:
    """One direction alone, as `lasthop path` prints it."""
    canvas = Canvas(width=max(width, 20), color=color)
    _walk(canvas, line, verbose)
    return "\n".join(canvas.lines[1:]) + "\n"


def _walk(canvas: Canvas, line: WalkView, verbose: int) -> None:
    _title(canvas, f"{line.label}: {line.disposition.value}")
    for where, label, share in line.choices:
        canvas.labelled("choice", f"{label} ({share}) at {where}", most=2)
    place = ""
    for stage in line.stages:
        number = f"{stage.step} " if stage.step is not None else ""
        if f"{number}{stage.where}" != place:
            place = f"{number}{stage.where}"
            canvas.add("  " + canvas.paint(clip(place, canvas.width - 2), "strong"))
        _stage(canvas, stage, verbose)
    if line.endings:
        canvas.labelled("ends", " or ".join(line.endings), most=3)


def _stage(canvas: Canvas, stage: StageView, verbose: int) -> None:
    glyph = canvas.paint(stage.glyph, OUTCOME_STYLE[stage.outcome])
    indent = 4 if canvas.narrow else 26
    name = f"    {glyph} {stage.stage:<19}"
    rows = wrap(stage.detail or stage.word, max(canvas.width - indent, 16))
    if canvas.narrow:
        canvas.add(name)
        for row in rows:
            canvas.add("      " + row)
    else:
        if columns(stage.stage) > 19:
            canvas.add(name)
        else:
            canvas.add(name + " " + rows.pop(0))
        for row in rows:
            canvas.add(" " * indent + row)
    for change in stage.changes:
        canvas.add(" " * indent + change)
    for full, _short, _text in stage.cites:
        canvas.add(" " * indent + canvas.paint(full, "muted"))
    if stage.decides:
        canvas.add(" " * indent + canvas.paint(f"decided by: {stage.decides}", "unknown"))
    visits = stage.visits if verbose > 1 else ()
    for visit in visits:
        style = "unknown" if visit.truth is Truth.UNKNOWN else "muted"
        why = f"   ({visit.why})" if visit.why else ""
        canvas.add(" " * indent + canvas.paint(f"{TRUTH_GLYPHS[visit.truth]} {visit.cite}  {visit.text}{why}", style))
    if verbose > 1 and stage.skipped:
        canvas.add(" " * indent + canvas.paint(f"{stage.skipped} rules that cannot match were not asked", "muted"))
