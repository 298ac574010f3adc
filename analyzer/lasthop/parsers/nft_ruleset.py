"""`nft list ruleset` and `nft -a list ruleset` (1.0, 1.1): indexed at once, rules and elements tokenised on demand.

The grammar is src/rule.c's printing side: table { set|map|chain|object { … } }, one rule a line, elements of named sets
over several lines. Lines that are no part of that grammar are doubts of their chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.netfilter import NftChain, NftRule, NftSet

from .nft import is_iptables_chain, priority_of
from .result import CITED, STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange

_TABLE = re.compile(r"table (?:(ip|ip6|inet|arp|bridge|netdev) )?(\S+) \{")
_BLOCK = re.compile(r"(chain|set|map|meter|flowtable|counter|quota|limit|secmark|synproxy|ct [a-z]+)\s+(\S+) \{")
_HOOK = re.compile(
    r"(?:type (\w+) )?hook (\w+) (?:devices? = \{ ([^}]*) \} |device \"?([^\s\";]+)\"? )?priority ([^;]+);?"
)
_POLICY = re.compile(r"policy (\w+);?")
_HANDLE = re.compile(r"\s# handle (\d+)\s*$")
_NOT_RULES = ("type ", "hook ", "policy ", "comment ")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[{}(),;|&^]|[^\s{}(),;|&^"]+|"')
_ATTRIBUTES = ("flags ", "size ", "timeout ", "gc-interval ", "policy ", "auto-merge", "comment ", "counter", "quota ",
               "limit ", "last", "ct count ", "packets ", "type ", "typeof ", "hook ", "devices ", "protocol ",
               "l3proto ", "mss ", "over ", "rate ", "until ", "burst ", "handle ")  # fmt: skip


def tokens(text: str) -> tuple[str, ...]:
    """Words of a rule or element list; quoted strings keep their opening quote and lose the closing one."""
    found = []
    for word in _WORD.findall(text):
        found.append(word[:-1] if len(word) > 1 and word[0] == '"' == word[-1] else word)
    return tuple(found)


@dataclass(slots=True)
class _Lines:
    """A run of text: the first line's number, the joined text, the last line's number."""

    number: int
    text: str
    end: int


@dataclass(slots=True)
class _Chain:
    fact: NftChain
    rules: list[_Lines] = field(default_factory=list)


@dataclass(slots=True)
class _Set:
    kind: str
    name: str
    number: int
    head: str
    key: str = ""
    flags: str = ""
    elements: list[str] = field(default_factory=list)
    doubt: str = ""
    closed: bool = False


@dataclass(slots=True)
class _Table:
    family: str
    name: str
    chains: dict[str, _Chain] = field(default_factory=dict)
    sets: dict[str, _Set] = field(default_factory=dict)
    dormant: bool = False
    objects: list[str] = field(default_factory=list)


class LazyNftRuleset:
    """facts.netfilter.NftRuleset over the text of one dump."""

    def __init__(self, path: str, tables: dict[tuple[str, str], _Table]) -> None:
        self.path = path
        self._tables = tables
        self._rules: dict[tuple[str, str, str], tuple[NftRule, ...]] = {}
        self._sets: dict[tuple[str, str, str], NftSet] = {}

    def tables(self) -> tuple[tuple[str, str], ...]:
        return tuple(key for key, table in self._tables.items() if not table.dormant)

    def chains(self, family: str, table: str) -> tuple[NftChain, ...]:
        found = self._tables.get((family, table))
        return tuple(chain.fact for chain in found.chains.values()) if found is not None else ()

    def chain(self, family: str, table: str, name: str) -> NftChain | None:
        found = self._tables.get((family, table))
        chain = found.chains.get(name) if found is not None else None
        return None if chain is None else chain.fact

    def rules(self, family: str, table: str, chain: str) -> tuple[NftRule, ...]:
        key = (family, table, chain)
        if key not in self._rules:
            found = self._tables.get((family, table))
            lines = found.chains[chain].rules if found is not None and chain in found.chains else []
            self._rules[key] = tuple(self._rule(key, index, run) for index, run in enumerate(lines, 1))
        return self._rules[key]

    def set(self, family: str, table: str, name: str) -> NftSet | None:
        key = (family, table, name)
        if key not in self._sets:
            found = self._tables.get((family, table))
            if found is None or name not in found.sets:
                return None
            self._sets[key] = self._read_set(key, found.sets[name])
        return self._sets[key]

    def managed(self, chain: NftChain) -> bool:
        """A base chain exactly like one of iptables-nft's own (iptables/nft.c xtables_ipv4)."""
        return is_iptables_chain(chain.family, chain.table, chain.name, chain.type, chain.hook, chain.priority)

    def count(self) -> int:
        return sum(len(chain.rules) for table in self._tables.values() for chain in table.chains.values())

    def all_rules(self) -> Iterator[NftRule]:
        for (family, name), table in self._tables.items():
            for chain in table.chains:
                yield from self.rules(family, name, chain)

    def _rule(self, key: tuple[str, str, str], index: int, run: _Lines) -> NftRule:
        text = run.text
        handle = _HANDLE.search(text)
        words = list(tokens(text[: handle.start()] if handle else text))
        comment = ""
        if len(words) >= 2 and words[-2] == "comment" and words[-1][:1] == '"':
            comment = words[-1][1:]
            del words[-2:]
        packets = octets = None
        for at in range(len(words) - 4):
            if words[at] == "counter" and words[at + 1] == "packets" and words[at + 3] == "bytes":
                packets, octets = int(words[at + 2]), int(words[at + 4])
                del words[at + 1 : at + 5]
                break
        end = run.end if run.end != run.number else 0
        source = SourceRef(self.path, run.number, run.text.split("\n", 1)[0].strip()[:CITED], end)
        return NftRule(*key, index, source, tuple(words), comment, packets, octets,
                       int(handle.group(1)) if handle else None)  # fmt: skip

    def _read_set(self, key: tuple[str, str, str], found: _Set) -> NftSet:
        head, _, data = found.key.partition(" : ")
        doubt = found.doubt or ("" if found.closed else "the listing ends inside this set")
        elements: list[tuple[str, ...]] = []
        if found.elements:
            words = tokens("\n".join(found.elements))
            if words[:3] == ("elements", "=", "{") and words[-1] == "}":
                elements = split_elements(words[3:-1])
            else:
                doubt = doubt or "its elements are not understood"
        return NftSet(*key, found.kind, SourceRef(self.path, found.number, found.head), tuple(head.split()),
                      tuple(data.split()), frozenset(w.strip() for w in found.flags.split(",") if w.strip()),
                      tuple(elements), doubt)  # fmt: skip


def split_elements(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Elements between commas; braces inside (nested maps) are not cut."""
    found: list[tuple[str, ...]] = []
    current: list[str] = []
    depth = 0
    for word in words:
        depth += (word in "{(") - (word in "})")
        if word == "," and depth == 0:
            found.append(tuple(current))
            current = []
        else:
            current.append(word)
    if current:
        found.append(tuple(current))
    return found


class _Reader:
    """Follows the blocks by their indentation-free grammar: a block ends with a line that is only "}"."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.builder: ResultBuilder[LazyNftRuleset] = ResultBuilder(path, "nft")
        self.tables: dict[tuple[str, str], _Table] = {}
        self.table: _Table | None = None
        self.chain: _Chain | None = None
        self.set: _Set | None = None
        self.other = 0
        self.run: _Lines | None = None
        """A rule or element list whose braces are still open."""

    def line(self, number: int, line: str) -> None:
        text = line.strip()
        if self.run is not None:
            self.run.text += "\n" + line
            self.run.end = number
            if _balance(self.run.text) <= 0:
                self.complete()
        elif self.table is None:
            match = _TABLE.match(text)
            if match is None:
                raise Strange("outside of any table")
            key = (match.group(1) or "ip", match.group(2))
            # A second dump appended to the first replaces the table.
            self.table = self.tables[key] = _Table(*key)
            if text.endswith("}"):
                self.table = None
        elif self.other:
            self.other += _balance(text)
        elif self.chain is not None:
            self.in_chain(number, line, text)
        elif self.set is not None:
            self.in_set(number, line, text)
        else:
            self.in_table(number, text)

    def plain_rule(self, number: int, line: str, text: str) -> bool:
        """Keeps a rule without braces, which nearly every line of a large listing is; False for any other line."""
        if self.chain is None or self.run is not None or "{" in line or "}" in line or text.startswith(_NOT_RULES):
            return False
        self.chain.rules.append(_Lines(number, line, number))
        return True

    def in_table(self, number: int, text: str) -> None:
        assert self.table is not None
        match = _BLOCK.match(text)
        if match is None:
            if text == "}":
                self.table = None
            elif text.startswith("flags "):
                self.table.dormant = "dormant" in text
            elif not text.startswith("comment "):
                raise Strange("not a part of a table", f"{self.table.family} {self.table.name}")
            return
        kind, name = match.group(1), match.group(2)
        closed = _balance(_HANDLE.sub("", text)) <= 0
        if kind == "chain":
            fact = NftChain(self.table.family, self.table.name, name, cite(self.path, number, text))
            chain = self.table.chains[name] = _Chain(fact)
            self.chain = None if closed else chain
        elif kind in ("set", "map", "meter"):
            found = self.table.sets[name] = _Set("map" if kind == "map" else "set", name, number, text[:CITED])
            self.set = None if closed else found
            found.closed = closed
        else:
            self.table.objects.append(f"{kind} {name}")
            self.other = 0 if closed else 1

    def in_chain(self, number: int, line: str, text: str) -> None:
        assert self.chain is not None and self.table is not None
        fact = self.chain.fact
        if text == "}":
            self.chain = None
            return
        if text.startswith(("type ", "hook ")) and not self.chain.rules:
            hook = _HOOK.match(text)
            if hook is None:
                raise Strange("a base chain's head", f"{fact.family} {fact.table} {fact.name}")
            policy = _POLICY.search(text)
            devices = hook.group(3) or hook.group(4) or ""
            names = tuple(name.strip().strip('"') for name in devices.split(",") if name.strip())
            self.chain.fact = NftChain(
                fact.family, fact.table, fact.name, fact.source, hook.group(1) or "", hook.group(2),
                priority_of(hook.group(5), fact.family), policy.group(1) if policy else "accept", names,
            )  # fmt: skip
        elif text.startswith("policy ") and not self.chain.rules and fact.hook:
            self.chain.fact = NftChain(
                fact.family, fact.table, fact.name, fact.source, fact.type, fact.hook, fact.priority,
                text[7:].rstrip(";").strip(), fact.devices,
            )  # fmt: skip
        elif not (text.startswith("comment ") and not self.chain.rules):
            self.open(number, line)

    def in_set(self, number: int, line: str, text: str) -> None:
        found = self.set
        assert found is not None and self.table is not None
        if text == "}":
            found.closed = True
            self.set = None
        elif text.startswith("elements"):
            self.open(number, line)
        elif text.startswith(("type ", "typeof ")):
            found.key = text.split(" ", 1)[1].rstrip(";")
        elif text.startswith("flags "):
            found.flags = text[6:].rstrip(";")
        elif not text.startswith(_ATTRIBUTES):
            found.doubt = f"line {number} is not understood"
            raise Strange("not a part of a set", f"{self.table.family} {self.table.name} {found.name}")

    def open(self, number: int, line: str) -> None:
        self.run = _Lines(number, line, number)
        if _balance(line) <= 0:
            self.complete()

    def complete(self) -> None:
        assert self.run is not None
        if self.chain is not None:
            self.chain.rules.append(self.run)
        elif self.set is not None:
            self.set.elements.append(self.run.text)
        self.run = None

    def end(self) -> None:
        """What an unfinished listing leaves open."""
        if self.table is None:
            return
        self.builder.truncated = True
        if self.run is not None and self.set is not None:
            self.set.doubt = "the listing ends inside its elements"


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def _balance(text: str) -> int:
    bare = _QUOTED.sub("", text) if '"' in text else text
    return bare.count("{") - bare.count("}")


def parse_nft_ruleset(text: str, path: str) -> ParseResult[LazyNftRuleset]:
    """At most one LazyNftRuleset. `touches` of a strange line is "FAMILY TABLE" or "FAMILY TABLE CHAIN"; a listing that
    ends inside a table is `truncated`. Lines are counted by parse_nft_base_chains, which reads the same text."""
    reader = _Reader(path)
    builder = reader.builder
    for number, line in numbered(text):
        stripped = line.lstrip()
        if not stripped or (stripped[0] == "#" and reader.run is None) or reader.plain_rule(number, line, stripped):
            continue
        try:
            reader.line(number, line)
        except STRANGE as error:
            builder.reject(number, line, str(error)[:200] or "not understood", getattr(error, "touches", ""))
    reader.end()
    builder.values.append(LazyNftRuleset(path, reader.tables))
    return builder.result()
