"""Every shipped rule: its page is whole, its query fits the tables, its own tests hold."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from lasthop.parsers.yaml_guard import load_yaml
from lasthop.resources import docs_dir, rules_dir
from lasthop.rules import check, model
from lasthop.rules.load import load_pack, load_tests
from lasthop.rules.model import Rule

PACK = load_pack()
SCHEMA = json.loads((docs_dir() / "rule.schema.json").read_text(encoding="utf-8"))
AREAS = {
    "POD": "pod", "VETH": "veth", "NODE": "node", "RT": "route", "POL": "policy", "TUN": "tunnel", "BGP": "bgp",
    "IPAM": "ipam", "WIRE": "wire", "SVC": "service", "BDL": "bundle",
}  # fmt: skip

each = pytest.mark.parametrize("rule", PACK, ids=lambda rule: rule.id)


def test_every_place_has_rules() -> None:
    assert len(PACK) >= 30
    assert {rule.place for rule in PACK} == set(model.PLACES)


@each
def test_no_complaint(rule: Rule) -> None:
    assert check.lint(rule) == ()


@each
def test_its_own_tests_hold(rule: Rule) -> None:
    outcomes = check.test_rule(rule)
    assert [(outcome.test, outcome.problem) for outcome in outcomes if outcome.problem] == []


@each
def test_hit_near_miss_and_missing_evidence(rule: Rule) -> None:
    tests = load_tests(rule)
    assert any(test.expect for test in tests), "a hit"
    assert any(test.expect == () for test in tests), "a near miss"
    if rule.needs:
        assert any(test.expect is None for test in tests), "one with missing evidence"


@each
def test_file_follows_the_schema(rule: Rule) -> None:
    value = load_yaml(rule.path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    assert rule.path == rules_dir() / AREAS[rule.id.split("-")[1]] / f"{rule.id}.yaml"


def test_schema_and_loader_know_the_same_words() -> None:
    known = SCHEMA["properties"]
    assert tuple(known["severity"]["enum"]) == model.SEVERITIES
    assert tuple(known["confidence"]["enum"]) == model.CONFIDENCES
    assert tuple(known["place"]["enum"]) == model.PLACES
    assert tuple(known["scope"]["enum"]) == model.SCOPES
    applies = known["applies_when"]["properties"]
    assert tuple(applies["data_plane"]["items"]["enum"]) == model.DATA_PLANES
    assert tuple(applies["encapsulation"]["items"]["enum"]) == model.ENCAPSULATIONS


@each
def test_absence_is_claimed_only_of_complete_evidence(rule: Rule) -> None:
    """A table under NOT EXISTS whose absence proves the fault must be needed whole."""
    cites_whole_files = "coverage" in rule.query
    claims = [kind for kind, need in rule.needs.items() if need == "absence"]
    assert not cites_whole_files or claims, "a proof by absence is cited, but no absence is needed"


def test_nothing_but_rules_in_the_folder() -> None:
    files = [path for path in Path(rules_dir()).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".yaml"}
    assert len(files) == len(PACK)
