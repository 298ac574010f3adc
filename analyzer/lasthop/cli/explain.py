"""`lasthop explain CODE|RULE|model`: the stable words of a report, and what the simulated kernel knows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from lasthop.errors import UsageError

if TYPE_CHECKING:
    from lasthop.sim.extensions.registry import MatchExtension, TargetExtension

_SECTION = re.compile(r"^## ([A-Z_]+)\n(.*?)(?=^## |\Z)", re.M | re.S)


def explain(
    word: Annotated[str, typer.Argument(metavar="CODE|RULE|model", help="route-missing, CAL-RT-001, NO_ROUTE, model")],
) -> None:
    """Explain a cause code, a disposition, a rule, or (model) what the simulated kernel knows and what it does not."""
    from . import output

    output.write(text(word))


def text(word: str) -> str:
    """The page of `word`. Raises UsageError with near words when nothing is called like this."""
    if word.lower() == "model":
        return model()
    endings = dispositions()
    if word.upper() in endings:
        return f"{word.upper()}\n\n{endings[word.upper()]}\n"

    from lasthop.rules.causes import causes
    from lasthop.rules.explain import explain as page
    from lasthop.rules.load import load_pack

    from .names import near

    pack = load_pack()
    known = {rule.id for rule in pack} | set(causes()) | {"tables"}
    if word.upper() not in known and word.lower() not in known:
        raise UsageError(f"nothing is called {word}{near(word, (*known, *endings, 'model'))}")
    return page(word, pack)


def dispositions() -> dict[str, str]:
    """Name -> text of each section of docs/dispositions.md; empty when the page is not there."""
    from lasthop.resources import docs_dir

    path = docs_dir() / "dispositions.md"
    if not path.is_file():
        return {}
    return {match[1]: match[2].strip() for match in _SECTION.finditer(path.read_text(encoding="utf-8"))}


def model() -> str:
    """The matches and targets of iptables with their support state, as the simulator itself registers them."""
    from lasthop.sim.extensions import match_extensions, target_extensions

    lines = [
        "What the simulated kernel knows. A rule with a match that is not listed, or with an option that is not, is",
        "UNKNOWN: the walk follows both branches and says what would decide.",
        "",
        "Matches",
        *_rows(match_extensions()),
        "",
        "Targets",
        *_rows(target_extensions()),
    ]
    return "\n".join(lines) + "\n"


def _rows(extensions: Iterable[MatchExtension | TargetExtension]) -> Iterable[str]:
    for extension in extensions:
        name = getattr(extension, "module", "") or getattr(extension, "name", "") or "(built in)"
        yield f"  {name:<14} {extension.support.value:<26} {extension.note}".rstrip()
        options = getattr(extension, "options", ())
        if options:
            yield f"  {'':<14} {', '.join(option for option in options if option)}".rstrip()
