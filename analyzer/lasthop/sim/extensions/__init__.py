"""Matches and targets of iptables: one registry, each with its support state. Importing this package fills it."""

from __future__ import annotations

import lasthop.sim.extensions.addresses
import lasthop.sim.extensions.marks
import lasthop.sim.extensions.opaque
import lasthop.sim.extensions.sets
import lasthop.sim.extensions.state
import lasthop.sim.extensions.targets
import lasthop.sim.extensions.transport  # noqa: F401

from .registry import (
    CompiledMatch,
    Support,
    TargetKind,
    compile_matches,
    compile_target,
    match_extensions,
    match_support,
    target_extensions,
    target_support,
)

__all__ = [
    "CompiledMatch", "Support", "TargetKind", "compile_matches", "compile_target", "match_extensions",
    "match_support", "target_extensions", "target_support",
]  # fmt: skip
