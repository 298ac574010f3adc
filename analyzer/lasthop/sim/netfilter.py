"""Netfilter at one hook of one netns: both iptables back ends, native nftables, conntrack and NAT in kernel order.

`Firewall.run` follows include/uapi/linux/netfilter_ipv4.h (priorities): raw -300, conntrack -200, mangle -150,
destination NAT -100, filter 0, security 50, source NAT 100, confirm last. Native base chains stand between them by
their own priority; those of type nat are asked where NAT is done, in the order of theirs (nf_nat_core.c).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lasthop.facts.evidence import Absent, AbsentReason, Doubt, Evidence, Partial, SourceRef
from lasthop.facts.netfilter import Ruleset
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Choice, Disposition, MatchResult, Outcome, Packet, RuleVisit, Step

from .attribution import rewrite, rule_visit, visits
from .chains import CompiledTable, Traversal
from .conntrack import ConntrackTable, evidence_gap
from .edits import RuleKey
from .extensions.context import Context, Surroundings
from .extensions.protocols import protocol_number
from .extensions.targets import NatRequest
from .ipsets import SetStore
from .nat import apply_mapping, set_up, without_rule
from .nft.hooks import BaseChain, NativeTables, orders
from .worlds import World

MAX_BRANCHES = 256
MAX_NEAR_MISSES = 48
BACKENDS = ("nft", "legacy")
HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

STAGES: dict[str, tuple[str, ...]] = {
    "PREROUTING": ("raw", "conntrack", "mangle", "nat dst"),
    "INPUT": ("mangle", "filter", "security", "nat src", "confirm"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "conntrack", "mangle", "nat dst", "filter", "security"),
    "POSTROUTING": ("mangle", "nat src", "confirm"),
}
TABLES: dict[str, tuple[str, ...]] = {
    hook: tuple(stage.split()[0] for stage in stages if stage not in ("conntrack", "confirm"))
    for hook, stages in STAGES.items()
}
PRIORITIES = {
    "raw": -300, "conntrack": -200, "mangle": -150, "nat dst": -100, "filter": 0, "security": 50, "nat src": 100,
    "confirm": 2**31 - 1,
}  # fmt: skip
FAMILIES = {4: frozenset({"ip", "inet"}), 6: frozenset({"ip6", "inet"})}
EVIDENCE_IDS = {
    ("nft", 4): "iptables_nft_save", ("legacy", 4): "iptables_legacy_save",
    ("nft", 6): "ip6tables_nft_save", ("legacy", 6): "ip6tables_legacy_save",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a packet leaves a hook. `verdict` is "accept", "drop", "reject" or "unknown".

    `assumed` are conditions of this branch that the evidence does not decide; where it is not empty, a step with
    Outcome.UNKNOWN says why. `packet` carries the marks, connection and addresses after this hook.
    """

    verdict: str
    packet: Packet
    conntrack: ConntrackTable
    steps: tuple[Step, ...]
    choices: tuple[Choice, ...] = ()
    assumed: tuple[str, ...] = ()
    reject_with: str = ""


@dataclass(slots=True)
class _Branch:
    packet: Packet
    conntrack: ConntrackTable
    steps: tuple[Step, ...] = ()
    choices: tuple[Choice, ...] = ()
    assumed: tuple[str, ...] = ()
    verdict: str = ""
    reject_with: str = ""
    nat_done: bool = False

    def state(self) -> tuple[object, ...]:
        dead = self.verdict in ("drop", "reject", "unknown")
        return (self.verdict, self.reject_with, None if dead else self.packet, None if dead else self.conntrack,
                self.choices)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Call:
    """What stays the same during one run."""

    hook: str
    around: Surroundings
    level: str
    ignored: frozenset[RuleKey] = frozenset()


@dataclass(frozen=True, slots=True)
class _Table:
    """One iptables table of one back end, as one of those that are asked."""

    backend: str
    table: str

    @property
    def name(self) -> str:
        return f"{self.table} of {self.backend}"


Actor = _Table | BaseChain | str
"""What is asked at a hook: a table, a native base chain, or a stage of the kernel's own ("conntrack", "nat dst", …)."""


@dataclass(frozen=True, slots=True)
class _Walked:
    """Where a table's or base chain's worlds come from; `again` walks it once more with rules taken as matching."""

    stage: str
    backend: str
    chain: str
    source: SourceRef
    skipped: int
    again: Callable[[frozenset[int]], list[World]]


class Firewall:
    """Netfilter of one netns; compiled chains are kept between runs.

    `order` names the back ends ("native", "nft", "legacy") in the order in which the kernel asks them where their
    priorities are equal, if that is known (it is in no dump); without it all orders are tried and a difference is
    UNKNOWN.
    """

    def __init__(self, netns: NetNS, order: tuple[str, ...] | None = None) -> None:
        self.netns = netns
        self.order = order
        self.sets = SetStore(netns.ipsets)
        self.native = NativeTables(netns)
        self._tables: dict[tuple[str, int, str], CompiledTable | None] = {}

    @property
    def stated(self) -> tuple[str, ...]:
        """Assumptions that hold for the whole netns because the evidence was not collected."""
        sentences = []
        if isinstance(self.netns.nft_chains, Absent) and self.netns.nft_chains.reason is not (
            AbsentReason.NOT_APPLICABLE
        ):
            sentences.append(f"no native nftables chain acts (nft ruleset {self.netns.nft_chains.reason.value})")
        gap = evidence_gap(self.netns)
        return (*sentences, gap) if gap else tuple(sentences)

    def run(
        self, hook: str, packet: Packet, conntrack: ConntrackTable, around: Surroundings, *, level: str = "normal",
        ignored: frozenset[RuleKey] = frozenset(),
    ) -> tuple[HookResult, ...]:  # fmt: skip
        """Everything that netfilter does with `packet` at `hook`. Several results are branches: all of one choice
        (with shares), or all that missing evidence leaves open (with `assumed`). `ignored` rules are taken as
        deleted."""
        call = _Call(hook, around, level, ignored)
        branches = [_Branch(packet, conntrack)]
        branches = self._missing_evidence(call, branches)
        for actors in self._timeline(hook, packet.family):
            following: list[_Branch] = []
            for branch in branches:
                following.extend([branch] if branch.verdict else self._ask(call, branch, actors, ""))
            branches = _merge(following)
            if len(branches) > MAX_BRANCHES and any(branch.assumed for branch in branches):
                return (self._overflow(call, packet, conntrack),)
        branches = [self._keep_mark(branch) for branch in branches]
        return tuple(
            HookResult(
                b.verdict or "accept", b.packet, b.conntrack, b.steps, b.choices, b.assumed, b.reject_with
            )
            for b in branches
        )  # fmt: skip

    def _overflow(self, call: _Call, packet: Packet, conntrack: ConntrackTable) -> HookResult:
        why = f"more than {MAX_BRANCHES} branches are open at {call.hook}"
        step = Step(f"netfilter {call.hook}", Outcome.UNKNOWN, why, before=packet, after=packet)
        return HookResult("unknown", packet, conntrack, (step,), assumed=(why,))

    # -- evidence ---------------------------------------------------------------------------------------------------

    def _ruleset(self, backend: str, family: int) -> Ruleset | None:
        values = self.netns.ruleset(backend, family).values
        return values[0] if values else None

    def _compiled(self, backend: str, family: int, table: str) -> CompiledTable | None:
        key = (backend, family, table)
        if key not in self._tables:
            ruleset = self._ruleset(backend, family)
            known = ruleset is not None and table in ruleset.tables()
            doubts = _doubts(self.netns.ruleset(backend, family))
            self._tables[key] = CompiledTable(ruleset, table, doubts) if known and ruleset is not None else None
        return self._tables[key]

    def _missing_evidence(self, call: _Call, branches: list[_Branch]) -> list[_Branch]:
        """UNKNOWN steps for rulesets that were not read whole, and for native nftables chains at this hook."""
        (branch,) = branches
        packet = branch.packet
        for backend in BACKENDS:
            evidence = self.netns.ruleset(backend, packet.family)
            decides = EVIDENCE_IDS[(backend, packet.family)]
            if isinstance(evidence, Absent):
                if evidence.reason is AbsentReason.NOT_APPLICABLE:
                    continue
                why = f"the iptables rules of the {backend} back end are {evidence.reason.value}"
                if evidence.detail:
                    why += f" ({evidence.detail})"
                sentence = f"no {backend} iptables rule at {call.hook} stops or changes the packet"
                self._assume(branch, call, why, sentence, decides)
            elif isinstance(evidence, Partial):
                ruleset = evidence.values[0] if evidence.values else None
                for table in TABLES[call.hook]:
                    if backend == "nft" and self.native.replaces_iptables(packet.family, table):
                        continue
                    doubt = _table_doubt(evidence, ruleset, table)
                    if doubt:
                        self._assume(branch, call, f"{backend} table {table}: {doubt}",
                                     f"no unread rule of {backend} table {table} stops or changes the packet",
                                     decides)  # fmt: skip
        if self.native.ruleset is not None:
            self._native_gaps(branch, call)
            return branches
        for chain in self.netns.nft_chains.values:
            if chain.hook.upper() != call.hook or chain.family not in FAMILIES[packet.family]:
                continue
            name = f"{chain.family} {chain.table} {chain.name}"
            if chain.rules == 0 and chain.policy == "drop" and chain.type == "filter":
                branch.verdict = "drop"
                branch.steps += (
                    Step(f"nftables {call.hook}", Outcome.STOP, f"policy drop of native nftables chain {name}",
                         (chain.source,), name, packet, packet, disposition=Disposition.DROPPED_BY_RULE),
                )  # fmt: skip
                return branches
            if chain.rules == 0:
                continue
            self._native(branch, call, name, (chain.source,),
                         f"the rules of native nftables table {chain.family} {chain.table} were not listed as text")
        return branches

    def _native_gaps(self, branch: _Branch, call: _Call) -> None:
        """Lines of the listing that may belong to any chain, and chains outside the IP hooks."""
        for doubt in self.native.doubts:
            if len(doubt.touches.split(" ")) < 3:
                where = f"{doubt.source.path}:{doubt.source.line}" if doubt.source.line else doubt.source.path
                self._assume(branch, call, f"nft ruleset: {doubt.why} ({where})",
                             f"no unread native nftables rule at {call.hook} stops or changes the packet",
                             "nft_ruleset")  # fmt: skip
                break
        packet = branch.packet
        for hook, at, device in (("ingress", "PREROUTING", packet.iif), ("egress", "POSTROUTING", packet.oif)):
            chain = self.native.at_link(packet.family, hook, device) if at == call.hook and device else None
            if chain is not None:
                name = f"{chain.family} {chain.table} {chain.name}"
                self._native(branch, call, name, (chain.source,), f"{hook} chain {name} is not evaluated")

    def _assume(self, branch: _Branch, call: _Call, why: str, sentence: str, decides: str) -> None:
        branch.steps += (
            Step(f"netfilter {call.hook}", Outcome.UNKNOWN, why, before=branch.packet, after=branch.packet,
                 decides=decides),
        )  # fmt: skip
        branch.assumed += (sentence,)

    def _native(self, branch: _Branch, call: _Call, name: str, sources: tuple[SourceRef, ...], why: str) -> None:
        branch.steps += (
            Step(f"nftables {call.hook}", Outcome.UNKNOWN, why, sources, name, branch.packet, branch.packet,
                 decides="nft_ruleset"),
        )  # fmt: skip
        branch.assumed += (f"native nftables chain {name} neither stops nor changes the packet",)

    # -- conntrack --------------------------------------------------------------------------------------------------

    def _lookup(self, branch: _Branch) -> _Branch:
        found = branch.conntrack.lookup(branch.packet)
        sources = found.connection.source if found.connection is not None else ()
        before = branch.packet
        if found.full:
            step = Step("conntrack", Outcome.STOP, found.note, before=before, after=before,
                        disposition=Disposition.CONNTRACK_FULL)  # fmt: skip
            return replace(branch, verdict="drop", steps=(*branch.steps, step))
        packet = found.packet
        word = packet.ctstate or "not looked up"
        step = Step("conntrack", Outcome.INFO, f"{word} ({packet.ctdir}): {found.note}", sources, "", before, packet)
        return replace(branch, packet=packet, conntrack=found.table, steps=(*branch.steps, step))

    def _confirm(self, branch: _Branch) -> _Branch:
        packet = branch.packet
        if branch.conntrack.clashes(packet):
            why = "another connection already has the same addresses (conntrack -S: insert_failed)"
            step = Step("conntrack", Outcome.STOP, why, before=packet, after=packet,
                        disposition=Disposition.NAT_PORTS_EXHAUSTED)  # fmt: skip
            return replace(branch, verdict="drop", steps=(*branch.steps, step))
        table = branch.conntrack.confirm(packet)
        if packet.ct_original is not None and "CONFIRMED" not in packet.ctstatus:
            packet = replace(packet, ctstatus=packet.ctstatus | {"CONFIRMED", "SRC_NAT_DONE", "DST_NAT_DONE"})
        return replace(branch, packet=packet, conntrack=table)

    def _keep_mark(self, branch: _Branch) -> _Branch:
        """CONNMARK changes a confirmed connection at once, even if the packet is dropped later."""
        if "CONFIRMED" not in branch.packet.ctstatus:
            return branch
        return replace(branch, conntrack=branch.conntrack.confirm(branch.packet))

    # -- tables -----------------------------------------------------------------------------------------------------

    def _relevant(self, family: int, table: str, hook: str) -> list[str]:
        """Back ends whose table has something to say at this hook."""
        found = []
        for backend in BACKENDS:
            compiled = self._compiled(backend, family, table)
            if compiled is None:
                continue
            base = compiled.ruleset.chain(table, hook)
            if base is not None and (base.policy != "ACCEPT" or compiled.chain(hook).size):
                found.append(backend)
        return found

    def _timeline(self, hook: str, family: int) -> list[list[Actor]]:
        """What is asked at this hook, in order; those of equal priority together."""
        found: dict[int, list[Actor]] = {}
        for stage in STAGES[hook]:
            own = found.setdefault(PRIORITIES[stage], [])
            if stage in ("conntrack", "confirm") or stage.startswith("nat"):
                own.append(stage)
            else:
                own.extend(_Table(backend, stage) for backend in self._relevant(family, stage, hook))
        for base in self.native.at(hook, family):
            if base.chain.type != "nat":
                found.setdefault(_priority(base), []).append(base)
        return [found[priority] for priority in sorted(found)]

    def _nat_actors(self, hook: str, family: int, manip: str) -> list[list[Actor]]:
        own = PRIORITIES[f"nat {manip}"]
        found: dict[int, list[Actor]] = {own: [_Table(backend, "nat") for backend in
                                               self._relevant(family, "nat", hook)]}  # fmt: skip
        for base in self.native.at(hook, family):
            if base.chain.type == "nat":
                found.setdefault(_priority(base), []).append(base)
        return [found[priority] for priority in sorted(found)]

    def _ask(self, call: _Call, branch: _Branch, actors: list[Actor], manip: str) -> list[_Branch]:
        """Actors of equal priority: in the known order, else in every possible one."""
        if self.order is not None or len(actors) < 2:
            known = actors if self.order is None else sorted(actors, key=self._rank)
            return self._one_after_another(call, branch, known, manip)
        possible = orders(actors)
        first = self._one_after_another(call, branch, possible[0], manip)
        if len(possible) == 1 or _untouched(branch, first):
            return first
        tried = [(possible[0], first)]
        tried += [(other, self._one_after_another(call, branch, other, manip)) for other in possible[1:]]
        kinds: dict[frozenset[tuple[object, ...]], tuple[Sequence[Actor], list[_Branch]]] = {}
        for asked, results in tried:
            kinds.setdefault(frozenset(result.state() for result in results), (asked, results))
        if len(kinds) == 1:
            return first
        return self._undecided(call, list(kinds.values()))

    def _undecided(self, call: _Call, kinds: list[tuple[Sequence[Actor], list[_Branch]]]) -> list[_Branch]:
        tables = {actor.table if isinstance(actor, _Table) else "" for actor in kinds[0][0]}
        table = tables.pop() if len(tables) == 1 else ""
        if table:
            stage, why = f"{table} {call.hook}", (
                f"both back ends have a {table} table that acts here; which is asked first is in no dump"
            )
        else:
            stage = f"netfilter {call.hook}"
            names = ", ".join(_actor_name(actor) for actor in kinds[0][0])
            why = f"{names} act here at the same priority; which is asked first is in no dump"
        everything = []
        for asked, results in kinds:
            before = [actor.backend if table and isinstance(actor, _Table) else _actor_name(actor) for actor in asked]
            for result in results:
                result.steps += (Step(stage, Outcome.UNKNOWN, why, decides="rule counters"),)
                result.assumed += (f"{stage}: {before[0]} is asked before {before[1]}",)
            everything += results
        return everything

    def _rank(self, actor: Actor) -> tuple[int, int]:
        """Place in the known order; the kernel asks what was registered last first."""
        order = self.order or ()
        if isinstance(actor, BaseChain):
            return (order.index("native") if "native" in order else -1, -actor.order)
        if isinstance(actor, _Table):
            return (order.index(actor.backend) if actor.backend in order else len(order), 0)
        return (len(order) + 1, 0)

    def _one_after_another(
        self, call: _Call, branch: _Branch, actors: Sequence[Actor], manip: str
    ) -> list[_Branch]:
        branches = [replace(branch)]
        for actor in actors:
            following: list[_Branch] = []
            for one in branches:
                if one.verdict or one.nat_done:
                    following.append(one)
                elif isinstance(actor, _Table):
                    following.extend(self._walk(call, one, actor.backend, actor.table, manip))
                elif isinstance(actor, BaseChain):
                    following.extend(self._walk_native(call, one, actor, manip))
                elif actor == "conntrack":
                    following.append(self._lookup(one))
                elif actor == "confirm":
                    following.append(self._confirm(one))
                else:
                    following.extend(self._nat(call, one, actor.split()[1]))
            branches = following
        return branches

    def _nat(self, call: _Call, branch: _Branch, manip: str) -> list[_Branch]:
        packet = branch.packet
        if packet.ct_original is None:
            return [branch]
        done = "DST_NAT_DONE" if manip == "dst" else "SRC_NAT_DONE"
        if packet.ctstate == "NEW" and done not in packet.ctstatus:
            results = [branch]
            for actors in self._nat_actors(call.hook, packet.family, manip):
                asked: list[_Branch] = []
                for one in results:
                    decided = one.verdict or one.nat_done or not actors
                    asked.extend([one] if decided else self._ask(call, one, actors, manip))
                results = asked
            results = [replace(result) for result in results]
            for result in results:
                if result.verdict:
                    continue
                kept = without_rule(result.packet, manip, branch.conntrack)
                if kept.detail:
                    result.steps += (
                        Step(f"nat {call.hook}", Outcome.PASS, kept.detail, before=result.packet, after=kept.packet),
                    )
                result.packet, result.nat_done = kept.packet, False
            return results
        changed = apply_mapping(packet, manip)
        if changed is packet or (changed.src, changed.dst, changed.sport, changed.dport) == (
            packet.src, packet.dst, packet.sport, packet.dport
        ):  # fmt: skip
            return [branch]
        found = branch.conntrack.find(protocol_number(changed.proto) or 0, packet.ct_original, packet.ct_zone)
        sources: tuple[SourceRef, ...] = found[0].source if found is not None else ()
        step = Step(f"nat {call.hook}", Outcome.PASS, f"rewritten as the connection says: {rewrite(packet, changed)}",
                    sources, "conntrack", packet, changed)  # fmt: skip
        return [replace(branch, packet=changed, steps=(*branch.steps, step))]

    def _walk(self, call: _Call, branch: _Branch, backend: str, table: str, manip: str) -> list[_Branch]:
        packet = branch.packet
        compiled = self._compiled(backend, packet.family, table)
        assert compiled is not None
        base = compiled.ruleset.chain(table, call.hook)
        assert base is not None
        c = self._context(call, packet)
        walk = Traversal(compiled, c, record=call.level != "short", limit=4 * MAX_BRANCHES, ignored=call.ignored)
        worlds = walk.run(call.hook, base.policy)
        if walk.overflow:
            overflow = self._overflow(call, packet, branch.conntrack)
            return [
                replace(branch, verdict="unknown", steps=branch.steps + overflow.steps,
                        assumed=branch.assumed + overflow.assumed)
            ]  # fmt: skip
        def again(forced: frozenset[int]) -> list[World]:
            other = Traversal(compiled, self._context(call, packet), record=False, limit=MAX_BRANCHES, forced=forced,
                              ignored=call.ignored)  # fmt: skip
            return other.run(call.hook, base.policy)

        place = _Walked(f"{table} {call.hook}", backend, call.hook, base.source, walk.skipped, again)
        return [self._finish(call, branch, place, world, manip) for world in worlds]

    def _walk_native(self, call: _Call, branch: _Branch, base: BaseChain, manip: str) -> list[_Branch]:
        from .nft.walk import NftTraversal

        packet = branch.packet
        table = self.native.table(base)
        chain = base.chain

        def start(record: bool, limit: int, forced: frozenset[int]) -> NftTraversal:
            return NftTraversal(table, self._context(call, packet), record=record, limit=limit, forced=forced,
                                ignored=call.ignored)  # fmt: skip

        walk = start(call.level != "short", 4 * MAX_BRANCHES, frozenset())
        worlds = walk.run(chain.name, chain.policy)
        if walk.overflow:
            overflow = self._overflow(call, packet, branch.conntrack)
            return [
                replace(branch, verdict="unknown", steps=branch.steps + overflow.steps,
                        assumed=branch.assumed + overflow.assumed)
            ]  # fmt: skip

        def again(forced: frozenset[int]) -> list[World]:
            return start(False, MAX_BRANCHES, forced).run(chain.name, chain.policy)

        place = _Walked(f"nftables {base.name}", "native", chain.name, chain.source, walk.skipped, again)
        return [self._finish(call, branch, place, world, manip) for world in worlds]

    def _context(self, call: _Call, packet: Packet) -> Context:
        return Context(packet, call.hook, call.around, self.sets, self.netns.links, self.netns.addresses)

    def _finish(
        self, call: _Call, branch: _Branch, place: _Walked, world: World, manip: str
    ) -> _Branch:
        before = branch.packet
        packet = world.packet
        if (packet.mark, packet.ctmark, packet.tos) != (world.mark, world.ctmark, world.tos):
            packet = replace(packet, mark=world.mark, ctmark=world.ctmark, tos=world.tos)
        verdict, reject_with, detail, decides = "", "", "", world.decides
        where = world.rule.name if world.rule is not None else f"{place.chain} policy"
        sources = (world.rule.rule.source,) if world.rule is not None else (place.source,)
        outcome, disposition = Outcome.PASS, None
        nat_done = branch.nat_done
        if world.verdict == "accept":
            detail = "accepted by " + where if world.rule is not None else "policy ACCEPT"
        elif world.verdict == "drop":
            verdict, outcome, disposition = "drop", Outcome.STOP, Disposition.DROPPED_BY_RULE
            detail = f"dropped by {where}"
        elif world.verdict == "reject":
            verdict, outcome, disposition = "reject", Outcome.STOP, Disposition.REJECTED_BY_RULE
            reject_with = str(world.payload)
            detail = f"rejected by {where} with {reject_with}"
        elif world.verdict == "unknown":
            verdict, outcome, detail = "unknown", Outcome.UNKNOWN, world.reason
        else:
            request = world.payload
            assert isinstance(request, NatRequest)
            nat = set_up(self._context(call, packet), packet, request, branch.conntrack)
            detail = f"{request.target} by {where}: {rewrite(packet, nat.packet)}{nat.detail}"
            packet, nat_done = nat.packet, True
            if nat.verdict:
                verdict, decides, detail = nat.verdict, nat.decides, f"{where}: {nat.detail}"
                outcome = Outcome.STOP if verdict == "drop" else Outcome.UNKNOWN
                disposition = Disposition.DROPPED_BY_RULE if verdict == "drop" else None
        unknown = next((v.answer for v in world.visits if isinstance(v.answer, MatchResult)), None)
        if unknown is not None and world.assumed and outcome is Outcome.PASS:
            outcome, detail = Outcome.UNKNOWN, f"{detail}, if {world.assumed[0]}"
            decides = decides or unknown.decides
        step = Step(
            place.stage, outcome, f"{detail} ({place.backend})", sources, where, before, packet,
            visits(self._context(call, before), world.visits, call.level, verdict in ("drop", "reject")),
            place.skipped, disposition, decides,
            self._near_misses(call, place, before, world) if verdict in ("drop", "reject") else (),
        )  # fmt: skip
        return _Branch(
            packet, branch.conntrack, (*branch.steps, step), branch.choices + world.choices,
            branch.assumed + world.assumed, verdict, reject_with, nat_done,
        )  # fmt: skip

    def _near_misses(
        self, call: _Call, place: _Walked, packet: Packet, world: World
    ) -> tuple[RuleVisit, ...]:
        """Rules that failed in exactly one match and would have let the packet pass: each is tried."""
        if call.level == "short":
            return ()
        found = []
        tried = 0
        for visit in reversed(world.visits):
            if visit.answer is not False or tried >= MAX_NEAR_MISSES:
                continue
            c = self._context(call, packet)
            c.mark, c.ctmark = visit.mark, visit.ctmark
            if sum(test(c) is not True for test in visit.compiled.tests) != 1:
                continue
            tried += 1
            again = place.again(frozenset({id(visit.compiled)}))
            if all(other.verdict in ("accept", "nat") for other in again):
                found.append(rule_visit(c, visit))
        return tuple(reversed(found))


def _priority(base: BaseChain) -> int:
    """A base chain whose priority is not understood is asked with the filter tables."""
    return 0 if base.chain.priority is None else base.chain.priority


def _actor_name(actor: Actor) -> str:
    return actor.name if isinstance(actor, (_Table, BaseChain)) else actor


def _untouched(before: _Branch, after: list[_Branch]) -> bool:
    """Nothing was changed or decided: the order did not matter."""
    return len(after) == 1 and after[0].state() == before.state() and not after[0].choices


def _doubts(evidence: Evidence[Ruleset]) -> tuple[Doubt, ...]:
    return evidence.doubts if isinstance(evidence, Partial) else ()


def _table_doubt(evidence: Partial[Ruleset], ruleset: Ruleset | None, table: str) -> str:
    """Why a table of a partly read ruleset may hold more than is known, or ""."""
    if ruleset is None or not evidence.doubts:
        return evidence.why
    for doubt in evidence.doubts:
        if doubt.touches in ("", table, f"table {table}"):
            return doubt.why
    return ""


def _merge(branches: list[_Branch]) -> list[_Branch]:
    if len(branches) < 2:
        return branches
    merged: dict[tuple[object, ...], _Branch] = {}
    for branch in branches:
        same = merged.setdefault(branch.state(), branch)
        if same is not branch:
            same.assumed = tuple(sentence for sentence in same.assumed if sentence in branch.assumed)
    return list(merged.values())
