"""One native case on both sides: verdict, rewritten packet, and every rule's counter."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from lasthop.facts.evidence import Complete
from lasthop.facts.netfilter import IpSet, NftRuleset, Ruleset
from lasthop.facts.trace import MatchResult, Packet, Truth
from lasthop.parsers.ipset import parse_ipsets
from lasthop.parsers.nft_ruleset import LazyNftRuleset, parse_nft_ruleset
from lasthop.sim.netfilter import Firewall, HookResult
from lasthop.sim.nft.operations import shown
from tests.oracle.compare import Difference, Result, _compare_fate, counters, parse_dumps, script
from tests.oracle.router import Fate, Roads, SimulatedRouter

from .machine import ORDER, NftMachine
from .rulesets import NftCase

FAMILY = {"ip": 4, "ip6": 6, "inet": 0}


@dataclass
class NftResult(Result):
    listing: str = ""
    retried: bool = False


class NftRoads(Roads):
    """nft_fib looks up with the packet's protocol: the machine's rules that keep its own processes silent prohibit it
    (pref 6: iif lo ipproto tcp and icmp)."""

    def reverse_path(self, packet: Packet, *, loose: bool, validmark: bool, accept_local: bool) -> MatchResult:
        # At FORWARD a strict lookup comes in by the output interface (nft_fib4_eval), not by lo.
        if packet.proto in ("tcp", "icmp", "icmpv6") and (loose or not packet.oif):
            return MatchResult(Truth.NO)
        return super().reverse_path(packet, loose=loose, validmark=validmark, accept_local=accept_local)


class NftRouter(SimulatedRouter):
    """Counts what a rule's counter counts: it may stand before conditions that then fail."""

    def __init__(
        self, rulesets: dict[tuple[str, int], Ruleset], sets: tuple[IpSet, ...], loose: bool, nft: LazyNftRuleset,
        level: str = "full",
    ) -> None:  # fmt: skip
        super().__init__(rulesets, sets, loose, level)
        listed: tuple[NftRuleset, ...] = (nft,)
        self.netns = replace(self.netns, nft=Complete(listed))
        if not rulesets:
            self.roads = NftRoads()
        self.firewall = Firewall(self.netns, order=ORDER)
        self.texts = {
            ("native", FAMILY[rule.family], f"{rule.family} {rule.table}", rule.chain, rule.index): shown(rule.tokens)
            for rule in nft.all_rules() if rule.family in FAMILY
        }  # fmt: skip

    def _hook(self, hook: str, packet: Packet, fate: Fate) -> HookResult | None:
        before = len(fate.trail)
        result = super()._hook(hook, packet, fate)
        for one in fate.trail[before:]:
            for step in one.steps:
                for visit in step.visits:
                    rule = visit.rule
                    key = (rule.backend, rule.family, rule.table, rule.chain, rule.index)
                    if visit.truth is Truth.NO and key in self.texts and _counted(self.texts[key], visit.why):
                        self.hits[key] += 1
        return result


def _counted(text: str, why: str) -> bool:
    """Whether the counter stands before the condition that failed, whose text `why` begins with."""
    at = text.find("counter")
    if at < 0:
        return False
    best, where = 0, 0
    for start in range(len(text)):
        if start and text[start - 1] != " ":
            continue
        length = 0
        while start + length < len(text) and length < len(why) and text[start + length] == why[length]:
            length += 1
        if length > best:
            best, where = length, start
    return where > at


def run_case(
    machine: NftMachine, case: NftCase, packets: list[Packet] | None, rng: random.Random, count: int
) -> NftResult:
    """Load, send, read back, simulate, compare. Without `packets` a script is made up."""
    machine.load_case(case)
    sets = machine.save_sets()
    ipsets = parse_ipsets(sets, "ipset").values if sets else ()
    if packets is None:
        before = parse_dumps({key: machine.save(*key) for key in case.rules})
        router = NftRouter(before, ipsets, case.loose, _parse(machine.listing()), "short")
        packets = script(rng, case, router, count)
    seen = machine.send(packets)
    dumps = {key: machine.save(*key) for key in case.rules}
    listing = machine.listing()
    result = NftResult(len(packets), dumps=dumps, sets=sets, sent=packets, seen=seen, listing=listing)
    judge(case, result, ipsets)
    return result


def _parse(text: str) -> LazyNftRuleset:
    parsed = parse_nft_ruleset(text, "nft")
    assert not parsed.unparsed and not parsed.truncated, parsed.unparsed
    return parsed.values[0]


def judge(case: NftCase, result: NftResult, ipsets: tuple[IpSet, ...]) -> None:
    """Fill `result` with every difference."""
    rulesets = parse_dumps(result.dumps)
    nft = _parse(result.listing)
    router = NftRouter(rulesets, ipsets, case.loose, nft)
    for ident, packet in enumerate(result.sent, 1):
        fate = router.carry(packet)
        if any("kernel chooses" in step.detail for hook in fate.trail for step in hook.steps):
            return
        if fate.verdict == "unknown":
            result.unknown += 1
            continue
        found = [one for one in result.seen if one.ident == ident and not (packet.family == 6 and one.where == "")]
        _compare_fate(ident, packet, fate, found, result)
    if result.unknown:
        return
    real = counters(rulesets)
    for rule in nft.all_rules():
        if rule.family in FAMILY and rule.packets is not None and f"{rule.family} {rule.table}" in case.tables:
            key = ("native", FAMILY[rule.family], f"{rule.family} {rule.table}", rule.chain, rule.index)
            real[key] = rule.packets
    result.hit_rules = sum(1 for value in real.values() if value)
    for key, value in real.items():
        if router.hits.get(key, 0) != value:
            backend, family, table, chain, index = key
            text = router.texts.get(key, "")
            result.differences.append(
                Difference(f"counter {backend}{family} {table} {chain} {index or 'policy'} {text}", str(value),
                           str(router.hits.get(key, 0)))
            )  # fmt: skip
