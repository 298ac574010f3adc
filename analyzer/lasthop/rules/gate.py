"""Which rule may be asked of which node: evidence decides, and what it lacks is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lasthop.facts.snapshot import Snapshot
from lasthop.facts.trace import NotEvaluated

from .model import AppliesWhen, Rule
from .store import Store, kind_levels

_OPERATORS = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a rule: over the places that it may see; `node` is "" for scope cluster."""

    node: str
    places: tuple[int, ...]


def plan(rule: Rule, store: Store, expected_nodes: Iterable[str] = ()) -> tuple[list[Run], list[NotEvaluated]]:
    """The runs that the evidence allows, and the (rule, node) pairs that it does not, with what they lack.

    `expected_nodes` are all nodes of the cluster, collected or not: scope cluster needs every one of them, unless the
    rule tolerates missing nodes.
    """
    levels = kind_levels()
    cluster = {kind: need for kind, need in rule.needs.items() if levels.get(kind) == "cluster"}
    lacks = tuple(kind for kind, need in cluster.items() if not _holds(store.state(kind, -1), need))
    if lacks:
        return [], [NotEvaluated(rule.id, "", lacks)]
    local = {kind: need for kind, need in rule.needs.items() if kind not in cluster}
    nodes: dict[str, list[int]] = {}
    for number, (node, _) in enumerate(store.places):
        nodes.setdefault(node, []).append(number)
    if rule.scope == "cluster" and not local:
        return [Run("", tuple(range(len(store.places))))], []
    runs: list[Run] = []
    missing: list[NotEvaluated] = []
    for node, numbers in nodes.items():
        visible, lacking = _visible(store, numbers, local)
        if lacking:
            missing.append(NotEvaluated(rule.id, node, lacking))
        if visible:
            runs.append(Run(node, visible))
    if rule.scope == "node":
        return runs, missing
    missing += [NotEvaluated(rule.id, node, tuple(local)) for node in expected_nodes if node not in nodes]
    if missing and not rule.tolerates_missing_nodes:
        return [], missing
    return [Run("", tuple(number for run in runs for number in run.places))] if runs else [], missing


def _visible(store: Store, numbers: list[int], needs: Mapping[str, str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Places of one node that the rule may see, and what is lacking. No place without the host's own needs."""
    host, pods = numbers[0], numbers[1:]
    of_host = {kind: need for kind, need in needs.items() if not kind.startswith("pod.")}
    of_pods = {kind[4:]: need for kind, need in needs.items() if kind.startswith("pod.")}
    lacks = [kind for kind, need in of_host.items() if not _holds(store.state(kind, host), need)]
    if lacks:
        return (), tuple(lacks)
    if not of_pods:
        return (host,), ()
    good = []
    for pod in pods:
        short = [kind for kind, need in of_pods.items() if not _holds(store.state(kind, pod), need)]
        if short:
            name = store.places[pod][1].removeprefix("pod:")
            lacks += [f"{kind} of pod {name}" for kind in short]
        else:
            good.append(pod)
    if not pods:
        lacks = [f"pod.{kind}" for kind in of_pods]
    return ((host, *good) if good else ()), tuple(lacks)


def _holds(state: str, need: str) -> bool:
    """Absence is proved by a complete list, or where the thing cannot exist."""
    if need == "presence":
        return state != "absent"
    return state in ("complete", "not-applicable")


# --- applies_when -----------------------------------------------------------------------------------------------


def applies(rule: Rule, snapshot: Snapshot) -> tuple[Mapping[str, bool], tuple[str, ...]]:
    """Node -> whether the rule is meant for it ("" the cluster), and what would be needed to know for the others."""
    when = rule.applies_when
    nodes = ["", *snapshot.nodes]
    if when == AppliesWhen():
        return dict.fromkeys(nodes, True), ()
    lacks: list[str] = []
    verdict = dict.fromkeys(nodes, True)
    for found, wanted, lacking in (
        (_version_fits(snapshot, when.calico), when.calico, "Calico's version"),
        (_encapsulation_fits(snapshot, when.encapsulation), when.encapsulation, "ip_pools"),
    ):
        if wanted and found is None:
            lacks.append(lacking)
        if wanted and not found:
            verdict = dict.fromkeys(nodes, False)
    if when.data_plane:
        planes = {name: data_plane(snapshot, name) for name in snapshot.nodes}
        lacks += [f"data plane of {name}" for name, plane in planes.items() if plane is None]
        for name, plane in planes.items():
            verdict[name] = verdict[name] and plane in when.data_plane
        verdict[""] = verdict[""] and all(plane in when.data_plane for plane in planes.values())
    return verdict, tuple(lacks)


def data_plane(snapshot: Snapshot, node: str) -> str | None:
    """iptables, nftables or bpf as the node's own rules show it; None when they do not show it."""
    for item in snapshot.cluster.calico_objects.values:
        if item.kind == "FelixConfiguration" and item.name in ("default", f"node.{node}"):
            spec = item.raw.get("spec") or {}
            if str(spec.get("bpfEnabled")).lower() == "true":
                return "bpf"
    host = snapshot.nodes[node].host
    if any(chain.table in ("calico", "calico-system") for chain in host.nft_chains.values):
        return "nftables"
    for evidence in host.rulesets.values():
        for ruleset in evidence.values:
            if ruleset.chain("filter", "cali-FORWARD") is not None:
                return "iptables"
    return None


def _version_fits(snapshot: Snapshot, wanted: str) -> bool | None:
    if not wanted:
        return True
    text = next(
        (
            str((item.raw.get("spec") or {}).get("calicoVersion") or "")
            for item in snapshot.cluster.calico_objects.values
            if item.kind == "ClusterInformation"
        ),
        "",
    )
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        return None
    version = tuple(int(part or 0) for part in found.groups())
    for condition in wanted.split(","):
        match = re.match(r"(>=|<=|>|<|==)([\d.]+)", condition)
        assert match, condition
        bound = tuple(int(part) for part in match[2].split("."))
        if not _OPERATORS[match[1]](version, (*bound, 0, 0)[:3]):
            return False
    return True


def _encapsulation_fits(snapshot: Snapshot, wanted: tuple[str, ...]) -> bool | None:
    if not wanted:
        return True
    if not snapshot.cluster.ip_pools.values:
        return None
    used = set()
    for pool in snapshot.cluster.ip_pools.values:
        used |= {"ipip"} if pool.ipip_mode != "Never" else set()
        used |= {"vxlan"} if pool.vxlan_mode != "Never" else set()
        used |= {"none"} if pool.ipip_mode == pool.vxlan_mode == "Never" else set()
    if any(node.wireguard_key for node in snapshot.cluster.calico_nodes.values):
        used.add("wireguard")
    return bool(used & set(wanted))
