"""Applies a rule book to a snapshot: findings with their evidence, and what could not be asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lasthop.errors import QueryRefused, RuleError
from lasthop.facts.snapshot import Snapshot
from lasthop.facts.trace import Command, Finding, NotEvaluated

from .gate import applies, plan
from .model import SEVERITIES, Rule
from .store import SnapshotStore, Store

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([a-z_][a-z0-9_]*)\}")


def run_rules(
    snapshot: Snapshot, rules: Iterable[Rule], flows: Sequence[Any] = ()
) -> tuple[tuple[Finding, ...], tuple[NotEvaluated, ...]]:
    """Findings of all rules, gravest first, and every (rule, node) that the evidence does not allow to ask.

    `flows` are diagnosis.result.FlowResult values; they fill the walk's tables. Raises RuleError for a wrong query.
    """
    store = SnapshotStore(snapshot, flows)
    expected = _expected_nodes(snapshot)
    findings: list[Finding] = []
    missing: list[NotEvaluated] = []
    for rule in rules:
        meant_for, lacks = applies(rule, snapshot)
        if lacks:
            missing.append(NotEvaluated(rule.id, "", lacks))
        if not any(meant_for.values()):
            continue
        runs, unasked = plan(rule, store, expected)
        missing += (item for item in unasked if meant_for.get(item.node, True))
        for run in runs:
            if not meant_for.get(run.node, True):
                continue
            try:
                findings += _ask(rule, store, run.node, run.places)
            except QueryRefused as refusal:
                missing.append(NotEvaluated(rule.id, run.node, (str(refusal),)))
            except RuleError as error:
                raise RuleError(f"{rule.path}: {rule.id}: {error}") from error
    findings.sort(key=lambda f: (SEVERITIES.index(f.severity), f.rule or "", f.node, f.netns, f.object))
    return tuple(findings), tuple(missing)


def _expected_nodes(snapshot: Snapshot) -> tuple[str, ...]:
    cluster = snapshot.cluster
    names = [node.name for node in cluster.calico_nodes.values] + [node.name for node in cluster.nodes.values]
    return tuple(dict.fromkeys(names))


def _ask(rule: Rule, store: Store, node: str, visible: Iterable[int]) -> list[Finding]:
    answer = store.select(rule.query, visible, rule.needs)
    found = [_finding(rule, store, node, dict(zip(answer.columns, row, strict=True))) for row in answer.rows]
    if answer.more:
        last = found[-1]
        found[-1] = replace(last, because=f"{last.because} (and {answer.more} more like it)")
    return found


def _finding(rule: Rule, store: Store, node: str, row: Mapping[str, Any]) -> Finding:
    where = str(row.get("node") or node)
    evidence = []
    for column, value in row.items():
        if (column == "src" or column.endswith("_src")) and value is not None:
            ref = store.sources.get(int(value))
            if ref is not None and ref not in evidence:
                evidence.append(ref)
    return Finding(
        code=rule.code,
        title=rule.title,
        severity=rule.severity,
        confidence=rule.confidence,
        because=substitute(rule.message, row),
        rule=rule.id,
        direction=str(row.get("direction") or ""),
        step=row.get("step"),
        node=where,
        netns=str(row.get("netns") or "host"),
        object=str(row.get("object") or ""),
        place=rule.place,
        evidence=tuple(evidence),
        fix=tuple(
            Command(substitute(fix.command, row), substitute(fix.on, {"node": where, **row}) or "cluster", fix.risk)
            for fix in rule.fix
        ),
        verify=tuple(substitute(text, row) for text in rule.verify),
    )


def substitute(text: str, row: Mapping[str, Any]) -> str:
    """`{column}` replaced by the row's value ("?" for NULL), `{{` and `}}` by braces; nothing else is special."""

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        value = row.get(match[1])
        return "?" if value is None else str(value)

    return PLACEHOLDER.sub(put, text)
