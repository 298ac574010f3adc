"""Scores the reference cluster: `python -m tests.reference.score [CASE…]`.

Asks each case's own flow (source, destination and port of its truth file, nothing else of it) and compares verdict,
node, object, code and policy of the first break with expected.yaml. Three results: right, undecided, wrong.
"""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lasthop.bundle import open_bundle
from lasthop.diagnosis.diagnose import diagnose
from lasthop.diagnosis.result import Diagnosis, FlowResult
from lasthop.facts.snapshot import Question
from lasthop.snapshot.build import build

HERE = Path(__file__).resolve().parent
CLUSTER = HERE.parents[2] / "shared" / "reference-cluster"


def question_of(truth: Mapping[str, Any]) -> Question:
    flow = truth["flow"]
    src, dst = flow["src"], flow["dst"]
    source = src.get("pod") or src.get("external") or src.get("ip")
    return Question(str(source), str(dst.get("pod") or dst["ip"]), flow["proto"], flow["port"], "asked")


def judge(expected: Mapping[str, Any], flow: FlowResult) -> tuple[str, str]:
    """(right, undecided or wrong; why)."""
    verdict = flow.verdict.value
    accepted = expected["verdict"]
    healthy = "break" not in accepted and "partial" not in accepted
    if healthy:
        if verdict in accepted:
            return "right", verdict
        return ("undecided" if verdict == "inconclusive" else "wrong"), verdict
    if verdict == "no-break":
        return "wrong", "called no-break"
    if verdict not in accepted:
        if verdict in ("inconclusive", "clear-in-nodes"):
            return "undecided", verdict
        return "wrong", f"verdict {verdict}"
    first = flow.breaks[0]
    nodes = [None if node == "wire" else node for node in expected["node"]]
    if (first.node or None) not in nodes:
        return "wrong", f"node {first.node or 'wire'} instead of {expected['node']}"
    words = " ".join((first.object, first.title, first.because))
    if not re.search(expected["object"], words):
        return "wrong", f"object: {first.object}"
    if first.code not in expected["codes"]:
        return "wrong", f"code {first.code}"
    if "policy" in expected and first.policy not in expected["policy"]:
        return "wrong", f"policy {first.policy}"
    return "right", first.code


def run(case: str) -> tuple[Diagnosis, float]:
    truth = json.loads((CLUSTER / "truth" / f"{case}.json").read_text())
    begin = time.perf_counter()
    bundle = open_bundle([CLUSTER / "cases" / f"{case}.tar.xz"])
    diagnosis = diagnose(build(bundle), bundle, (question_of(truth),))
    return diagnosis, time.perf_counter() - begin


def main(arguments: list[str]) -> int:
    if not CLUSTER.is_dir():
        print("reference cluster: not there, skipped")
        return 0
    table: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "expected.yaml").read_text())
    cases = arguments or list(table)
    counts: Counter[tuple[str, str]] = Counter()
    wrong_on_healthy = called_no_break = crashed = unparsed = lines = 0
    for case in cases:
        expected = table[case]
        faulty = {"break", "partial"} & set(expected["verdict"]) and not expected.get("harmless")
        kind = "fault" if faulty else "healthy"
        try:
            diagnosis, seconds = run(case)
        except Exception:
            traceback.print_exc()
            counts[kind, "wrong"] += 1
            crashed += 1
            print(f"wrong      {case:42} traceback")
            continue
        flow = diagnosis.flows[0]
        result, why = judge(expected, flow)
        counts[kind, result] += 1
        wrong_on_healthy += kind == "healthy" and result == "wrong"
        called_no_break += kind == "fault" and flow.verdict.value == "no-break"
        unparsed += diagnosis.bundle.unparsed
        lines += diagnosis.bundle.lines
        print(f"{result:10} {case:42} {seconds:5.2f}s {why}")
        if result != "right":
            print(f"           {flow.summary}")
            for finding in flow.breaks[:3]:
                print(f"             {finding.code} at {finding.node or 'wire'}: {finding.object} ({finding.because})")
            for entry in flow.missing[:4]:
                print(f"             missing {entry.node} {entry.id}: {entry.why}")
        high = [f for f in diagnosis.findings if f.severity not in ("info",)] if kind == "healthy" else []
        for finding in high:
            print(f"             finding above info: {finding.rule} {finding.title}")
    faults = sum(count for (kind, _), count in counts.items() if kind == "fault")
    healthy = sum(count for (kind, _), count in counts.items() if kind == "healthy")
    if faults:
        right = counts["fault", "right"]
        print(f"faults: {right} of {faults} right ({100 * right / faults:.0f} %), {counts['fault', 'undecided']} "
              f"undecided, {counts['fault', 'wrong']} wrong, {called_no_break} called no-break")
    if healthy:
        print(f"healthy and harmless: {counts['healthy', 'right']} of {healthy} right, "
              f"{counts['healthy', 'undecided']} undecided, {wrong_on_healthy} wrong")
    if lines:
        print(f"lines not understood: {unparsed} of {lines} ({100 * unparsed / lines:.3f} %)")
    return 1 if wrong_on_healthy or called_no_break or crashed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
