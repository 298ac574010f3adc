"""A rule file that is wrong is refused with the line and with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from lasthop.errors import RuleError
from lasthop.rules.load import load_pack, load_rule, load_tests

GOOD = """\
id: MY-RT-001
title: A route without a link
code: route-missing
severity: high
confidence: strong
place: route
scope: node
needs: {routes: presence}
query: |
  SELECT r.node, r.dev, r.dst AS object, r.src FROM routes r
message: "{dev} carries {object}"
why: Because.
fix:
  - command: ip link show {dev}
    on: "{node}"
    risk: read-only
verify: []
false_positives: []
references: []
since: "1"
tests:
  - name: a hit
    facts:
      routes: [{dst: 10.0.0.0/8, dev: "no"}]
    expect: [{dev: "no"}]
  - name: none
    expect: []
  - name: missing
    absent: [routes]
    expect: not evaluated
"""


def written(tmp_path: Path, text: str, name: str = "MY-RT-001.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, old: str, new: str) -> str:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RuleError) as caught:
        load_tests(load_rule(path))
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_a_good_file(tmp_path: Path) -> None:
    rule = load_rule(written(tmp_path, GOOD))
    assert rule.id == "MY-RT-001"
    assert rule.needs == {"routes": "presence"}
    assert rule.fix[0].on == "{node}"
    tests = load_tests(rule)
    assert tests[0].facts["routes"] == ({"dst": "10.0.0.0/8", "dev": "no"},)
    assert tests[2].expect is None


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("severity: high", "severty: high", 'MY-RT-001.yaml:4: unknown key "severty"; did you mean "severity"?'),
        ("severity: high", "severity: hgh", 'MY-RT-001.yaml:4: severity: "hgh" is not one of'),
        ("scope: node\n", "", 'MY-RT-001.yaml:1: the key "scope" is missing'),
        ("place: route", "place: route\nplace: pod", 'MY-RT-001.yaml:7: the key "place" is given twice'),
        ("{routes: presence}", "{routes: present}", 'MY-RT-001.yaml:8: routes: "present" is not one of presence'),
        ("    risk: read-only", "    risk: none", 'MY-RT-001.yaml:16: risk: "none" is not one of read-only, changes'),
        ("    risk: read-only", "    rsk: read-only", 'MY-RT-001.yaml:16: unknown key "rsk"; did you mean "risk"?'),
        ("verify: []", "verify: {}", "MY-RT-001.yaml:17: verify: a list is needed here"),
        ("id: MY-RT-001", "id: first", 'MY-RT-001.yaml:1: id: "first" is not of the form CAL-RT-003'),
        ("title: A route", "title: [A route", "not readable as YAML"),
        (
            "    absent: [routes]",
            "    absnt: [routes]",
            'MY-RT-001.yaml:29: unknown key "absnt"; did you mean "absent"?',
        ),
        ("  - name: none\n    expect: []\n", "", "MY-RT-001.yaml:21: tests: 2 given; a hit, a near miss"),
        ("why: Because.", "why: ''", "MY-RT-001.yaml:12: why: a text is needed here"),
    ],
)
def test_sentence_with_line(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert sentence in refusal(tmp_path, old, new)


def test_tests_are_needed(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD[: GOOD.index("tests:")])
    with pytest.raises(RuleError, match='the key "tests" is missing'):
        load_rule(path)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"- a\n- b\n", "a rule file is a mapping of keys"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: &x [*x, *x]\n", 'unknown key "a"'),
        (b"[" * 5000, "not readable as YAML"),
        (b"x" * (300 * 1024), "larger than 256 KiB"),
        (b"", "a mapping of keys"),
    ],
)
def test_hostile_files(tmp_path: Path, raw: bytes, sentence: str) -> None:
    path = tmp_path / "X.yaml"
    path.write_bytes(raw)
    with pytest.raises(RuleError, match=sentence):
        load_rule(path)


def test_another_folder(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    pack = load_pack([tmp_path])
    assert "MY-RT-001" in [rule.id for rule in pack]
    assert [rule.id for rule in pack] == sorted(rule.id for rule in pack)


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace("MY-RT-001", "CAL-RT-001"), "CAL-RT-001.yaml")
    with pytest.raises(RuleError, match="the id CAL-RT-001 is already taken"):
        load_pack([tmp_path])


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no such folder of rules"):
        load_pack([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("r.dst AS object", "r.dts AS object", 'no column r.dts; did you mean "dst"?'),
        ("FROM routes r", "FROM rotes r", 'no table rotes; did you mean "routes"?'),
        ("{dev} carries", "{dve} carries", r'\{dve\} is not a column of the query; did you mean "dev"?'),
        ("code: route-missing", "code: route-mising", 'not in docs/causes.md; did you mean "route-missing"?'),
        (", r.src FROM", " FROM", "a finding must cite its evidence"),
        (
            "{routes: presence}",
            "{links: presence}",
            'the query reads routes, but needs does not say "routes: presence"',
        ),
        ("{routes: presence}", "{routs: presence}", '"routs" is no kind of evidence; did you mean "routes"?'),
        ("SELECT r.node", "DELETE", "the query is wrong|may only SELECT"),
    ],
)
def test_a_foreign_rule_is_checked_when_it_is_loaded(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RuleError, match=sentence):
        load_pack([tmp_path])
