"""Cluster objects: which ids feed which kind, and when a list is complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lasthop.facts import calico as c
from lasthop.facts import kube as k
from lasthop.facts.evidence import NOT_COLLECTED, Absent, AbsentReason, Artifact, Complete, Evidence, Partial

from .kinds import Place
from .reading import best, joined, keep, with_doubt

# kind -> (class, ids of which each is a list of its own; all that were taken count together)
_KINDS: dict[str, tuple[type, tuple[str, ...]]] = {
    "calico_nodes": (c.CalicoNode, ("calico_nodes",)),
    "workload_endpoints": (c.WorkloadEndpoint, ("calico_workloadendpoints",)),
    "host_endpoints": (c.HostEndpoint, ("calico_hostendpoints",)),
    "ip_pools": (c.IPPool, ("calico_ippools",)),
    "policies": (
        c.Policy,
        (
            "calico_networkpolicies", "calico_globalnetworkpolicies", "kube_networkpolicies",
            "calico_stagednetworkpolicies", "calico_stagedglobalnetworkpolicies",
            "calico_stagedkubernetesnetworkpolicies", "kube_adminnetworkpolicies",
            "kube_baselineadminnetworkpolicies", "kube_clusternetworkpolicies",
        ),
    ),
    "calico_objects": (
        c.CalicoObject,
        (
            "calico_tiers", "calico_profiles", "calico_networksets", "calico_globalnetworksets",
            "calico_bgpconfigurations", "calico_bgppeers", "calico_bgpfilters", "calico_felixconfigurations",
            "calico_clusterinformations", "calico_kubecontrollersconfigurations", "calico_caliconodestatuses",
            "calico_ipreservations", "calico_ipamhandles", "calico_ipamconfigs", "kube_installations",
            "kube_tigerastatuses", "kube_configmaps", "kube_daemonsets",
        ),
    ),
    "pods": (k.Pod, ("kube_pods",)),
    "nodes": (k.KubeNode, ("kube_nodes",)),
    "services": (k.Service, ("kube_services",)),
    "namespaces": (k.Namespace, ("kube_namespaces",)),
}  # fmt: skip

_NEEDED = {
    "policies": {"calico_networkpolicies": "NetworkPolicy", "calico_globalnetworkpolicies": "GlobalNetworkPolicy"},
    "calico_objects": {
        "calico_tiers": "Tier", "calico_profiles": "Profile", "calico_networksets": "NetworkSet",
        "calico_globalnetworksets": "GlobalNetworkSet", "calico_bgpconfigurations": "BGPConfiguration",
        "calico_bgppeers": "BGPPeer", "calico_felixconfigurations": "FelixConfiguration",
        "calico_clusterinformations": "ClusterInformation",
    },
}  # fmt: skip
"""Lists without which a kind is not complete, and the object kind that is then in doubt."""

_ANY = "other_objects"
"""Files of several kinds: they may hold objects of every kind."""


def cluster_kind(place: Place, kind: str) -> Evidence[Any]:
    """The evidence of one field of facts.snapshot.Cluster."""
    if kind == "ipam_blocks":
        return _ipam(place, c.IPAMBlock, "calico_ipamblocks")
    if kind == "block_affinities":
        return _ipam(place, c.BlockAffinity, "calico_blockaffinities")
    if kind == "endpoint_slices":
        # Endpoints are the older copy of the same thing: used where slices were not taken, never added to them
        slices = _lists(place, k.EndpointSlice, ("kube_endpointslices",), {})
        return (
            slices
            if not isinstance(slices, Absent)
            else _or(_lists(place, k.EndpointSlice, ("kube_endpoints",), {}), slices)
        )
    cls, ids = _KINDS[kind]
    needed = dict(_NEEDED.get(kind, {}))
    if kind == "calico_objects":
        ids = (*ids, *_configmaps(place))
    if kind == "policies" and any(
        "calicoctl" not in a.command for a in place.artifacts.get("calico_networkpolicies", ())
    ):
        # calicoctl lists the policies of Kubernetes too (as `knp.default.*`); the CRDs hold Calico's own only
        needed["kube_networkpolicies"] = "KubernetesNetworkPolicy"
    return _lists(place, cls, ids, needed)


def _or(first: Evidence[Any], second: Evidence[Any]) -> Evidence[Any]:
    return second if isinstance(first, Absent) and first.reason is AbsentReason.NOT_COLLECTED else first


def _configmaps(place: Place) -> tuple[str, ...]:
    return tuple(sorted(identity for identity in place.artifacts if identity.startswith("kube_configmap_")))


def _lists(place: Place, cls: type, ids: tuple[str, ...], needed: Mapping[str, str]) -> Evidence[Any]:
    parts: list[Evidence[Any]] = []
    unknown_kind: list[Absent] = []
    for identity in ids:
        takes: list[Evidence[Any]] = []
        for artifact in place.artifacts.get(identity, ()):
            takes.append(_read(place, artifact))
            if isinstance(takes[-1], Complete):
                break
        chosen = best(takes)
        if isinstance(chosen, Absent) and chosen.reason is AbsentReason.NOT_APPLICABLE:
            unknown_kind.append(chosen)
        elif chosen is not None:
            parts.append(keep(chosen, lambda value: isinstance(value, cls)))
    for artifact in place.artifacts.get(_ANY, ()):
        found = keep(_read(place, artifact), lambda value: isinstance(value, cls))
        if found.values:
            parts.append(
                with_doubt(found, "a file of several kinds may not hold all objects of each") if not parts else found
            )
    together = joined(parts)
    if together is None:
        return unknown_kind[0] if unknown_kind else NOT_COLLECTED
    for identity, touched in needed.items():
        if identity not in place.artifacts and not isinstance(together, Absent):
            together = with_doubt(together, f"{identity} was not collected", touched)
    return together


def _read(place: Place, artifact: Artifact) -> Evidence[Any]:
    from lasthop.parsers.cluster_objects import parse_cluster_objects

    return place.reader.read(artifact, "objects", parse_cluster_objects, may_be_empty=False)


def _ipam(place: Place, cls: type, identity: str) -> Evidence[Any]:
    """Objects, else the datastore's own dump, else (blocks) the table of `calicoctl ipam show --show-blocks`."""
    from lasthop.parsers.ipam import parse_etcd_ipam, parse_ipam_show

    found = _lists(place, cls, (identity,), {})
    if isinstance(found, Complete):
        return found
    candidates: list[Evidence[Any]] = [found]
    dump = place.first(("etcd",), "etcd ipam", parse_etcd_ipam, may_be_empty=False)
    if dump is not None:
        own = keep(dump, lambda value: isinstance(value, cls))
        if own.values:
            candidates.append(own)
    if cls is c.IPAMBlock and all(isinstance(e, Absent) for e in candidates):
        table = place.first(("calico_ipam_show",), "ipam show", parse_ipam_show, may_be_empty=False)
        if table is not None and not isinstance(table, Absent):
            candidates.append(with_doubt(table, "ipam show does not say which node owns a block"))
    if isinstance(best(candidates), (Complete, Partial)):
        return best(candidates) or found
    return found
