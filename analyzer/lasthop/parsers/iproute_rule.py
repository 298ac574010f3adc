"""`ip rule` and `ip nexthop`, text and JSON (iproute2 ip/iprule.c, ip/ipnexthop.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Ip, NextHop, NexthopObject, PolicyRoutingRule, Prefix

from .jsonitems import parse_items
from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, ip, number, number_range, prefix, table, tos, value_mask

ACTIONS = frozenset(("blackhole", "unreachable", "prohibit", "nop"))


def _selector(text: str, family: int) -> Prefix | None:
    return None if text in ("all", "any") else prefix(text, family)


def _rule(line: str, source: SourceRef, family: int) -> PolicyRoutingRule:
    head, colon, rest = line.strip().partition(":")
    if not colon:
        raise Strange("does not begin with a priority")
    priority = number(head)
    words = rest.split()
    found: dict[str, Any] = {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "not":
            found["negated"] = True
        elif word == "from":
            found["src"], at = _selector(words[at], family), at + 1
        elif word == "to":
            found["dst"], at = _selector(words[at], family), at + 1
        elif word in ("iif", "dev"):
            found["iif"], at = words[at], at + 1
        elif word == "oif":
            found["oif"], at = words[at], at + 1
        elif word == "fwmark":
            found["fwmark"], at = value_mask(words[at]), at + 1
        elif word in ("tos", "dsfield"):
            found["tos"], at = tos(words[at]), at + 1
        elif word == "ipproto":
            found["ipproto"], at = words[at], at + 1
        elif word in ("sport", "dport", "uidrange"):
            found[word], at = number_range(words[at]), at + 1
        elif word in ("lookup", "table"):
            if words[at] == "[l3mdev-table]":
                found["l3mdev"] = True
            else:
                found["table"], found["table_name"] = table(words[at])
            at += 1
        elif word == "[l3mdev-table]":
            found["l3mdev"] = True
        elif word == "suppress_prefixlength":
            found["suppress_prefixlength"], at = number(words[at]), at + 1
        elif word == "suppress_ifgroup":
            found["suppress_ifgroup"], at = words[at], at + 1
        elif word == "goto":
            found["action"] = "goto"
            target, at = words[at], at + 1
            found["goto"] = None if target == "none" else number(target)
        elif word in ACTIONS:
            found["action"] = word
        elif word in ("proto", "protocol"):
            found["proto"], at = words[at], at + 1
        elif word in ("realms", "realm"):
            at += 1
        elif word in ("[detached]", "[unresolved]"):
            pass
        else:
            raise Strange(f"unknown word {word[:40]!r}")
    if "table" not in found and "action" not in found and not found.get("l3mdev"):
        raise Strange("no action")
    return PolicyRoutingRule(priority=priority, family=family, source=source, **found)


def parse_rules(text: str, path: str, family: int = 4) -> ParseResult[PolicyRoutingRule]:
    """Rules of `ip rule`, in file order. A line that is not understood touches its priority, when that can be read."""
    builder: ResultBuilder[PolicyRoutingRule] = ResultBuilder(path, "routing_rules")
    for count, line in numbered(text):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        builder.lines += 1
        try:
            builder.values.append(_rule(line, cite(path, count, line), family))
        except STRANGE as error:
            head = line.strip().partition(":")[0]
            builder.reject(count, line, str(error)[:200] or "not understood", head if head.isdigit() else "")
    return builder.result()


def _json_prefix(item: Mapping[str, Any], key: str, family: int) -> Prefix | None:
    text = item.get(key, "all")
    if text == "all":
        return None
    length = item.get(f"{key}len")
    return prefix(f"{text}/{length}" if length is not None else text, family)


def _json_range(item: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    if key in item:
        return number_range(str(item[key]))
    if f"{key}_start" in item:
        return int(item[f"{key}_start"]), int(item[f"{key}_end"])
    return None


def _json_rule(item: Mapping[str, Any], source: SourceRef, family: int) -> PolicyRoutingRule:
    action = str(item.get("action", "lookup"))
    number_, name = table(str(item["table"])) if "table" in item else (None, "")
    if "goto" in item:
        action = "goto"
    if action not in ACTIONS and action not in ("lookup", "goto", "to_tbl"):
        raise Strange(f"unknown action {action[:40]!r}")
    fwmark = None
    if "fwmark" in item:
        mask = item.get("fwmask")
        fwmark = value_mask(f"{item['fwmark']}/{mask}" if mask is not None else str(item["fwmark"]))
    l3mdev = "l3mdev" in item or name == "[l3mdev-table]"
    if number_ is None and not name and not l3mdev and action in ("lookup", "to_tbl"):
        raise Strange("no action")
    target = str(item.get("goto", "none"))
    return PolicyRoutingRule(
        priority=int(item.get("priority", 0)),
        family=family,
        source=source,
        action="lookup" if action == "to_tbl" else action,
        table=number_,
        table_name="" if l3mdev else name,
        negated="not" in item,
        src=_json_prefix(item, "src", family),
        dst=_json_prefix(item, "dst", family),
        iif=str(item.get("iif", "")),
        oif=str(item.get("oif", "")),
        fwmark=fwmark,
        tos=tos(str(item["tos"])) if "tos" in item else None,
        ipproto=str(item.get("ipproto", "")),
        sport=_json_range(item, "sport"),
        dport=_json_range(item, "dport"),
        uidrange=_json_range(item, "uid" if "uid_start" in item else "uidrange"),
        suppress_prefixlength=int(item["suppress_prefixlen"]) if "suppress_prefixlen" in item else None,
        suppress_ifgroup=str(item.get("suppress_ifgroup", "")),
        l3mdev=l3mdev,
        goto=None if target == "none" else number(target),
        proto=str(item.get("protocol", "")),
    )


def parse_rules_json(text: str, path: str, family: int = 4) -> ParseResult[PolicyRoutingRule]:
    return parse_items(text, path, "routing_rules", lambda item, source: _json_rule(item, source, family))


_HOP_FLAGS = frozenset(("onlink", "linkdown", "dead", "pervasive", "offload", "trap", "unresolved"))


def _nexthop(words: list[str], source: SourceRef) -> NexthopObject:
    if words[0] != "id":
        raise Strange("does not begin with an id")
    ident = number(words[1])
    dev, via, scope, proto = "", None, "", ""
    flags: set[str] = set()
    group: list[tuple[int, int]] = []
    blackhole = False
    at = 2
    while at < len(words):
        word = words[at]
        at += 1
        if word == "via":
            if words[at] in ("inet", "inet6"):
                at += 1
            via, at = ip(words[at]), at + 1
        elif word == "dev":
            dev, at = words[at], at + 1
        elif word == "scope":
            scope, at = words[at], at + 1
        elif word == "proto":
            proto, at = words[at], at + 1
        elif word == "group":
            for member in words[at].split("/"):
                member_id, _, weight = member.partition(",")
                group.append((number(member_id), number(weight) if weight else 1))
            at += 1
        elif word == "blackhole":
            blackhole = True
        elif word in _HOP_FLAGS:
            flags.add(word)
        elif word == "encap":
            while at < len(words) and words[at] not in ("via", "dev", "scope", "proto"):
                at += 1
        elif word in ("type", "buckets", "idle_timer", "unbalanced_timer", "unbalanced_time"):
            at += 1
        elif word == "fdb":
            pass
        else:
            raise Strange(f"unknown word {word[:40]!r}")
    hops = (NextHop(dev, via, 1, frozenset(flags)),) if dev or via is not None else ()
    return NexthopObject(ident, source, hops, tuple(group), blackhole, scope, proto)


def parse_nexthops(text: str, path: str) -> ParseResult[NexthopObject]:
    builder: ResultBuilder[NexthopObject] = ResultBuilder(path, "nexthop_objects")
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        builder.lines += 1
        try:
            builder.values.append(_nexthop(words, cite(path, count, line)))
        except STRANGE as error:
            touches = words[1] if words[0] == "id" and len(words) > 1 else ""
            builder.reject(count, line, str(error)[:200] or "not understood", touches)
    return builder.result()


def _json_nexthop(item: Mapping[str, Any], source: SourceRef) -> NexthopObject:
    via: Ip | None = ip(item["gateway"]) if "gateway" in item else None
    if via is None and isinstance(item.get("via"), Mapping):
        via = ip(item["via"]["host"])
    dev = str(item.get("dev", ""))
    hop_flags = frozenset(str(flag) for flag in item.get("flags", ()))
    hops = (NextHop(dev, via, 1, hop_flags),) if dev or via is not None else ()
    return NexthopObject(
        id=int(item["id"]),
        source=source,
        nexthops=hops,
        group=tuple((int(member["id"]), int(member.get("weight", 1))) for member in item.get("group", ())),
        blackhole="blackhole" in item,
        scope=str(item.get("scope", "")),
        proto=str(item.get("protocol", "")),
    )


def parse_nexthops_json(text: str, path: str) -> ParseResult[NexthopObject]:
    return parse_items(text, path, "nexthop_objects", _json_nexthop)
