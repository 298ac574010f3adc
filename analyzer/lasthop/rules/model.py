"""What a rule file says, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEVERITIES = ("critical", "high", "medium", "low", "info")
CONFIDENCES = ("proven", "strong", "possible")
PLACES = ("pod", "veth", "node", "route", "policy", "tunnel", "bgp", "ipam", "wire", "service", "bundle")
SCOPES = ("node", "cluster")
NEEDS = ("presence", "absence")
DATA_PLANES = ("iptables", "nftables", "bpf")
ENCAPSULATIONS = ("none", "ipip", "vxlan", "wireguard")


@dataclass(frozen=True, slots=True)
class AppliesWhen:
    """Conditions on the cluster; an empty tuple or text means any. `calico` is a range such as `>=3.0,<3.27`."""

    data_plane: tuple[str, ...] = ()
    encapsulation: tuple[str, ...] = ()
    calico: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    command: str
    risk: str
    on: str


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One case of a rule file. `expect` is None for "not evaluated", else the rows that must come out."""

    name: str
    facts: Mapping[str, tuple[Mapping[str, Any], ...]]
    absent: tuple[str, ...]
    expect: tuple[Mapping[str, Any], ...] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule file without its tests, which `load.load_tests` reads when they are to be run.

    `needs` maps `<table>` or `pod.<table>` to presence or absence (docs/rule-language.md).
    """

    id: str
    title: str
    code: str
    severity: str
    confidence: str
    place: str
    scope: str
    needs: Mapping[str, str]
    query: str
    message: str
    why: str
    fix: tuple[Fix, ...]
    verify: tuple[str, ...]
    false_positives: tuple[str, ...]
    references: tuple[str, ...]
    since: str
    path: Path
    applies_when: AppliesWhen = AppliesWhen()
    tolerates_missing_nodes: bool = False
