"""One packet through one base chain, in all its possible worlds (net/netfilter/nf_tables_core.c nft_do_chain)."""

from __future__ import annotations

from lasthop.facts.evidence import Doubt
from lasthop.facts.netfilter import NftRuleset
from lasthop.facts.trace import Choice, MatchResult
from lasthop.sim.edits import RuleKey, rule_key
from lasthop.sim.extensions.context import Context
from lasthop.sim.extensions.targets import NatRequest
from lasthop.sim.worlds import Visit, World, merge

from .compile import Compiler, target_of
from .operations import Chance, Change, CompiledNftRule, Condition, Decide, Open, Operation, Rewrite, Verdict

MAX_DEPTH = 32


class NftTable:
    """One table with its chains compiled when a packet first meets them."""

    def __init__(self, ruleset: NftRuleset, family: str, name: str, doubts: tuple[Doubt, ...] = ()) -> None:
        self.ruleset = ruleset
        self.family = family
        self.name = name
        self.compiler = Compiler(family, name, lambda set_: ruleset.set(family, name, set_))
        self.chains: dict[str, list[CompiledNftRule]] = {}
        self.doubts: dict[str, Doubt] = {}
        for doubt in doubts:
            head = f"{family} {name} "
            if doubt.touches.startswith(head):
                self.doubts.setdefault(doubt.touches[len(head) :], doubt)

    def rules(self, chain: str) -> list[CompiledNftRule]:
        found = self.chains.get(chain)
        if found is None:
            rules = self.ruleset.rules(self.family, self.name, chain)
            found = self.chains[chain] = [self.compiler.rule(rule) for rule in rules]
        return found

    def has_chain(self, chain: str) -> bool:
        return self.ruleset.chain(self.family, self.name, chain) is not None


class NftTraversal:
    """`record` keeps the rules that did not match as well; `forced` are rules to take as matching."""

    def __init__(
        self, table: NftTable, c: Context, *, record: bool, limit: int, forced: frozenset[int] = frozenset(),
        ignored: frozenset[RuleKey] = frozenset(),
    ) -> None:  # fmt: skip
        self.table = table
        self.c = c
        self.record = record
        self.limit = limit
        self.forced = forced
        self.ignored = ignored
        self.skipped = 0
        self.overflow = False
        self._loaded: World | None = None

    def run(self, chain: str, policy: str) -> list[World]:
        """All worlds, each with its verdict."""
        c = self.c
        start = World(c.packet, c.mark, c.ctmark, c.tos, c.touched_sets)
        done, fall = self._chain(chain, [start], 0)
        for world in fall:
            world.verdict = "accept" if policy == "accept" else "drop"
        return done + fall

    def _load(self, world: World) -> None:
        if self._loaded is not world:
            c = self.c
            c.packet, c.mark, c.ctmark, c.tos = world.packet, world.mark, world.ctmark, world.tos
            c.touched_sets = world.touched
            self._loaded = world

    def _chain(self, name: str, worlds: list[World], depth: int) -> tuple[list[World], list[World]]:
        """(worlds that are decided, worlds that leave the chain at its end or by return)."""
        done: list[World] = []
        fall: list[World] = []
        live = worlds
        if depth > MAX_DEPTH or not self.table.has_chain(name):
            why = f"chain {name}: jumps are nested too deeply" if depth > MAX_DEPTH else f"chain {name} is not listed"
            for world in live:
                world.verdict, world.reason = "unknown", why
            return live, fall
        doubt = self.table.doubts.get(name)
        if doubt is not None:
            where = f"{doubt.source.path}:{doubt.source.line}"
            for world in live:
                other = world.copy()
                other.verdict, other.reason = "unknown", f"a line of chain {name} is not understood ({where})"
                done.append(other)
                world.assumed += (f"the line of chain {name} at {where} does not match",)
        for rule in self.table.rules(name):
            if self.ignored and rule_key(rule.rule) in self.ignored:
                continue
            following: list[World] = []
            for world in live:
                _Course(self, rule, world, following, done, fall, depth).run(0)
            live = merge(following)
            if len(live) + len(done) > self.limit:
                self.overflow = True
            if not live or self.overflow:
                break
        return done, fall + live


class _Course:
    """One world through the operations of one rule."""

    def __init__(
        self, walk: NftTraversal, rule: CompiledNftRule, world: World, live: list[World], done: list[World],
        fall: list[World], depth: int,
    ) -> None:  # fmt: skip
        self.walk = walk
        self.rule = rule
        self.world = world
        self.live = live
        self.done = done
        self.fall = fall
        self.depth = depth
        self.mark, self.ctmark = world.mark, world.ctmark
        self.answer: bool | MatchResult = True
        self.answer_at = -1

    def fork(self, world: World) -> _Course:
        other = _Course(self.walk, self.rule, world, self.live, self.done, self.fall, self.depth)
        other.mark, other.ctmark = self.mark, self.ctmark
        other.answer, other.answer_at = self.answer, self.answer_at
        return other

    def run(self, at: int, instead: Operation | None = None) -> None:
        """From operation `at` on; `instead` replaces the first one (the outcome of a chance)."""
        operations = self.rule.operations
        forced = id(self.rule) in self.walk.forced
        while at < len(operations):
            operation = instead or operations[at]
            instead = None
            self.walk._load(self.world)
            c = self.walk.c
            if isinstance(operation, Condition):
                answer: bool | MatchResult = True if forced else operation.match.test(c)
                if isinstance(answer, MatchResult) and self._fails_later(at + 1):
                    answer = False
                if answer is False:
                    self._miss(at)
                    return
                if isinstance(answer, MatchResult):
                    self._open(answer, at)
            elif isinstance(operation, Change):
                result = operation.run(c)
                if result is False:
                    self._miss(at)
                    return
                if result is not True:
                    self._end("unknown", f"{self._where()}: {result}")
                    self.walk._loaded = None
                    return
                world = self.world
                world.packet, world.mark, world.ctmark, world.tos = c.packet, c.mark, c.ctmark, c.tos
                world.touched = c.touched_sets
            elif isinstance(operation, Decide):
                if not self._decide(operation, at, c):
                    return
            elif isinstance(operation, Rewrite):
                request = operation.request(c)
                if request is None:
                    self._miss(at)
                    return
                if isinstance(request, MatchResult):
                    self._end("unknown", f"{self._where()}: {request.why}")
                    return
                if isinstance(request, NatRequest):
                    self._end("nat", payload=request)
                    return
            else:
                self._draw(operation, at)
                return
            at += 1
        self._visit()
        self.live.append(self.world)

    def _fails_later(self, at: int) -> bool:
        """A certain no among the conditions that follow before anything is changed decides."""
        for operation in self.rule.operations[at:]:
            if not isinstance(operation, Condition):
                return False
            if operation.match.test(self.walk.c) is False:
                return True
        return False

    def _open(self, answer: MatchResult, at: int) -> None:
        """The condition is not decided: one world goes on behind the rule, this one inside it."""
        if self.answer is True:
            self.answer, self.answer_at = answer, at
        if self.rule.inert:
            return
        other = self.world.copy()
        other.visits.append(Visit(self.rule, answer, at, self.mark, self.ctmark))  # type: ignore[arg-type]
        other.assumed += (f"{self._where()} does not match: {answer.why}",)
        self.live.append(other)
        self.world.assumed += (f"{self._where()} matches: {answer.why}",)

    def _miss(self, at: int) -> None:
        if self.walk.record:
            visit = Visit(self.rule, False, at, self.mark, self.ctmark)  # type: ignore[arg-type]
            self.world.visits.append(visit)
        self.live.append(self.world)

    def _visit(self, rule: CompiledNftRule | None = None) -> None:
        visit = Visit(rule or self.rule, self.answer, self.answer_at, self.mark, self.ctmark)  # type: ignore[arg-type]
        self.world.visits.append(visit)

    def _end(self, verdict: str, reason: str = "", payload: object = None, rule: CompiledNftRule | None = None) -> None:
        self._visit(rule)
        world = self.world
        world.verdict, world.reason, world.payload = verdict, reason, payload
        world.rule = rule or self.rule  # type: ignore[assignment]
        self.done.append(world)

    def _decide(self, operation: Decide, at: int, c: Context) -> bool:
        """True when the rule goes on with its next operation."""
        verdict: Verdict = operation.verdict
        if operation.find is not None:
            found = operation.find(c)
            if found is None:
                self._miss(at)
                return False
            if isinstance(found, Open):
                self._fork_verdicts(found, at)
                return False
            verdict = found
        return self._apply(verdict)

    def _fork_verdicts(self, found: Open, at: int) -> None:
        if len(found.possible) > 16:
            self._end("unknown", f"{self._where()}: {found.why.why}")
            return
        for verdict in found.possible:
            other = self.fork(self.world.copy())
            other.answer, other.answer_at = found.why, at
            words = " ".join(word for word in verdict if word)
            other.world.assumed += (f"{self._where()} answers {words}: {found.why.why}",)
            if other._apply(verdict):
                other.run(at + 1)
        self.world.assumed += (f"{self._where()} finds nothing: {found.why.why}",)
        self.answer, self.answer_at = found.why, at
        self._visit()
        self.live.append(self.world)

    def _apply(self, verdict: Verdict) -> bool:
        kind, argument = verdict
        if kind == "continue":
            return True
        rule = self.rule.with_target(target_of(verdict))
        if kind in ("jump", "goto"):
            self._visit(rule)
            decided, back = self.walk._chain(argument, [self.world], self.depth + 1)
            self.done.extend(decided)
            (self.fall if kind == "goto" else self.live).extend(back)
        elif kind == "return":
            self._visit(rule)
            self.fall.append(self.world)
        elif kind == "unknown":
            self._end("unknown", f"{self._where()}: {argument}")
        else:
            self._end(kind, payload=argument if kind == "reject" else None, rule=rule)
        return False

    def _draw(self, operation: Chance, at: int) -> None:
        fact = self.rule.rule
        where = f"{fact.backend} {fact.table} {fact.chain}"
        for share, label, outcome in operation.alternatives:
            other = self.fork(self.world.copy() if len(operation.alternatives) > 1 else self.world)
            if share != 1:
                other.world.choices = (*other.world.choices, Choice(where, label, share, fact.source))
            if outcome is None:
                other._miss(at)
            else:
                other.run(at, outcome)

    def _where(self) -> str:
        fact = self.rule.rule
        return f"{fact.table} {fact.chain} rule {fact.index} ({fact.source.path}:{fact.source.line})"
