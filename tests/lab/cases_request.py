"""Cases whose request is lost: steps 1 to 4."""

from __future__ import annotations

from .case import Break, Case
from .case_parts import CLIENT, SERVER, bgp, one, vxlan
from .faults import Command, Fault
from .felix import rule_hashes
from .model import VXLAN_DEVICE


def request_breaks() -> tuple[Case, ...]:
    base = bgp()
    client, server = base.pod(CLIENT), base.pod(SERVER)
    block2 = base.node("node2").block
    peer = "Mesh_" + base.node("node2").ip.replace(".", "_")
    over = vxlan("v3.33", subnets=1, count=3)
    fdb = f"bridge fdb replace {over.node('node2').vtep_mac} dev {VXLAN_DEVICE}"
    dispatch = "cali-from-wl-dispatch"
    own_chain = f"cali-fw-{client.interface}"
    signature = rule_hashes(dispatch, [f"--in-interface {client.interface} --goto {own_chain}"])[0]
    birdc = "birdc -s /var/run/calico/bird.ctl"
    wait = "for i in $(seq 100); do ip route show {block} | grep -q bird && exit 0; sleep 0.2; done; exit 1"
    return (
        Case(
            "pod-no-default-route",
            "The client pod has no default route",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    1,
                    "node1",
                    "pod:" + CLIENT,
                    "route table of the pod",
                    "the pod's default route is missing",
                    ("NO_ROUTE",),
                    ("pod-no-route",),
                ),
            ),
            (one(f"pod {CLIENT}", "ip route del default", "ip route add default via 169.254.1.1 dev eth0"),),
            ("net-unreachable",),
        ),
        Case(
            "gateway-does-not-answer",
            "proxy_arp is off on the client's workload interface",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    1,
                    "node1",
                    "host",
                    f"proxy_arp of {client.interface}",
                    "169.254.1.1 is not answered: proxy_arp is 0 on the pod's interface",
                    ("NEIGHBOUR_FAILED",),
                    ("proxy-arp-off",),
                ),
            ),
            (
                Fault(
                    (
                        Command("node1", f"echo 0 > /proc/sys/net/ipv4/conf/{client.interface}/proxy_arp"),
                        Command(f"pod {CLIENT}", "ip neigh flush dev eth0"),
                    ),
                    (
                        Command("node1", f"echo 1 > /proc/sys/net/ipv4/conf/{client.interface}/proxy_arp"),
                        Command(f"pod {CLIENT}", "ip neigh flush dev eth0"),
                    ),
                ),
            ),
            ("timeout", "host-unreachable"),
        ),
        Case(
            "bgp-session-down",
            "The BGP session to the server's node is disabled on the client's node",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    f"route {block2}, BGP session {peer}",
                    "no block route: the BGP session between the nodes is down",
                    ("NO_ROUTE", "LEFT_EVIDENCE"),
                    ("bgp-session-down", "route-missing"),
                ),
                Break(
                    "reply",
                    6,
                    "node2",
                    "host",
                    f"route {base.node('node1').block}",
                    "the other end of the same session has lost its block route as well",
                    ("NO_ROUTE", "LEFT_EVIDENCE"),
                    ("bgp-session-down", "route-missing"),
                ),
            ),
            (
                Fault(
                    (Command("node1", f"{birdc} disable {peer}"),),
                    (Command("node1", f"{birdc} enable {peer}"), Command("node1", wait.format(block=block2))),
                ),
            ),
        ),
        Case(
            "foreign-forward-drop",
            "A site firewall drops forwarded packets to port 8080 on the client's node",
            vxlan(),
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    "filter FORWARD rule 1 (not Calico's)",
                    "a foreign rule in FORWARD drops what Calico allowed",
                    ("DROPPED_BY_RULE",),
                    ("foreign-rule-drop",),
                ),
            ),
            (
                one(
                    "node1",
                    "iptables-nft -I FORWARD -p tcp --dport 8080 -m comment --comment 'site firewall' -j DROP",
                    "iptables-nft -D FORWARD -p tcp --dport 8080 -m comment --comment 'site firewall' -j DROP",
                ),
            ),
        ),
        Case(
            "fdb-wrong-destination",
            "The FDB entry of the server node's VTEP points at a third node",
            over,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    f"FDB entry {over.node('node2').vtep_mac} on {VXLAN_DEVICE}",
                    "the VTEP's MAC is sent to the wrong node",
                    ("WRONG_VNI_OR_MAC", "WRONG_HOST"),
                    ("fdb-wrong",),
                    died_at="node3",
                ),
            ),
            (
                one(
                    "node1",
                    f"{fdb} dst {over.node('node3').ip} self permanent",
                    f"{fdb} dst {over.node('node2').ip} self permanent",
                ),
            ),
        ),
        Case(
            "next-hop-mac-wrong",
            "A permanent neighbour entry of the client's node gives the next hop a MAC that nobody has",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    f"neighbour {base.node('node2').ip} on eth0",
                    "the next hop's MAC is not the one of node2's eth0",
                    ("WRONG_VNI_OR_MAC",),
                    ("neighbour-wrong-mac",),
                ),
            ),
            (
                one(
                    "node1",
                    f"ip neigh replace {base.node('node2').ip} lladdr 52:00:00:00:00:99 dev eth0 nud permanent",
                    f"ip neigh del {base.node('node2').ip} dev eth0",
                ),
            ),
        ),
        Case(
            "unknown-interface",
            "The client's workload interface is missing in Calico's dispatch chain",
            bgp("v3.27", "legacy"),
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    "chain cali-from-wl-dispatch, rule Unknown interface",
                    "the dispatch chain has no rule for the client's interface",
                    ("DROPPED_BY_RULE",),
                    ("endpoint-not-rendered", "calico-rule-drop"),
                ),
            ),
            (
                one(
                    "node1",
                    f"iptables-legacy -D {dispatch} 1",
                    f"iptables-legacy -I {dispatch} 1 -i {client.interface} "
                    f"-m comment --comment cali:{signature} -g {own_chain}",
                ),
            ),
        ),
        Case(
            "wire-drops-vxlan",
            "The router between the nodes drops UDP 4789",
            vxlan(),
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    3,
                    None,
                    "host",
                    "underlay between node1 and node2",
                    "VXLAN packets leave node1 and do not reach node2",
                    ("LOST_BETWEEN_CAPTURES",),
                    ("wire-lost",),
                ),
            ),
            (
                one(
                    "router",
                    "iptables-nft -A FORWARD -p udp --dport 4789 -j DROP",
                    "iptables-nft -D FORWARD -p udp --dport 4789 -j DROP",
                ),
            ),
        ),
        Case(
            "stale-block-route",
            "A left-over static route without metric for the server's block beats BIRD's route",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    f"route {block2} via {base.node('node1').router}",
                    "a static route (metric 0) beats BIRD's (metric 1024) and leads to a router without that block",
                    ("LEFT_EVIDENCE", "WRONG_HOST"),
                    ("route-wrong-nexthop",),
                ),
            ),
            (
                one(
                    "node1",
                    f"ip route add {block2} via {base.node('node1').router} dev eth0 proto static",
                    f"ip route del {block2} via {base.node('node1').router} dev eth0 proto static",
                ),
            ),
        ),
        Case(
            "workload-interface-down",
            "The host side of the server pod's veth is down",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    4,
                    "node2",
                    "host",
                    f"interface {server.interface}",
                    "the workload interface is down; the pod's /32 went with it, the blackhole takes the packet",
                    ("BLACKHOLED", "LINK_DOWN"),
                    ("veth-down", "route-blackhole"),
                ),
            ),
            (
                one(
                    "node2",
                    f"ip link set {server.interface} down",
                    f"ip link set {server.interface} up; "
                    f"ip route replace {server.ip} dev {server.interface} scope link metric 1024; "
                    f"ip neigh replace {server.ip} lladdr {server.mac} dev {server.interface} nud permanent",
                ),
            ),
        ),
        Case(
            "pod-route-missing",
            "The server pod's /32 route is missing on its node",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    4,
                    "node2",
                    "host",
                    f"route {server.ip}",
                    "the pod's /32 is missing; its own block's blackhole takes the packet",
                    ("BLACKHOLED",),
                    ("route-blackhole", "route-missing"),
                ),
            ),
            (
                one(
                    "node2",
                    f"ip route del {server.ip} dev {server.interface}",
                    f"ip route add {server.ip} dev {server.interface} scope link metric 1024",
                ),
            ),
        ),
        Case(
            "uplink-not-forwarding",
            "Forwarding is off on the uplink of the server's node",
            bgp("v3.27"),
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    4,
                    "node2",
                    "host",
                    "sysctl net.ipv4.conf.eth0.forwarding",
                    "the node does not forward what comes in on eth0",
                    ("NOT_FORWARDING",),
                    ("forwarding-off",),
                ),
            ),
            (
                one(
                    "node2",
                    "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding",
                    "echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding",
                ),
            ),
        ),
        Case(
            "vxlan-sender-not-allowed",
            "The client's node is missing in the server node's set of VXLAN senders",
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
                    "ipset cali40all-vxlan-net, chain cali-INPUT",
                    "the client's node is not in the set of allowed VXLAN senders",
                    ("DROPPED_BY_RULE",),
                    ("stale-ipset", "calico-rule-drop", "encapsulation-dropped"),
                ),
            ),
            (
                one(
                    "node2",
                    f"ipset del cali40all-vxlan-net {vxlan().node('node1').ip}",
                    f"ipset add cali40all-vxlan-net {vxlan().node('node1').ip}",
                ),
            ),
        ),
    )
