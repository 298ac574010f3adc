"""The three promises of the product, over every sample (design, section 10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lasthop.diagnosis.result import FlowResult, Verdict

from .recorded import RecordingBundle, answer, cases, judged, opened, walked, without, without_capture

CASES = cases()
BROKEN = [case for case in CASES if answer(case)["expected"]["verdict"] != "no-break"]


def breaks(flows: list[FlowResult]) -> set[tuple[str, str, str, str]]:
    return {
        (str(flow.src.ip), str(flow.dst.ip), found.node, found.direction)
        for flow in flows
        for found in flow.breaks
        if found.confidence != "possible"
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answer(case: Path) -> None:
    """Verdict, direction, step, node, object words and code of the first break are those of case.yaml."""
    expected = answer(case)["expected"]
    diagnosis = judged(opened(case))
    assert diagnosis.verdict.value == expected["verdict"], diagnosis.summary
    if not expected.get("breaks"):
        assert not [flow for flow in diagnosis.flows if flow.breaks]
        return
    first = next(flow for flow in diagnosis.flows if flow.breaks).breaks[0]
    wanted = expected["breaks"][0]
    assert (first.direction, first.node or None) == (wanted["direction"], wanted["node"]), first
    assert first.step in wanted.get("accept_steps", [wanted["step"]]), first
    assert first.code in wanted["codes"], first
    if "policy" in wanted:
        assert first.policy == wanted["policy"]


@pytest.mark.parametrize(
    "case", [case for case in BROKEN if len(answer(case)["expected"]["breaks"]) > 1], ids=lambda case: case.name
)
def test_all_blockers_are_named_in_one_run(case: Path) -> None:
    """What is broken behind the first break is found as well."""
    found = [finding for flow in judged(opened(case)).flows for finding in flow.breaks]
    for wanted in answer(case)["expected"]["breaks"]:
        assert any(
            finding.direction == wanted["direction"]
            and (finding.node or None) == wanted["node"]
            and finding.code in wanted["codes"]
            for finding in found
        ), wanted


HEALTHY = [case for case in CASES if case not in BROKEN]


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_healthy_has_no_finding_above_info(case: Path) -> None:
    diagnosis = judged(opened(case))
    assert [finding for finding in diagnosis.findings if finding.severity != "info"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_quoted_text_is_in_the_bundle(case: Path) -> None:
    bundle = opened(case)
    diagnosis = judged(bundle)
    cited = [source for flow in diagnosis.flows for found in flow.breaks for source in found.evidence]
    cited += [source for finding in diagnosis.findings for source in finding.evidence]
    cited += [
        source
        for flow in diagnosis.flows
        for trace in (flow.request, flow.reply, flow.request_full, flow.reply_full)
        if trace is not None
        for hop in trace.hops
        for step in hop.steps
        for source in step.sources
    ]
    assert cited
    for source in cited:
        if not source.path:
            continue
        lines = bundle.text(source.path).split("\n") if source.line else [""]
        if source.line:
            assert source.text in lines[source.line - 1], source
        else:
            assert source.path in bundle.members, source


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_leave_one_out(case: Path) -> None:
    """Removing any one artifact never turns a break into no-break, nor makes a break that the whole bundle lacks.

    Artifacts that the whole run never read cannot change it, so only those that it read are removed.
    """
    bundle = opened(case)
    whole = walked(bundle)
    known = breaks(whole)
    broken = any(flow.verdict in (Verdict.BREAK, Verdict.PARTIAL) for flow in whole)
    read = set(bundle.paths_read)
    problems = []
    for artifact in bundle.artifacts:
        if artifact.path not in read and artifact.path:
            continue
        name = f"{artifact.node} {artifact.netns} {artifact.id}"
        problems += _problems(without(bundle, artifact), name, broken, known)
    for capture in bundle.captures:
        problems += _problems(without_capture(bundle, capture.path), capture.path, broken, known)
    assert problems == []


def _problems(
    bundle: RecordingBundle, name: str, broken: bool, known: set[tuple[str, str, str, str]]
) -> list[str]:
    flows = walked(bundle)
    found = []
    if broken and all(flow.verdict is Verdict.NO_BREAK for flow in flows):
        found.append(f"without {name}: no-break")
    new = breaks(flows) - known
    if new:
        found.append(f"without {name}: new break {sorted(new)}")
    return found
