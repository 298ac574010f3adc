"""Which native base chains act at a hook, and in which order (net/netfilter/core.c, nf_nat_core.c)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, TypeVar

from lasthop.facts.evidence import Doubt, Partial
from lasthop.facts.netfilter import NftChain, NftRuleset
from lasthop.facts.snapshot import NetNS

if TYPE_CHECKING:  # most nodes have no native chain: the compiler of their rules is loaded for those that have
    from .walk import NftTable

FAMILIES = {4: frozenset({"ip", "inet"}), 6: frozenset({"ip6", "inet"})}
COMPAT_TABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A base chain in its place: `order` counts base chains in the order of the listing."""

    chain: NftChain
    order: int

    @property
    def name(self) -> str:
        return f"{self.chain.family} {self.chain.table} {self.chain.name}"


class NativeTables:
    """Native nftables of one netns. Empty where the listing was not collected."""

    def __init__(self, netns: NetNS) -> None:
        self.netns = netns
        self._tables: dict[tuple[str, str], NftTable] = {}
        self._chains: dict[tuple[str, int], tuple[BaseChain, ...]] = {}
        self._links: tuple[NftChain, ...] | None = None

    @property
    def ruleset(self) -> NftRuleset | None:
        values = self.netns.nft.values
        return values[0] if values else None

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        evidence = self.netns.nft
        return evidence.doubts if isinstance(evidence, Partial) else ()

    def at(self, hook: str, family: int) -> tuple[BaseChain, ...]:
        """Base chains of this hook and family that can do something, in the order of the listing."""
        key = (hook, family)
        if key not in self._chains:
            self._chains[key] = tuple(self._find(hook, family))
        return self._chains[key]

    def table(self, base: BaseChain) -> NftTable:
        key = (base.chain.family, base.chain.table)
        found = self._tables.get(key)
        if found is None:
            from .walk import NftTable

            ruleset = self.ruleset
            assert ruleset is not None
            found = self._tables[key] = NftTable(ruleset, *key, self.doubts)
        return found

    def replaces_iptables(self, family: int, table: str) -> bool:
        """Whether iptables-nft-save could not list a table that nft lists: it is then evaluated from nft's listing."""
        ruleset = self.ruleset
        name = ("ip" if family == 4 else "ip6", table)
        if ruleset is None or table not in COMPAT_TABLES or name not in ruleset.tables():
            return False
        saved = self.netns.ruleset("nft", family).values
        return bool(saved) and table not in saved[0].tables()

    def at_link(self, family: int, hook: str, device: str) -> NftChain | None:
        """A netdev or bridge chain with rules that this interface's packets meet outside the IP hooks."""
        if self._links is None:
            ruleset = self.ruleset
            found = []
            for name, table in ruleset.tables() if ruleset is not None else ():
                assert ruleset is not None
                for chain in ruleset.chains(name, table):
                    outside = name in ("netdev", "bridge") or chain.hook in ("ingress", "egress")
                    idle = chain.policy == "accept" and not ruleset.rules(name, table, chain.name)
                    if chain.hook and outside and not idle:
                        found.append(chain)
            self._links = tuple(found)
        for chain in self._links:
            if chain.hook == hook and device in chain.devices:
                return chain
        return None

    def _find(self, hook: str, family: int) -> Iterable[BaseChain]:
        ruleset = self.ruleset
        if ruleset is None:
            return
        doubtful = {doubt.touches for doubt in self.doubts}
        order = 0
        for name, table in ruleset.tables():
            for chain in ruleset.chains(name, table):
                if not chain.hook:
                    continue
                order += 1
                if chain.hook.upper() != hook or name not in FAMILIES[family]:
                    continue
                if ruleset.managed(chain) and not self.replaces_iptables(family, table):
                    continue
                idle = chain.policy == "accept" and not ruleset.rules(name, table, chain.name)
                if not idle or f"{name} {table} {chain.name}" in doubtful:
                    yield BaseChain(chain, order)


T = TypeVar("T")


def orders(actors: Sequence[T]) -> list[tuple[T, ...]]:
    """The orders in which hooks of equal priority may be asked. The kernel asks the one registered last first
    (nf_hook_entries_grow), and chains of one table are listed in the order in which they were made."""
    found = []
    # Of more than four only the order of the listing and its reverse are tried.
    candidates = permutations(actors) if len(actors) <= 4 else iter([tuple(reversed(actors)), tuple(actors)])
    for candidate in candidates:
        made: dict[tuple[str, str], int] = {}
        for actor in candidate:
            if isinstance(actor, BaseChain):
                key = (actor.chain.family, actor.chain.table)
                if made.get(key, 1 << 30) < actor.order:
                    break
                made[key] = actor.order
        else:
            found.append(candidate)
    return found or [tuple(reversed(actors))]
