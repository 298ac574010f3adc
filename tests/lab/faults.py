"""Break a running cluster with plain commands, and repair it with plain commands; both are recorded in a sample's
case.yaml.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .cluster import Cluster


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command and where it runs: a node's name, `pod NS/NAME`, or `router`.

    `action` stands for a command that the lab has no program for: `command` then says in words what a user would type.
    """

    on: str
    command: str
    action: Callable[[Cluster], None] | None = None

    def run(self, cluster: Cluster) -> None:
        if self.action is not None:
            self.action(cluster)
        elif self.on.startswith("pod "):
            cluster.pod_shell(self.on[4:], self.command)
        else:
            cluster.node(self.on).shell(self.command)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done, and what undoes it."""

    breaks: tuple[Command, ...]
    repairs: tuple[Command, ...]


@contextlib.contextmanager
def broken(cluster: Cluster, *faults: Fault) -> Iterator[None]:
    """Inside the block every fault is in place; afterwards each is repaired, the last one first."""
    with contextlib.ExitStack() as stack:
        for fault in faults:
            for command in reversed(fault.repairs):
                stack.callback(command.run, cluster)
            for command in fault.breaks:
                command.run(cluster)
        yield
