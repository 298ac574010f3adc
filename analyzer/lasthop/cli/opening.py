"""From paths on the command line to a Snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lasthop.bundle.model import Bundle
    from lasthop.facts.snapshot import Snapshot


def open_snapshot(paths: list[Path], progress: Callable[[str, int, int], None]) -> tuple[Snapshot, Bundle]:
    """The snapshot of all bundles given together, and the bundle for quotations.

    Raises BundleError when a path does not exist or no member of it can be read.
    """
    from lasthop.bundle import open_bundle
    from lasthop.snapshot.build import build

    progress("reading the bundle", 0, 0)
    bundle = open_bundle(paths)
    progress("parsing", 0, 0)
    return build(bundle), bundle
