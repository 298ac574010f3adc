"""Cluster object kinds and the ids of their files: what people type, what an API calls it, what a list holds."""

from __future__ import annotations

import re

# id -> what kubectl and calicoctl take as its name (any of them, plural or singular, any case)
_CALICO = {
    "calico_ippools": ("ippool", "ipp", "pool"),
    "calico_workloadendpoints": ("workloadendpoint", "wep"),
    "calico_hostendpoints": ("hostendpoint", "hep"),
    "calico_globalnetworkpolicies": ("globalnetworkpolicy", "globalnetworkpolicie", "gnp"),
    "calico_stagednetworkpolicies": ("stagednetworkpolicy", "stagednetworkpolicie", "snp"),
    "calico_stagedglobalnetworkpolicies": ("stagedglobalnetworkpolicy", "stagedglobalnetworkpolicie", "sgnp"),
    "calico_stagedkubernetesnetworkpolicies": ("stagedkubernetesnetworkpolicy", "stagedkubernetesnetworkpolicie"),
    "calico_tiers": ("tier",),
    "calico_networksets": ("networkset", "netset"),
    "calico_globalnetworksets": ("globalnetworkset", "gns"),
    "calico_profiles": ("profile",),
    "calico_bgpconfigurations": ("bgpconfiguration", "bgpconfig", "bgpconfigs"),
    "calico_bgppeers": ("bgppeer", "bgpp"),
    "calico_bgpfilters": ("bgpfilter",),
    "calico_felixconfigurations": ("felixconfiguration", "felixconfig", "fc"),
    "calico_clusterinformations": ("clusterinformation", "clusterinfo"),
    "calico_kubecontrollersconfigurations": ("kubecontrollersconfiguration", "kubecontrollersconfig"),
    "calico_caliconodestatuses": ("caliconodestatus", "caliconodestatuse"),
    "calico_ipreservations": ("ipreservation",),
    "calico_ipamblocks": ("ipamblock",),
    "calico_blockaffinities": ("blockaffinity", "blockaffinitie"),
    "calico_ipamhandles": ("ipamhandle",),
    "calico_ipamconfigs": ("ipamconfig", "ipamconfiguration"),
}
_BOTH = {
    "nodes": ("node", "no"),
    "networkpolicies": ("networkpolicy", "networkpolicie", "netpol", "np"),
}
_KUBE = {
    "kube_pods": ("pod", "po"),
    "kube_services": ("service", "svc"),
    "kube_endpoints": ("endpoint", "ep"),
    "kube_endpointslices": ("endpointslice", "eps"),
    "kube_namespaces": ("namespace", "ns"),
    "kube_adminnetworkpolicies": ("adminnetworkpolicy", "adminnetworkpolicie", "anp"),
    "kube_baselineadminnetworkpolicies": ("baselineadminnetworkpolicy", "baselineadminnetworkpolicie", "banp"),
    "kube_clusternetworkpolicies": ("clusternetworkpolicy", "clusternetworkpolicie"),
    "kube_daemonsets": ("daemonset", "ds"),
    "kube_events": ("event", "ev"),
    "kube_configmaps": ("configmap", "cm"),
    "kube_installations": ("installation",),
    "kube_tigerastatuses": ("tigerastatus", "tigerastatuse"),
    "kube_clusterroles": ("clusterrole",),
    "kube_serviceaccounts": ("serviceaccount", "sa"),
    "kube_deployments": ("deployment", "deploy"),
}
_BY_NAME = {name: identity for table in (_CALICO, _KUBE) for identity, names in table.items() for name in names}
_BOTH_BY_NAME = {name: identity for identity, names in _BOTH.items() for name in names}


def object_id(kind: str, calico: bool) -> str | None:
    """The evidence id for a kind as typed (`ippools`, `wep`, `ipamblocks.crd.projectcalico.org`), None when unknown.

    `calico` decides for the two names that both APIs have (nodes, network policies).
    """
    name, _, group = kind.lower().partition(".")
    calico = calico or "projectcalico.org" in group
    bare = name.removesuffix("list")
    for candidate in (name, name.removesuffix("s"), bare, bare.removesuffix("s")):
        if candidate in _BOTH_BY_NAME:
            return ("calico_" if calico else "kube_") + _BOTH_BY_NAME[candidate]
        if candidate in _BY_NAME:
            return _BY_NAME[candidate]
    return None


_KIND = re.compile(r"""(?:^|[{,])\s*-?\s*["']?kind["']?\s*:\s*["']?([A-Za-z]+)""", re.MULTILINE)
# an object's own kind follows its apiVersion; the kinds of its owners and targets mostly do not
_ITEM = re.compile(r"""apiVersion["']?\s*:\s*["']?([\w./-]+)["']?,?\s+["']?kind["']?\s*:\s*["']?([A-Za-z]+)""")
_LOOKED_AT = 4_000_000


def objects_in(text: str) -> str | None:
    """The evidence id of a YAML or JSON text of API objects, by their `kind`; "other_objects" for several kinds in one
    text, None when it holds none that is known. An empty `List` of no kind cannot be told."""
    text = text[:_LOOKED_AT]
    if "apiVersion" not in text:
        return None
    found = {object_id(kind, "projectcalico.org" in group) for group, kind in _ITEM.findall(text) if kind != "List"}
    found.discard(None)
    if len(found) > 1:
        return "other_objects"
    if found:
        return found.pop()
    calico = "projectcalico.org" in text[:_LOOKED_AT]
    for match in _KIND.finditer(text):
        if match.group(1) != "List":
            return object_id(match.group(1), calico) or "other_objects"
    return None
