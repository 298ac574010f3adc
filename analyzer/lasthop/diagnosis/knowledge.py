"""What every judgement shares: the simulated world and what Calico's objects say."""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.calico.endpoints import Endpoints
from lasthop.calico.policy import PolicyBook
from lasthop.calico.pools import Pools
from lasthop.facts.snapshot import Snapshot
from lasthop.sim.world import World


@dataclass(frozen=True, slots=True)
class Knowledge:
    world: World
    endpoints: Endpoints
    pools: Pools
    policies: PolicyBook

    @classmethod
    def of(cls, snapshot: Snapshot) -> Knowledge:
        endpoints = Endpoints(snapshot)
        return cls(World(snapshot), endpoints, Pools(endpoints), PolicyBook(endpoints))
