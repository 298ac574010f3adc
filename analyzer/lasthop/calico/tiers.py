"""Tiers and the order of the policies in them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from lasthop.facts.calico import CalicoObject, Policy
from lasthop.facts.snapshot import Snapshot

from .version import listed

_BUILT_IN = {
    "default": (1_000_000.0, "Deny"),
    "kube-admin": (1_000.0, "Pass"),
    "kube-baseline": (10_000_000.0, "Pass"),
    "adminnetworkpolicy": (1_000.0, "Pass"),
    "baselineadminnetworkpolicy": (10_000_000.0, "Pass"),
}


@dataclass(frozen=True, slots=True)
class Tier:
    """`default` is Deny or Pass, "" when not known; `policies` in the order of evaluation."""

    name: str
    order: float
    default: str
    policies: tuple[Policy, ...] = ()


def _read(item: CalicoObject) -> Tier:
    spec = item.raw.get("spec")
    body: dict[str, Any] = spec if isinstance(spec, dict) else {}
    built_in = _BUILT_IN.get(item.name, (inf, "Deny"))
    try:
        order = float(str(body["order"])) if body.get("order") is not None else built_in[0]
    except ValueError:
        order = inf
    return Tier(item.name, order, str(body.get("defaultAction") or built_in[1]))


def tiers_of(snapshot: Snapshot) -> tuple[Tier, ...]:
    """Tiers that hold an enforced policy, in order, with their policies in order. A tier without its object sorts last
    (felix/calc/policy_sorter.go)."""
    policies, objects = snapshot.cluster.policies.values, snapshot.cluster.calico_objects
    complete = listed(snapshot, "calico_tiers")
    tiers = {item.name: _read(item) for item in objects.values if item.kind == "Tier"}
    by_tier: dict[str, list[Policy]] = {}
    kube = {(policy.namespace, policy.name) for policy in policies if policy.kind == "KubernetesNetworkPolicy"}
    for policy in policies:
        if policy.kind.startswith("Staged"):
            continue
        # calicoctl lists Kubernetes' policies again under this name.
        copied = policy.name.removeprefix("knp.default.")
        if policy.kind == "NetworkPolicy" and copied != policy.name and (policy.namespace, copied) in kube:
            continue
        by_tier.setdefault(policy.tier, []).append(policy)
    found = []
    for name, members in by_tier.items():
        if name in tiers:
            tier = tiers[name]
        elif name in _BUILT_IN:
            tier = Tier(name, *_BUILT_IN[name])
        else:
            tier = Tier(name, inf, "Deny" if complete else "")
        members.sort(key=lambda policy: (inf if policy.order is None else policy.order, _sort_name(policy)))
        found.append(Tier(name, tier.order, tier.default, tuple(members)))
    return tuple(sorted(found, key=lambda tier: (tier.order, tier.name)))


def _sort_name(policy: Policy) -> str:
    return f"{policy.name}/{policy.namespace}/{policy.kind}"
