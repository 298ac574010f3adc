"""Real traffic between real sockets, and what the client saw of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .cluster import Cluster
from .machine import run

LARGE = 65_536


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: result is ok, timeout, refused, host-unreachable or net-unreachable; stage is where it ended (connect,
    answer, done).
    """

    result: str
    stage: str
    answer: str
    received: int
    seconds: float

    @property
    def works(self) -> bool:
        return self.result == "ok" and self.stage == "done"

    def words(self) -> str:
        if self.works:
            return f"ok: answer from {self.answer}, {self.received} bytes"
        return f"{self.result} in {self.stage}" + (f" after {self.received} bytes" if self.received else "")


def flow_works(
    cluster: Cluster, source: str, address: str, port: int, proto: str = "tcp", size: int = 0, limit: float = 3.0
) -> Attempt:
    """Try once from pod `source` (ns/name), or from node `source`, to an address; `size` bytes are asked for."""
    words = ("lab-probe", address, str(port), proto, str(size), str(limit))
    place = cluster.sandboxes[source] if "/" in source else cluster.node(source)
    done = run(place.enter(*words), timeout=limit + 20)
    seen = json.loads(done.stdout)
    return Attempt(seen["result"], seen["stage"], seen["answer"], seen["bytes"], seen["seconds"])
