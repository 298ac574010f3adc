"""iptables rulesets, native nftables hooks, ipsets and conntrack entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .evidence import SourceRef
from .network import Ip, Prefix


@dataclass(frozen=True, slots=True)
class Match:
    """One condition, tokenised, not interpreted: only the extension knows what its value means.

    `module` is the extension ("" for the built-in -s -d -i -o -p -f); `option` the long option without dashes
    ("source", "destination", "in-interface", "out-interface", "protocol", "fragment", "mark", "ctstate", "match-set",
    "dport", ...): short forms are written out (-s -> source, -p -> protocol, -i -> in-interface, --dport and
    --destination-port -> dport, --sport -> sport). `values` are its arguments as printed.

    `instance` tells apart several uses of one module in a rule ("-m addrtype --src-type LOCAL --limit-iface-out
    -m addrtype --dst-type LOCAL"): options of the same -m share it, it counts from 1, 0 is built-in. A module without
    any option has one Match with option "".
    """

    module: str
    option: str
    values: tuple[str, ...] = ()
    negated: bool = False
    instance: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class NetfilterRule:
    """One rule of an iptables dump. `index` counts from 1 inside its chain, as `iptables -L --line-numbers` does.

    `target` is "" when the rule has none (it only counts); `target_options` are (option, values) pairs, options long
    and without dashes. `packets`/`bytes` are None in dumps without counters. `unparsed` is the part of the line that
    the tokeniser did not understand: the rule is then UNKNOWN. `comment` is all -m comment texts joined by a space.
    """

    backend: str
    family: int
    table: str
    chain: str
    index: int
    source: SourceRef
    matches: tuple[Match, ...] = ()
    target: str = ""
    target_options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    goto: bool = False
    packets: int | None = None
    bytes: int | None = None
    comment: str = ""
    unparsed: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain's head. `policy` is ACCEPT or DROP for built-in chains, "" for user chains ("-" in the dump)."""

    backend: str
    family: int
    table: str
    name: str
    policy: str
    source: SourceRef
    packets: int | None = None
    bytes: int | None = None


class Ruleset(Protocol):
    """One back end's dump of one family: chains indexed at once, rules tokenised when a chain is asked for.

    Implemented by parsers.iptables (lazy, from text) and by tests (eager). Asking twice returns the same tuple.
    """

    backend: str
    """"nft" or "legacy"."""
    family: int
    path: str

    def tables(self) -> tuple[str, ...]:
        """Names of the tables in the dump, in its order. A table not in the dump does not exist in that back end,
        unless the evidence is Partial (iptables-nft-save can leave out a table with rc 0)."""
        ...

    def chains(self, table: str) -> tuple[Chain, ...]: ...

    def chain(self, table: str, name: str) -> Chain | None: ...

    def rules(self, table: str, chain: str) -> tuple[NetfilterRule, ...]: ...


@dataclass(frozen=True, slots=True)
class NftBaseChain:
    """A native nftables base chain (not one of iptables-nft's own tables).

    `priority` is numeric (dstnat -100, filter 0, srcnat 100 ...), None when not understood. `rules` counts its rule
    lines and those of all chains of its table: 0 means that the chain can only apply its policy.
    """

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int | None
    policy: str
    rules: int
    source: SourceRef
    device: str = ""


@dataclass(frozen=True, slots=True)
class NftChain:
    """A chain of native nftables. Of base chains `type`, `hook`, `priority` (numeric, None when not understood),
    `policy` ("accept", "drop") and `devices` are set; of others `hook` is ""."""

    family: str
    table: str
    name: str
    source: SourceRef
    type: str = ""
    hook: str = ""
    priority: int | None = None
    policy: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule as nft lists it, tokenised, not interpreted.

    `tokens` are words; braces, parentheses, commas, `|` and `&` stand alone; quoted strings keep their opening quote.
    Counters, handle and the rule's comment are fields, not tokens ("counter" stays as a word where it stood).
    """

    family: str
    table: str
    chain: str
    index: int
    source: SourceRef
    tokens: tuple[str, ...]
    comment: str = ""
    packets: int | None = None
    bytes: int | None = None
    handle: int | None = None


@dataclass(frozen=True, slots=True)
class NftSet:
    """A named set or map (`kind`) with its elements as tokens ("10.0.0.1", ".", "80", ":", "accept").

    `key` and `data` are the words of `type` or `typeof`, `data` empty for sets. `doubt` says why elements may be
    missing, "" when all were read.
    """

    family: str
    table: str
    name: str
    kind: str
    source: SourceRef
    key: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    elements: tuple[tuple[str, ...], ...] = ()
    doubt: str = ""


class NftRuleset(Protocol):
    """`nft list ruleset` of one netns: tables indexed at once, rules and elements tokenised when asked for.

    Tables are named by (family, name) with family ip, ip6, inet, netdev, bridge or arp. iptables-nft's own tables are
    part of the text too; `managed` tells which base chains are iptables' own by their exact form.
    """

    path: str

    def tables(self) -> tuple[tuple[str, str], ...]:
        """In the order of the listing; a table that is dormant is left out."""
        ...

    def chains(self, family: str, table: str) -> tuple[NftChain, ...]: ...

    def chain(self, family: str, table: str, name: str) -> NftChain | None: ...

    def rules(self, family: str, table: str, chain: str) -> tuple[NftRule, ...]: ...

    def set(self, family: str, table: str, name: str) -> NftSet | None: ...

    def managed(self, chain: NftChain) -> bool: ...


@dataclass(frozen=True, slots=True)
class SetEntry:
    """One element as text split at commas outside brackets ("10.0.0.1,tcp:80" -> ("10.0.0.1", "tcp:80"))."""

    parts: tuple[str, ...]
    nomatch: bool = False
    timeout: int | None = None
    source: SourceRef | None = None


@dataclass(frozen=True, slots=True)
class IpSet:
    """`type` is "hash:ip", "hash:net", ...; `family` 4, 6, or 0 where the type has none (bitmap:port, list:set)."""

    name: str
    type: str
    family: int
    entries: tuple[SetEntry, ...]
    source: SourceRef
    options: tuple[tuple[str, str], ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ConntrackTuple:
    """One direction. Ports are None where the protocol has none; `icmp` is (type, code, id)."""

    src: Ip
    dst: Ip
    sport: int | None = None
    dport: int | None = None
    icmp: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class ConntrackEntry:
    """`status` holds UNREPLIED, ASSURED, OFFLOAD ... as printed; `state` the TCP state word or "".

    `timeout` is the remaining life in seconds. `zone`s are 0 unless printed.
    """

    proto: str
    original: ConntrackTuple
    reply: ConntrackTuple
    source: SourceRef
    state: str = ""
    status: frozenset[str] = frozenset()
    timeout: int | None = None
    mark: int = 0
    zone: int = 0
    zone_orig: int = 0
    zone_reply: int = 0
    packets: tuple[int, int] | None = None
    bytes: tuple[int, int] | None = None
    family: int = 4


__all__ = [
    "Chain", "ConntrackEntry", "ConntrackTuple", "IpSet", "Match", "NetfilterRule", "NftBaseChain", "NftChain",
    "NftRule", "NftRuleset", "NftSet", "Prefix", "Ruleset", "SetEntry",
]  # fmt: skip
