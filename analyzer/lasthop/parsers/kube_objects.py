"""Kubernetes objects -> facts: Pods, Nodes, Services, EndpointSlices, Endpoints, Namespaces and every policy kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lasthop.facts.calico import CalicoObject, Policy, PolicyRule
from lasthop.facts.kube import (
    EndpointAddress,
    EndpointSlice,
    KubeNode,
    Namespace,
    Pod,
    Service,
    ServicePort,
)
from lasthop.facts.network import Ip, Prefix

from .calico_objects import address, addresses, flag, integer, mapping, prefix, sequence, text
from .objects import RawObject, string_map

KubeFact = Pod | KubeNode | Service | EndpointSlice | Namespace | Policy | CalicoObject

_SERVICE_NAME = "kubernetes.io/service-name"
_POD_IP, _POD_IPS = "cni.projectcalico.org/podIP", "cni.projectcalico.org/podIPs"


def kube_facts(raw: RawObject) -> tuple[KubeFact, ...]:
    """The facts of one object: several for an Endpoints object (one per subset), none for an Endpoints without
    subsets, CalicoObject for kinds without a type of their own. Raises ValueError when the object cannot be read."""
    build = _KINDS.get((raw.api_version.rpartition("/")[0], raw.kind))
    if build is not None:
        return build(raw)
    return (CalicoObject(raw.kind, raw.name, raw.source, raw.namespace, raw.api_version, raw.body),)


def _ready(status: dict[str, Any]) -> bool | None:
    for condition in map(mapping, sequence(status.get("conditions"))):
        if condition.get("type") == "Ready":
            word = text(condition.get("status"))
            return {"True": True, "False": False, "true": True, "false": False}.get(word)
    return None


def _pod(raw: RawObject) -> tuple[KubeFact, ...]:
    """`ips` are the status' addresses, else those that Calico's CNI plugin noted in the annotations."""
    spec, status = raw.spec, raw.status
    ips = addresses([status.get("podIP"), *(mapping(item).get("ip") for item in sequence(status.get("podIPs")))])
    if not ips:
        notes = raw.annotations
        ips = addresses([notes.get(_POD_IP), *notes.get(_POD_IPS, "").split(",")])
    ports: list[tuple[str, int]] = []
    named: list[tuple[str, str, int]] = []
    for container in map(mapping, sequence(spec.get("containers"))):
        for item in map(mapping, sequence(container.get("ports"))):
            number = integer(item.get("containerPort"))
            if number is None:
                continue
            proto = text(item.get("protocol") or "TCP").lower()
            ports.append((proto, number))
            if item.get("name"):
                named.append((text(item["name"]), proto, number))
    return (
        Pod(
            namespace=raw.namespace or "default",
            name=raw.name,
            source=raw.source,
            uid=text(raw.metadata.get("uid")),
            node=text(spec.get("nodeName")),
            ips=ips,
            host_network=flag(spec.get("hostNetwork")),
            phase=text(status.get("phase")),
            ready=_ready(status),
            labels=raw.labels,
            ports=tuple(ports),
            named_ports=tuple(named),
            service_account=text(spec.get("serviceAccountName") or spec.get("serviceAccount")),
        ),
    )


def _node(raw: RawObject) -> tuple[KubeFact, ...]:
    found: list[tuple[Ip, str]] = []
    for item in map(mapping, sequence(raw.status.get("addresses"))):
        ip = address(item.get("address"))
        if ip is not None:
            found.append((ip, text(item.get("type"))))
    cidrs = sequence(raw.spec.get("podCIDRs")) or [raw.spec.get("podCIDR")]
    pods: list[Prefix] = [prefix(item) for item in cidrs if text(item)]
    return (KubeNode(raw.name, raw.source, tuple(found), tuple(pods), _ready(raw.status), raw.labels, raw.annotations),)


def _service(raw: RawObject) -> tuple[KubeFact, ...]:
    spec = raw.spec
    listed = [spec.get("clusterIP"), *sequence(spec.get("clusterIPs"))]
    kind = text(spec.get("type")) or "ClusterIP"
    ports = []
    for item in map(mapping, sequence(spec.get("ports"))):
        number = integer(item.get("port"))
        if number is None:
            raise ValueError("a service port without a number")
        ports.append(
            ServicePort(
                name=text(item.get("name")),
                proto=text(item.get("protocol") or "TCP").lower(),
                port=number,
                target_port=text(item.get("targetPort")),
                node_port=integer(item.get("nodePort")) or None,
            )
        )
    ingress = sequence(mapping(raw.status.get("loadBalancer")).get("ingress"))
    return (
        Service(
            namespace=raw.namespace or "default",
            name=raw.name,
            source=raw.source,
            type=kind,
            cluster_ips=addresses(listed),
            headless=text(spec.get("clusterIP")) == "None",
            external_ips=addresses(sequence(spec.get("externalIPs"))),
            load_balancer_ips=addresses(mapping(item).get("ip") for item in ingress),
            ports=tuple(ports),
            selector=string_map(spec.get("selector")),
            external_traffic_policy=text(spec.get("externalTrafficPolicy")) or "Cluster",
            internal_traffic_policy=text(spec.get("internalTrafficPolicy")) or "Cluster",
            session_affinity=text(spec.get("sessionAffinity")) or "None",
        ),
    )


def _target(item: dict[str, Any], namespace: str) -> str:
    target = mapping(item.get("targetRef"))
    if text(target.get("kind")) not in ("Pod", "") or not target.get("name"):
        return ""
    return f"{text(target.get('namespace')) or namespace}/{text(target['name'])}"


def _condition(value: object) -> bool | None:
    return None if value is None else flag(value)


def _endpoint_ports(value: object) -> tuple[tuple[str, str, int], ...]:
    found = []
    for item in map(mapping, sequence(value)):
        number = integer(item.get("port"))
        if number is not None:
            found.append((text(item.get("name")), text(item.get("protocol") or "TCP").lower(), number))
    return tuple(found)


def _slice(raw: RawObject) -> tuple[KubeFact, ...]:
    """A missing `ready` condition is kept as None; the API says to treat it as ready."""
    found: list[EndpointAddress] = []
    for item in map(mapping, sequence(raw.body.get("endpoints"))):
        conditions = mapping(item.get("conditions"))
        for listed in sequence(item.get("addresses")):
            ip = address(listed)
            if ip is None:
                continue
            found.append(
                EndpointAddress(
                    ip,
                    _condition(conditions.get("ready")),
                    _condition(conditions.get("serving")),
                    _condition(conditions.get("terminating")),
                    text(item.get("nodeName")),
                    _target(item, raw.namespace),
                )
            )
    owner = raw.labels.get(_SERVICE_NAME, "")
    ports = _endpoint_ports(raw.body.get("ports"))
    return (
        EndpointSlice(raw.namespace or "default", owner, raw.name, raw.source, "EndpointSlice", tuple(found), ports),
    )


def _endpoints(raw: RawObject) -> tuple[KubeFact, ...]:
    facts: list[KubeFact] = []
    for subset in map(mapping, sequence(raw.body.get("subsets"))):
        found: list[EndpointAddress] = []
        for key, ready in (("addresses", True), ("notReadyAddresses", False)):
            for item in map(mapping, sequence(subset.get(key))):
                ip = address(item.get("ip"))
                if ip is not None:
                    found.append(
                        EndpointAddress(ip, ready, node=text(item.get("nodeName")), pod=_target(item, raw.namespace))
                    )
        ports = _endpoint_ports(subset.get("ports"))
        facts.append(
            EndpointSlice(raw.namespace or "default", raw.name, raw.name, raw.source, "Endpoints", tuple(found), ports)
        )
    return tuple(facts)


def _namespace(raw: RawObject) -> tuple[KubeFact, ...]:
    return (Namespace(raw.name, raw.source, raw.labels),)


def _kube_rules(value: object) -> tuple[PolicyRule, ...]:
    return tuple(PolicyRule("Allow", item) for item in map(mapping, sequence(value)))


def _network_policy(raw: RawObject) -> tuple[KubeFact, ...]:
    """`types` as Kubernetes' defaulting fills them in: Ingress always, Egress when an egress section exists.
    `selector` is left empty: the pod selector is in `raw` (matchLabels and matchExpressions)."""
    spec = raw.spec
    types = tuple(text(item) for item in sequence(spec.get("policyTypes")))
    if not types:
        types = ("Ingress", "Egress") if sequence(spec.get("egress")) else ("Ingress",)
    return (
        Policy(
            kind="KubernetesNetworkPolicy",
            name=raw.name,
            source=raw.source,
            namespace=raw.namespace or "default",
            order=1000.0,
            types=types,
            ingress=_kube_rules(spec.get("ingress")),
            egress=_kube_rules(spec.get("egress")),
            raw=raw.body,
        ),
    )


_ADMIN_TIERS = {
    "AdminNetworkPolicy": "adminnetworkpolicy",
    "BaselineAdminNetworkPolicy": "baselineadminnetworkpolicy",
}


def _admin_policy(raw: RawObject) -> tuple[KubeFact, ...]:
    """policy.networking.k8s.io: `order` is the priority; a ClusterNetworkPolicy names its tier Admin or Baseline
    (libcalico-go/lib/backend/k8s/conversion/clusternetworkpolicy.go)."""
    spec = raw.spec
    tier = _ADMIN_TIERS.get(raw.kind) or (
        "kube-baseline" if text(spec.get("tier")).lower() == "baseline" else "kube-admin"
    )
    priority = integer(spec.get("priority"))
    ingress = tuple(PolicyRule(text(r.get("action")), r) for r in map(mapping, sequence(spec.get("ingress"))))
    egress = tuple(PolicyRule(text(r.get("action")), r) for r in map(mapping, sequence(spec.get("egress"))))
    types = (("Ingress",) if ingress else ()) + (("Egress",) if egress else ())
    return (
        Policy(
            kind=raw.kind,
            name=raw.name,
            source=raw.source,
            tier=tier,
            order=None if priority is None else float(priority),
            types=types,
            ingress=ingress,
            egress=egress,
            raw=raw.body,
        ),
    )


_KINDS: dict[tuple[str, str], Callable[[RawObject], tuple[KubeFact, ...]]] = {
    ("", "Pod"): _pod,
    ("", "Node"): _node,
    ("", "Service"): _service,
    ("", "Endpoints"): _endpoints,
    ("", "Namespace"): _namespace,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("extensions", "NetworkPolicy"): _network_policy,
    ("policy.networking.k8s.io", "AdminNetworkPolicy"): _admin_policy,
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy"): _admin_policy,
    ("policy.networking.k8s.io", "ClusterNetworkPolicy"): _admin_policy,
}
