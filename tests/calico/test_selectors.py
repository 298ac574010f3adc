"""Selectors: semantics of libcalico-go/lib/selector (its documented table), Kleene logic for unknown labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasthop.calico.selectors import (
    NOTHING_KNOWN,
    LabelView,
    SelectorError,
    canonical,
    evaluate,
    matches,
    parse,
    with_prefix,
)

LABELS = LabelView({"a": "b", "role": "web-front", "empty": "", "x.y/z-1": "v", "projectcalico.org/namespace": "shop"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("all()", True),
        ("  all( )  ", True),
        ("global()", False),
        ("a == 'b'", True),
        ('a=="b"', True),
        ("a == 'c'", False),
        ("missing == 'b'", False),
        ("a != 'b'", False),
        ("a != 'c'", True),
        ("missing != 'b'", True),
        ("a in {'b', 'c'}", True),
        ("a in {'c',}", False),
        ("a in {}", False),
        ("missing in {'b'}", False),
        ("a not in {'b'}", False),
        ("a notin {'c'}", True),
        ("missing not in {'b'}", True),
        ("a not in {}", True),
        ("has(a)", True),
        ("has( a )", True),
        ("has(empty)", True),
        ("has(missing)", False),
        ("!has(missing)", True),
        ("!!has(missing)", False),
        ("role contains 'front'", True),
        ("role contains ''", True),
        ("missing contains ''", False),
        ("role starts with 'web'", True),
        ("role starts with 'front'", False),
        ("role ends  with 'front'", True),
        ("x.y/z-1 == 'v'", True),
        ("a == 'b' && has(missing)", False),
        ("a == 'b' || has(missing)", True),
        ("has(missing) && has(missing) || a == 'b'", True),
        ("has(missing) && (has(missing) || a == 'b')", False),
        ("!(a == 'b' && has(missing))", True),
        ("!has(missing) && a == 'b'", True),
        ("in == 'x'", False),
        ("has(in)", False),
    ],
)
def test_truth(text: str, expected: bool) -> None:
    assert evaluate(parse(text), LABELS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a ==",
        "== 'b'",
        "a = 'b'",
        "a == b",
        "a == 'b' &&",
        "(a == 'b'",
        "a == 'b')",
        "a in 'b'",
        "a in {b}",
        "has()",
        "a in {'b' 'c'}",
        "all",
        "!",
        "a == 'b' a == 'c'",
        "a == 'b\"",
        "a & b",
        "a like 'b'",
        "(" * 200 + "all()" + ")" * 200,
    ],
)
def test_bad_selectors(text: str) -> None:
    with pytest.raises(SelectorError):
        parse(text)
    assert matches(text, LABELS) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all()", True),
        ("a == 'b'", None),
        ("a == 'b' || all()", True),
        ("a == 'b' && !all()", False),
        ("!has(a)", None),
        ("global()", None),
    ],
)
def test_nothing_known(text: str, expected: bool | None) -> None:
    assert evaluate(parse(text), NOTHING_KNOWN) is expected


def test_unknown_prefixes() -> None:
    view = LabelView({"pcns.team": "red"}, ("pcns.",))
    assert matches("pcns.team == 'red'", view) is True
    assert matches("pcns.other == 'x'", view) is None
    assert matches("has(own)", view) is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=='b'", 'a == "b"'),
        ("a == 'say \"hi\"'", "a == 'say \"hi\"'"),
        ("b in {'z','a','z'}", 'b in {"a", "z"}'),
        ("b notin {'z'}", 'b not in {"z"}'),
        ("has(a)&&has(b)||!has(c)", "((has(a) && has(b)) || !has(c))"),
        ("(((has(a))))", "has(a)"),
        ("", "all()"),
    ],
)
def test_canonical_form(text: str, expected: str) -> None:
    assert canonical(parse(text)) == expected


def test_namespace_selectors() -> None:
    assert canonical(with_prefix(parse("team == 'red' && !has(x)"), "pcns.")) == (
        '(pcns.team == "red" && !has(pcns.x))'
    )
    assert canonical(with_prefix(parse("all()"), "pcns.")) == "has(projectcalico.org/namespace)"
    assert canonical(with_prefix(parse("global()"), "pcns.")) == "!has(projectcalico.org/namespace)"


@given(st.text(alphabet="ab()&|!='\"{}, hasinotrwcdg./-", max_size=40))
def test_parse_gives_a_selector_or_its_own_error(text: str) -> None:
    try:
        selector = parse(text)
    except SelectorError:
        return
    assert evaluate(selector, LABELS) in (True, False)
    assert parse(canonical(selector)) == parse(canonical(parse(canonical(selector))))


@given(st.sampled_from(["a == 'b'", "!has(q) || a == 'c'", "q in {'1'} && has(a)", "!(q == '1')"]), st.booleans())
def test_unknown_never_contradicts_what_turns_out(text: str, present: bool) -> None:
    """Hiding a label may turn a verdict to None and never to its opposite."""
    full = LabelView({"a": "b", "q": "1"} if present else {"a": "b"})
    hidden = LabelView({"a": "b"}, ("q",))
    before = evaluate(parse(text), hidden)
    assert before is None or before is evaluate(parse(text), full)
