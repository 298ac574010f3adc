"""Texts of objects: extents, list forms, cut texts, hostile YAML. Values after the YAML 1.2 core schema and JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasthop.parsers.objects import RawObject, load_objects
from lasthop.parsers.yaml_guard import UnsafeYaml, load_yaml

LIST = """\
apiVersion: projectcalico.org/v3
items:
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata:
    name: a
  spec:
    note: |
      - not an item
    cidr: 10.0.0.0/16
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata:
    name: b
kind: IPPoolList
metadata:
  resourceVersion: "83"
"""


def extents(text: str) -> list[tuple[str, int, int]]:
    return [(item.name, item.source.line, item.source.end_line) for item in load_objects(text, "x").values]


def test_a_yaml_list_cites_each_object() -> None:
    result = load_objects(LIST, "x")
    assert result.unparsed == () and not result.truncated
    assert extents(LIST) == [("a", 3, 10), ("b", 11, 14)]
    first = result.values[0]
    assert first.source.text == "- apiVersion: projectcalico.org/v3"
    assert first.spec == {"note": "- not an item\n", "cidr": "10.0.0.0/16"}


def test_kind_list_first_and_indented_items() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n  - kind: Pod\n    metadata: {name: p}\n  - kind: Pod\n"
    assert extents(text) == [("p", 4, 5), ("", 6, 6)]


def test_empty_list_has_no_objects_and_no_doubt() -> None:
    for text in ("kind: TierList\nitems: []\n", '{"kind": "TierList", "items": []}', ""):
        result = load_objects(text, "x")
        assert (result.values, result.unparsed, result.truncated) == ((), (), False)


def test_several_documents_and_a_bare_list() -> None:
    text = "---\nkind: Node\nmetadata:\n  name: a\n---\n# nothing\n---\nkind: Node\nmetadata:\n  name: b\n"
    assert extents(text) == [("a", 2, 4), ("b", 8, 10)]
    assert extents("- kind: ipPool\n  metadata: {name: a}\n- kind: ipPool\n  metadata: {name: b}\n") == [
        ("a", 1, 2),
        ("b", 3, 4),
    ]


def test_json_lists_have_line_extents() -> None:
    body = {"apiVersion": "v1", "items": [{"kind": "Pod", "metadata": {"name": n}} for n in "ab"], "kind": "List"}
    assert extents(json.dumps(body, indent=2)) == [("a", 4, 9), ("b", 10, 15)]
    assert extents(json.dumps(body)) == [("a", 1, 1), ("b", 1, 1)]
    assert extents('[{"kind": "Pod"}]\n{"kind": "Pod"}\n') == [("", 1, 1), ("", 2, 2)]


def test_items_without_a_kind_take_it_from_the_list() -> None:
    text = '{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"p"}}]}'
    (item,) = load_objects(text, "x").values
    assert (item.kind, item.api_version) == ("Pod", "v1")
    (item,) = load_objects("kind: PodList\napiVersion: v1\nitems:\n- metadata: {name: p}\n", "x").values
    assert (item.kind, item.name) == ("Pod", "p")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_cut_json_keeps_whole_objects(cut: int) -> None:
    body = {"items": [{"kind": "Pod", "metadata": {"name": name}} for name in ("one", "two")], "kind": "PodList"}
    text = json.dumps(body, indent=1)
    second = text.index("two")
    result = load_objects(text[: second - cut % 20], "x")
    assert result.truncated and [item.name for item in result.values] == ["one"]
    assert result.unparsed == ()


def test_cut_yaml_drops_the_last_object() -> None:
    for text in (LIST[: LIST.index("name: b") + 5], LIST[: LIST.index("kind: IPPoolList")]):
        result = load_objects(text, "x")
        assert result.truncated and [item.name for item in result.values] == ["a"]


@given(st.integers(0, len(LIST)))
def test_any_cut_of_yaml_gives_only_true_objects(cut: int) -> None:
    whole = {json.dumps(item.body) for item in load_objects(LIST, "x").values}
    result = load_objects(LIST[:cut], "x")
    if cut and LIST[:cut].strip() and len(result.values) < 2:
        assert result.truncated or result.unparsed or cut < LIST.index("- apiVersion")
    assert {json.dumps(item.body) for item in result.values} <= whole


def test_one_broken_object_does_not_hide_the_others() -> None:
    text = "kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n- kind: [\n- kind: Pod\n  metadata: {name: c}\n"
    result = load_objects(text, "x")
    assert [item.name for item in result.values] == ["a", "c"]
    assert [item.source.line for item in result.unparsed] == [5]
    text = '{"items": [\n  {"kind": "Pod"},\n  {"kind": nonsense},\n  {"kind": "Node"}\n], "kind": "List"}'
    result = load_objects(text, "x")
    assert [item.kind for item in result.values] == ["Pod", "Node"]
    assert [item.source.line for item in result.unparsed] == [3]


def test_text_of_other_tools_before_the_objects_is_counted() -> None:
    result = load_objects("Warning: something else\nkind: Node\nmetadata: {name: n}\n", "x")
    assert [item.name for item in result.values] == ["n"]
    assert len(result.unparsed) == 1


def test_strings_stay_strings() -> None:
    text = "a: 12:34:56:10:20:30\nb: 010\nc: no\nd: 2026-11-23\ne: 1.5\nf: 0x10\ng: 12\nh: true\ni: null\nj: -3\nk: ~\n"
    assert load_yaml(text) == {
        "a": "12:34:56:10:20:30",
        "b": "010",
        "c": "no",
        "d": "2026-11-23",
        "e": "1.5",
        "f": "0x10",
        "g": 12,
        "h": True,
        "i": None,
        "j": -3,
        "k": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 50_000,
        "- " * 5_000 + "x",
        "\n".join(" " * n + "a:" for n in range(200)),
        "a: &a [x,x]\n" + "\n".join(f"b{n}: &b{n} [*a, *a]" for n in range(20)),
    ],
)
def test_bombs_are_refused(text: str) -> None:
    with pytest.raises(UnsafeYaml):
        load_yaml(text)
    started = time.process_time()
    result = load_objects("kind: List\nitems:\n- kind: Pod\n  x: 1\n---\n" + text + "\n", "x")
    assert result.unparsed and time.process_time() - started < 5


def test_deep_json_is_refused() -> None:
    deep = '{"kind": "Pod", "x": ' + "[" * 200 + "]" * 200 + "}"
    text = '{"items": [' + deep + '\n,{"kind": "Node"}], "kind": "List"}'
    result = load_objects(text, "x")
    assert result.unparsed and all(item.kind != "Pod" for item in result.values)
    assert load_objects("[" * 100_000, "x").values == ()


def test_explicit_tags_never_make_other_types() -> None:
    text = "a: !!python/object:os.system x\nb: !!timestamp 2026-11-23\nc: !!binary aGk=\nd: !!set {x: null}\n"
    assert load_yaml(text) == {"a": "x", "b": "2026-11-23", "c": "aGk=", "d": {"x": None}}


def test_half_surrogates_become_writable() -> None:
    (item,) = load_objects('{"kind": "Pod", "metadata": {"name": "a\\ud800b"}}', "x").values
    assert item.name == "a\ufffdb"


def test_labels_of_a_crd_come_from_its_annotation() -> None:
    body: dict[str, Any] = {
        "kind": "NetworkPolicy",
        "metadata": {
            "labels": {"a": "k8s", "b": "kept"},
            "annotations": {"projectcalico.org/metadata": json.dumps({"labels": {"a": "calico"}})},
        },
    }
    (item,) = load_objects(json.dumps(body), "x").values
    assert item.labels == {"a": "calico", "b": "kept"}


@given(st.text(alphabet=st.sampled_from("{}[]\",:-\n kinditems#&*!|>'0au\\"), max_size=200))
@settings(max_examples=300)
def test_never_raises(text: str) -> None:
    result = load_objects(text, "x")
    assert all(isinstance(item, RawObject) for item in result.values)


@given(st.text())
def test_never_raises_on_any_text(text: str) -> None:
    load_objects(text, "x")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 1, 2]))
def test_json_values_are_those_of_the_json_module(bodies: list[Any], indent: int | None) -> None:
    items = [{"kind": "Pod", "spec": {"v": body}} for body in bodies]
    text = json.dumps({"items": items, "kind": "PodList"}, indent=indent)
    assert [item.body for item in load_objects(text, "x").values] == items


@pytest.mark.slow
def test_thirty_thousand_endpoints() -> None:
    one = {"kind": "WorkloadEndpoint", "metadata": {"labels": {f"l{n}": "x" * 20 for n in range(8)}}, "spec": {"n": 1}}
    text = json.dumps({"items": [one] * 30_000, "kind": "WorkloadEndpointList"}, indent=2)
    started = time.process_time()
    assert len(load_objects(text, "x").values) == 30_000
    assert time.process_time() - started < 3
