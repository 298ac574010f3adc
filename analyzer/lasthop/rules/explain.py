"""The page of a rule or of a cause code, as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from lasthop.errors import UsageError

from .causes import Cause, causes
from .load import did_you_mean
from .model import Rule
from .store import all_layouts


def explain(word: str, rules: Sequence[Rule]) -> str:
    """The page of a rule id or cause code; `tables` lists what queries may read. Raises UsageError with near names."""
    if word.lower() == "tables":
        return explain_tables()
    by_id = {rule.id: rule for rule in rules}
    known = causes()
    if word.upper() in by_id:
        return explain_rule(by_id[word.upper()])
    if word.lower() in known:
        code = word.lower()
        return explain_cause(known[code], [rule for rule in rules if rule.code == code])
    raise UsageError(f'"{word}" is neither a rule nor a cause code{did_you_mean(word, [*by_id, *known])}')


def explain_tables() -> str:
    """Every table with its columns, a line each: what a query may read."""
    lines = []
    for layout in all_layouts().values():
        names = [column.name for column in layout.columns if not column.name.endswith(("_lo", "_hi"))]
        keyed = {column.name for column in layout.columns if column.of}
        shown = ", ".join(f"{name}*" if name in keyed else name for name in names)
        lines += textwrap.wrap(f"{layout.name}: {shown}", 78, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([*lines, "", "* has _lo and _hi beside it: sortable keys of the address or prefix"]) + "\n"


def explain_cause(cause: Cause, rules: Iterable[Rule] = ()) -> str:
    lines = [f"{cause.code}: {cause.title}", "", *_wrap(cause.meaning), ""]
    for head, text in (("Evidence", cause.evidence), ("Fix", cause.fix), ("Verify", cause.verify)):
        lines += [f"{head}:", *_wrap(text, "  "), ""]
    lines += [f"Rule {rule.id}: {rule.title}" for rule in rules]
    return "\n".join(lines).rstrip() + "\n"


def explain_rule(rule: Rule) -> str:
    needs = ", ".join(f"{kind} ({need})" for kind, need in rule.needs.items()) or "nothing"
    lines = [
        f"{rule.id}: {rule.title}",
        f"{rule.severity}, {rule.confidence}; place {rule.place}; cause {rule.code}; since {rule.since}",
        "",
        *_wrap(rule.why),
        "",
        *_wrap(f"Needs: {needs}."),
        "",
        "Fix:",
        *(f"  [{fix.risk}] on {fix.on}: {fix.command}" for fix in rule.fix),
        "Verify:",
        *(f"  {text}" for text in rule.verify),
    ]
    for head, texts in (("False positives", rule.false_positives), ("References", rule.references)):
        if texts:
            lines += [f"{head}:", *(line for text in texts for line in _wrap(f"- {text}", "  "))]
    lines += ["Query:", textwrap.indent(rule.query, "  ")]
    return "\n".join(lines).rstrip() + "\n"


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, 78, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
