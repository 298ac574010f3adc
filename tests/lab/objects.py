"""The API objects of the lab as `calicoctl get -o json` and `kubectl get -o json` print them."""

from __future__ import annotations

import json
from typing import Any

from .bird import AS_NUMBER
from .model import POOL, ClusterSpec, Node, Pod, Policy, PolicyRule, Service, stable_uid

Object = dict[str, Any]
CREATED = "2026-01-01T00:00:00Z"
VERSIONS = {"v3.33": "v3.33.0", "v3.27": "v3.27.5"}
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
    "IPAMBlock": "ipamblocks",
    "BlockAffinity": "blockaffinities",
    "Pod": "pods",
    "Service": "services",
    "EndpointSlice": "endpointslices",
    "Namespace": "namespaces",
    "Endpoints": "endpoints",
}


def files(spec: ClusterSpec) -> dict[str, str]:
    """File name -> text for the stand-ins: `calico/<plural>.json`, `kube/<plural>.json`, and a few plain texts."""
    result = {}
    for kind, items in calico(spec).items():
        listing = {"kind": f"{kind}List", "apiVersion": "projectcalico.org/v3", "metadata": {"resourceVersion": "4711"}, "items": items}
        result[f"calico/{PLURALS[kind]}.json"] = json.dumps(listing, indent=2) + "\n"
    for kind, items in kubernetes(spec).items():
        listing = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
        result[f"kube/{PLURALS[kind]}.json"] = json.dumps(listing, indent=4) + "\n"
    version = VERSIONS[spec.calico]
    result["calico/version.txt"] = f"Client Version:    {version}\nGit commit:        0000000\nCluster Version:   {version}\n"
    result["calico/version.txt"] += "Cluster Type:      k8s,bgp\n"
    result["calico/ipam-show.txt"] = ipam_show(spec)
    result["calico/peers.txt"] = "".join(f"{n.name} {n.ip}\n" for n in spec.nodes) if spec.routing == "bgp" else ""
    return result


def calico(spec: ClusterSpec) -> dict[str, list[Object]]:
    """kind -> objects of projectcalico.org/v3."""
    vxlan = spec.routing == "vxlan"
    namespaces = sorted({pod.namespace for pod in spec.pods})
    accounts = sorted({(pod.namespace, pod.service_account) for pod in spec.pods})
    allow = [{"action": "Allow", "destination": {}, "source": {}}]
    profiles = [v3("Profile", f"kns.{ns}", {"egress": allow, "ingress": allow, "labelsToApply": {"pcns.projectcalico.org/name": ns}})
                for ns in namespaces]
    profiles += [v3("Profile", f"ksa.{ns}.{sa}", {"labelsToApply": {"pcsa.projectcalico.org/name": sa}}) for ns, sa in accounts]
    pool = {
        "allowedUses": ["Workload", "Tunnel"], "blockSize": 26, "cidr": str(POOL), "ipipMode": "Never", "natOutgoing": True,
        "nodeSelector": "all()", "vxlanMode": "Always" if vxlan else "Never",
    }
    tiers = [("kube-admin", "Pass", 1000), ("default", "Deny", 1000000), ("kube-baseline", "Pass", 10000000)]
    return {
        "Node": [_calico_node(node, vxlan) for node in spec.nodes],
        "IPPool": [v3("IPPool", "default-ipv4-ippool", pool)],
        "WorkloadEndpoint": [_workload_endpoint(pod) for pod in spec.pods],
        "NetworkPolicy": [_policy(p) for p in spec.policies if p.namespace],
        "GlobalNetworkPolicy": [_policy(p) for p in spec.policies if not p.namespace],
        "Profile": profiles,
        "Tier": [v3("Tier", n, {"defaultAction": a, "order": o}) for n, a, o in tiers] if spec.calico == "v3.33" else [],
        "BGPConfiguration": [] if vxlan else [
            v3("BGPConfiguration", "default", {"asNumber": AS_NUMBER, "logSeverityScreen": "Info", "nodeToNodeMeshEnabled": True})
        ],
        "BGPPeer": [],
        "FelixConfiguration": [v3("FelixConfiguration", "default", {
            "bpfLogLevel": "", "defaultEndpointToHostAction": "Accept", "floatingIPs": "Disabled", "logSeverityScreen": "Info",
            "reportingInterval": "0s", **({"vxlanEnabled": True} if vxlan else {}),
        })],
        "ClusterInformation": [v3("ClusterInformation", "default", {
            "calicoVersion": VERSIONS[spec.calico], "clusterGUID": stable_uid("cluster").replace("-", ""), "clusterType": "k8s,bgp",
            "datastoreReady": True,
        })],
        "HostEndpoint": [],
        "NetworkSet": [],
        "GlobalNetworkSet": [],
        "IPAMConfiguration": [],
        "IPAMBlock": [_block(spec, node) for node in spec.nodes],
        "BlockAffinity": [_affinity(node) for node in spec.nodes],
    }


def kubernetes(spec: ClusterSpec) -> dict[str, list[Object]]:
    """kind -> objects of Kubernetes, and the IPAM objects as crd.projectcalico.org/v1."""
    crd = "crd.projectcalico.org/v1"
    mine = calico(spec)
    crds = {
        kind: [{**item, "apiVersion": crd} for item in mine[kind]]
        for kind in ("IPAMBlock", "BlockAffinity", "IPPool", "BGPConfiguration", "BGPPeer", "FelixConfiguration", "HostEndpoint",
                     "GlobalNetworkPolicy", "ClusterInformation", "Tier")
    }
    namespaces = sorted({pod.namespace for pod in spec.pods} | {"kube-system"})
    return {
        **crds,
        "Node": [_kube_node(node) for node in spec.nodes],
        "Pod": [_pod(spec, pod) for pod in spec.pods],
        "Service": [_service(service) for service in spec.services],
        "EndpointSlice": [_slice(spec, service) for service in spec.services],
        "NetworkPolicy": [],
        "Namespace": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {**meta("Namespace", ns), "labels": {"kubernetes.io/metadata.name": ns}},
             "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            for ns in namespaces
        ],
    }


def meta(kind: str, name: str, namespace: str | None = None) -> Object:
    place = {"namespace": namespace} if namespace else {}
    uid = stable_uid(kind, namespace or "", name)
    return {"name": name, **place, "uid": uid, "resourceVersion": str(1000 + int(uid[:4], 16) % 3000), "creationTimestamp": CREATED}


def v3(kind: str, name: str, spec: Object, namespace: str | None = None) -> Object:
    return {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": meta(kind, name, namespace), "spec": spec}


def _calico_node(node: Node, vxlan: bool) -> Object:
    spec: Object = {
        "addresses": [{"address": str(node.address), "type": "CalicoNodeIP"}, {"address": node.ip, "type": "InternalIP"}],
        "bgp": {"ipv4Address": str(node.address)},
        "orchRefs": [{"nodeName": node.name, "orchestrator": "k8s"}],
    }
    if vxlan:
        spec["ipv4VXLANTunnelAddr"] = node.tunnel_ip
        spec["vxlanTunnelMACAddr"] = node.vtep_mac
    return {**v3("Node", node.name, spec), "status": {"podCIDRs": [""]}}


def _workload_endpoint(pod: Pod) -> Object:
    dashed = pod.name.replace("-", "--")
    spec: Object = {
        "containerID": stable_uid("container", pod.key).replace("-", "") * 2,
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
    if rule.peer_nets:
        result[peer_side]["nets"] = list(rule.peer_nets)
    if rule.ports:
        result[port_side]["ports"] = list(rule.ports)
    return result


def _block(spec: ClusterSpec, node: Node) -> Object:
    owners: list[Object] = []
    if spec.routing == "vxlan":
        owners.append({"handle_id": f"vxlan-tunnel-addr-{node.name}", "secondary": {"node": node.name, "type": "vxlanTunnelAddress"}})
    for pod in spec.pods_of(node.name):
        handle = "k8s-pod-network." + stable_uid("container", pod.key).replace("-", "") * 2
        owners.append({"handle_id": handle, "secondary": {"namespace": pod.namespace, "node": node.name, "pod": pod.name}})
    used, size = len(owners), node.block.num_addresses
    return {
        "kind": "IPAMBlock", "apiVersion": "crd.projectcalico.org/v1",
        "metadata": meta("IPAMBlock", str(node.block).replace(".", "-").replace("/", "-")),
        "spec": {
            "affinity": f"host:{node.name}", "allocations": [*range(used), *[None] * (size - used)], "attributes": owners,
            "cidr": str(node.block), "deleted": False, "strictAffinity": False, "unallocated": list(range(used, size)),
        },
    }


def _affinity(node: Node) -> Object:
    name = f"{node.name}-{str(node.block).replace('.', '-').replace('/', '-')}"
    return {
        "kind": "BlockAffinity", "apiVersion": "crd.projectcalico.org/v1", "metadata": meta("BlockAffinity", name),
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


def _kube_node(node: Node) -> Object:
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {**meta("KubeNode", node.name), "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {"podCIDR": "", "podCIDRs": []},
        "status": {
            "addresses": [{"address": node.ip, "type": "InternalIP"}, {"address": node.name, "type": "Hostname"}],
            "conditions": [{"status": "True", "type": "Ready"}, {"status": "False", "type": "NetworkUnavailable"}],
            "nodeInfo": {"kubeletVersion": "v1.33.2", "kubeProxyVersion": "", "osImage": "Debian GNU/Linux 12 (bookworm)"},
        },
    }


def _pod(spec: ClusterSpec, pod: Pod) -> Object:
    container = stable_uid("container", pod.key).replace("-", "") * 2
    host = spec.node(pod.node).ip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            **meta("Pod", pod.name, pod.namespace), "labels": pod.labels,
            "annotations": {
                "cni.projectcalico.org/containerID": container, "cni.projectcalico.org/podIP": f"{pod.ip}/32",
                "cni.projectcalico.org/podIPs": f"{pod.ip}/32",
            },
        },
        "spec": {
            "nodeName": pod.node, "hostNetwork": False, "serviceAccountName": pod.service_account,
            "containers": [{
                "name": "main", "image": "registry.example/lab:1",
                "ports": [{"name": p.name, "containerPort": p.number, "protocol": p.protocol} for p in pod.ports],
            }],
        },
        "status": {
            "phase": "Running", "hostIP": host, "hostIPs": [{"ip": host}], "podIP": pod.ip, "podIPs": [{"ip": pod.ip}],
            "conditions": [{"type": "Ready", "status": "True"}], "startTime": CREATED,
            "containerStatuses": [{"name": "main", "ready": True, "restartCount": 0, "containerID": f"containerd://{container}"}],
        },
    }


def _service(service: Service) -> Object:
    port: Object = {"name": service.port_name, "port": service.port, "protocol": service.protocol, "targetPort": service.target_port}
    if service.node_port:
        port["nodePort"] = service.node_port
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": meta("Service", service.name, service.namespace),
        "spec": {
            "clusterIP": service.cluster_ip, "clusterIPs": [service.cluster_ip], "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [port], "selector": service.selector,
            "sessionAffinity": "None", "type": "NodePort" if service.node_port else "ClusterIP",
            **({"externalTrafficPolicy": "Cluster"} if service.node_port else {}),
        },
        "status": {"loadBalancer": {}},
    }


def _slice(spec: ClusterSpec, service: Service) -> Object:
    item: Object = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {**meta("EndpointSlice", f"{service.name}-lab01", service.namespace),
                     "labels": {"kubernetes.io/service-name": service.name}},
        "ports": [{"name": service.port_name, "port": service.target_port, "protocol": service.protocol}],
        "endpoints": [],
    }
    for pod in spec.endpoints_of(service):
        item["endpoints"].append({
            "addresses": [pod.ip], "conditions": {"ready": True, "serving": True, "terminating": False}, "nodeName": pod.node,
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace, "uid": stable_uid("Pod", pod.namespace, pod.name)},
        })
    return item


def cni_conflist(node: Node) -> Object:
    """/etc/cni/net.d/10-calico.conflist as the install-cni container writes it."""
    return {
        "name": "k8s-pod-network", "cniVersion": "0.3.1",
        "plugins": [
            {
                "type": "calico", "log_level": "info", "log_file_path": "/var/log/calico/cni/cni.log",
                "datastore_type": "kubernetes", "nodename": node.name, "mtu": 0, "ipam": {"type": "calico-ipam"},
                "policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
            },
            {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
        ],
    }
