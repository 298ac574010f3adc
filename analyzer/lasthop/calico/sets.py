"""The ipsets that policies need, with the members that the objects put into them.

A pod that is missing from such a set on one node although its labels belong in it: the policy is right and the data
plane is stale. Names: felix/calc/rule_scanner.go, libcalico-go/lib/hash/unique_id.go; the selector is first combined
with its namespace (updateprocessors/rules.go).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from lasthop.facts.calico import Policy
from lasthop.facts.network import Prefix

from .endpoints import Endpoints
from .kube_policy import label_selector
from .names import MAX_SET, selector_set
from .peers import set_labels
from .selectors import (
    ALL,
    NAMESPACE_LABEL,
    Group,
    LabelView,
    Selector,
    SelectorError,
    Term,
    canonical,
    evaluate,
    parse,
    with_prefix,
)
from .version import listed


@dataclass(frozen=True, slots=True)
class SetUse:
    """Where a set is needed: `side` is source or destination, `rule` counts from 0."""

    policy: Policy
    direction: str
    rule: int
    side: str


@dataclass(frozen=True, slots=True)
class ExpectedSet:
    """`members` certainly belong in the set, `doubtful` may. `closed` is False when more may belong than is known.

    For a set of a named port (`port` is (name, protocol)) the members are those addresses whose port has the name.
    """

    name: str
    family: int
    selector: str
    members: frozenset[Prefix] = frozenset()
    doubtful: frozenset[Prefix] = frozenset()
    closed: bool = True
    uses: tuple[SetUse, ...] = ()
    port: tuple[str, str] | None = None


def named_port_set(selector: str, proto: str, port: str, family: int = 4) -> str:
    """The hash:ip,port set of a named port of the endpoints that match a canonical selector."""
    digest = _hash(f"n:s:{_hash(f's:{selector}')},{proto},{port}")
    return f"cali{family}0n:{digest}"[:MAX_SET]


def _hash(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha224(text.encode()).digest()).decode().rstrip("=")


def expected_sets(endpoints: Endpoints, family: int = 4, only: frozenset[str] | None = None) -> dict[str, ExpectedSet]:
    """Every selector set that some policy of the snapshot needs, by name. Which of them a node holds depends on the
    endpoints it has; a set that it holds must have these members. `only` narrows the work to some names."""
    candidates = list(_candidates(endpoints, family))
    sets = listed(endpoints.snapshot, "calico_networksets", "calico_globalnetworksets")
    closed = sets and endpoints.pods_complete()
    found: dict[str, ExpectedSet] = {}
    uses: dict[str, list[SetUse]] = {}
    for use, selector, port in _needed(endpoints.snapshot.cluster.policies.values):
        text = canonical(selector)
        name = named_port_set(text, port[1], port[0], family) if port else selector_set(text, family)
        if only is not None and name not in only:
            continue
        uses.setdefault(name, []).append(use)
        if name in found:
            continue
        members: set[Prefix] = set()
        doubtful: set[Prefix] = set()
        for net, labels, ports in candidates:
            if port is not None and port not in ports:
                continue
            outcome = evaluate(selector, labels)
            if outcome is not False:
                (members if outcome else doubtful).add(net)
        found[name] = ExpectedSet(
            name, family, text, frozenset(members), frozenset(doubtful - members), closed, (), port
        )
    return {
        name: ExpectedSet(
            name, family, item.selector, item.members, item.doubtful, closed, tuple(uses[name]), item.port
        )
        for name, item in found.items()
    }


def _candidates(endpoints: Endpoints, family: int) -> Iterator[tuple[Prefix, LabelView, frozenset[tuple[str, str]]]]:
    """Everything that a selector can select: address or prefix, labels, and (name, protocol) of its named ports."""
    for workload in endpoints.workloads:
        labels = endpoints.labels(workload)
        ports = frozenset((name, proto) for name, proto, _ in workload.ports)
        for net in workload.ips:
            if net.version == family:
                yield net, labels, ports
    cluster = endpoints.snapshot.cluster
    for host in cluster.host_endpoints.values:
        labels = endpoints.labels(host)
        ports = frozenset((name, proto) for name, proto, _ in host.ports)
        for ip in host.expected_ips:
            if ip.version == family:
                yield ip_network(ip), labels, ports
    for item in cluster.calico_objects.values:
        if item.kind in ("NetworkSet", "GlobalNetworkSet"):
            labels = set_labels(endpoints, item.raw, item.namespace)
            spec = item.raw.get("spec")
            nets = spec.get("nets") if isinstance(spec, dict) else None
            for text in nets if isinstance(nets, list) else []:
                listed = _prefix(text)
                if listed is not None and listed.version == family:
                    yield listed, labels, frozenset()


def _prefix(text: object) -> Prefix | None:
    try:
        return ip_network(str(text), strict=False)
    except ValueError:
        return None


_Need = tuple[SetUse, Selector, tuple[str, str] | None]


def _needed(policies: tuple[Policy, ...]) -> Iterator[_Need]:
    for policy in policies:
        if policy.kind.startswith("Staged"):
            continue
        for direction, rules in (("ingress", policy.ingress), ("egress", policy.egress)):
            if direction.capitalize() not in policy.types:
                continue
            for number, rule in enumerate(rules):
                if policy.kind == "KubernetesNetworkPolicy":
                    side = "source" if direction == "ingress" else "destination"
                    use = SetUse(policy, direction, number, side)
                    yield from ((use, selector, None) for selector in _kube_peers(policy, direction, rule.raw))
                elif policy.kind in ("NetworkPolicy", "GlobalNetworkPolicy"):
                    for side in ("source", "destination"):
                        use = SetUse(policy, direction, number, side)
                        yield from _entity(use, rule.raw, side, policy.namespace)


def _entity(use: SetUse, rule: Mapping[str, Any], side: str, namespace: str) -> Iterator[_Need]:
    body = rule.get(side)
    if not isinstance(body, dict) or body.get("serviceAccounts"):
        return
    try:
        selector = combined(str(body.get("selector") or ""), str(body.get("namespaceSelector") or ""), namespace)
        excluded = parse(str(body["notSelector"])) if body.get("notSelector") else None
    except SelectorError:
        return
    named = [str(port) for port in body.get("ports") or [] if not str(port).replace(":", "").isdigit()]
    proto = str(rule.get("protocol") or "").lower()
    if named:
        yield from ((use, selector or ALL, (port, proto)) for port in named)
        # A list with a number in it needs the plain set as well.
        if len(named) == len(body.get("ports") or []):
            return
    if selector is not None:
        yield use, selector, None
    if excluded is not None:
        yield use, excluded, None


def combined(selector: str, namespace_selector: str, namespace: str) -> Selector | None:
    """The selector that a rule's peer comes down to, or None when the rule has none. Raises SelectorError."""
    scope: Selector | None = None
    if namespace_selector:
        scope = with_prefix(parse(namespace_selector), "pcns.")
    elif namespace and selector:
        scope = Term("==", NAMESPACE_LABEL, (namespace,))
    if not selector:
        return scope
    own = parse(selector)
    return own if scope is None else Group("&&", (scope, own))


def _kube_peers(policy: Policy, direction: str, rule: Mapping[str, Any]) -> Iterator[Selector]:
    peers = rule.get("from" if direction == "ingress" else "to")
    for peer in peers if isinstance(peers, list) else []:
        if not isinstance(peer, dict) or peer.get("ipBlock"):
            continue
        pods = label_selector(peer.get("podSelector") or {})
        spaces = peer.get("namespaceSelector")
        scope = label_selector(spaces, "pcns.") if isinstance(spaces, dict) else None
        if pods is None or (isinstance(spaces, dict) and scope is None):
            continue
        own: Selector = Term("==", "projectcalico.org/orchestrator", ("k8s",))
        if pods:
            own = Group("&&", (own, *pods))
        if scope is None:
            first: Selector = Term("==", NAMESPACE_LABEL, (policy.namespace,))
        elif not scope:
            first = Term("has", NAMESPACE_LABEL)
        else:
            first = scope[0] if len(scope) == 1 else Group("&&", tuple(scope))
        yield Group("&&", (first, own))
