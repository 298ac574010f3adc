"""`python -m tests.oracle.nft.run`: native nftables, this machine's kernel against the simulation.

Ends with one line of counts; exit code 1 when there was a difference, 2 when the machine cannot be built.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from lasthop.facts.trace import Packet
from lasthop.parsers.ipset import parse_ipsets
from tests.oracle.compare import parse_dumps
from tests.oracle.machine import Refused, missing_tools
from tests.oracle.run import Totals
from tests.oracle.shrink import ddmin

from .compare import NftResult, NftRouter, _parse, run_case
from .machine import NftMachine
from .rulesets import NftCase, random_nft_case


def one_case(machine: NftMachine, number: int, per_case: int) -> tuple[NftCase, NftResult]:
    """The case of this number; raises Refused when it cannot be loaded."""
    rng = random.Random(number)
    case = random_nft_case(rng)
    result = run_case(machine, case, None, rng, per_case)
    if result.differences:
        again = run_case(machine, case, result.sent, rng, per_case)
        if not again.differences:
            again.retried = True
        result = again
    return case, result


def run(seed: int, packets: int, seconds: float, per_case: int) -> Totals:
    totals = Totals()
    started = time.monotonic()
    number = seed * 1_000_000
    with NftMachine() as machine:
        while True:
            spent = time.monotonic() - started
            if (seconds > 0 and spent >= seconds) or (seconds <= 0 and totals.packets >= packets):
                break
            number += 1
            try:
                _, result = one_case(machine, number, per_case)
            except Refused as error:
                if os.environ.get("LHO_VERBOSE"):
                    print(error, file=sys.stderr)
                totals.refused += 1
                continue
            totals.packets += result.packets
            totals.rulesets += 1
            totals.unknown += result.unknown
            totals.delivered += result.delivered
            totals.hit_rules += result.hit_rules
            totals.flaky += result.retried
            if result.differences:
                totals.mismatches += 1
                print(f"case {number}:", file=sys.stderr)
                for difference in result.differences[:6]:
                    print(f"  {difference}", file=sys.stderr)
                if totals.mismatches >= 20:
                    break
    print(totals.line(time.monotonic() - started).replace("netfilter oracle", "nftables oracle"))
    return totals


def shrink(machine: NftMachine, case: NftCase, packets: list[Packet]) -> tuple[NftCase, NftResult]:
    """A small case that still differs: packets, rules and iptables' tables are left out as far as possible."""

    def run_with(text: str, rules: dict[tuple[str, int], str], some: list[Packet]) -> NftResult | None:
        tried = replace(case, nft=text, rules=rules)
        try:
            return run_case(machine, tried, some, random.Random(0), len(some))
        except Refused:
            return None

    def fails(text: str, rules: dict[tuple[str, int], str], some: list[Packet]) -> bool:
        found = run_with(text, rules, some)
        return found is not None and bool(found.differences)

    rules = case.rules
    if rules and fails(case.nft, {}, packets):
        rules = {}
    text = case.nft
    for _ in range(2):
        packets = ddmin(packets, partial(fails, text, rules))
        lines = text.split("\n")
        movable = [n for n, line in enumerate(lines) if line.startswith("  ") and not line.startswith("  type ")]

        def without(kept: list[int], lines: list[str] = lines, movable: list[int] = movable) -> str:
            gone = set(movable) - set(kept)
            return "\n".join(line for n, line in enumerate(lines) if n not in gone)

        def still(
            kept: list[int], some: list[Packet] = packets, without: Callable[[list[int]], str] = without
        ) -> bool:
            return fails(without(kept), rules, some)

        text = without(ddmin(movable, still))
    case = replace(case, nft=text, rules=rules)
    result = run_with(text, rules, packets)
    assert result is not None
    return case, result


def show(number: int, per_case: int, smaller: bool) -> int:
    """One case in full."""
    with NftMachine() as machine:
        case, result = one_case(machine, number, per_case)
        if smaller and result.differences:
            case, result = shrink(machine, case, result.sent)
    print(*result.dumps.values(), result.sets, result.listing, sep="\n")
    sets = parse_ipsets(result.sets, "ipset").values if result.sets else ()
    router = NftRouter(parse_dumps(result.dumps), sets, case.loose, _parse(result.listing))
    for ident, packet in enumerate(result.sent, 1):
        fate = router.carry(packet)
        print(f"{ident}: {packet.iif or 'own'} {packet.proto} {packet.src}:{packet.sport}->{packet.dst}:{packet.dport} "
              f"{','.join(sorted(packet.tcp_flags))} type {packet.icmp_type} tos {packet.tos:#x} ttl {packet.ttl} "
              f"length {packet.length} -> {fate.verdict} {fate.where}")  # fmt: skip
        for hook in fate.trail:
            for step in hook.steps:
                rules = " ".join(f"{v.rule.chain}:{v.rule.index}{'' if v.truth.value == 'yes' else '-'}"
                                 for v in step.visits)  # fmt: skip
                print(f"     {step.stage}: {step.detail} [{rules}]")
    for difference in result.differences:
        print(difference)
    return 1 if result.differences else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.nft.run", description=__doc__)
    parser.add_argument("--packets", type=int, default=20_000, help="at least this many packets")
    parser.add_argument("--seconds", type=float, default=0.0, help="instead: as many as fit into this time")
    parser.add_argument("--seed", type=int, default=1, help="each seed is another series of cases")
    parser.add_argument("--case", type=int, default=0, help="run this one case and show all of it")
    parser.add_argument("--shrink", action="store_true", help="with --case: the smallest case that still differs")
    parser.add_argument("--per-case", type=int, default=50, help="packets per ruleset")
    options = parser.parse_args()
    missing = missing_tools()
    if os.geteuid() != 0 or missing:
        print("the oracle needs root and " + ", ".join(missing or ["nothing else"]), file=sys.stderr)
        return 2
    if options.case:
        return show(options.case, options.per_case, options.shrink)
    return 1 if run(options.seed, options.packets, options.seconds, options.per_case).mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
