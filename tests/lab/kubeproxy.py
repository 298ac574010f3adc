"""The chains of kube-proxy's iptables mode (pkg/proxy/iptables/proxier.go, Kubernetes 1.27 and later), for the lab's
Services.
"""

from __future__ import annotations

import base64
import hashlib

from .model import POOL, ClusterSpec, Pod, Service


def chain_name(prefix: str, *words: str) -> str:
    """prefix + the first 16 characters of base32(SHA256(words))."""
    return prefix + base64.b32encode(hashlib.sha256("".join(words).encode()).digest()).decode()[:16]


def service_chain(service: Service, prefix: str = "KUBE-SVC-") -> str:
    return chain_name(prefix, port_id(service), service.protocol.lower())


def endpoint_chain(service: Service, pod: Pod) -> str:
    return chain_name("KUBE-SEP-", port_id(service), service.protocol.lower(), f"{pod.ip}:{service.target_port}")


def port_id(service: Service) -> str:
    return f"{service.key}:{service.port_name}"


def nat(spec: ClusterSpec) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """(chains, hook lines per kernel chain, rule lines) of table nat."""
    chains = [
        "KUBE-KUBELET-CANARY",
        "KUBE-MARK-MASQ",
        "KUBE-NODEPORTS",
        "KUBE-POSTROUTING",
        "KUBE-PROXY-CANARY",
        "KUBE-SERVICES",
    ]
    portals = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
    hooks = {
        "PREROUTING": [f"-A PREROUTING {portals}"],
        "OUTPUT": [f"-A OUTPUT {portals}"],
        "POSTROUTING": ['-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'],
    }
    rules = [
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" '
        "-j MASQUERADE --random-fully",
    ]
    for service in spec.services:
        pods = spec.endpoints_of(service)
        if not pods:
            continue
        proto, name, svc = service.protocol.lower(), port_id(service), service_chain(service)
        head = f'-p {proto} -m comment --comment "{name} cluster IP" -m {proto} --dport {service.port}'
        chains.append(svc)
        rules.append(f"-A KUBE-SERVICES -d {service.cluster_ip}/32 {head} -j {svc}")
        rules.append(f"-A {svc} ! -s {POOL} -d {service.cluster_ip}/32 {head} -j KUBE-MARK-MASQ")
        if service.node_port:
            ext = service_chain(service, "KUBE-EXT-")
            chains.append(ext)
            rules.append(
                f'-A KUBE-NODEPORTS -p {proto} -m comment --comment "{name}" '
                f"-m {proto} --dport {service.node_port} -j {ext}"
            )
            masq = f'-m comment --comment "masquerade traffic for {name} external destinations"'
            rules += [f"-A {ext} {masq} -j KUBE-MARK-MASQ", f"-A {ext} -j {svc}"]
        for index, pod in enumerate(pods):
            sep = endpoint_chain(service, pod)
            left = len(pods) - index
            dice = f" -m statistic --mode random --probability {1 / left:.11f}" if left > 1 else ""
            chains.append(sep)
            rules += [
                f'-A {svc} -m comment --comment "{name} -> {pod.ip}:{service.target_port}"{dice} -j {sep}',
                f'-A {sep} -s {pod.ip}/32 -m comment --comment "{name}" -j KUBE-MARK-MASQ',
                f'-A {sep} -p {proto} -m comment --comment "{name}" -m {proto} -j DNAT '
                f"--to-destination {pod.ip}:{service.target_port}",
            ]
    rules.append(
        "-A KUBE-SERVICES -m comment --comment "
        '"kubernetes service nodeports; NOTE: this must be the last rule in this chain" '
        "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    )
    return chains, hooks, rules


def filter_(spec: ClusterSpec) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """(chains, hook lines per kernel chain, rule lines) of table filter."""
    chains = [
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-FIREWALL",
        "KUBE-FORWARD",
        "KUBE-KUBELET-CANARY",
        "KUBE-NODEPORTS",
        "KUBE-PROXY-CANARY",
        "KUBE-PROXY-FIREWALL",
        "KUBE-SERVICES",
    ]
    new = "-m conntrack --ctstate NEW"
    firewall = f'{new} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'
    portals = f'{new} -m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
    external = f'{new} -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
    hooks = {
        "INPUT": [
            '-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
            f"-A INPUT {firewall}",
            f"-A INPUT {external}",
            "-A INPUT -j KUBE-FIREWALL",
        ],
        "FORWARD": [
            f"-A FORWARD {firewall}",
            '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
            f"-A FORWARD {portals}",
            f"-A FORWARD {external}",
        ],
        "OUTPUT": [f"-A OUTPUT {firewall}", f"-A OUTPUT {portals}", "-A OUTPUT -j KUBE-FIREWALL"],
    }
    rules = [
        '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" '
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    for service in spec.services:
        if not spec.endpoints_of(service):
            proto = service.protocol.lower()
            rules.append(
                f"-A KUBE-SERVICES -d {service.cluster_ip}/32 -p {proto} -m comment --comment "
                f'"{port_id(service)} has no endpoints" -m {proto} --dport {service.port} -j REJECT '
                "--reject-with icmp-port-unreachable"
            )
    return chains, hooks, rules


MANGLE_CHAINS = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"]
