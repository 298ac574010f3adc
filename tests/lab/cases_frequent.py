"""More of what the field reports most: BGP port blocked, policy routing, two iptables back ends, stale backends."""

from __future__ import annotations

from .case import Break, Case
from .case_parts import CLIENT, SERVER, bgp, one, vxlan
from .faults import Command, Fault
from .kubeproxy import endpoint_chain
from .model import VXLAN_DEVICE
from .presets import WEB

BIRDC = "birdc -s /var/run/calico/bird.ctl"


def frequent_breaks() -> tuple[Case, ...]:
    return (
        node_address_wrong(),
        bgp_port_blocked(),
        policy_routing_rule(),
        legacy_forward_policy(),
        vxlan_device_down(),
        stale_backend(),
    )


def node_address_wrong() -> Case:
    """Autodetection by first-found takes a bridge of a container engine for the node's interface."""
    spec = vxlan("v3.27")
    bridge, address = "docker0", "172.17.0.1/16"
    return Case(
        "node-address-wrong",
        "Calico registered the address of docker0 for the server's node",
        spec,
        CLIENT,
        f"pod {SERVER}",
        "break",
        (
            Break(
                "request",
                3,
                "node2",
                "host",
                "Node node2, spec.bgp.ipv4Address 172.17.0.1/16",
                "the tunnel's outer destination is the address of docker0 on node2, which no other machine reaches",
                ("LEFT_EVIDENCE", "LOST_BETWEEN_CAPTURES", "WRONG_HOST"),
                ("node-address-wrong", "fdb-wrong", "wire-lost"),
                died_at="node1",
                accept_steps=(2, 3),
            ),
        ),
        (
            Fault(
                (
                    Command(
                        "node2",
                        f"ip link add {bridge} type bridge; ip addr add {address} dev {bridge}; "
                        f"ip link set {bridge} up",
                    ),
                    Command(
                        "node2",
                        "restart calico-node with IP_AUTODETECTION_METHOD=first-found",
                        lambda c: c.register("node2", address, bridge),
                    ),
                ),
                (
                    Command(
                        "node2",
                        "restart calico-node with IP_AUTODETECTION_METHOD=kubernetes-internal-ip",
                        lambda c: c.register("node2"),
                    ),
                    Command("node2", f"ip link del {bridge}"),
                ),
            ),
        ),
    )


def bgp_port_blocked() -> Case:
    """The lower address is the passive side of the mesh session, so node2 calls node1."""
    spec = bgp("v3.27")
    block2 = spec.node("node2").block
    mesh1 = "Mesh_" + spec.node("node2").ip.replace(".", "_")
    rule = "INPUT -p tcp --dport 179 -m comment --comment 'node hardening' -j DROP"
    wait = f"for i in $(seq 100); do ip route show {block2} | grep -q bird && exit 0; sleep 0.2; done; exit 1"
    return Case(
        "bgp-port-blocked",
        "A host firewall on the client's node drops TCP 179; the session went down at its next restart",
        spec,
        CLIENT,
        f"pod {SERVER}",
        "break",
        (
            Break(
                "request",
                2,
                "node1",
                "host",
                f"route {block2}, BGP session {mesh1}",
                "no block route: a foreign INPUT rule on node1 keeps the BGP session down",
                ("NO_ROUTE", "LEFT_EVIDENCE"),
                ("bgp-session-down", "route-missing", "foreign-rule-drop"),
            ),
            Break(
                "reply",
                6,
                "node2",
                "host",
                f"route {spec.node('node1').block}",
                "the other end of the same session has no block route either",
                ("NO_ROUTE", "LEFT_EVIDENCE"),
                ("bgp-session-down", "route-missing"),
            ),
        ),
        (
            Fault(
                (Command("node1", f"iptables-nft -I {rule}"), Command("node1", f"{BIRDC} restart {mesh1}")),
                (Command("node1", f"iptables-nft -D {rule}"), Command("node1", wait)),
            ),
        ),
    )


def policy_routing_rule() -> Case:
    spec = bgp()
    node1 = spec.node("node1")
    rule = f"from {node1.block} lookup 100 priority 100"
    return Case(
        "policy-routing-rule",
        "A policy routing rule sends the client's block through another table, which knows a default route only",
        spec,
        CLIENT,
        f"pod {SERVER}",
        "break",
        (
            Break(
                "request",
                2,
                "node1",
                "host",
                f"ip rule 100: from {node1.block} lookup 100",
                "the rule is asked before table main; table 100 leads to the router, which does not know the block",
                ("LEFT_EVIDENCE", "WRONG_HOST"),
                ("route-wrong-nexthop", "route-missing"),
            ),
        ),
        (
            Fault(
                (
                    Command("node1", f"ip route add default via {node1.router} dev eth0 table 100"),
                    Command("node1", f"ip rule add {rule}"),
                ),
                (Command("node1", f"ip rule del {rule}"), Command("node1", "ip route flush table 100")),
            ),
        ),
        harmless=("answers to the client are not touched: the rule matches by source",),
    )


def legacy_forward_policy() -> Case:
    return Case(
        "legacy-forward-policy-drop",
        "Calico writes to iptables-nft; a left-over of iptables-legacy has FORWARD policy DROP on the server's node",
        vxlan("v3.33"),
        CLIENT,
        f"pod {SERVER}",
        "break",
        (
            Break(
                "request",
                4,
                "node2",
                "host",
                "iptables-legacy, table filter, chain FORWARD, policy DROP",
                "both back ends are evaluated: the legacy policy drops what the nft rules accept",
                ("DROPPED_BY_RULE",),
                ("foreign-rule-drop", "two-backends"),
            ),
        ),
        (one("node2", "iptables-legacy -P FORWARD DROP", "iptables-legacy -P FORWARD ACCEPT"),),
    )


def vxlan_device_down() -> Case:
    """Setting the device down takes its routes and neighbours away, so the answer would be lost as well."""
    spec = vxlan("v3.27")
    node1 = spec.node("node1")
    return Case(
        "vxlan-device-down",
        "vxlan.calico is down on the server's node",
        spec,
        CLIENT,
        f"pod {SERVER}",
        "break",
        (
            Break(
                "request",
                4,
                "node2",
                "host",
                f"interface {VXLAN_DEVICE}",
                "the VXLAN device is down: nobody listens on UDP 4789",
                ("LINK_DOWN", "NO_LISTENER"),
                ("vxlan-device-down",),
            ),
            Break(
                "reply",
                6,
                "node2",
                "host",
                f"route {node1.block}",
                "the block route went with the device",
                ("NO_ROUTE", "LEFT_EVIDENCE", "LINK_DOWN"),
                ("vxlan-device-down", "route-missing"),
            ),
        ),
        (
            one(
                "node2",
                f"ip link set {VXLAN_DEVICE} down",
                f"ip link set {VXLAN_DEVICE} up; "
                f"ip neigh replace {node1.tunnel_ip} lladdr {node1.vtep_mac} dev {VXLAN_DEVICE} nud permanent; "
                f"ip route replace {node1.block} via {node1.tunnel_ip} dev {VXLAN_DEVICE} onlink",
            ),
        ),
    )


def stale_backend() -> Case:
    spec = bgp(count=3)
    backend = spec.pod("shop/web-1")
    gone = str(spec.node("node2").block.network_address + 40)
    chain = endpoint_chain(WEB, backend)
    text = f'-t nat -R {chain} 2 -p tcp -m comment --comment "{WEB.key}:{WEB.port_name}" -j DNAT --to-destination'
    return Case(
        "service-stale-backend",
        "kube-proxy's rules on the client's node still send one third of the connections to a pod that is gone",
        spec,
        CLIENT,
        f"service {WEB.key}",
        "partial",
        (
            Break(
                "request",
                2,
                "node1",
                "host",
                f"chain {chain}, DNAT to {gone}:8080",
                "the rule's address belongs to no pod and no endpoint of the Service; node2's blackhole takes it",
                ("BLACKHOLED",),
                ("service-backend-dead",),
                share=1 / 3,
                died_at="node2",
                accept_steps=(2, 4),
            ),
        ),
        (one("node1", f"iptables-nft {text} {gone}:8080", f"iptables-nft {text} {backend.ip}:8080"),),
        tries=15,
    )
