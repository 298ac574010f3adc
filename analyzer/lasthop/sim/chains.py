"""Chains compiled to tests, and the walk of one table's chain by one packet in all its possible worlds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from ipaddress import ip_address
from typing import Protocol, runtime_checkable

from lasthop.facts.evidence import Doubt
from lasthop.facts.netfilter import Match, NetfilterRule, Ruleset
from lasthop.facts.trace import MatchResult

from .edits import RuleKey, rule_key
from .extensions import CompiledMatch, TargetKind, compile_matches, compile_target
from .extensions.context import Context, unknown
from .worlds import Visit, World, merge, not_taken, settle, taken

MAX_DEPTH = 64
INDEX_FROM = 24


class CompiledRule:
    """One rule: its tests in kernel order and what it does."""

    __slots__ = ("call", "inert", "kind", "matches", "payload", "rule", "share", "tests")

    def __init__(self, rule: NetfilterRule, table: CompiledTable) -> None:
        self.rule = rule
        self.matches: list[CompiledMatch] = compile_matches(rule.matches)
        if rule.unparsed:
            answer = unknown(f"'{rule.unparsed}' is not understood")
            self.matches.append(CompiledMatch(lambda c: answer, rule.unparsed, lambda c: "not understood"))
        self.tests = tuple(match.test for match in self.matches)
        share = Fraction(1)
        for match in self.matches:
            if match.choice is not None:
                share *= match.choice
        self.share = share
        self.call: CompiledChain | None = None
        if not rule.target:
            self.kind, self.payload = TargetKind.COUNT, None
        elif table.has_chain(rule.target):
            self.kind, self.payload = TargetKind.JUMP, None
        else:
            self.kind, self.payload = compile_target(rule)
        if rule.unparsed and self.kind in (TargetKind.COUNT, TargetKind.NAT):
            # The part that was not understood may hold the target or its options.
            self.kind, self.payload = TargetKind.UNKNOWN, f"'{rule.unparsed}' is not understood"
        self.inert = self.kind is TargetKind.COUNT

    @property
    def name(self) -> str:
        """"cali-FORWARD rule 3 (nft filter)"."""
        return f"{self.rule.chain} rule {self.rule.index}"


_KEYS = ("destination", "out-interface", "in-interface", "source", "dport")


def index_key(matches: tuple[Match, ...]) -> tuple[str, object] | None:
    """A value that the packet must have for this rule to match: exact address, interface, or port."""
    best: tuple[int, str, object] | None = None
    for match in matches:
        if match.negated or match.option not in _KEYS or len(match.values) != 1:
            continue
        text = match.values[0]
        value: object
        if match.module == "" and match.option in ("source", "destination"):
            head, _, mask = text.partition("/")
            if mask not in ("", "32", "128"):
                continue
            try:
                ip = ip_address(head)
            except ValueError:
                continue
            if mask == "32" and ip.version == 6:
                continue
            value = int(ip)
        elif match.module == "" and match.option in ("in-interface", "out-interface"):
            if text.endswith("+"):
                continue
            value = text
        elif match.module in ("tcp", "udp", "sctp") and match.option == "dport" and text.isdigit():
            value = int(text)
        else:
            continue
        rank = _KEYS.index(match.option)
        if best is None or rank < best[0]:
            best = (rank, match.option, value)
    return None if best is None else (best[1], best[2])


_TEXT_KEY = re.compile(r"(?<!! )-(?:(d) ([0-9a-fA-F.:]+)/(32|128)|([io]) ([^\s+\"]+)) ")


def text_key(line: str) -> tuple[str, object] | None:
    """`index_key` read from the text of a rule, in front of anything that is quoted."""
    best: tuple[str, object] | None = None
    for match in _TEXT_KEY.finditer(line.partition('"')[0]):
        destination, head, length, direction, interface = match.groups()
        if destination:
            if (length == "128") == (":" in head):
                return "destination", int(ip_address(head))
        elif best is None:
            best = ("in-interface" if direction == "i" else "out-interface", interface)
    return best


@runtime_checkable
class LineRuleset(Protocol):
    """A ruleset that can tokenise single rules (parsers.iptables.LazyRuleset)."""

    def texts(self, table: str, chain: str) -> tuple[str, ...]: ...

    def rule(self, table: str, chain: str, index: int) -> NetfilterRule: ...


class CompiledChain:
    """A chain whose rules are compiled when a packet first meets them. Long chains are indexed, from their text where
    the ruleset gives it, so that the rules of other destinations are not even tokenised."""

    def __init__(self, table: CompiledTable, name: str) -> None:
        self.table = table
        self.name = name
        self.buckets: dict[tuple[str, object], list[int]] | None = None
        self.rest: list[int] = []
        self._rules: tuple[NetfilterRule, ...] | None = None
        ruleset = table.ruleset
        keys: list[tuple[str, object] | None] = []
        if isinstance(ruleset, LineRuleset):
            texts = ruleset.texts(table.name, name)
            self.size = len(texts)
            if self.size >= INDEX_FROM:
                keys = [text_key(text) for text in texts]
        else:
            self._rules = ruleset.rules(table.name, name)
            self.size = len(self._rules)
            if self.size >= INDEX_FROM:
                keys = [None if rule.unparsed else index_key(rule.matches) for rule in self._rules]
        self.compiled: list[CompiledRule | None] = [None] * self.size
        if keys:
            self.buckets = {}
            for position, key in enumerate(keys):
                if key is None:
                    self.rest.append(position)
                else:
                    self.buckets.setdefault(key, []).append(position)

    def at(self, position: int) -> CompiledRule:
        compiled = self.compiled[position]
        if compiled is None:
            compiled = self.compiled[position] = CompiledRule(self._rule(position), self.table)
        return compiled

    def _rule(self, position: int) -> NetfilterRule:
        if self._rules is not None:
            return self._rules[position]
        ruleset = self.table.ruleset
        assert isinstance(ruleset, LineRuleset)
        return ruleset.rule(self.table.name, self.name, position + 1)

    def candidates(self, c: Context) -> Iterable[int]:
        """Positions of the rules that can match, ascending; the others differ in the indexed value."""
        if self.buckets is None:
            return range(self.size)
        found = self.rest
        for key in (
            ("destination", c.dst), ("source", c.src), ("out-interface", c.oif), ("in-interface", c.iif),
            ("dport", c.dport),
        ):  # fmt: skip
            bucket = self.buckets.get(key)
            if bucket:
                found = found + bucket
        if c.dport is None:  # an unknown port may be any
            ports = (bucket for (option, _), bucket in self.buckets.items() if option == "dport")
            found = found + [position for bucket in ports for position in bucket]
        return sorted(found) if found is not self.rest else found


class CompiledTable:
    """One table of one ruleset. `doubts` are lines of the dump that were not understood, by chain ("" = anywhere)."""

    def __init__(self, ruleset: Ruleset, name: str, doubts: tuple[Doubt, ...] = ()) -> None:
        self.ruleset = ruleset
        self.name = name
        self.names = frozenset(chain.name for chain in ruleset.chains(name))
        self.chains: dict[str, CompiledChain] = {}
        self.doubts: dict[str, Doubt] = {}
        for doubt in doubts:
            touched = doubt.touches
            if touched.startswith(f"{name} "):
                touched = touched[len(name) + 1 :]
            self.doubts.setdefault(touched, doubt)

    def has_chain(self, name: str) -> bool:
        return name in self.names

    def chain(self, name: str) -> CompiledChain:
        found = self.chains.get(name)
        if found is None:
            found = self.chains[name] = CompiledChain(self, name)
        return found


class Traversal:
    """One packet through one table's chain. `record` keeps the rules that did not match as well."""

    def __init__(
        self, table: CompiledTable, c: Context, *, record: bool, limit: int, forced: frozenset[int] = frozenset(),
        ignored: frozenset[RuleKey] = frozenset(),
    ) -> None:  # fmt: skip
        self.table = table
        self.c = c
        self.record = record
        self.limit = limit
        self.forced = forced
        """Identities of compiled rules to take as matching (counterfactuals)."""
        self.ignored = ignored
        """Rules to take as deleted."""
        self.skipped = 0
        self.overflow = False
        self._loaded: World | None = None

    def run(self, chain: str, policy: str) -> list[World]:
        """All worlds, each with its verdict."""
        c = self.c
        start = World(c.packet, c.mark, c.ctmark, c.tos, c.touched_sets)
        done, fall = self._chain(self.table.chain(chain), [start], 0)
        for world in fall:
            world.verdict = "accept" if policy == "ACCEPT" else "drop"
        return done + fall

    def _load(self, world: World) -> None:
        if self._loaded is not world:
            c = self.c
            c.packet, c.mark, c.ctmark, c.tos = world.packet, world.mark, world.ctmark, world.tos
            c.touched_sets = world.touched
            self._loaded = world

    def _chain(self, chain: CompiledChain, worlds: list[World], depth: int) -> tuple[list[World], list[World]]:
        """(worlds that are decided, worlds that leave the chain at its end or by RETURN)."""
        done: list[World] = []
        fall: list[World] = []
        live = worlds
        if depth > MAX_DEPTH:
            for world in live:
                world.verdict, world.reason = "unknown", f"chain {chain.name}: jumps are nested too deeply"
            return live, fall
        doubt = self.table.doubts.get(chain.name)
        if doubt is not None:
            for world in live:
                other = world.copy()
                where = f"{doubt.source.path}:{doubt.source.line}"
                other.verdict, other.reason = "unknown", f"a line of chain {chain.name} is not understood ({where})"
                done.append(other)
                world.assumed += (f"the line of chain {chain.name} at {where} does not match",)
        asked = 0
        position = -1
        for position in chain.candidates(self.c):
            asked += 1
            rule = chain.compiled[position] or chain.at(position)
            if self.ignored and rule_key(rule.rule) in self.ignored:
                continue
            following: list[World] = []
            for world in live:
                self._load(world)
                answer, at = self._ask(rule)
                if answer is False:
                    if self.record:
                        world.visits.append(Visit(rule, False, at, world.mark, world.ctmark))
                    following.append(world)
                else:
                    self._follow(rule, world, answer, at, following, done, fall, depth)
            live = following if len(following) < 2 else merge(following)
            if len(live) + len(done) > self.limit:
                self.overflow = True
            if not live or self.overflow:
                break
        reached = position + 1 if not live else chain.size
        self.skipped += max(0, reached - asked)
        return done, fall + live

    def _ask(self, rule: CompiledRule) -> tuple[bool | MatchResult, int]:
        """Whether the rule matches the loaded world, and the position of the match that decided: no beats unknown."""
        c = self.c
        answer: bool | MatchResult = True
        at = number = -1
        for test in rule.tests:
            number += 1
            result = test(c)
            if result is True:
                continue
            if result is False:
                answer, at = False, number
                break
            if answer is True:
                answer, at = result, number
        if self.forced and answer is not True and id(rule) in self.forced:
            return True, -1
        return answer, at

    def _follow(
        self, rule: CompiledRule, world: World, answer: bool | MatchResult, at: int, live: list[World],
        done: list[World], fall: list[World], depth: int,
    ) -> None:  # fmt: skip
        """A rule that matches, or may: what becomes of this world."""
        visit = Visit(rule, answer, at, world.mark, world.ctmark)
        if answer is not True:
            assert isinstance(answer, MatchResult)
            if not rule.inert:
                other = world.copy()
                other.visits.append(visit)
                other.assumed += (f"{self._where(rule)} does not match: {answer.why}",)
                live.append(other)
                world.assumed += (f"{self._where(rule)} matches: {answer.why}",)
        if rule.share != 1 and not rule.inert:
            other = world.copy()
            other.choices = not_taken(world.choices, self._chain_name(rule), rule, 1 - rule.share)
            live.append(other)
            world.choices = taken(world.choices, self._chain_name(rule), rule, rule.share)
        elif world.choices and rule.kind in (TargetKind.JUMP, TargetKind.NAT):
            world.choices = settle(world.choices, self._chain_name(rule), rule)
        world.visits.append(visit)
        self._apply(rule, world, live, done, fall, depth)

    def _chain_name(self, rule: CompiledRule) -> str:
        return f"{self.table.ruleset.backend} {self.table.name} {rule.rule.chain}"

    def _where(self, rule: CompiledRule) -> str:
        source = rule.rule.source
        return f"{self._chain_name(rule)} rule {rule.rule.index} ({source.path}:{source.line})"

    def _apply(
        self, rule: CompiledRule, world: World, live: list[World], done: list[World], fall: list[World], depth: int
    ) -> None:
        kind = rule.kind
        if kind is TargetKind.COUNT:
            live.append(world)
        elif kind is TargetKind.CONTINUE:
            c = self.c
            self._load(world)
            error = rule.payload(c)  # type: ignore[operator]
            if error:
                world.verdict, world.rule, world.reason = "unknown", rule, f"{self._where(rule)}: {error}"
                done.append(world)
                self._loaded = None
                return
            world.packet, world.mark, world.ctmark, world.tos = c.packet, c.mark, c.ctmark, c.tos
            world.touched = c.touched_sets
            live.append(world)
        elif kind is TargetKind.RETURN:
            fall.append(world)
        elif kind is TargetKind.JUMP:
            if rule.call is None:
                rule.call = self.table.chain(rule.rule.target)
            decided, back = self._chain(rule.call, [world], depth + 1)
            done.extend(decided)
            (fall if rule.rule.goto else live).extend(back)
        else:
            world.rule = rule
            if kind is TargetKind.UNKNOWN:
                world.verdict, world.reason = "unknown", f"{self._where(rule)}: {rule.payload}"
            else:
                world.verdict = kind.value
                world.payload = rule.payload
            done.append(world)
