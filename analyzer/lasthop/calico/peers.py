"""The other end of a policy rule: does an address match `source` or `destination` of a rule?

Three-valued: None means that something not collected (labels, endpoints, a source port) decides.
Sources: api/pkg/apis/projectcalico/v3/policy_common.go (fields),
libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go (namespaces in rules).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from lasthop.facts.calico import WorkloadEndpoint
from lasthop.facts.evidence import Complete
from lasthop.facts.network import Ip, Prefix

from .endpoints import Endpoints, Place
from .selectors import (
    NAMESPACE_LABEL,
    LabelView,
    Selector,
    SelectorError,
    Term,
    evaluate,
    parse,
    with_prefix,
)
from .version import listed

SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount"


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a flow. `views` are the label sets of everything selectable that has this address: its endpoint and
    the network sets that hold it. `closed` is False when there may be more of them than the bundle shows."""

    ip: Ip
    port: int | None = None
    place: Place | None = None
    workload: WorkloadEndpoint | None = None
    views: tuple[LabelView, ...] = ()
    closed: bool = True


def party(endpoints: Endpoints, ip: Ip, port: int | None = None) -> Party:
    """Everything that rules can say about an address."""
    place = endpoints.place(ip)
    views = [endpoints.labels(endpoint) for endpoint in endpoints.by_ip(ip)]
    cluster = endpoints.snapshot.cluster
    for host in cluster.host_endpoints.values:
        if ip in host.expected_ips:
            views.append(endpoints.labels(host))
    for item in cluster.calico_objects.values:
        if item.kind in ("NetworkSet", "GlobalNetworkSet") and _in_set(ip, item.raw):
            views.append(set_labels(endpoints, item.raw, item.namespace))
    sets = listed(endpoints.snapshot, "calico_networksets", "calico_globalnetworksets")
    others = endpoints.pods_complete() and isinstance(cluster.host_endpoints, Complete)
    closed = sets and (place.kind == "pod" or others)
    return Party(ip, port, place, place.workload, tuple(views), closed)


def _in_set(ip: Ip, body: Mapping[str, Any]) -> bool:
    return any(within(ip, net) for net in _list(_map(body.get("spec")).get("nets")))


def set_labels(endpoints: Endpoints, body: Mapping[str, Any], namespace: str) -> LabelView:
    """Labels of a (global) network set. A NetworkSet is in its namespace as a pod is: it inherits its labels."""
    own = {str(k): str(v) for k, v in _map(_map(body.get("metadata")).get("labels")).items()}
    if not namespace:
        return LabelView(own)
    inherited = endpoints.namespace_view(namespace)
    return LabelView({**inherited.values, **own, NAMESPACE_LABEL: namespace}, inherited.unknown)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def within(ip: Ip, net: object) -> bool:
    """Whether the address is in the prefix; False for the other family and for text that is no prefix."""
    try:
        network: Prefix = ip_network(str(net), strict=False)
    except ValueError:
        return False
    return network.version == ip.version and ip in network


def all_of(results: Iterable[bool | None]) -> bool | None:
    """Kleene's and."""
    outcome: bool | None = True
    for result in results:
        if result is False:
            return False
        if result is None:
            outcome = None
    return outcome


def any_of(results: Iterable[bool | None]) -> bool | None:
    """Kleene's or."""
    outcome: bool | None = False
    for result in results:
        if result is True:
            return True
        if result is None:
            outcome = None
    return outcome


def negate(result: bool | None) -> bool | None:
    return None if result is None else not result


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a rule with its outcome and a sentence for when it does not hold."""

    outcome: bool | None
    said: str


def entity(
    endpoints: Endpoints, body: Mapping[str, Any], side: str, end: Party, proto: str, namespace: str
) -> list[Check]:
    """The conditions of `source` or `destination` (`side`) against one end of the flow.

    `namespace` is the policy's own, "" for global ones. Fields that this does not know make the outcome None.
    """
    checks: list[Check] = []
    nets = _list(body.get("nets")) + ([body["net"]] if body.get("net") else [])
    if nets:
        checks.append(Check(any(within(end.ip, net) for net in nets), f"{side} {end.ip} is not in {_show(nets)}"))
    not_nets = _list(body.get("notNets")) + ([body["notNet"]] if body.get("notNet") else [])
    if not_nets:
        hit = any(within(end.ip, net) for net in not_nets)
        checks.append(Check(not hit, f"{side} {end.ip} is in the excluded {_show(not_nets)}"))
    checks += _selected(body, side, end, namespace)
    checks += _ported(body, side, end, proto)
    if service := _map(body.get("services")):
        name = f"{service.get('namespace') or namespace}/{service.get('name')}"
        outcome = _in_service(endpoints, name, end, side == "destination")
        checks.append(Check(outcome, f"{side} {end.ip} is no endpoint of service {name}"))
    unknown = set(body) - _FIELDS
    if unknown or body.get("tag") or body.get("notTag"):
        checks.append(Check(None, f"the rule's {side} has fields that are not understood"))
    return checks


_FIELDS = frozenset(
    (
        "nets",
        "net",
        "notNets",
        "notNet",
        "selector",
        "notSelector",
        "namespaceSelector",
        "serviceAccounts",
        "ports",
        "notPorts",
        "services",
        "tag",
        "notTag",
    )
)


def _show(items: Iterable[object]) -> str:
    shown = [str(item) for item in items]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _selected(body: Mapping[str, Any], side: str, end: Party, namespace: str) -> list[Check]:
    selector = str(body.get("selector") or "")
    not_selector = str(body.get("notSelector") or "")
    namespaces = str(body.get("namespaceSelector") or "")
    accounts = _map(body.get("serviceAccounts"))
    if not (selector or not_selector or namespaces or accounts):
        return []
    try:
        scope = _scope(namespaces, namespace)
        wanted = [*scope, *([parse(selector)] if selector else []), *_accounts(accounts)]
        unwanted = parse(not_selector) if not_selector else None
    except SelectorError as error:
        return [Check(None, f"the rule's {side} has an unreadable selector: {error}")]
    words = selector or not_selector or namespaces or "serviceAccounts"
    if namespaces and selector:
        words = f"{selector} in namespaces {namespaces}"
    checks = []
    if selector or namespaces or accounts:
        checks.append(Check(_any_view(wanted, end), f"{side} {_name(end)} does not match {words}"))
    if unwanted is not None:
        # Whether the own-namespace restriction applies to a lone notSelector differs between versions.
        plain = negate(_any_view([unwanted], end))
        scoped = negate(_any_view([*scope, unwanted], end))
        checks.append(Check(plain if plain == scoped else None, f"{side} {_name(end)} matches the excluded {words}"))
    return checks


def _scope(namespaces: str, namespace: str) -> list[Selector]:
    if namespaces:
        return [with_prefix(parse(namespaces), "pcns.")]
    return [Term("==", NAMESPACE_LABEL, (namespace,))] if namespace else []


def _accounts(body: Mapping[str, Any]) -> list[Selector]:
    found: list[Selector] = []
    if names := [str(name) for name in _list(body.get("names"))]:
        found.append(Term("in", SERVICE_ACCOUNT_LABEL, tuple(sorted(names))))
    if body.get("selector"):
        found.append(with_prefix(parse(str(body["selector"])), "pcsa."))
    return found


def _any_view(selectors: list[Selector], end: Party) -> bool | None:
    found = any_of(all_of(evaluate(selector, view) for selector in selectors) for view in end.views)
    return None if found is False and not end.closed else found


def _name(end: Party) -> str:
    if end.workload is not None:
        return f"{end.workload.namespace}/{end.workload.pod}"
    return str(end.ip)


def _ported(body: Mapping[str, Any], side: str, end: Party, proto: str) -> list[Check]:
    checks = []
    if ports := _list(body.get("ports")):
        outcome = any_of(port_matches(item, end, proto) for item in ports)
        checks.append(Check(outcome, f"{side} port {_port(end)} is not in {_show(ports)}"))
    if not_ports := _list(body.get("notPorts")):
        outcome = negate(any_of(port_matches(item, end, proto) for item in not_ports))
        checks.append(Check(outcome, f"{side} port {_port(end)} is in the excluded {_show(not_ports)}"))
    return checks


def _port(end: Party) -> str:
    return "unknown" if end.port is None else str(end.port)


def port_matches(item: object, end: Party, proto: str) -> bool | None:
    """One entry of a port list: a number, "lo:hi", or the name of a port of the endpoint."""
    if end.port is None:
        return None
    text = str(item)
    low, colon, high = text.partition(":")
    if low.isascii() and low.isdigit() and (not colon or (high.isascii() and high.isdigit())):
        return int(low[:6]) <= end.port <= int((high if colon else low)[:6])
    ports = end.workload.ports if end.workload is not None else ()
    if end.workload is None:
        return False if end.closed else None
    named = [number for name, protocol, number in ports if name == text and protocol == proto]
    if named:
        return end.port in named
    # Endpoints derived from pods and v3 endpoints list their named ports; other sources may leave them out.
    return False if ports or end.workload.derived else None


def _in_service(endpoints: Endpoints, name: str, end: Party, with_port: bool) -> bool | None:
    slices = endpoints.snapshot.cluster.endpoint_slices
    for item in slices.values:
        if f"{item.namespace}/{item.service}" != name:
            continue
        member = any(address.ip == end.ip for address in item.addresses)
        if member and (not with_port or any(port == end.port for _, _, port in item.ports)):
            return True
    return False if isinstance(slices, Complete) else None
