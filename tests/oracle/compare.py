"""One case on both: what the kernel did against what the simulation says, packet by packet and rule by rule."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from lasthop.facts.netfilter import IpSet, Ruleset
from lasthop.facts.trace import Packet
from lasthop.parsers.ipset import parse_ipsets
from lasthop.parsers.iptables import parse_iptables_save

from .layout import BY_NAME
from .machine import Machine
from .packets import PacketGenerator
from .router import Fate, RuleKey, SimulatedRouter
from .rulesets import Case
from .wire import Seen


@dataclass
class Difference:
    """One thing that the kernel and the simulation disagree on."""

    what: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.what}: kernel {self.expected}, simulation {self.got}"


@dataclass
class Result:
    """The outcome of one case. `hits` counts rules that the kernel's counters moved."""

    packets: int = 0
    unknown: int = 0
    delivered: int = 0
    hit_rules: int = 0
    differences: list[Difference] = field(default_factory=list)
    dumps: dict[tuple[str, int], str] = field(default_factory=dict)
    sets: str = ""
    sent: list[Packet] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


def parse_dumps(dumps: dict[tuple[str, int], str]) -> dict[tuple[str, int], Ruleset]:
    found: dict[tuple[str, int], Ruleset] = {}
    for (backend, family), text in dumps.items():
        values = parse_iptables_save(text, f"{backend}{family}", backend, family).values
        if values:
            found[(backend, family)] = values[0]
    return found


def counters(rulesets: dict[tuple[str, int], Ruleset]) -> dict[RuleKey, int]:
    """Packets per rule, and per policy of base chains (index 0)."""
    found: dict[RuleKey, int] = {}
    for (backend, family), ruleset in rulesets.items():
        for table in ruleset.tables():
            for chain in ruleset.chains(table):
                rules = ruleset.rules(table, chain.name)
                if chain.policy and (rules or chain.policy != "ACCEPT"):
                    found[(backend, family, table, chain.name, 0)] = chain.packets or 0
                for rule in rules:
                    found[(backend, family, table, chain.name, rule.index)] = rule.packets or 0
    return found


def script(rng: random.Random, case: Case, router: SimulatedRouter, count: int) -> list[Packet]:
    """The packets to send: random ones and, after some, answers to what the simulation lets out. The simulation only
    helps to write sensible scripts; what is right is decided by the kernel alone."""
    generator = PacketGenerator(rng, case)
    packets: list[Packet] = []
    while len(packets) < count:
        first = generator.packet()
        fate = _carry(router, first, packets)
        if fate is None:
            continue
        if fate.where and rng.random() < 0.5:
            _exchange(rng, generator, router, first, fate, packets)
        elif rng.random() < 0.1:
            _carry(router, first, packets)
    return packets[:count]


def _exchange(
    rng: random.Random, generator: PacketGenerator, router: SimulatedRouter, first: Packet, fate: Fate,
    packets: list[Packet],
) -> None:  # fmt: skip
    assert fate.where
    if rng.random() < 0.25:
        error = generator.error(fate.packet, fate.where)
        if error is not None:
            _carry(router, error, packets)
    back = generator.answer(first, fate.packet, fate.where)
    if back is None:
        return
    _carry(router, back, packets)
    following = first
    if first.proto == "tcp":
        following = replace(first, tcp_flags=frozenset(rng.choice((("ACK",), ("FIN", "ACK"), ("SYN",)))))
    _carry(router, following, packets)


def _carry(router: SimulatedRouter, packet: Packet, packets: list[Packet]) -> Fate | None:
    """Add a packet to the script, unless the kernel would choose a port for it at random: nothing could be foretold."""
    before = router.conntrack
    fate = router.carry(packet)
    if any("kernel chooses" in step.detail for hook in fate.trail for step in hook.steps):
        router.conntrack = before
        return None
    packets.append(packet)
    return fate


def run_case(
    machine: Machine, case: Case, packets: list[Packet] | None, rng: random.Random, count: int, loaded: bool = False
) -> Result:
    """Load, send, read back, simulate, compare. Without `packets` a script is made up."""
    if not loaded:
        machine.load(case.rules, case.sets, case.loose)
    sets = machine.save_sets()
    ipsets: tuple[IpSet, ...] = parse_ipsets(sets, "ipset").values if sets else ()
    if packets is None:
        before = {key: machine.save(*key) for key in case.rules}
        packets = script(rng, case, SimulatedRouter(parse_dumps(before), ipsets, case.loose), count)
    seen = machine.send(packets)
    dumps = {key: machine.save(*key) for key in case.rules}
    rulesets = parse_dumps(dumps)
    result = Result(len(packets), dumps=dumps, sets=sets, sent=packets, seen=seen)
    return judge(packets, seen, rulesets, ipsets, case.loose, result)


def judge(
    packets: list[Packet], seen: list[Seen], rulesets: dict[tuple[str, int], Ruleset], ipsets: tuple[IpSet, ...],
    loose: bool, result: Result,
) -> Result:  # fmt: skip
    """Fill `result` with every difference."""
    router = SimulatedRouter(rulesets, ipsets, loose)
    observed: dict[int, list[Seen]] = {}
    for one in seen:
        observed.setdefault(one.ident, []).append(one)
    for ident, packet in enumerate(packets, 1):
        fate = router.carry(packet)
        if any("kernel chooses" in step.detail for hook in fate.trail for step in hook.steps):
            return result
        if fate.verdict == "unknown":
            result.unknown += 1
            continue
        found = [one for one in observed.get(ident, ()) if not (packet.family == 6 and one.where == "")]
        # A raw socket of the router also hears what it sends itself when it is addressed to it; not generated.
        _compare_fate(ident, packet, fate, found, result)
    if result.unknown:
        return result
    real = counters(rulesets)
    result.hit_rules = sum(1 for value in real.values() if value)
    for key, value in real.items():
        if router.hits.get(key, 0) != value:
            backend, family, table, chain, index = key
            result.differences.append(
                Difference(f"counter {backend}{family} {table} {chain} {index or 'policy'}", str(value),
                           str(router.hits.get(key, 0)))
            )  # fmt: skip
    return result


def _compare_fate(ident: int, packet: Packet, fate: Fate, found: list[Seen], result: Result) -> None:
    expected = "nothing" if not found else ", ".join(_show(one) for one in found)
    if fate.where is None or (fate.where == "" and packet.family == 6):
        if found:
            result.differences.append(Difference(f"packet {ident}", expected, f"{fate.verdict} nowhere"))
        return
    final = fate.packet
    mine = Seen(ident, fate.where, final.src, final.dst, final.sport, final.dport, final.tos, final.ttl)
    result.delivered += 1
    if found != [mine]:
        result.differences.append(Difference(f"packet {ident}", expected, _show(mine)))


def _show(one: Seen) -> str:
    where = one.where if one.where in BY_NAME else "local"
    return f"{where} {one.src}:{one.sport}->{one.dst}:{one.dport} tos {one.tos:#x} ttl {one.ttl}"
