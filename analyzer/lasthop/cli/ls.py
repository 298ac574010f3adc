"""`lasthop ls`: what is in the bundle, what is missing, and which step that hides."""

from __future__ import annotations

from .arguments import Bundles, NoColor, Verbose


def ls(bundles: Bundles, verbose: Verbose = 0, no_color: NoColor = False) -> None:
    """List what the bundle holds, what is missing or not understood, and what cannot be judged without it."""
    from lasthop.report.inventory import inventory
    from lasthop.snapshot.coverage import bundle_health

    from . import output
    from .opening import open_snapshot
    from .progress import Progress

    with Progress() as progress:
        snapshot, _bundle = open_snapshot(bundles, progress)
    output.write(
        inventory(
            bundle_health(snapshot), width=output.width(), color=output.colored(no_color), verbose=verbose
        )
    )
