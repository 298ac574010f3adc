"""`lasthop collector`: the collector of this very version."""

from __future__ import annotations


def collector() -> None:
    """Print the collector.sh that belongs to this version: lasthop collector > collector.sh."""
    from lasthop.errors import LasthopError
    from lasthop.resources import collector_path

    from . import output

    try:
        text = collector_path().read_text(encoding="utf-8")
    except OSError as error:
        raise LasthopError(f"collector.sh is not in this installation: {error.strerror}.") from None
    output.write_json(text)
