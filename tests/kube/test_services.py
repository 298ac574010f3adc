"""Services and kube-proxy's chain names. Hashes: vectors computed by kube-proxy's algorithm, and a real node."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest

from lasthop.kube.chains import endpoint_chain, endpoint_chains, service_chain
from lasthop.kube.services import find_port, resolve
from tests.calico.build import reference, snapshot
from tests.conftest import shared

OBJECTS = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec:
    type: NodePort
    clusterIP: 10.96.0.9
    externalIPs: [198.51.100.9]
    ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}, {name: dns, port: 53, protocol: UDP}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
  endpoints:
  - {addresses: [10.65.0.2], conditions: {ready: true}, nodeName: n1, targetRef: {kind: Pod, name: web-0}}
  - {addresses: [10.65.0.3], conditions: {ready: false}}
  - {addresses: [10.65.0.4], conditions: {}}
  ports: [{name: http, port: 8080}]
- apiVersion: v1
  kind: Endpoints
  metadata: {name: web, namespace: shop}
  subsets: [{addresses: [{ip: 10.65.0.9}], ports: [{name: http, port: 8080}]}]
"""


@pytest.mark.parametrize(
    ("parts", "chain"),
    [
        (("default", "kubernetes", "https", "tcp"), "KUBE-SVC-NPX46M4PTMTKRN6Y"),
        (("kube-system", "kube-dns", "dns", "UDP"), "KUBE-SVC-TCOU7JCQXEZGVUNU"),
        (("default", "web", "http", "tcp"), "KUBE-SVC-CDGGSHYLG3RE2FKL"),
    ],
)
def test_service_chains(parts: tuple[str, str, str, str], chain: str) -> None:
    assert service_chain(*parts) == chain


def test_external_and_endpoint_chains() -> None:
    assert service_chain("default", "web", "http", "tcp", "KUBE-EXT-") == "KUBE-EXT-CDGGSHYLG3RE2FKL"
    ip = ip_address("10.244.2.7")
    assert endpoint_chain("default", "web", "http", "tcp", ip, 8080) == "KUBE-SEP-2RIJ5GIYXEFH6G4D"


@pytest.mark.parametrize(
    ("ip", "port", "proto", "via"),
    [
        ("10.96.0.9", 80, "tcp", "cluster-ip"),
        ("198.51.100.9", 80, "tcp", "external-ip"),
        ("192.0.2.1", 30080, "tcp", "node-port"),
        ("192.0.2.2", 30080, "tcp", ""),
        ("10.96.0.9", 80, "udp", ""),
        ("10.96.0.9", 8080, "tcp", ""),
        ("10.96.0.9", 53, "udp", "cluster-ip"),
    ],
)
def test_resolve(ip: str, port: int, proto: str, via: str) -> None:
    hit = resolve(snapshot(OBJECTS), ip_address(ip), port, proto, frozenset({ip_address("192.0.2.1")}))
    assert (hit.via if hit else "") == via


def test_backends() -> None:
    hit = resolve(snapshot(OBJECTS), ip_address("10.96.0.9"), 80, "tcp")
    assert hit is not None and hit.complete
    assert [(str(item.ip), item.port, item.ready) for item in hit.backends] == [
        ("10.65.0.2", 8080, True),
        ("10.65.0.3", 8080, False),
        ("10.65.0.4", 8080, None),
    ]
    assert [str(item.ip) for item in hit.ready] == ["10.65.0.2", "10.65.0.4"]
    assert hit.backends[0].pod == "shop/web-0"
    dns = resolve(snapshot(OBJECTS), ip_address("10.96.0.9"), 53, "udp")
    assert dns is not None and dns.backends == ()


def test_old_endpoints_stand_in_for_slices() -> None:
    text = OBJECTS.replace("kind: EndpointSlice", "kind: EndpointSlicer")
    hit = resolve(snapshot(text, partial=["endpoint_slices"]), ip_address("10.96.0.9"), 80, "tcp")
    assert hit is not None and not hit.complete
    assert [str(item.ip) for item in hit.backends] == ["10.65.0.9"]


def test_ports_of_a_service() -> None:
    (service,) = snapshot(OBJECTS).cluster.services.values
    assert find_port(service, None) is None
    assert find_port(service, 80) == service.ports[0]
    assert find_port(service, 53) is None and find_port(service, 53, "udp") == service.ports[1]


def test_every_service_chain_of_a_real_node_has_a_meaning() -> None:
    cluster = reference("healthy-vxlan-nft")
    known = endpoint_chains(cluster) | {
        service_chain(service.namespace, service.name, port.name, port.proto, prefix)
        for service in cluster.cluster.services.values
        for port in service.ports
        for prefix in ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-")
    }
    seen = 0
    for path in shared("reference-cluster", "cases", "healthy-vxlan-nft").glob("nodes/*/iptables-save.txt"):
        for name in re.findall(r"^:(KUBE-(?:SVC|SVL|EXT|SEP)-\S+)", path.read_text(), re.M):
            assert name in known
            seen += 1
    assert seen > 20
