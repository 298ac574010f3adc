"""Checks a rule without any bundle: does its query compile, do its words fit, and do its own tests hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lasthop.errors import RuleError

from .causes import causes
from .gate import plan
from .load import did_you_mean, load_tests
from .model import Rule, RuleTest
from .run import PLACEHOLDER
from .store import LiteralStore, all_layouts, kind_levels, named_tables
from .walk_tables import WALK_TABLES


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """`problem` is "" when the test holds."""

    rule: str
    test: str
    problem: str


def lint(rule: Rule) -> tuple[str, ...]:
    """Sentences about what is wrong with the rule; empty when nothing is."""
    problems = list(_words(rule)) + list(_needs(rule))
    try:
        columns = LiteralStore({}).select(rule.query, (0,)).columns
    except RuleError as error:
        return (*problems, str(error))
    shown = (*columns, "node")
    for text in (rule.message, *(f.command for f in rule.fix), *(f.on for f in rule.fix), *rule.verify):
        for name in PLACEHOLDER.findall(text):
            if name and name not in shown:
                problems.append(f"{{{name}}} is not a column of the query{did_you_mean(name, shown)}")
    if rule.place != "bundle" and not any(name == "src" or name.endswith("_src") for name in columns):
        problems.append("the query returns no *_src column: a finding must cite its evidence")
    return tuple(problems)


def _words(rule: Rule) -> Iterable[str]:
    if rule.code not in causes():
        yield f'the code "{rule.code}" is not in docs/causes.md{did_you_mean(rule.code, causes())}'
    if rule.path.stem != rule.id:
        yield f"the file should be called {rule.id}.yaml"


def _needs(rule: Rule) -> Iterable[str]:
    known = kind_levels()
    asked = {kind.removeprefix("pod.") for kind in rule.needs}
    for kind in rule.needs:
        level = known.get(kind.removeprefix("pod."))
        if level is None:
            yield f'needs: "{kind}" is no kind of evidence{did_you_mean(kind, known)}'
        elif kind.startswith("pod.") and level != "netns":
            yield f'needs: "{kind}": pods have no {kind[4:]} of their own'
    for table in named_tables(rule.query):
        kind = all_layouts()[table].kind
        if kind and kind not in asked and f"{kind}6" not in asked and table not in WALK_TABLES and kind in known:
            yield f'the query reads {table}, but needs does not say "{kind}: presence" or "absence"'


def check_query(rule: Rule) -> None:
    """Raises RuleError with everything that `lint` says. For rules that do not come with the program."""
    problems = lint(rule)
    if problems:
        raise RuleError(f"{rule.path}: {rule.id}: " + "; ".join(problems))


def test_rule(rule: Rule) -> tuple[TestOutcome, ...]:
    """Runs the rule's own tests on their facts. Raises RuleError when the tests themselves cannot be read."""
    return tuple(TestOutcome(rule.id, test.name, _outcome(rule, test)) for test in load_tests(rule))


def _outcome(rule: Rule, test: RuleTest) -> str:
    problem = _facts_problem(test)
    if problem:
        return problem
    store = LiteralStore(test.facts, test.absent)
    runs, missing = plan(rule, store)
    if test.expect is None:
        return "" if missing and not runs else "it was evaluated, and should not have been"
    if missing and not runs:
        return "it was not evaluated, for lack of " + ", ".join(missing[0].lacks)
    rows: list[Mapping[str, Any]] = []
    for run in runs:
        try:
            answer = store.select(rule.query, run.places, rule.needs)
        except RuleError as error:
            return str(error)
        for row in answer.rows:
            values = dict(zip(answer.columns, row, strict=True))
            values.setdefault("node", run.node)
            rows.append(values)
    return _compare(rows, test.expect)


def _facts_problem(test: RuleTest) -> str:
    layouts = all_layouts()
    for table, rows in test.facts.items():
        if table not in layouts:
            return f'no table "{table}"{did_you_mean(table, layouts)}'
        names = [column.name for column in layouts[table].columns] + ["node", "netns"]
        for row in rows:
            for column in row:
                if column not in names:
                    return f'{table} has no column "{column}"{did_you_mean(column, names)}'
    for kind in test.absent:
        if kind.removeprefix("pod.") not in kind_levels():
            return f'absent: "{kind}" is no kind of evidence{did_you_mean(kind, kind_levels())}'
    return ""


def _compare(rows: Sequence[Mapping[str, Any]], expect: Sequence[Mapping[str, Any]]) -> str:
    """Each expected row is part of exactly one row, and no row is left over."""
    left = list(rows)
    for wanted in expect:
        found = next((row for row in left if all(row.get(k, _NO) == v for k, v in wanted.items())), None)
        if found is None:
            return f"no row with {dict(wanted)}; it returned {[_without_keys(row) for row in rows]}"
        left.remove(found)
    return f"unexpected row {_without_keys(left[0])}" if left else ""


_NO = object()


def _without_keys(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not k.endswith(("_lo", "_hi", "src"))}
