"""A stand-in API server of four kinds, with secrets in every corner that must not leave the cluster."""

from __future__ import annotations

import http.server
import json
import sys
from typing import Any

SECRET = "TOPSECRET"
WEB: dict[str, Any] = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u1",
        "labels": {"app": "web", "x/y": "z"},
        "annotations": {"note": SECRET},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {
        "nodeName": "n1",
        "containers": [
            {
                "name": "c",
                "image": "i:1",
                "env": [{"name": "PW", "value": SECRET}],
                "args": [SECRET],
                "ports": [
                    {"containerPort": 80, "protocol": "TCP"},
                    {"containerPort": 9090, "name": "m", "hostPort": 9090},
                ],
            },
            {"name": "d"},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.65.0.1",
        "podIPs": [{"ip": "10.65.0.1"}, {"ip": "fd00::1"}],
        "hostIP": "192.0.2.11",
        "conditions": [
            {"type": "Ready", "status": "True", "message": SECRET},
            {"type": "X", "status": "False", "reason": 'R "q"'},
        ],
        "containerStatuses": [
            {
                "name": "c",
                "ready": True,
                "restartCount": 3,
                "containerID": "containerd://abc",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            },
            {
                "name": "d",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": SECRET}},
            },
        ],
    },
}
BARE = {
    "metadata": {"name": "bare", "namespace": "shop"},
    "spec": {"hostNetwork": True, "containers": []},
    "status": {"phase": "Pending"},
}
NODE = {
    "metadata": {
        "name": "n1",
        "uid": "x",
        "annotations": {"projectcalico.org/IPv4Address": "192.0.2.11/24", "other": SECRET},
    },
    "spec": {"podCIDR": "10.65.0.0/24", "podCIDRs": ["10.65.0.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}], "conditions": []},
}
DAEMONSET = {
    "metadata": {"name": "calico-node", "namespace": "kube-system"},
    "spec": {
        "template": {
            "spec": {
                "hostNetwork": True,
                "containers": [
                    {
                        "name": "calico-node",
                        "image": "calico/node:v3",
                        "env": [
                            {"name": "IP", "value": "autodetect"},
                            {"name": "ETCD_PASSWORD", "value": SECRET},
                            {"name": "CLUSTER_TYPE", "value": "k8s,bgp"},
                        ],
                    }
                ],
            }
        }
    },
    "status": {"desiredNumberScheduled": 2, "numberReady": 0},
}
SERVICE = {
    "metadata": {
        "name": "s",
        "namespace": "shop",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"a": SECRET}) + "\n"},
    },
    "spec": {"clusterIP": "10.96.0.1"},
}


def pod_reference(name: str) -> dict[str, str]:
    return {"kind": "Pod", "namespace": "shop", "name": name}


SLICE = {
    "metadata": {"name": "s-abcde", "namespace": "shop", "labels": {"kubernetes.io/service-name": "s"}},
    "addressType": "IPv4",
    "endpoints": [
        {"addresses": ["10.65.0.1"], "targetRef": pod_reference("web-1")},
        {"addresses": ["10.65.7.9"], "targetRef": pod_reference("web-9"), "conditions": {"ready": False}},
    ],
}
# Made by hand: no pod is named.
SLICE_BY_HAND = {
    "metadata": {"name": "s-hand", "namespace": "shop", "labels": {"kubernetes.io/service-name": "s"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.65.0.2"]}],
}
SLICE_EMPTY = {
    "metadata": {"name": "s-empty", "namespace": "shop", "labels": {"kubernetes.io/service-name": "s"}},
    "addressType": "IPv6",
    "endpoints": None,
}


def listing(kind: str, version: str, *items: object) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": list(items)}


def resources(version: str, *rows: tuple[str, str, bool]) -> dict[str, Any]:
    known = [
        {"name": name, "singularName": "", "namespaced": inside, "kind": kind, "verbs": ["get", "list"]}
        for name, kind, inside in rows
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": known}


PATHS = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            },
            {
                "name": "discovery.k8s.io",
                "versions": [{"groupVersion": "discovery.k8s.io/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "discovery.k8s.io/v1", "version": "v1"},
            },
        ],
    },
    "/api/v1": resources("v1", ("pods", "Pod", True), ("nodes", "Node", False), ("services", "Service", True)),
    "/apis/discovery.k8s.io/v1": resources("discovery.k8s.io/v1", ("endpointslices", "EndpointSlice", True)),
    "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices": listing(
        "EndpointSliceList", "discovery.k8s.io/v1", SLICE, SLICE_BY_HAND, SLICE_EMPTY
    ),
    "/api/v1/namespaces/shop/services/s": {"kind": "Service", "apiVersion": "v1", **SERVICE},
    "/apis/apps/v1": resources("apps/v1", ("daemonsets", "DaemonSet", True)),
    "/api/v1/pods": listing("PodList", "v1", WEB, BARE),
    "/api/v1/nodes": listing("NodeList", "v1", NODE),
    "/api/v1/services": listing("ServiceList", "v1", SERVICE),
    "/apis/apps/v1/daemonsets": listing("DaemonSetList", "apps/v1", DAEMONSET),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        found = PATHS.get(path)
        body = json.dumps(
            found or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        ).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
