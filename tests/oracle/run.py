"""`python -m tests.oracle.run`: compare the simulation with this machine's kernel on random cases.

Ends with one line of counts; exit code 1 when there was a difference, 2 when the machine cannot be built.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from lasthop.parsers.ipset import parse_ipsets

from .compare import Result, parse_dumps, run_case
from .machine import Machine, Refused, missing_tools
from .router import SimulatedRouter
from .rulesets import Case, random_case
from .shrink import shrink


@dataclass
class Totals:
    packets: int = 0
    rulesets: int = 0
    unknown: int = 0
    delivered: int = 0
    refused: int = 0
    dropped_lines: int = 0
    flaky: int = 0
    hit_rules: int = 0
    mismatches: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def line(self, seconds: float) -> str:
        return (
            f"netfilter oracle: {self.packets} packets, {self.rulesets} rulesets, {self.mismatches} mismatches, "
            f"{self.unknown} unknown, {self.delivered} came out, {self.hit_rules} rules hit, "
            f"{self.refused} rulesets refused, {self.dropped_lines} lines dropped, {self.flaky} retried, "
            f"{seconds:.0f} s"
        )


def load_accepted(machine: Machine, case: Case, totals: Totals) -> bool:
    """Load the case, leaving out lines that the tools refuse; False when it cannot be loaded."""
    import re

    for _ in range(12):
        try:
            machine.load(case.rules, case.sets, case.loose)
            return True
        except Refused as error:
            found = re.search(r"line:? (\d+)", str(error).replace("Error occurred at line:", "line"))
            key = next((key for key in case.rules if str(error).startswith(_tool(key))), None)
            if found is None or key is None:
                if os.environ.get("LHO_VERBOSE"):
                    print(error, file=sys.stderr)
                return False
            lines = case.rules[key].split("\n")
            number = int(found.group(1)) - 1
            if not lines[number].startswith("-A"):
                if os.environ.get("LHO_VERBOSE"):
                    print(error, file=sys.stderr)
                return False
            if os.environ.get("LHO_VERBOSE"):
                print("refused:", lines[number], str(error)[-100:], file=sys.stderr)
            del lines[number]
            case.rules[key] = "\n".join(lines)
            totals.dropped_lines += 1
    return False


def _tool(key: tuple[str, int]) -> str:
    from .machine import SAVE

    return SAVE[key] + "-restore"


def run(
    seed: int, packets: int, rulesets: int, seconds: float, per_case: int, keep: str = "", quiet: bool = False
) -> tuple[Totals, list[tuple[int, Case, Result]]]:
    """Random cases until both counts are reached, or the time is over if that is asked for (seconds > 0)."""
    totals = Totals()
    failures: list[tuple[int, Case, Result]] = []
    started = time.monotonic()
    with Machine() as machine:
        number = seed * 1_000_000
        while True:
            spent = time.monotonic() - started
            if seconds > 0 and spent >= seconds:
                break
            if seconds <= 0 and totals.packets >= packets and totals.rulesets >= rulesets:
                break
            number += 1
            rng = random.Random(number)
            case = random_case(rng)
            if not load_accepted(machine, case, totals):
                totals.refused += 1
                continue
            result = run_case(machine, case, None, rng, per_case, loaded=True)
            if result.differences:
                again = run_case(machine, case, result.sent, rng, per_case)
                if not again.differences:
                    totals.flaky += 1
                result = again
            totals.packets += result.packets
            totals.rulesets += 1
            totals.unknown += result.unknown
            totals.delivered += result.delivered
            totals.hit_rules += result.hit_rules
            if result.differences:
                totals.mismatches += 1
                failures.append((number, case, result))
                if not quiet:
                    print(f"case {number}:", file=sys.stderr)
                    for difference in result.differences[:6]:
                        print(f"  {difference}", file=sys.stderr)
                if len(failures) >= 20:
                    break
    if not quiet:
        print(totals.line(time.monotonic() - started))
    return totals, failures


def show(number: int, per_case: int, smaller: bool) -> int:
    """One case in full: the dump with the kernel's counters, every packet's way, the differences."""
    with Machine() as machine:
        rng = random.Random(number)
        case = random_case(rng)
        load_accepted(machine, case, Totals())
        result = run_case(machine, case, None, rng, per_case)
        if smaller and result.differences:
            case, _, result = shrink(machine, case, result.sent)
    for text in (*result.dumps.values(), result.sets):
        print(text)
    router = SimulatedRouter(parse_dumps(result.dumps), parse_ipsets(result.sets, "ipset").values, case.loose)
    for ident, packet in enumerate(result.sent, 1):
        fate = router.carry(packet)
        flags = ",".join(sorted(packet.tcp_flags))
        print(f"{ident}: {packet.iif or 'own'} {packet.proto} {packet.src}:{packet.sport}->{packet.dst}:{packet.dport} "
              f"{flags} type {packet.icmp_type} tos {packet.tos:#x} ttl {packet.ttl} -> {fate.verdict} {fate.where}")
        for hook in fate.trail:
            for step in hook.steps:
                rules = " ".join(f"{v.rule.chain}:{v.rule.index}" for v in step.visits)
                print(f"     {step.stage}: {step.detail} [{rules}]")
    for difference in result.differences:
        print(difference)
    return 1 if result.differences else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.run", description=__doc__)
    parser.add_argument("--packets", type=int, default=20_000, help="at least this many packets")
    parser.add_argument("--rulesets", type=int, default=500, help="at least this many rulesets")
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
    totals, _ = run(options.seed, options.packets, options.rulesets, options.seconds, options.per_case)
    return 1 if totals.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
