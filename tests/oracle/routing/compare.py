"""The product's routing decisions beside the kernel's: `python -m tests.oracle.routing.compare --cases N`."""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field
from ipaddress import ip_address

from lasthop.facts.evidence import Complete
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Outcome, Packet
from lasthop.parsers.iproute_addr import parse_addresses
from lasthop.parsers.iproute_link import parse_links
from lasthop.parsers.iproute_route import parse_routes
from lasthop.parsers.iproute_rule import parse_rules
from lasthop.parsers.sysctl import parse_sysctls
from lasthop.sim import proxy_arp, routing
from lasthop.sim.kernel_state import KernelState

from .generate import Setup, make
from .machine import RoutingMachine


@dataclass
class Count:
    cases: int = 0
    packets: int = 0
    arps: int = 0
    unknown: int = 0
    mismatches: list[str] = field(default_factory=list)


def state_of(texts: dict[str, str]) -> KernelState:
    """The netns as the product reads it from the collector's outputs."""
    return KernelState(
        NetNS(
            "router",
            links=Complete(parse_links(texts["links"], "links").values),
            addresses=Complete(parse_addresses(texts["addresses"], "addresses").values),
            routes=Complete(parse_routes(texts["routes"], "routes", 4).values),
            routing_rules=Complete(parse_rules(texts["rules"], "rules", 4).values),
            sysctls=Complete(parse_sysctls(texts["sysctls"], "sysctls").values),
        )
    )


def predicted(state: KernelState, packet: Packet) -> set[str] | None:
    """All places where the packet may appear ("" = nowhere); None when the product does not know."""
    places = set()
    for decision in routing.route_input(state, packet, packet.iif):
        if decision.kind == "unknown":
            return None
        places.add({"forward": decision.dev, "local": "local", "drop": ""}[decision.kind])
    return places


def compare(machine: RoutingMachine, setup: Setup, count: Count, seed: str) -> None:
    machine.configure(setup)
    texts = machine.state()
    state = state_of(texts)
    seen = machine.send(setup.packets)
    count.cases += 1
    for ident, packet in enumerate(setup.packets, 1):
        count.packets += 1
        places = predicted(state, packet)
        if places is None:
            count.unknown += 1
        elif seen.get(ident, "") not in places:
            count.mismatches.append(
                f"{seed}: {packet.src} > {packet.dst}:{packet.dport} tos {packet.tos} in {packet.iif}: kernel "
                f"{seen.get(ident, '') or 'drops'}, simulated {sorted(places)}"
            )
    for port, sender, target in setup.arps:
        count.arps += 1
        asked = Packet(4, "", ip_address(sender), ip_address(target), iif=port)
        step = proxy_arp.answers(state, port, asked)
        if step.outcome is Outcome.UNKNOWN:
            count.unknown += 1
        elif machine.ask(port, sender, target) != (step.outcome is Outcome.PASS):
            count.mismatches.append(f"{seed}: ARP {sender} asks {target} on {port}: simulated {step.detail}")


def run(cases: int, packets: int, seed: int, seconds: float | None = None) -> Count:
    count = Count()
    begin = time.monotonic()
    with RoutingMachine() as machine:
        for number in range(cases):
            if seconds is not None and time.monotonic() - begin > seconds:
                break
            key = f"{seed}.{number}"
            compare(machine, make(random.Random(key), packets), count, key)
    return count


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.routing.compare", description=__doc__)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--packets", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    count = run(options.cases, options.packets, options.seed, options.seconds)
    for line in count.mismatches[:20]:
        print(line)
    print(f"routing: {count.cases} set-ups, {count.packets} packets, {count.arps} ARP requests, "
          f"{len(count.mismatches)} mismatches, {count.unknown} unknown, {time.monotonic() - begin:.0f} s")  # fmt: skip
    return 1 if count.mismatches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
