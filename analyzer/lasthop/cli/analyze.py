"""`lasthop analyze`: from bundles to a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lasthop.errors import UsageError

from .arguments import Bundles, From, NoColor, To, Verbose


def analyze(
    bundles: Bundles,
    source: From = None,
    destination: To = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the report as JSON; - is stdout.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one HTML page.")
    ] = None,
    rules_dir: Annotated[
        Path | None, typer.Option("--rules", metavar="DIR", help="Rule files of your own, besides the shipped ones.")
    ] = None,
    verbose: Verbose = 0,
    no_color: NoColor = False,
) -> None:
    """Say where the packet dies, why, what to change and how to check it.

    Without --from and --to the question of the collector is answered, else the failing flows are looked for.

    Exit codes: 0 no break, 1 break, 2 wrong usage or no readable bundle, 3 not enough evidence.
    """
    from .question import parse_question

    question = parse_question(source, destination)
    if rules_dir is not None and not rules_dir.is_dir():
        raise UsageError(f"--rules {rules_dir}: no such folder.")
    if rules_dir is not None and not any(rules_dir.rglob("*.yaml")):
        raise UsageError(f"--rules {rules_dir}: no rule file (*.yaml) in it.")
    json_path = None if json_file in (None, "-") else Path(str(json_file))
    for option, target in (("--html", html_file), ("--json", json_path)):
        if target is None:
            continue
        if not target.name or target.is_dir():
            raise UsageError(f"{option} {target}: is a folder; name a file.")
        if not target.absolute().parent.is_dir():
            raise UsageError(f"{target}: the folder {target.absolute().parent} does not exist.")

    from . import output
    from .names import check_question
    from .opening import open_snapshot
    from .progress import Progress

    with Progress() as progress:
        snapshot, bundle = open_snapshot(bundles, progress)
        if question is not None:
            check_question(question, snapshot)
        from lasthop.diagnosis.diagnose import diagnose

        diagnosis = diagnose(snapshot, bundle, (question,) if question else (), rules_dir, progress)

    if json_file is not None:
        from lasthop.report.json_report import dumps

        if json_file == "-":
            output.write_json(dumps(diagnosis))
        else:
            output.save(Path(json_file), dumps(diagnosis))
    from lasthop.report.view import report_view

    view = report_view(diagnosis)
    if html_file is not None:
        from lasthop.report.html.page import page

        output.save(html_file, page(view))
    if json_file != "-":
        from lasthop.report.terminal import render

        output.write(
            render(
                view,
                width=output.width(),
                color=output.colored(no_color),
                verbose=verbose,
                html=str(html_file) if html_file else "",
            )
        )
    raise typer.Exit(diagnosis.exit_code)
