"""The JSON report keeps its published schema, is canonical, and steers no terminal."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from lasthop.report.json_report import dumps, report
from tests.conftest import REPO

from . import build
from .golden import FOLDER, NAMES

SCHEMA = json.loads((REPO / "docs" / "report.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", build.ALL)
def test_report_keeps_the_schema(name: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(dumps(build.ALL[name]())))


@pytest.mark.parametrize("name", build.ALL)
def test_equal_diagnoses_give_equal_bytes(name: str) -> None:
    assert dumps(build.ALL[name]()) == dumps(build.ALL[name]())


def test_most_broken_flow_first() -> None:
    verdicts = [flow["verdict"] for flow in report(build.several())["flows"]]
    assert verdicts == ["break", "partial", "clear-in-nodes", "no-break"]


def test_values_of_a_break() -> None:
    flow = report(build.rich_break())["flows"][0]
    assert flow["from"] == {
        "name": "shop/cart-7d9f", "kind": "pod", "ip": "10.244.1.23", "node": "worker-1",
        "interface": "cali4f20e1b7c55",
    }  # fmt: skip
    found = flow["breaks"][0]
    assert (found["rank"], found["step"], found["node"], found["share"]) == (1, 4, "worker-2", 1.0)
    assert found["died_at"] == {"node": "worker-2", "step": 4, "disposition": "BLACKHOLED"}
    assert found["evidence"][0] == {
        "file": "nodes/worker-2/host/ip4_route_all.out", "line": 14, "text": "blackhole 10.244.2.0/26 proto bird",
    }  # fmt: skip
    assert flow["request"]["hops"][2]["node"] is None


def test_share_is_exact_as_well() -> None:
    branch = report(build.partial_service())["flows"][0]["branches"][0]
    assert branch["share_exact"] == "1/3"
    assert branch["share"] == pytest.approx(1 / 3, abs=1e-6)


def test_no_control_character_reaches_the_output_and_the_value_stays() -> None:
    text = dumps(build.hostile())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    names = [flow["from"]["name"] for flow in json.loads(text)["flows"]]
    assert build.ESC in names
    assert build.RTL in names
    assert "half\ufffdpair" in names


@pytest.mark.parametrize("name", NAMES)
def test_the_format_is_the_committed_one(name: str) -> None:
    """`make golden` rewrites the files after a deliberate change."""
    assert dumps(build.ALL[name]()) == (FOLDER / f"{name}.json").read_text(encoding="utf-8")
