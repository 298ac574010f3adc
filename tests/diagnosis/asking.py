"""Judges one flow of a small cluster (tests.sim.cluster) without a bundle: the walk and the verdict only."""

from __future__ import annotations

from lasthop.bundle.model import Bundle
from lasthop.diagnosis.diagnose import Diagnoser
from lasthop.diagnosis.result import FlowResult
from lasthop.facts.snapshot import Question
from tests.sim.cluster import TwoNodes


def ask(
    cluster: TwoNodes,
    src: str = "shop/a",
    dst: str = "shop/b",
    proto: str = "tcp",
    port: int | None = 80,
    origin: str = "asked",
) -> FlowResult:
    return Diagnoser(cluster.snapshot(), Bundle()).flow(Question(src, dst, proto, port, origin))


def first(result: FlowResult) -> tuple[str, str, int | None, str]:
    """(code, direction, step, node) of the first break."""
    found = result.breaks[0]
    return found.code, found.direction, found.step, found.node
