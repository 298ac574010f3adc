"""The fast reader gives what libyaml gives, or steps aside."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lasthop.parsers.yaml_loader import StringsLoader
from lasthop.parsers.yaml_subset import Unusual, read_subset
from tests.conftest import shared

ODD = ["a: b", "- x", "#c", "x #y", "null", "010", "12:30", "fd00::", "it's", 'say "x"', " lead", "trail ", "[a]", "|"]
LEAVES = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=12) | st.sampled_from(ODD)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def slow(text: str) -> Any:
    return yaml.load(text, Loader=StringsLoader)


@given(st.lists(VALUES, min_size=1, max_size=3) | st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_dumped_values_are_read_alike(value: Any) -> None:
    for text in (
        yaml.safe_dump(value, default_flow_style=False, allow_unicode=True, width=10**6),
        yaml.safe_dump(value, default_flow_style=False, width=30),
        yaml.safe_dump(value, default_flow_style=None),
    ):
        try:
            found = read_subset(text)
        except Unusual:
            continue
        assert found == slow(text)


@given(st.text(alphabet="ab:- \n'\"|#[]{}01\\~?&*!>,.", max_size=60))
@settings(max_examples=300, deadline=None)
def test_what_it_accepts_libyaml_accepts_with_the_same_value(text: str) -> None:
    try:
        found = read_subset(text)
    except Unusual:
        return
    assert found == slow(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("b:\n- x\n-   y: 2\n    z: 3\n- - 4\n  - 5\nc:\n  d: e\n", {"b": ["x", {"y": 2, "z": 3}, [4, 5]], "c": {"d": "e"}}),  # noqa: E501
        ("a: |\n  one\n   two\n\n  three\nb: x\n", {"a": "one\n two\n\nthree\n", "b": "x"}),
        ("a: |-\n  one\n", {"a": "one"}),
        ("a: 'it''s'\nb: \"q\\\"\\n\\u00e9\"\n", {"a": "it's", "b": 'q"\né'}),
        ("c: []\nd: {}\ne:\n", {"c": [], "d": {}, "e": None}),
        ("f:metadata:\n  .: {}\n  k:{\"type\":\"X\"}: y\n", {"f:metadata": {".": {}, 'k:{"type":"X"}': "y"}}),
        ("# c\nmac: 12:34:56:10:20:30\nn: 010\nip: ::1\n", {"mac": "12:34:56:10:20:30", "n": "010", "ip": "::1"}),
    ],
)  # fmt: skip
def test_the_subset_itself(text: str, value: Any) -> None:
    assert read_subset(text) == value == slow(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a: b: c\n", "a: b\n  c\n", "a: [1]\n", "a: &x b\n", "a: *x\n", "a: !!str b\n", "a: >\n  x\n",
     "a: b # c\n", "a: 'x\n", 'a: "\\x41"\n', "a:\tb\n", "a: 1\n   b: 2\n", "a:\n  b: 1\n c: 2\n", "- a\nb: 1\n",
     "? a\n: b\n", "a: b\r\n",
     "\ufeffa: b\n", "a: \x85\n", "a: fd00::\n", "- |\n  x", "a: b\n--- c: d\n"],
)  # fmt: skip
def test_everything_else_is_left_to_the_real_parser(text: str) -> None:
    with pytest.raises(Unusual):
        read_subset(text)


def test_real_objects_are_inside_the_subset() -> None:
    folder = shared("reference-cluster", "cases", "healthy-vxlan-nft")
    for path in sorted([*folder.glob("cluster/*.yaml"), *folder.glob("k8s-handmade/*.yaml")]):
        text = path.read_text()
        assert read_subset(text) == slow(text), path.name
