"""Base chains and flowtables of native nftables, from `nft list ruleset` and `nft -j list ruleset`.

Rules are counted, not read. Base chains of iptables-nft are left out: the iptables dump is their evidence. They are
known by table, name, type, hook and priority, all exactly iptables-nft's own (iptables/nft.c xtables_ipv4[]): nft
prints its warning "managed by iptables-nft" on stderr only, and older versions not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.netfilter import NftBaseChain

from .result import CITED, STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange

# include/uapi/linux/netfilter_ipv4.h and nftables src/rule.c std_prios; bridge has its own (netfilter_bridge.h).
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100, "out": 100}
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}

_IPTABLES_CHAINS = {
    "filter": {"INPUT": ("filter", "input", 0), "FORWARD": ("filter", "forward", 0), "OUTPUT": ("filter", "output", 0)},
    "nat": {
        "PREROUTING": ("nat", "prerouting", -100), "INPUT": ("nat", "input", 100),
        "OUTPUT": ("nat", "output", -100), "POSTROUTING": ("nat", "postrouting", 100),
    },
    "mangle": {
        "PREROUTING": ("filter", "prerouting", -150), "INPUT": ("filter", "input", -150),
        "FORWARD": ("filter", "forward", -150), "OUTPUT": ("route", "output", -150),
        "POSTROUTING": ("filter", "postrouting", -150),
    },
    "raw": {"PREROUTING": ("filter", "prerouting", -300), "OUTPUT": ("filter", "output", -300)},
    "security": {
        "INPUT": ("filter", "input", 50), "FORWARD": ("filter", "forward", 50), "OUTPUT": ("filter", "output", 50),
    },
}  # fmt: skip

_TABLE = re.compile(r"table (?:(ip|ip6|inet|arp|bridge|netdev) )?(\S+) \{")
_BLOCK = re.compile(r"(chain|set|map|meter|flowtable|counter|quota|limit|secmark|synproxy|ct \w+)\s+(\S+) \{")
_HOOK = re.compile(
    r"(?:type (\w+) )?hook (\w+) (?:devices? = \{ ([^}]*) \} |device \"?([^\s\";]+)\"? )?priority ([^;]+);?"
)
_POLICY = re.compile(r"policy (\w+);")
_DEVICES = re.compile(r"devices? = \{ ?([^}]*?) ?\}")
_NOT_RULES = ("type ", "hook ", "policy ", "comment ")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def priority_of(text: str, family: str) -> int | None:
    """"filter - 10", "dstnat", "-150" as a number; None when not understood."""
    words = text.split()
    named = _BRIDGE_PRIORITIES if family == "bridge" else _PRIORITIES
    try:
        if not words or len(words) not in (1, 3):
            return None
        base = named[words[0]] if words[0] in named else int(words[0])
        if len(words) == 3:
            offset = int(words[2])
            return base + offset if words[1] == "+" else base - offset if words[1] == "-" else None
        return base
    except ValueError:
        return None


def is_iptables_chain(family: str, table: str, name: str, type_: str, hook: str, priority: int | None) -> bool:
    """Whether a base chain is exactly one that iptables-nft makes."""
    own = _IPTABLES_CHAINS.get(table, {}) if family in ("ip", "ip6") else {}
    return own.get(name) == (type_, hook, priority)


@dataclass(slots=True)
class _Base:
    name: str
    source: SourceRef
    type: str = ""
    hook: str = ""
    priority: int | None = None
    policy: str = ""
    device: str = ""


@dataclass(slots=True)
class _Table:
    family: str
    name: str
    bases: list[_Base] = field(default_factory=list)
    rules: int = 0

    def of_iptables(self, base: _Base) -> bool:
        return is_iptables_chain(self.family, self.name, base.name, base.type, base.hook, base.priority)

    def facts(self) -> list[NftBaseChain]:
        return [
            NftBaseChain(self.family, self.name, base.name, base.type, base.hook, base.priority, base.policy,
                         self.rules, base.source, base.device)
            for base in self.bases if not self.of_iptables(base)
        ]  # fmt: skip


def _devices(text: str) -> str:
    return ",".join(word.strip().strip('"') for word in text.split(",") if word.strip())


class _Reader:
    """Follows the braces: table, then chain, set, map, flowtable, then their contents."""

    def __init__(self, path: str) -> None:
        self.builder: ResultBuilder[NftBaseChain] = ResultBuilder(path, "nft_chains")
        self.path = path
        self.table: _Table | None = None
        self.block = ""
        self.base: _Base | None = None
        self.depth = 0

    def line(self, count: int, line: str) -> None:
        stripped = line.strip()
        bare = _QUOTED.sub('""', stripped)
        bare, _, _handle = bare.partition(" # handle")
        opened, closed = bare.count("{"), bare.count("}")
        if self.table is None:
            match = _TABLE.match(stripped)
            if match is None:
                raise Strange("outside of any table")
            self.table = _Table(match.group(1) or "ip", match.group(2))
            self.depth = 1 - closed
            self.close()
            return
        if self.depth == 1:
            self.enter(count, stripped, bare, opened, closed)
            return
        self.depth += opened - closed
        if self.depth > 1:
            self.inside(stripped, bare)
        else:
            self.leave()
        self.close()

    def plain_rule(self, stripped: str) -> bool:
        """Counts a rule without braces, which nearly every line of a large listing is; False for any other line."""
        if self.block != "chain" or self.depth != 2 or "{" in stripped or "}" in stripped:
            return False
        if self.table is None or stripped.startswith(_NOT_RULES):
            return False
        self.table.rules += 1
        return True

    def close(self) -> None:
        if self.table is not None and self.depth <= 0:
            self.builder.values.extend(self.table.facts())
            self.table, self.block, self.base = None, "", None

    def enter(self, count: int, stripped: str, bare: str, opened: int, closed: int) -> None:
        assert self.table is not None
        match = _BLOCK.match(stripped)
        if match is not None:
            self.block = match.group(1)
            self.base = _Base(match.group(2), cite(self.path, count, stripped))
        elif bare not in ("}",) and not bare.startswith(("comment ", "flags ")):
            raise Strange("not a part of a table", self.table.name)
        self.depth += opened - closed
        if self.block and self.depth == 1:
            self.leave()
        self.close()

    def inside(self, stripped: str, bare: str) -> None:
        assert self.table is not None and self.base is not None
        if self.block not in ("chain", "flowtable"):
            return
        hook = _HOOK.match(stripped) if bare.startswith(("type ", "hook ")) else None
        if hook is not None:
            kind, name, devices, device, priority = hook.groups()
            self.base.type = "flowtable" if self.block == "flowtable" else kind or ""
            self.base.hook = name
            self.base.device = _devices(devices) if devices else device or ""
            self.base.priority = priority_of(priority, self.table.family)
            policy = _POLICY.search(bare)
            # A base chain without a policy accepts (nft(8)); a flowtable has none.
            self.base.policy = policy.group(1) if policy else "" if self.block == "flowtable" else "accept"
        elif self.block == "flowtable":
            devices_found = _DEVICES.search(stripped)
            if devices_found is not None:
                self.base.device = _devices(devices_found.group(1))
        elif bare.startswith("policy ") and self.base.hook:
            self.base.policy = bare[7:].rstrip(";").strip()
        elif not bare.startswith("comment "):
            self.table.rules += 1

    def leave(self) -> None:
        assert self.table is not None
        if self.base is not None and self.base.hook:
            self.table.bases.append(self.base)
        self.block, self.base = "", None


def parse_nft_base_chains(text: str, path: str) -> ParseResult[NftBaseChain]:
    """Base chains and flowtables (type "flowtable", `device` its devices joined by commas) of text or JSON.

    A table that the text does not close is `truncated` and its chains are given with the rules counted so far.
    """
    if text.lstrip().startswith("{"):
        return _parse_json(text, path)
    reader = _Reader(path)
    builder = reader.builder
    own = iter(_iptables_tables(text))
    skip = next(own, None)
    resume = 0
    for count, line in numbered(text):
        if count < resume:
            continue
        if skip is not None and count == skip[0]:
            builder.lines += skip[2]
            resume, skip = skip[1] + 1, next(own, None)
            continue
        stripped = line.strip()
        if not stripped or stripped[0] == "#":
            continue
        builder.lines += 1
        if reader.plain_rule(stripped):
            continue
        try:
            reader.line(count, line)
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood", getattr(error, "touches", ""))
    if reader.table is not None:
        builder.truncated = True
        reader.leave()
        builder.values.extend(reader.table.facts())
    return builder.result()


_OWN_TABLE = re.compile(r"^table (ip6?) (filter|nat|mangle|raw|security) \{$", re.MULTILINE)
_OWN_HOOK = re.compile(r"^\tchain (\S+) \{\n\t\t(type .*)$", re.MULTILINE)


def _iptables_tables(text: str) -> Iterator[tuple[int, int, int]]:
    """(first line, last line, data lines) of whole tables whose base chains are all iptables-nft's own: they have
    nothing to say here, and they are nearly all of a large listing."""
    line, at = 1, 0
    for match in _OWN_TABLE.finditer(text):
        end = text.find("\n}\n", match.end())
        if match.start() < at or end < 0:
            continue
        block = text[match.start() : end + 2]
        hooks = _OWN_HOOK.findall(block)
        if len(hooks) != block.count("\n\t\ttype ") or "\n\tflowtable " in block:
            continue
        if not all(_own(match.group(1), match.group(2), name, header) for name, header in hooks):
            continue
        line += text.count("\n", at, match.start())
        length = block.count("\n")
        yield line, line + length, length + 1 - block.count("\n\n")
        line, at = line + length, end + 2


def _own(family: str, table: str, name: str, header: str) -> bool:
    hook = _HOOK.match(header)
    if hook is None:
        return False
    kind, at, _, _, priority = hook.groups()
    return is_iptables_chain(family, table, name, kind or "", at, priority_of(priority, family))


_NATIVE_TABLE = re.compile(r"table (ip6?) (filter|nat|mangle|raw|security) \{")
_NATIVE_CHAIN = re.compile(r"\s*chain (\S+) \{")


def native_rules(text: str) -> frozenset[tuple[int, str, str, int]]:
    """(family, table, chain, index from 1) of rules inside iptables' tables that iptables did not write.

    iptables-nft gives every rule a counter; a rule without one is native. iptables-nft-save (1.8.9) prints such a rule
    without the conditions that it cannot express and without a word: `ip saddr @s drop` comes out as `-j DROP`.
    """
    found: set[tuple[int, str, str, int]] = set()
    family, table, chain, index = 0, "", "", 0
    for line in text.split("\n"):
        if chain and line[:1] == "\t":  # the common case first: the counter stands before any comment
            at = line.find(" counter ")
            if at >= 0 and ('"' not in line or line.find('comment "', 0, at) < 0):
                index += 1
                continue
        if line.startswith("table "):
            match = _NATIVE_TABLE.match(line)
            family, table = (0, "") if match is None else (6 if match.group(1) == "ip6" else 4, match.group(2))
            chain = ""
        elif not table:
            continue
        elif not chain:
            match = _NATIVE_CHAIN.match(line)
            chain, index = (match.group(1), 0) if match is not None else ("", 0)
        elif "counter" in line:
            index += 1
            if "counter" not in line.partition('comment "')[0].split():
                found.add((family, table, chain, index))
        else:
            stripped = line.strip()
            if stripped == "}":
                chain = ""
            elif stripped and not stripped.startswith(("type ", "policy ", "comment ", "#")):
                index += 1
                found.add((family, table, chain, index))
    return frozenset(found)


def _parse_json(text: str, path: str) -> ParseResult[NftBaseChain]:
    builder: ResultBuilder[NftBaseChain] = ResultBuilder(path, "nft_chains")
    tables: dict[tuple[str, str], _Table] = {}
    try:
        items = json.loads(text)["nftables"]
        if not isinstance(items, list):
            raise Strange("`nftables` is not a list")
    except (*STRANGE, RecursionError) as error:
        builder.lines = 1
        builder.reject(1, text.lstrip().split("\n", 1)[0], f"not nft's JSON: {error}"[:200])
        builder.truncated = True
        return builder.result()
    for item in items:
        builder.lines += 1
        try:
            _json_item(item, tables, text, path)
        except STRANGE as error:
            builder.reject(1, json.dumps(item)[:CITED], str(error)[:200] or "not understood")
    for table in tables.values():
        builder.values.extend(table.facts())
    return builder.result()


def _place(text: str, path: str, what: str, name: str) -> SourceRef:
    """The item `{"chain": {... "name": NAME` of the one-line JSON, quoted from its beginning."""
    at = -1
    for match in re.finditer(rf'\{{\s*"{what}":\s*\{{[^{{}}]*?"name":\s*{re.escape(json.dumps(name))}', text):
        at = match.start()
        break
    if at < 0:
        return SourceRef(path, 0)
    end = text.find("}", at)
    quoted = text[at : min(end + 2 if end > 0 else len(text), at + CITED)].split("\n", 1)[0]
    return SourceRef(path, text.count("\n", 0, at) + 1, quoted)


def _json_item(item: dict[str, Any], tables: dict[tuple[str, str], _Table], text: str, path: str) -> None:
    ((what, body),) = item.items()
    if what == "metainfo":
        return
    name = str(body["name"]) if what == "table" else str(body["table"])
    family = str(body["family"])
    table = tables.setdefault((family, name), _Table(family, name))
    if what == "rule":
        table.rules += 1
    elif what in ("chain", "flowtable") and "hook" in body:
        devices = body.get("dev", "")
        table.bases.append(
            _Base(
                str(body["name"]),
                _place(text, path, what, str(body["name"])),
                "flowtable" if what == "flowtable" else str(body["type"]),
                str(body["hook"]),
                int(body["prio"]) if "prio" in body else None,
                "" if what == "flowtable" else str(body.get("policy", "accept")),
                ",".join(map(str, devices)) if isinstance(devices, list) else str(devices),
            )
        )
