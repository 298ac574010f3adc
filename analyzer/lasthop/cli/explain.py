"""`lasthop explain CODE|RULE|model`: the stable words of a report, and what the simulated kernel knows."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from lasthop.errors import UsageError

_RULE_ID = re.compile(r"[A-Za-z]{2,6}-[A-Za-z]{2,6}-[0-9]{3}")
_HEADING = re.compile(r"^#{2,4} +`?([A-Za-z0-9_.-]+)`?(?:[ :·-].*)?$")
_ROW = re.compile(r"^\| *`([A-Za-z0-9_.-]+)` *\|")


def explain(
    word: Annotated[str, typer.Argument(metavar="CODE|RULE|model", help="pod-route-missing, CAL-RT-003, NO_ROUTE, …")],
) -> None:
    """Explain a cause code, a disposition, a rule, or (model) what the simulated kernel knows and what it does not."""
    from . import output

    output.write(text(word))


def text(word: str) -> str:
    """The page of `word`. Raises UsageError with near words when nothing is called like this."""
    from .names import near

    if word == "model":
        from lasthop.sim.support import support_table

        return support_table().rstrip() + "\n"
    if _RULE_ID.fullmatch(word):
        from . import rules

        return rules.page(word, rules._pack(None))
    sections = _sections()
    for name in (word, word.upper(), word.lower()):
        if name in sections:
            return sections[name].rstrip() + "\n"
    raise UsageError(f"nothing is called {word}{near(word, (*sections, 'model'))}")


def _sections() -> dict[str, str]:
    """Name -> text, of the sections and table rows of causes.md and dispositions.md."""
    from lasthop.resources import docs_dir

    found: dict[str, str] = {}
    for page in ("causes.md", "dispositions.md"):
        path = docs_dir() / page
        if path.is_file():
            found |= _named(path.read_text(encoding="utf-8").split("\n"))
    return found


def _named(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name, body = "", [""]
    header: list[str] = []
    for line in [*lines, "## -"]:
        row = _ROW.match(line)
        if row:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            titles = header or [""] * len(cells)
            found[row[1]] = row[1] + "\n" + "\n".join(
                f"{title}: {cell}" if title else cell for title, cell in zip(titles[1:], cells[1:], strict=False)
            )
        elif line.startswith("|") and not re.match(r"^\|[ :|-]+\|$", line):
            header = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("#"):
            if name:
                found.setdefault(name, "\n".join(body))
            heading = _HEADING.match(line)
            name, body = (heading[1], [line.lstrip("# ")]) if heading else ("", [""])
        else:
            body.append(line)
    found.pop("-", None)
    return found
