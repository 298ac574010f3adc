"""Half of the evidence: whatever is left, the answer may be weaker and is never wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from lasthop.diagnosis.diagnose import diagnose
from lasthop.diagnosis.result import FlowResult, Verdict
from lasthop.snapshot.build import build

from .recorded import SAMPLES, RecordingBundle, judged, opened

CASES = ["two-faults", "service-stale-backend", "reply-rp-filter", "bgp-session-down", "healthy-vxlan"]
SEEDS = range(6)


def _breaks(flows: tuple[FlowResult, ...]) -> set[tuple[str, str]]:
    return {(b.node, b.direction) for flow in flows for b in flow.breaks if b.confidence != "possible"}


def _half(bundle: RecordingBundle, seed: int) -> RecordingBundle:
    chance = random.Random(seed)
    kept = tuple(artifact for artifact in bundle.artifacts if chance.random() < 0.5)
    captures = tuple(capture for capture in bundle.captures if chance.random() < 0.5)
    spans = {key: value for key, value in bundle.spans.items() if key in kept}
    return replace(bundle, artifacts=kept, captures=captures, spans=spans, paths_read=set())


def _without_node(bundle: RecordingBundle, node: str) -> RecordingBundle:
    kept = tuple(artifact for artifact in bundle.artifacts if artifact.node != node)
    captures = tuple(capture for capture in bundle.captures if capture.node != node)
    spans = {key: value for key, value in bundle.spans.items() if key in kept}
    return replace(bundle, artifacts=kept, captures=captures, spans=spans, paths_read=set())


@pytest.mark.parametrize("name", CASES)
def test_half_of_the_evidence(name: str) -> None:
    """Rules included: no fault of lasthop itself, no healthy answer for a broken flow, no break of another place.

    A stale backend's packet dies on the backend's node; without the pods and node1's rules that is all there is to say.
    """
    bundle = opened(Path(SAMPLES / name))
    whole = judged(bundle)
    places = _breaks(whole.flows)
    if name == "service-stale-backend":
        places.add(("node2", "request"))
    for seed in SEEDS:
        part = _half(bundle, seed)
        found = diagnose(build(part), part)
        if whole.verdict in (Verdict.BREAK, Verdict.PARTIAL):
            assert found.verdict is not Verdict.NO_BREAK, seed
        assert _breaks(found.flows) <= places, seed


def test_a_route_straight_to_the_owner_of_the_address_is_no_wrong_next_hop() -> None:
    """node2 has a left-over route to the pod by node1's own address: harmless, with or without node1's evidence."""
    bundle = _without_node(opened(SAMPLES / "reply-rp-filter"), "node1")
    snapshot = build(bundle)
    assert "node1" in snapshot.nodes
    assert _breaks(diagnose(snapshot, bundle).flows) == set()


def test_the_blackhole_of_an_own_block_is_never_to_be_deleted() -> None:
    bundle = opened(SAMPLES / "service-stale-backend")
    kept = tuple(a for a in bundle.artifacts if a.id not in ("kube_pods", "calico_workloadendpoints"))
    part = replace(bundle, artifacts=kept, paths_read=set())
    found = diagnose(build(part), part)
    commands = [fix.command for flow in found.flows for b in flow.breaks for fix in b.fix]
    assert commands and not [command for command in commands if "blackhole" in command]
