"""`lasthop ls`: what is in the bundle, what is missing, and which step that hides."""

from __future__ import annotations

from .arguments import Bundles, NoColor, Verbose


def ls(bundles: Bundles, verbose: Verbose = 0, no_color: NoColor = False) -> None:
    """List what the bundle holds, what is missing or not understood, and what cannot be judged without it."""
    from lasthop.diagnosis.health import health
    from lasthop.report.inventory import inventory
    from lasthop.snapshot.build import read_all

    from . import output
    from .opening import open_snapshot
    from .progress import Progress

    with Progress() as progress:
        snapshot, bundle = open_snapshot(bundles, progress)
        read_all(snapshot)
        found = health(snapshot, bundle)
    output.write(inventory(found, width=output.width(), color=output.colored(no_color), verbose=verbose))
