"""`lasthop rules list|explain|test|lint`: the rule book."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lasthop.errors import RuleError, UsageError

if TYPE_CHECKING:
    from lasthop.rules.model import Rule

app = typer.Typer(
    help="The rule book: list, explain, test and lint rules.", no_args_is_help=True, rich_markup_mode=None
)
RulesDir = Annotated[
    Path | None, typer.Option("--rules", metavar="DIR", help="Rule files of your own, besides the shipped ones.")
]


def _pack(folder: Path | None) -> tuple[Rule, ...]:
    from lasthop.rules.load import load_pack

    return load_pack(() if folder is None else (folder,))


@app.command("list")
def list_rules(rules_dir: RulesDir = None) -> None:
    """Every rule: id, severity, place and title."""
    from . import output

    for rule in _pack(rules_dir):
        output.write(f"{rule.id:<12} {rule.severity:<9} {rule.place:<8} {rule.title}\n")


@app.command("explain")
def explain_rule(rule_id: Annotated[str, typer.Argument(metavar="RULE")], rules_dir: RulesDir = None) -> None:
    """What a rule looks for, why it matters, what it needs and when it is wrong."""
    from . import output

    output.write(page(rule_id, _pack(rules_dir)))


def page(rule_id: str, pack: tuple[Rule, ...]) -> str:
    """The rule's own page. Raises UsageError with near names for an id that the pack lacks."""
    from lasthop.rules.explain import explain_rule

    from .names import near

    known = {rule.id: rule for rule in pack}
    rule = known.get(rule_id.upper())
    if rule is None:
        raise UsageError(f"no rule {rule_id}{near(rule_id.upper(), known)}")
    return explain_rule(rule).rstrip() + "\n"


@app.command("test")
def test_rules(
    rule_ids: Annotated[list[str] | None, typer.Argument(metavar="RULE", help="All when none is named.")] = None,
    rules_dir: RulesDir = None,
) -> None:
    """Run the tests that every rule file carries; exit 1 when one fails."""
    from lasthop.rules.check import test_rule

    from . import output
    from .names import near

    known = {rule.id: rule for rule in _pack(rules_dir)}
    wanted = [one.upper() for one in rule_ids or known]
    for one in wanted:
        if one not in known:
            raise UsageError(f"no rule {one}{near(one, known)}")
    outcomes = [outcome for one in wanted for outcome in test_rule(known[one])]
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        output.write(f"{outcome.rule}: {outcome.test}: {outcome.problem}\n")
    output.write(f"{len(wanted)} rules, {len(outcomes)} tests, {len(failed)} failed\n")
    raise typer.Exit(1 if failed else 0)


@app.command("lint")
def lint(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR", help="Rule files, or folders of them.")],
) -> None:
    """Check rule files without a bundle: keys, words, query, tests; exit 2 when one is wrong."""
    from lasthop.rules.check import lint as problems
    from lasthop.rules.load import load_rule

    from . import output

    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder.")
        files += sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{paths[0]}: no rule file (*.yaml) in there.")
    wrong = 0
    for file in files:
        try:
            sentences = tuple(f"{file}: {problem}" for problem in problems(load_rule(file)))
        except RuleError as error:
            sentences = (str(error),)
        for sentence in sentences:
            wrong += 1
            output.write(f"{sentence}\n")
    output.write(f"rule files: {len(files)}, problems: {wrong}\n")
    raise typer.Exit(2 if wrong else 0)
