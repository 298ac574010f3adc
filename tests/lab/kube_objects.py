"""Kubernetes objects of the lab as `kubectl get -o json` prints them, Calico's IPAM objects as
crd.projectcalico.org/v1 included.
"""

from __future__ import annotations

import os

from .calico_objects import CREATED, VERSIONS, Object, container_id, meta
from .model import ClusterSpec, Node, Pod, Service, stable_uid

KUBERNETES = "v1.33.2"


def kubernetes(spec: ClusterSpec) -> dict[str, list[Object]]:
    """kind -> objects of Kubernetes."""
    namespaces = sorted({pod.namespace for pod in spec.pods} | {"kube-system"})
    return {
        "Node": [_kube_node(node) for node in spec.nodes],
        "Pod": [_pod(spec, pod) for pod in spec.pods],
        "Service": [_service(service) for service in spec.services],
        "EndpointSlice": [_slice(spec, service) for service in spec.services],
        "Endpoints": [_endpoints(spec, service) for service in spec.services],
        "DaemonSet": [
            _daemonset(spec, "calico-node", VERSIONS[spec.calico]),
            _daemonset(spec, "kube-proxy", KUBERNETES),
        ],
        "NetworkPolicy": [],
        "Namespace": [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {**meta("Namespace", ns), "labels": {"kubernetes.io/metadata.name": ns}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }
            for ns in namespaces
        ],
    }


def _kube_node(node: Node) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {**meta("KubeNode", node.name), "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {"podCIDR": "", "podCIDRs": []},
        "status": {
            "addresses": [{"address": node.ip, "type": "InternalIP"}, {"address": node.name, "type": "Hostname"}],
            "conditions": [{"status": "True", "type": "Ready"}, {"status": "False", "type": "NetworkUnavailable"}],
            "nodeInfo": {
                "kubeletVersion": KUBERNETES,
                "kubeProxyVersion": "",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": os.uname().release,
                "containerRuntimeVersion": "containerd://1.7.27",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def _pod(spec: ClusterSpec, pod: Pod) -> Object:
    container = container_id(pod)
    host = spec.node(pod.node).ip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **meta("Pod", pod.name, pod.namespace),
            "labels": pod.labels,
            "annotations": {
                "cni.projectcalico.org/containerID": container,
                "cni.projectcalico.org/podIP": f"{pod.ip}/32",
                "cni.projectcalico.org/podIPs": f"{pod.ip}/32",
            },
        },
        "spec": {
            "nodeName": pod.node,
            "hostNetwork": False,
            "serviceAccountName": pod.service_account,
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/lab:1",
                    "ports": [{"name": p.name, "containerPort": p.number, "protocol": p.protocol} for p in pod.ports],
                }
            ],
        },
        "status": {
            "phase": "Running",
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            "podIP": pod.ip,
            "podIPs": [{"ip": pod.ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "startTime": CREATED,
            "containerStatuses": [
                {"name": "main", "ready": True, "restartCount": 0, "containerID": f"containerd://{container}"}
            ],
        },
    }


def _service(service: Service) -> Object:
    port: Object = {
        "name": service.port_name,
        "port": service.port,
        "protocol": service.protocol,
        "targetPort": service.target_port,
    }
    if service.node_port:
        port["nodePort"] = service.node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta("Service", service.name, service.namespace),
        "spec": {
            "clusterIP": service.cluster_ip,
            "clusterIPs": [service.cluster_ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [port],
            "selector": service.selector,
            "sessionAffinity": "None",
            "type": "NodePort" if service.node_port else "ClusterIP",
            **({"externalTrafficPolicy": "Cluster"} if service.node_port else {}),
        },
        "status": {"loadBalancer": {}},
    }


def _slice(spec: ClusterSpec, service: Service) -> Object:
    item: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            **meta("EndpointSlice", f"{service.name}-lab01", service.namespace),
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "ports": [{"name": service.port_name, "port": service.target_port, "protocol": service.protocol}],
        "endpoints": [],
    }
    for pod in spec.endpoints_of(service):
        item["endpoints"].append(
            {
                "addresses": [pod.ip],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": pod.node,
                "targetRef": {
                    "kind": "Pod",
                    "name": pod.name,
                    "namespace": pod.namespace,
                    "uid": stable_uid("Pod", pod.namespace, pod.name),
                },
            }
        )
    return item


def _endpoints(spec: ClusterSpec, service: Service) -> Object:
    addresses = [
        {"ip": pod.ip, "nodeName": pod.node, "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace}}
        for pod in spec.endpoints_of(service)
    ]
    port = {"name": service.port_name, "port": service.target_port, "protocol": service.protocol}
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": meta("Endpoints", service.name, service.namespace),
        "subsets": [{"addresses": addresses, "ports": [port]}] if addresses else [],
    }


def _daemonset(spec: ClusterSpec, name: str, version: str) -> Object:
    env = {"CALICO_NETWORKING_BACKEND": "vxlan" if spec.routing == "vxlan" else "bird", "CLUSTER_TYPE": "k8s,bgp"}
    container = {
        "name": name,
        "image": f"registry.example/{name}:{version}",
        "env": [{"name": key, "value": value} for key, value in env.items()] if name == "calico-node" else [],
    }
    count = len(spec.nodes)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": meta("DaemonSet", name, "kube-system"),
        "spec": {"template": {"spec": {"hostNetwork": True, "containers": [container]}}},
        "status": {"desiredNumberScheduled": count, "numberReady": count, "numberAvailable": count},
    }
