"""The third promise on the cases of a real cluster: no artifact's absence makes a wrong answer.

`python -m tests.promises.test_reference CASE…` runs single cases and prints what breaks the promise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from lasthop.bundle import open_bundle
from lasthop.bundle.model import Bundle
from lasthop.diagnosis.diagnose import Diagnoser, walk_flows
from lasthop.diagnosis.result import FlowResult, Verdict
from lasthop.errors import UsageError
from lasthop.facts.snapshot import Question
from lasthop.snapshot.build import build
from tests.conftest import SHARED, shared
from tests.reference.score import question_of

from .recorded import RecordingBundle, without, without_capture

CLUSTER = SHARED / "reference-cluster"
CASES = sorted(path.name.removesuffix(".tar.xz") for path in CLUSTER.glob("cases/*.tar.xz")) or ["none"]
BROKEN = (Verdict.BREAK, Verdict.PARTIAL)


def opened(path: Path) -> RecordingBundle:
    bundle = open_bundle([path])
    return RecordingBundle(**{item.name: getattr(bundle, item.name) for item in fields(Bundle)})


def asked(bundle: Bundle, question: Question) -> FlowResult | None:
    """The judged flow; None when the bundle no longer knows one of its ends, which is an answer too."""
    try:
        return walk_flows(Diagnoser(build(bundle), bundle), (question,))[0][0]
    except UsageError:
        return None


def breaks(flow: FlowResult) -> set[tuple[str, str]]:
    return {(found.node, found.direction) for found in flow.breaks if found.confidence != "possible"}


def variants(bundle: RecordingBundle, read: set[str]) -> Iterator[tuple[str, RecordingBundle]]:
    """Copies of the bundle, each without one artifact or capture that the whole answer read."""
    for artifact in bundle.artifacts:
        if not artifact.path or artifact.path in read:
            yield f"{artifact.node} {artifact.netns} {artifact.id} ({artifact.path})", without(bundle, artifact)
    for capture in bundle.captures:
        yield capture.path, without_capture(bundle, capture.path)


def problems(bundle: RecordingBundle, question: Question) -> list[str]:
    whole = asked(bundle, question)
    assert whole is not None
    known, broken = breaks(whole), whole.verdict in BROKEN
    read = set(bundle.paths_read)
    found = []
    for name, less in variants(bundle, read):
        flow = asked(less, question)
        if flow is None:
            continue
        if broken and flow.verdict is Verdict.NO_BREAK:
            found.append(f"without {name}: {whole.verdict.value} becomes no-break")
        new = breaks(flow) - known
        if new:
            codes = ", ".join(f"{one.code} at {one.node} ({one.because})" for one in flow.breaks)
            found.append(f"without {name}: new break {sorted(new)}: {codes}")
        if not broken and flow.verdict in BROKEN:
            found.append(f"without {name}: {whole.verdict.value} becomes {flow.verdict.value}")
    return found


def case_problems(case: str) -> list[str]:
    truth = json.loads((CLUSTER / "truth" / f"{case}.json").read_text())
    return problems(opened(CLUSTER / "cases" / f"{case}.tar.xz"), question_of(truth))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_leave_one_out(case: str) -> None:
    shared("reference-cluster", "cases")
    assert case_problems(case) == []


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, *(case_problems(name) or ["keeps the promise"]), sep="\n  ", flush=True)
