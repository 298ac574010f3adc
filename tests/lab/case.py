"""One sample: a cluster, a flow, what breaks it, what the client must see, and where an analyzer must find the
break.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .faults import Command, Fault
from .model import ClusterSpec


@dataclass(frozen=True, slots=True)
class Break:
    """A break that the analyzer has to name, as the method counts: direction, step, node with the faulty state (None:
    the wire).
    """

    direction: str
    step: int
    node: str | None
    netns: str
    object: str
    cause: str
    disposition: tuple[str, ...]
    codes: tuple[str, ...] = ()
    policy: str | None = None
    share: float = 1.0
    died_at: str | None = None
    accept_steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """`target` is `pod NS/NAME` or `service NS/NAME`; `symptoms` are the results that a broken try may show.

    With `asked` off the collector is not told which flow is broken. `quiet` (healthy cases):
    no finding above info is right.
    """

    name: str
    title: str
    spec: ClusterSpec
    source: str
    target: str
    verdict: str
    breaks: tuple[Break, ...] = ()
    faults: tuple[Fault, ...] = ()
    symptoms: tuple[str, ...] = ("timeout",)
    prepare: tuple[Command, ...] = ()
    collect: tuple[str, ...] = ()
    size: int = 0
    tries: int = 3
    asked: bool = True
    quiet: bool = True
    harmless: tuple[str, ...] = field(default_factory=tuple)

    @property
    def target_key(self) -> str:
        return self.target.split(" ", 1)[1]

    @property
    def address(self) -> tuple[str, int]:
        """Where the client connects to."""
        if self.target.startswith("service "):
            service = next(s for s in self.spec.services if s.key == self.target_key)
            return service.cluster_ip, service.port
        pod = self.spec.pod(self.target_key)
        return pod.ip, pod.ports[0].number

    @property
    def backends(self) -> tuple[str, ...]:
        """The pods behind the Service that is the target; the collector has to be told to look into them."""
        if self.target.startswith("pod "):
            return ()
        service = next(s for s in self.spec.services if s.key == self.target_key)
        return tuple(pod.key for pod in self.spec.endpoints_of(service))

    @property
    def proto(self) -> str:
        """tcp or udp."""
        if self.target.startswith("service "):
            return next(s for s in self.spec.services if s.key == self.target_key).protocol.lower()
        return self.spec.pod(self.target_key).ports[0].protocol.lower()

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes whose bundles the sample holds."""
        return self.collect or tuple(node.name for node in self.spec.nodes)
