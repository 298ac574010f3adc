"""`lasthop path`: the walk alone."""

from __future__ import annotations

import typer

from lasthop.errors import UsageError

from .arguments import Bundles, From, NoColor, To, Verbose


def path(
    bundles: Bundles,
    source: From = None,
    destination: To = None,
    verbose: Verbose = 0,
    no_color: NoColor = False,
) -> None:
    """Walk one flow, both directions, stage by stage; -v prints every rule that the packet met.

    The exit code is that of the flow's verdict, as for analyze.
    """
    from .question import parse_question

    question = parse_question(source, destination)
    if question is None:
        raise UsageError("path needs --from and --to.")

    from . import output
    from .names import check_question
    from .opening import open_snapshot
    from .progress import Progress

    with Progress() as progress:
        snapshot, bundle = open_snapshot(bundles, progress)
        check_question(question, snapshot)
        from lasthop.diagnosis.diagnose import diagnose

        diagnosis = diagnose(snapshot, bundle, (question,), None, progress)

    from lasthop.report.terminal import walk_text
    from lasthop.report.view import report_view

    color, columns = output.colored(no_color), output.width()
    view = report_view(diagnosis)
    if not view.flows:
        output.write(f"{view.summary}\n")
    for flow in view.flows:
        output.write(f"{flow.title}: {flow.verdict.value}\n\n")
        walks = [line for branch in flow.branches for line in branch.walks] or flow.walks
        for line in walks:
            output.write(walk_text(line, width=columns, color=color, verbose=verbose + 1) + "\n")
        if not walks:
            output.write(f"  {flow.summary}\n")
    raise typer.Exit(diagnosis.exit_code)
