"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Bundles = Annotated[
    list[Path], typer.Argument(metavar="BUNDLE", help="Archives or folders; one per node is usual, all at once.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="X", help="Source: namespace/pod, address, node:NAME."),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="Y[:PORT[/PROTO]]",
        help="Destination: namespace/pod, address, [v6], node:NAME or svc:namespace/name; tcp unless said.",
    ),
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (so does NO_COLOR in the environment).")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="The walk; -vv: every rule visited.")]
