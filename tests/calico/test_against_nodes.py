"""What the objects demand against what a healthy Calico really programmed: policy by policy chain, route by route."""

from __future__ import annotations

from functools import cache

import pytest

from lasthop.bundle import open_bundle
from lasthop.calico.endpoints import Endpoints
from lasthop.calico.policy import PolicyBook
from lasthop.calico.pools import Pools
from lasthop.diagnosis.ends import resolve
from lasthop.diagnosis.flow import FlowWalker
from lasthop.facts.network import Ip, Route
from lasthop.facts.snapshot import Question, Snapshot
from lasthop.facts.trace import Disposition
from lasthop.sim.tracer import Tracer
from lasthop.sim.world import World
from lasthop.snapshot.build import build
from tests.conftest import shared

CASES = ["healthy-vxlan-nft"]
DEVICES = {"vxlan": "vxlan.calico", "ipip": "tunl0", "direct": "eth0"}


@cache
def opened(case: str) -> Snapshot:
    return build(open_bundle([shared("reference-cluster", "cases", case)]))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("proto", "port"), [("tcp", 8080), ("tcp", 5432), ("udp", 53)])
def test_policies_as_written_are_what_the_rules_do(case: str, proto: str, port: int) -> None:
    """Every ordered pair of pods: denied by the objects exactly where the walk through Felix's rules is dropped."""
    snapshot = opened(case)
    endpoints, world = Endpoints(snapshot), World(snapshot)
    book, walker = PolicyBook(endpoints), FlowWalker(world, Tracer(world))
    outcomes = set()
    for src in endpoints.workloads:
        for dst in endpoints.workloads:
            if src is dst:
                continue
            written = book.judge(src.ips[0].network_address, dst.ips[0].network_address, proto, port).outcome
            names = (f"{end.namespace}/{end.pod}" for end in (src, dst))
            walked = walker.walk(resolve(world, Question(*names, proto, port)))
            dropped = {walk.request.disposition is Disposition.DROPPED_BY_RULE for walk in walked}
            assert dropped == {written == "deny"}, (src.pod, dst.pod, written)
            outcomes.add(written)
    assert outcomes == {"allow", "deny"}


def longest(routes: tuple[Route, ...], ip: Ip) -> Route:
    """The main table's route: longest prefix, then smallest metric."""
    fitting = [route for route in routes if route.table == 254 and ip in route.dst]
    return min(fitting, key=lambda route: (-route.dst.prefixlen, route.metric))


@pytest.mark.parametrize("case", CASES)
def test_routes_are_those_that_the_pool_demands(case: str) -> None:
    snapshot = opened(case)
    endpoints = Endpoints(snapshot)
    pools = Pools(endpoints)
    checked = 0
    for name, node in snapshot.nodes.items():
        for endpoint in endpoints.workloads:
            ip = endpoint.ips[0].network_address
            expected = pools.expected_route(name, ip)
            route = longest(node.host.routes.values, ip)
            (hop,) = route.nexthops
            if expected.kind == "local":
                assert hop.dev == expected.interface
            else:
                assert (hop.dev, hop.via) == (DEVICES[expected.kind], expected.via[0])
                assert route.dst in expected.prefixes
            checked += 1
    assert checked == 3 * len(endpoints.workloads) > 30
