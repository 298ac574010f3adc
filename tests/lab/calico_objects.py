"""Calico objects of the lab as `calicoctl get -o json` prints them."""

from __future__ import annotations

import hashlib
from typing import Any

from .bird import AS_NUMBER
from .model import POOL, ClusterSpec, Node, Pod, Policy, PolicyRule, stable_uid

Object = dict[str, Any]
CRD = "crd.projectcalico.org/v1"
CREATED = "2026-01-01T00:00:00Z"
VERSIONS = {"v3.33": "v3.33.0", "v3.27": "v3.27.5"}


def calico(spec: ClusterSpec) -> dict[str, list[Object]]:
    """kind -> objects of projectcalico.org/v3."""
    vxlan = spec.routing == "vxlan"
    namespaces = sorted({pod.namespace for pod in spec.pods})
    accounts = sorted({(pod.namespace, pod.service_account) for pod in spec.pods})
    allow = [{"action": "Allow", "destination": {}, "source": {}}]
    profiles = [
        v3(
            "Profile",
            f"kns.{ns}",
            {"egress": allow, "ingress": allow, "labelsToApply": {"pcns.projectcalico.org/name": ns}},
        )
        for ns in namespaces
    ]
    profiles += [
        v3("Profile", f"ksa.{ns}.{sa}", {"labelsToApply": {"pcsa.projectcalico.org/name": sa}}) for ns, sa in accounts
    ]
    pool = {
        "allowedUses": ["Workload", "Tunnel"],
        "blockSize": 26,
        "cidr": str(POOL),
        "ipipMode": "Never",
        "natOutgoing": True,
        "nodeSelector": "all()",
        "vxlanMode": "Always" if vxlan else "Never",
    }
    tiers = [("kube-admin", "Pass", 1000), ("default", "Deny", 1000000), ("kube-baseline", "Pass", 10000000)]
    newer: dict[str, list[Object]] = {}
    if spec.calico == "v3.33":
        newer["Tier"] = [v3("Tier", n, {"defaultAction": a, "order": o}) for n, a, o in tiers]
        for kind in ("StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy"):
            newer[kind] = []
    return {
        **newer,
        "Node": [_calico_node(node, vxlan) for node in spec.nodes],
        "IPPool": [v3("IPPool", "default-ipv4-ippool", pool)],
        "WorkloadEndpoint": [_workload_endpoint(pod) for pod in spec.pods],
        "NetworkPolicy": [_policy(p) for p in spec.policies if p.namespace],
        "GlobalNetworkPolicy": [_policy(p) for p in spec.policies if not p.namespace],
        "Profile": profiles,
        "BGPConfiguration": []
        if vxlan
        else [
            v3(
                "BGPConfiguration",
                "default",
                {"asNumber": AS_NUMBER, "logSeverityScreen": "Info", "nodeToNodeMeshEnabled": True},
            )
        ],
        "BGPPeer": [],
        "FelixConfiguration": [
            v3(
                "FelixConfiguration",
                "default",
                {
                    "bpfLogLevel": "",
                    "defaultEndpointToHostAction": "Accept",
                    "floatingIPs": "Disabled",
                    "logSeverityScreen": "Info",
                    "reportingInterval": "0s",
                    **({"vxlanEnabled": True} if vxlan else {}),
                },
            )
        ],
        "ClusterInformation": [
            v3(
                "ClusterInformation",
                "default",
                {
                    "calicoVersion": VERSIONS[spec.calico],
                    "clusterGUID": stable_uid("cluster").replace("-", ""),
                    "clusterType": "k8s,bgp",
                    "datastoreReady": True,
                },
            )
        ],
        "HostEndpoint": [],
        "NetworkSet": [],
        "GlobalNetworkSet": [],
        "IPAMConfiguration": [],
        "BGPFilter": [],
        "IPReservation": [],
        "KubeControllersConfiguration": [],
        "CalicoNodeStatus": [],
        "IPAMConfig": [_ipam_config()],
        "IPAMHandle": [_ipam_handle(pod, spec.node(pod.node)) for pod in spec.pods],
        "IPAMBlock": [_block(spec, node) for node in spec.nodes],
        "BlockAffinity": [_affinity(node) for node in spec.nodes],
    }


def meta(kind: str, name: str, namespace: str | None = None) -> Object:
    place = {"namespace": namespace} if namespace else {}
    uid = stable_uid(kind, namespace or "", name)
    return {
        "name": name,
        **place,
        "uid": uid,
        "resourceVersion": str(1000 + int(uid[:4], 16) % 3000),
        "creationTimestamp": CREATED,
    }


def container_id(pod: Pod) -> str:
    """The 64 hex digits of the pod's sandbox."""
    return hashlib.sha256(f"container/{pod.key}".encode()).hexdigest()


def v3(kind: str, name: str, spec: Object, namespace: str | None = None) -> Object:
    return {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": meta(kind, name, namespace), "spec": spec}


def _calico_node(node: Node, vxlan: bool) -> Object:
    spec: Object = {
        "addresses": [
            {"address": str(node.calico_address), "type": "CalicoNodeIP"},
            {"address": node.ip, "type": "InternalIP"},
        ],
        "bgp": {"ipv4Address": str(node.calico_address)},
        "orchRefs": [{"nodeName": node.name, "orchestrator": "k8s"}],
    }
    if vxlan:
        spec["ipv4VXLANTunnelAddr"] = node.tunnel_ip
        spec["vxlanTunnelMACAddr"] = node.vtep_mac
    return {**v3("Node", node.name, spec), "status": {"podCIDRs": [""]}}


def _workload_endpoint(pod: Pod) -> Object:
    dashed = pod.name.replace("-", "--")
    spec: Object = {
        "containerID": container_id(pod),
        "endpoint": "eth0",
        "interfaceName": pod.interface,
        "ipNetworks": [f"{pod.ip}/32"],
        "mac": pod.mac,
        "node": pod.node,
        "orchestrator": "k8s",
        "pod": pod.name,
        "profiles": list(pod.profiles),
        "serviceAccountName": pod.service_account,
    }
    if pod.ports:
        spec["ports"] = [
            {"hostIP": "", "hostPort": 0, "name": p.name, "port": p.number, "protocol": p.protocol} for p in pod.ports
        ]
    item = v3("WorkloadEndpoint", f"{pod.node.replace('-', '--')}-k8s-{dashed}-eth0", spec, pod.namespace)
    item["metadata"]["labels"] = pod.all_labels
    return item


def selector_text(labels: dict[str, str]) -> str:
    return " && ".join(f"{key} == '{value}'" for key, value in labels.items()) or "all()"


def _policy(policy: Policy) -> Object:
    kind = "NetworkPolicy" if policy.namespace else "GlobalNetworkPolicy"
    spec: Object = {"order": policy.order, "selector": selector_text(policy.selector), "tier": "default", "types": []}
    if policy.ingress is not None:
        spec["types"].append("Ingress")
        spec["ingress"] = [_policy_rule(rule, "source", "destination") for rule in policy.ingress]
    if policy.egress is not None:
        spec["types"].append("Egress")
        spec["egress"] = [_policy_rule(rule, "destination", "destination") for rule in policy.egress]
    return v3(kind, policy.name, spec, policy.namespace)


def _policy_rule(rule: PolicyRule, peer_side: str, port_side: str) -> Object:
    result: Object = {"action": rule.action, "destination": {}, "source": {}}
    if rule.protocol:
        result["protocol"] = rule.protocol
    if rule.peer is not None:
        result[peer_side]["selector"] = selector_text(rule.peer)
    if rule.peer_namespace:
        result[peer_side]["namespaceSelector"] = f"projectcalico.org/name == '{rule.peer_namespace}'"
    if rule.peer_nets:
        result[peer_side]["nets"] = list(rule.peer_nets)
    if rule.ports:
        result[port_side]["ports"] = list(rule.ports)
    return result


def _block(spec: ClusterSpec, node: Node) -> Object:
    owners: list[Object] = []
    if spec.routing == "vxlan":
        owners.append(
            {
                "handle_id": f"vxlan-tunnel-addr-{node.name}",
                "secondary": {"node": node.name, "type": "vxlanTunnelAddress"},
            }
        )
    for pod in spec.pods_of(node.name):
        handle = "k8s-pod-network." + container_id(pod)
        owners.append(
            {"handle_id": handle, "secondary": {"namespace": pod.namespace, "node": node.name, "pod": pod.name}}
        )
    used, size = len(owners), node.block.num_addresses
    return {
        "kind": "IPAMBlock",
        "apiVersion": CRD,
        "metadata": meta("IPAMBlock", str(node.block).replace(".", "-").replace("/", "-")),
        "spec": {
            "affinity": f"host:{node.name}",
            "allocations": [*range(used), *[None] * (size - used)],
            "attributes": owners,
            "cidr": str(node.block),
            "deleted": False,
            "strictAffinity": False,
            "unallocated": list(range(used, size)),
        },
    }


def _ipam_config() -> Object:
    spec = {"autoAllocateBlocks": True, "strictAffinity": False}
    return {**v3("IPAMConfig", "default", spec), "apiVersion": CRD}


def _ipam_handle(pod: Pod, node: Node) -> Object:
    handle = f"k8s-pod-network.{container_id(pod)}"
    spec = {"block": {str(node.block): 1}, "deleted": False, "handleID": handle}
    return {**v3("IPAMHandle", handle, spec), "apiVersion": CRD}


def _affinity(node: Node) -> Object:
    name = f"{node.name}-{str(node.block).replace('.', '-').replace('/', '-')}"
    return {
        "kind": "BlockAffinity",
        "apiVersion": CRD,
        "metadata": meta("BlockAffinity", name),
        "spec": {"cidr": str(node.block), "deleted": "false", "node": node.name, "state": "confirmed"},
    }


def ipam_show(spec: ClusterSpec) -> str:
    """`calicoctl ipam show --show-blocks`."""
    tunnel = 1 if spec.routing == "vxlan" else 0
    rows = [("IP Pool", str(POOL), POOL.num_addresses, len(spec.pods) + tunnel * len(spec.nodes))]
    rows += [("Block", str(n.block), n.block.num_addresses, len(spec.pods_of(n.name)) + tunnel) for n in spec.nodes]
    line = "+----------+------------------+-----------+------------+--------------+\n"
    text = line + "| GROUPING | CIDR             | IPS TOTAL | IPS IN USE | IPS FREE     |\n" + line
    for grouping, cidr, total, used in rows:
        share = f"{used} ({100 * used // total}%)"
        free = f"{total - used} ({100 * (total - used) // total}%)"
        text += f"| {grouping:<8} | {cidr:<16} | {total:>9} | {share:>10} | {free:>12} |\n"
    return text + line
