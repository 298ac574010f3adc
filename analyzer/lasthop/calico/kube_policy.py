"""Kubernetes' own policies: NetworkPolicy, and the admin policies of policy.networking.k8s.io.

Semantics as Calico converts them (libcalico-go/lib/backend/k8s/conversion/{conversion,clusternetworkpolicy}.go):
a missing protocol is TCP, missing ports are all, an empty peer list is anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lasthop.facts.calico import Policy, PolicyRule, WorkloadEndpoint

from .peers import Check, Party, all_of, any_of, port_matches, within
from .selectors import NAMESPACE_LABEL, LabelView, Not, Selector, Term, evaluate

ADMIN_KINDS = frozenset({"AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"})
_ORCHESTRATOR = Term("==", "projectcalico.org/orchestrator", ("k8s",))
_OPERATORS = {"In": "in", "NotIn": "not in"}


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def label_selector(body: Mapping[str, Any], prefix: str = "") -> list[Selector] | None:
    """The terms of a Kubernetes LabelSelector, all of which must hold; None when it has an unknown operator."""
    terms: list[Selector] = [
        Term("==", prefix + str(key), (str(value),)) for key, value in _map(body.get("matchLabels")).items()
    ]
    for item in map(_map, _list(body.get("matchExpressions"))):
        key, operator = prefix + str(item.get("key")), str(item.get("operator"))
        if operator in _OPERATORS:
            terms.append(Term(_OPERATORS[operator], key, tuple(str(value) for value in _list(item.get("values")))))
        elif operator == "Exists":
            terms.append(Term("has", key))
        elif operator == "DoesNotExist":
            terms.append(Not(Term("has", key)))
        else:
            return None
    return terms


def applies(policy: Policy, endpoint: WorkloadEndpoint, labels: LabelView) -> bool | None:
    """Whether the policy's subject selects the endpoint."""
    spec = _map(policy.raw.get("spec"))
    if policy.kind == "KubernetesNetworkPolicy":
        if policy.namespace != endpoint.namespace:
            return False
        return _all([_ORCHESTRATOR], _map(spec.get("podSelector")), "", labels)
    subject = _map(spec.get("subject"))
    if "namespaces" in subject:
        return _all([], _map(subject["namespaces"]), "pcns.", labels)
    if "pods" in subject:
        pods = _map(subject["pods"])
        return all_of(
            (
                _all([], _map(pods.get("namespaceSelector")), "pcns.", labels),
                _all([], _map(pods.get("podSelector")), "", labels),
            )
        )
    return None


def _all(terms: list[Selector], body: Mapping[str, Any], prefix: str, labels: LabelView) -> bool | None:
    more = label_selector(body, prefix)
    if more is None:
        return None
    return all_of(evaluate(term, labels) for term in (*terms, *more))


def rule_checks(policy: Policy, rule: PolicyRule, direction: str, peer: Party, dst: Party, proto: str) -> list[Check]:
    """The conditions of one rule. `peer` is the other end (source for ingress), `dst` carries the port."""
    body = rule.raw
    peers = _list(body.get("from" if direction == "ingress" else "to"))
    checks: list[Check] = []
    side = "source" if direction == "ingress" else "destination"
    if peers:
        if policy.kind in ADMIN_KINDS:
            outcome = any_of(_admin_peer(_map(item), peer) for item in peers)
        else:
            outcome = any_of(_peer(_map(item), peer, policy.namespace) for item in peers)
        checks.append(Check(outcome, f"{side} {_name(peer)} matches no peer of the rule"))
    elif policy.kind in ADMIN_KINDS:
        checks.append(Check(None, "an admin policy rule without peers"))
    if ports := _list(body.get("ports")):
        match = _admin_port if policy.kind in ADMIN_KINDS else _port
        outcome = any_of(match(_map(item), dst, proto) for item in ports)
        checks.append(Check(outcome, f"{proto} port {dst.port} is not one of the rule's ports"))
    elif protocols := _list(body.get("protocols")):
        checks.append(Check(None, f"the rule's protocols {protocols!r:.60} are not understood"))
    return checks


def _name(end: Party) -> str:
    return f"{end.workload.namespace}/{end.workload.pod}" if end.workload is not None else str(end.ip)


def _any_view(terms: list[Selector] | None, end: Party) -> bool | None:
    if terms is None:
        return None
    found = any_of(all_of(evaluate(term, view) for term in terms) for view in end.views)
    return None if found is False and not end.closed else found


def _peer(body: Mapping[str, Any], end: Party, namespace: str) -> bool | None:
    if block := _map(body.get("ipBlock")):
        excluded = any(within(end.ip, net) for net in _list(block.get("except")))
        return within(end.ip, block.get("cidr")) and not excluded
    terms: list[Selector] = [_ORCHESTRATOR]
    if "namespaceSelector" in body and body["namespaceSelector"] is not None:
        scope = label_selector(_map(body["namespaceSelector"]), "pcns.")
        if scope is None:
            return None
        terms += [Term("has", NAMESPACE_LABEL), *scope]
    else:
        terms.append(Term("==", NAMESPACE_LABEL, (namespace,)))
    pods = label_selector(_map(body.get("podSelector")))
    return None if pods is None else _any_view([*terms, *pods], end)


def _admin_peer(body: Mapping[str, Any], end: Party) -> bool | None:
    if "namespaces" in body:
        scope = label_selector(_map(body["namespaces"]), "pcns.")
        return None if scope is None else _any_view([Term("has", NAMESPACE_LABEL), *scope], end)
    if "pods" in body:
        pods = _map(body["pods"])
        scope = label_selector(_map(pods.get("namespaceSelector")), "pcns.")
        inner = label_selector(_map(pods.get("podSelector")))
        if scope is None or inner is None:
            return None
        return _any_view([Term("has", NAMESPACE_LABEL), *scope, *inner], end)
    if "networks" in body:
        return any(within(end.ip, net) for net in _list(body["networks"]))
    return None


def _port(body: Mapping[str, Any], end: Party, proto: str) -> bool | None:
    if str(body.get("protocol") or "TCP").lower() != proto:
        return False
    port, last = body.get("port"), body.get("endPort")
    if port is None:
        return True
    return port_matches(f"{port}:{last}" if last is not None else port, end, proto)


def _admin_port(body: Mapping[str, Any], end: Party, proto: str) -> bool | None:
    if number := _map(body.get("portNumber")):
        same = str(number.get("protocol") or "TCP").lower() == proto
        return same and port_matches(number.get("port"), end, proto)
    if span := _map(body.get("portRange")):
        same = str(span.get("protocol") or "TCP").lower() == proto
        return same and port_matches(f"{span.get('start')}:{span.get('end')}", end, proto)
    if "namedPort" in body:
        return port_matches(body["namedPort"], end, proto)
    return None
