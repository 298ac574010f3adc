"""A bundle that remembers which artifacts were read, and copies of it that lack one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from lasthop.bundle import open_bundle
from lasthop.bundle.model import Bundle
from lasthop.diagnosis.diagnose import Diagnoser, diagnose, walk_flows
from lasthop.diagnosis.result import Diagnosis, FlowResult
from lasthop.facts.evidence import Artifact
from lasthop.snapshot.build import build
from tests.conftest import REPO

SAMPLES = REPO / "samples"


@dataclass(slots=True)
class RecordingBundle(Bundle):
    """`read_ids` are the paths of all members that were read."""

    paths_read: set[str] = field(default_factory=set)

    def read(self, path: str) -> bytes:
        self.paths_read.add(path)
        return Bundle.read(self, path)


def cases() -> list[Path]:
    return sorted(path.parent for path in SAMPLES.glob("*/case.yaml"))


def answer(case: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((case / "case.yaml").read_text())
    return loaded


def opened(case: Path) -> RecordingBundle:
    bundle = open_bundle([case / name for name in answer(case)["bundles"]])
    return RecordingBundle(**{item.name: getattr(bundle, item.name) for item in fields(Bundle)})


def judged(bundle: Bundle) -> Diagnosis:
    return diagnose(build(bundle), bundle)


def walked(bundle: Bundle) -> list[FlowResult]:
    """The judged flows alone, without asking the rules: most broken first."""
    return walk_flows(Diagnoser(build(bundle), bundle))[0]


def without(bundle: RecordingBundle, artifact: Artifact) -> RecordingBundle:
    """The bundle as if the collector had never run this command."""
    kept = tuple(other for other in bundle.artifacts if other is not artifact)
    return replace(bundle, artifacts=kept, spans={key: value for key, value in bundle.spans.items() if key in kept},
                   paths_read=set())  # fmt: skip


def without_capture(bundle: RecordingBundle, path: str) -> RecordingBundle:
    return replace(bundle, captures=tuple(c for c in bundle.captures if c.path != path), paths_read=set())
