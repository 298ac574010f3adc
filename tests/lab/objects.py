"""The API objects of the lab as `calicoctl get -o json` and `kubectl get -o json` print them."""

from __future__ import annotations

import json

from .calico_objects import VERSIONS, Object, calico, container_id, ipam_show
from .kube_objects import kubernetes
from .model import ClusterSpec, Node, Pod, stable_uid

PLURALS = {
    "Node": "nodes",
    "IPPool": "ippools",
    "WorkloadEndpoint": "workloadendpoints",
    "NetworkPolicy": "networkpolicies",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
    "Profile": "profiles",
    "Tier": "tiers",
    "BGPConfiguration": "bgpconfigurations",
    "BGPPeer": "bgppeers",
    "FelixConfiguration": "felixconfigurations",
    "ClusterInformation": "clusterinformations",
    "HostEndpoint": "hostendpoints",
    "NetworkSet": "networksets",
    "GlobalNetworkSet": "globalnetworksets",
    "IPAMConfiguration": "ipamconfigurations",
    "IPAMConfig": "ipamconfigs",
    "IPAMHandle": "ipamhandles",
    "BGPFilter": "bgpfilters",
    "IPReservation": "ipreservations",
    "KubeControllersConfiguration": "kubecontrollersconfigurations",
    "CalicoNodeStatus": "caliconodestatuses",
    "StagedNetworkPolicy": "stagednetworkpolicies",
    "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    "StagedKubernetesNetworkPolicy": "stagedkubernetesnetworkpolicies",
    "IPAMBlock": "ipamblocks",
    "BlockAffinity": "blockaffinities",
    "Pod": "pods",
    "Service": "services",
    "EndpointSlice": "endpointslices",
    "Namespace": "namespaces",
    "Endpoints": "endpoints",
    "DaemonSet": "daemonsets",
}


def files(spec: ClusterSpec) -> dict[str, str]:
    """File name -> text for the stand-ins: `calico/<plural>.json`, `kube/<plural>.json`, and a few plain texts."""
    result = {}
    for kind, items in calico(spec).items():
        listing = {
            "kind": f"{kind}List",
            "apiVersion": "projectcalico.org/v3",
            "metadata": {"resourceVersion": "4711"},
            "items": items,
        }
        result[f"calico/{PLURALS[kind]}.json"] = json.dumps(listing, indent=2) + "\n"
    for kind, items in kubernetes(spec).items():
        listing = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
        result[f"kube/{PLURALS[kind]}.json"] = json.dumps(listing, indent=4) + "\n"
    version = VERSIONS[spec.calico]
    result["calico/version.txt"] = (
        f"Client Version:    {version}\nGit commit:        0000000\nCluster Version:   {version}\n"
    )
    result["calico/version.txt"] += "Cluster Type:      k8s,bgp\n"
    result["calico/ipam-show.txt"] = ipam_show(spec)
    result["calico/peers.txt"] = "".join(f"{n.name} {n.ip}\n" for n in spec.nodes) if spec.routing == "bgp" else ""
    return result


def cni_conflist(node: Node) -> Object:
    """/etc/cni/net.d/10-calico.conflist as the install-cni container writes it."""
    return {
        "name": "k8s-pod-network",
        "cniVersion": "0.3.1",
        "plugins": [
            {
                "type": "calico",
                "log_level": "info",
                "log_file_path": "/var/log/calico/cni/cni.log",
                "datastore_type": "kubernetes",
                "nodename": node.name,
                "mtu": 0,
                "ipam": {"type": "calico-ipam"},
                "policy": {"type": "k8s"},
                "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
            },
            {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
        ],
    }


def cni_cache(pod: Pod, mtu: int) -> tuple[str, str]:
    """(file name, text) of the entry under /var/lib/cni/results that libcni keeps for one pod (cniCacheV1)."""
    container = container_id(pod)
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.namespace,
        "K8S_POD_NAME": pod.name,
        "K8S_POD_INFRA_CONTAINER_ID": container,
        "K8S_POD_UID": stable_uid("Pod", pod.namespace, pod.name),
    }
    netns = f"/var/run/netns/{pod.netns_name}"
    entry = {
        "kind": "cniCacheV1",
        "containerId": container,
        "config": "",
        "ifName": "eth0",
        "networkName": "k8s-pod-network",
        "netns": netns,
        "cniArgs": [[key, value] for key, value in arguments.items()],
        "result": {
            "cniVersion": "0.3.1",
            "dns": {},
            "interfaces": [{"name": pod.interface, "mtu": mtu}],
            "ips": [{"address": f"{pod.ip}/32", "version": "4"}],
        },
    }
    return f"k8s-pod-network-{container}-eth0", json.dumps(entry, separators=(",", ":"))
