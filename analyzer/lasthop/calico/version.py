"""Which Calico wrote this: versions from objects and rules, mark bits read from the rules themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lasthop.facts.evidence import Complete
from lasthop.facts.netfilter import NetfilterRule, Ruleset
from lasthop.facts.snapshot import Snapshot

_POLICY_JUMPS = ("cali-pi-", "cali-po-", "cali-gi-", "cali-go-")
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Marks:
    """Mark bits of one node's rules; None where no rule shows the role. `mask` is the clear mask of cali-PREROUTING
    (raw)."""

    accept: int | None = None
    passed: int | None = None
    drop: int | None = None
    workload: int | None = None
    mask: int | None = None


def cluster_version(snapshot: Snapshot) -> tuple[int, int] | None:
    """(major, minor) that ClusterInformation names, or None. Nodes may differ during an upgrade."""
    for item in snapshot.cluster.calico_objects.values:
        if item.kind == "ClusterInformation":
            spec = item.raw.get("spec")
            match = _VERSION.match(str(spec.get("calicoVersion", ""))) if isinstance(spec, dict) else None
            if match:
                return int(match.group(1)[:4]), int(match.group(2)[:4])
    return None


def version_range(rules: Ruleset) -> tuple[str, str] | None:
    """("3.30", "3.32") for what a node's rules can be of, "" for an open end; None without Calico's rules.

    Told by the clear mask and by texts (felix/rules/*.go): 0xf000000 is 2.x/3.0, 0xf0000 is 3.1-3.29, 0x1b0000 is
    3.30 and later; kind in the comment ("NetworkPolicy ns/name") is 3.32 and later.
    """
    marks = read_marks(rules)
    if rules.chain("filter", "cali-FORWARD") is None:
        return None
    if marks.mask is None:
        return ("", "")
    if marks.mask >= 0x1000000:
        return ("2.0", "3.0")
    if marks.drop is not None or not marks.mask & 0x40000:
        return ("3.30", "")
    return ("3.1", "3.29")


def read_marks(rules: Ruleset) -> Marks:
    """Roles of the bits, from: the tail of FORWARD and "Return if policy accepted" (accept), the test in front of a
    jump to a policy chain (pass), a DROP on a mark inside a policy chain (drop), `-i cali+` in raw (workload)."""
    mask = workload = accept = passed = drop = None
    for rule in rules.rules("raw", "cali-PREROUTING"):
        value = _set_mark(rule)
        if value is None:
            continue
        if value[0] == 0 and mask is None:
            mask = value[1]
        elif value[0] and workload is None and _matches(rule, "in-interface"):
            workload = value[0]
    for rule in rules.rules("filter", "FORWARD"):
        tested = _tested_mark(rule)
        if accept is None and rule.target == "ACCEPT" and tested and tested[0] == tested[1] and "cali:" in rule.comment:
            accept = tested[0]
    for rule in _endpoint_rules(rules):
        tested = _tested_mark(rule)
        if tested is None:
            continue
        if accept is None and rule.target == "RETURN" and "accepted" in rule.comment and tested[0] == tested[1]:
            accept = tested[0]
        if (
            passed is None
            and tested[0] == 0
            and rule.target.startswith(("cali-pi-", "cali-po-", "cali-gi-", "cali-go-"))
        ):
            passed = tested[1]
    for chain in rules.chains("filter"):
        if drop is not None or not chain.name.startswith(("cali-pi-", "cali-po-", "cali-pri-", "cali-pro-")):
            continue
        for rule in rules.rules("filter", chain.name):
            tested = _tested_mark(rule)
            if rule.target in ("DROP", "REJECT") and tested and tested[0] == tested[1]:
                drop = tested[0]
    return Marks(accept, passed, drop, workload, mask)


def _endpoint_rules(rules: Ruleset) -> Iterator[NetfilterRule]:
    for chain in rules.chains("filter"):
        if chain.name.startswith(("cali-tw-", "cali-fw-", "cali-fh-", "cali-th-")):
            yield from rules.rules("filter", chain.name)


def _matches(rule: NetfilterRule, option: str) -> bool:
    return any(match.option == option for match in rule.matches)


def _pair(text: str) -> tuple[int, int] | None:
    value, _, mask = text.partition("/")
    try:
        return int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF
    except ValueError:
        return None


def _set_mark(rule: NetfilterRule) -> tuple[int, int] | None:
    if rule.target != "MARK":
        return None
    for option, values in rule.target_options:
        if option == "set-xmark" and values:
            return _pair(values[0])
    return None


def _tested_mark(rule: NetfilterRule) -> tuple[int, int] | None:
    for match in rule.matches:
        if match.module == "mark" and match.option == "mark" and match.values and not match.negated:
            return _pair(match.values[0])
    return None


def listed(snapshot: Snapshot, *ids: str) -> bool:
    """True when the lists of these evidence ids ("calico_tiers") are all known whole: what they lack does not exist.

    All of Calico's smaller kinds share one evidence state, which says nothing of a list that was never asked for; the
    artifacts tell. A snapshot without artifacts (built by hand) holds everything.
    """
    if not isinstance(snapshot.cluster.calico_objects, Complete):
        return False
    taken = {artifact.id for artifact in snapshot.artifacts}
    return not taken or taken.issuperset(ids)


def felix_setting(snapshot: Snapshot, node: str, name: str) -> Any:
    """A FelixConfiguration field for a node: `node.NAME` before `default`; None when neither sets it. Felix's
    environment and config file, which win over both, are not in the objects."""
    return _setting(snapshot, "FelixConfiguration", (f"node.{node}", "default"), name)


def bgp_setting(snapshot: Snapshot, node: str, name: str) -> Any:
    return _setting(snapshot, "BGPConfiguration", (f"node.{node}", "default"), name)


def _setting(snapshot: Snapshot, kind: str, order: tuple[str, ...], name: str) -> Any:
    found: dict[str, Any] = {}
    for item in snapshot.cluster.calico_objects.values:
        spec = item.raw.get("spec")
        if item.kind == kind and isinstance(spec, dict) and spec.get(name) is not None:
            found[item.name] = spec[name]
    for candidate in order:
        if candidate in found:
            return found[candidate]
    return None
