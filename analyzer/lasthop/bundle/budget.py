"""How much of a bundle is read before the reader stops: every number is a flag of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import monotonic

MIB = 1 << 20
ARCHIVE_NAME = re.compile(r"\.(tar|tar\.gz|tgz|tar\.xz|txz|tar\.zst|tzst|tar\.bz2|tbz2?|zip|stream)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one `open_bundle` call, over all its inputs together. Sizes in bytes, `seconds` of wall clock.

    `ratio` (decompressed to compressed) is looked at only after `ratio_after` decompressed bytes: small honest files
    of zeros compress better than that.
    """

    members: int = 50_000
    depth: int = 32
    name_bytes: int = 1_024
    text_bytes: int = 128 * MIB
    capture_bytes: int = 512 * MIB
    total_bytes: int = 4_096 * MIB
    ratio: int = 200
    ratio_after: int = 50 * MIB
    line_bytes: int = MIB
    nesting: int = 1
    seconds: float = 600.0


@dataclass(slots=True)
class Meter:
    """What was used of a budget so far. `spend_*` answer "" or the sentence that says which limit was reached."""

    budget: Budget
    members: int = 0
    total: int = 0
    started: float = field(default_factory=monotonic)

    def spend_member(self) -> str:
        self.members += 1
        if self.members > self.budget.members:
            return f"it has more than {self.budget.members} members"
        if monotonic() - self.started > self.budget.seconds:
            return f"reading took longer than {self.budget.seconds:.0f} s"
        return ""

    def spend_bytes(self, count: int) -> str:
        self.total += count
        if self.total > self.budget.total_bytes:
            return f"it holds more than {self.budget.total_bytes // MIB} MiB"
        return ""

    def limit_for(self, path: str) -> int:
        """The largest size that a member of this name may have."""
        large = is_capture_name(path) or ARCHIVE_NAME.search(path)
        return self.budget.capture_bytes if large else self.budget.text_bytes


def is_capture_name(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith((".pcap", ".pcapng", ".cap"))
