"""A ReportView as one HTML file that needs nothing else: no request, no remote font, script and style by hash."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from lasthop.report.inventory import STATE_GLYPHS, STATE_WORDS, gaps, matrix, moment
from lasthop.report.picture import picture
from lasthop.report.svg import LEGEND, svg
from lasthop.report.text import cite, visible
from lasthop.report.view import GLYPHS, WORDS, FlowView, ReportView
from lasthop.report.walk import TRUTH_GLYPHS, WalkView

_HERE = Path(__file__).resolve().parent
MOST_STAGES = 1200
"""Rows of all walks on one page; the flows after that are listed without their walk, which the JSON report has."""
MOST_VISITS = 12


def page(view: ReportView) -> str:
    """The whole page as text, to be written as UTF-8. Bundle text in it is always text: autoescaped, never markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style, script = (_read(name) for name in ("style.css", "script.js"))
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    flows = _flows(view)
    bundle = view.diagnosis.bundle
    return environment.get_template("page.html.j2").render(
        view=view,
        flows=flows,
        first=view.flows[0] if view.flows else None,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        glyphs={verdict.value: glyph for verdict, glyph in GLYPHS.items()},
        words={verdict.value: word for verdict, word in WORDS.items()},
        truths={truth.value: glyph for truth, glyph in TRUTH_GLYPHS.items()},
        legend=LEGEND,
        matrix=matrix(bundle),
        state_glyphs=STATE_GLYPHS,
        state_words=STATE_WORDS,
        gaps=[_Gap(cell) for cell in gaps(bundle)],
        bundle=_bundle(view),
        most_visits=MOST_VISITS,
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


class _Flow:
    """A flow with its picture and the walks that the page shows: a walk that is like an earlier one is only named."""

    def __init__(self, flow: FlowView, *, walked: bool) -> None:
        from markupsafe import Markup

        self.view = flow
        self.svg = Markup(svg(picture(flow.result, _anchors(flow)), f"p{flow.index}"))
        self.walks: list[tuple[WalkView, str]] = []
        for line in flow.walks if walked else ():
            twin = next((other for other, _ in self.walks if other.alike(line)), None)
            self.walks.append((line, twin.label if twin else ""))
        self.branch_walks = [
            (branch, [line for line in branch.walks if not any(line.alike(other) for other, _ in self.walks)])
            for branch in (flow.branches if walked else ())
        ]


def _anchors(flow: FlowView) -> tuple[str, str]:
    return f"f{flow.index}-request", f"f{flow.index}-reply"


def _flows(view: ReportView) -> list[_Flow]:
    out: list[_Flow] = []
    rows = 0
    for flow in view.flows:
        rows += sum(len(line.stages) for line in flow.walks)
        rows += sum(len(line.stages) for branch in flow.branches for line in branch.walks)
        if rows > MOST_STAGES and out:
            break
        out.append(_Flow(flow, walked=True))
    return out


class _Gap:
    def __init__(self, cell: Any) -> None:
        self.state = cell.state
        self.what = visible(f"{cell.kind} of {cell.node or 'the cluster'}")
        self.netns = "" if cell.netns in ("host", "") else visible(cell.netns)
        self.why, self.hides, self.command = visible(cell.why), visible(cell.hides), visible(cell.command)


def _bundle(view: ReportView) -> dict[str, Any]:
    bundle = view.diagnosis.bundle
    starts = [node.start for node in bundle.nodes if node.start is not None]
    changed = [node for node in bundle.nodes if node.changed]
    unknown = [node for node in bundle.nodes if node.changed is None]
    if changed:
        told = "changed while collecting: " + ", ".join(f"{node.name} ({', '.join(node.changed or ())})"
                                                         for node in changed)  # fmt: skip
    elif bundle.nodes and not unknown:
        told = "collecting changed nothing on the nodes (fingerprints equal)"
    else:
        told = ""
    return {
        "inputs": [visible(name) for name in bundle.inputs],
        "collected": moment(min(starts)) if starts else "",
        "spread": "" if bundle.spread_seconds is None else f"{bundle.spread_seconds:.0f} s apart at most",
        "changed": visible(told),
        "lines": bundle.lines,
        "unparsed": bundle.unparsed,
        "share": f"{bundle.unparsed / bundle.lines:.2%}" if bundle.lines else "",
        "examples": [(cite(source.path, source.line), visible(source.text)) for source in bundle.unparsed_examples],
        "unrecognised": [visible(name) for name in sorted(bundle.unrecognised)],
        "warnings": [visible(text) for text in bundle.warnings],
        "clocks": [
            (visible(node.name), f"{node.clock_offset:+.3f} s")
            for node in sorted(bundle.nodes, key=lambda node: node.name)
            if node.clock_offset is not None
        ],
    }
