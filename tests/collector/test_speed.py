"""How long a full node takes."""

from __future__ import annotations

import pytest

from tests.collector.node import PODS, Node

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.mark.parametrize("profile", ["quick", "standard"])
def test_hundred_pods(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    """100 pods in less than 60 seconds; quick also in less than 5 MB."""
    many = PODS.replace("for i in 1 2;", "for i in $(seq 100);")
    assert many != PODS
    run = Node(setup=many, limit=150).run("--profile", profile)
    assert run.rc == 0, run.stderr
    pods = sum(name.endswith("/pod.meta") for name in run.files)
    size = sum(len(data) for data in run.files.values())
    with capsys.disabled():
        print(
            f"\ncollector --profile {profile}: {pods} of 100 pods in {run.elapsed:.1f} s, {size / 1e6:.1f} MB unpacked"
        )
    assert run.elapsed < 60
    if profile == "standard":
        assert pods == 100
