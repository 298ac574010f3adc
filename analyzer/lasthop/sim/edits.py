"""A supposed change of one netns, to walk on past a stop as if it had been repaired."""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.facts.netfilter import NetfilterRule
from lasthop.facts.network import Ip, Route

RuleKey = tuple[str, int, str, str, int]
"""(back end, family, table, chain, index) of an iptables rule."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What would be changed. `sysctls` are (key, value); `neighbours_forgotten` (device, address) entries that are
    resolved anew; `vteps` (device, MAC, right address); `rules_ignored` are taken as deleted."""

    node: str
    netns: str = "host"
    routes_added: tuple[Route, ...] = ()
    routes_removed: tuple[Route, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    links_up: tuple[str, ...] = ()
    neighbours_forgotten: tuple[tuple[str, Ip], ...] = ()
    vteps: tuple[tuple[str, str, Ip], ...] = ()
    rules_ignored: frozenset[RuleKey] = frozenset()
    listens: tuple[tuple[str, int], ...] = ()
    """(protocol, port) on which a process is supposed to listen."""


def rule_key(rule: NetfilterRule) -> RuleKey:
    return rule.backend, rule.family, rule.table, rule.chain, rule.index
