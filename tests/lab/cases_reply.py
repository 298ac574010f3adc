"""Cases whose answer is lost: steps 6 to 8."""

from __future__ import annotations

from .case import Break, Case
from .case_parts import CLIENT, SERVER, bgp, one, vxlan
from .faults import Command
from .model import VXLAN_DEVICE
from .traffic import LARGE


def reply_breaks() -> tuple[Case, ...]:
    base = bgp("v3.33", "nft")
    over = vxlan("v3.33", subnets=1)
    client, block1, node1 = over.pod(CLIENT), over.node("node1").block, over.node("node1")
    raw = "PREROUTING -i eth0 -p tcp --sport 8080 -m comment --comment 'scan protection' -j DROP"
    link = "sysctl -qw net.ipv4.tcp_mtu_probing=0"
    offload = "ethtool -K {dev} tso off gso off gro off >/dev/null"
    return (
        Case(
            "reply-dropped-in-raw",
            "A foreign raw rule on the client's node drops the answers",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "reply",
                    8,
                    "node1",
                    "host",
                    "raw PREROUTING rule 1 (not Calico's)",
                    "a foreign rule drops the answer on the client's node",
                    ("DROPPED_BY_RULE",),
                    ("foreign-rule-drop",),
                ),
            ),
            (one("node1", f"iptables-nft -t raw -I {raw}", f"iptables-nft -t raw -D {raw}"),),
        ),
        Case(
            "reply-rp-filter",
            "The answer comes back outside the tunnel and strict rp_filter drops it",
            over,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "reply",
                    8,
                    "node1",
                    "host",
                    "sysctl net.ipv4.conf.eth0.rp_filter",
                    "strict rp_filter: the way back to the server is vxlan.calico, the answer came in on eth0, "
                    f"because node2 has a left-over route {client.ip} via {node1.ip}",
                    ("RPF_FAILED",),
                    ("rp-filter-drop",),
                ),
            ),
            (
                one(
                    "node2",
                    f"ip route add {client.ip} via {node1.ip} dev eth0",
                    f"ip route del {client.ip} via {node1.ip} dev eth0",
                ),
                one(
                    "node1",
                    "echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
                    "echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
                ),
            ),
            harmless=(f"the left-over route {client.ip} on node2 alone is harmless: with rp_filter 0 the flow works",),
        ),
        Case(
            "reply-route-missing",
            "The server's node has lost its route to the client's block",
            over,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "reply",
                    6,
                    "node2",
                    "host",
                    f"route {block1}",
                    "no VXLAN block route on the server's node; answers leave by the default route",
                    ("NO_ROUTE", "LEFT_EVIDENCE"),
                    ("route-missing",),
                ),
            ),
            (
                one(
                    "node2",
                    f"ip route del {block1} dev {VXLAN_DEVICE}",
                    f"ip route add {block1} via {node1.tunnel_ip} dev {VXLAN_DEVICE} onlink mtu 1450",
                ),
            ),
        ),
        Case(
            "reply-mtu-black-hole",
            "The underlay silently loses full-size frames on the way back",
            bgp("v3.27"),
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "reply",
                    7,
                    None,
                    "host",
                    "underlay between node2 and node1",
                    "full-size answers leave node2 and never reach node1, small ones do; no ICMP comes back",
                    ("LOST_BETWEEN_CAPTURES", "TOO_BIG"),
                    ("mtu-blackhole", "wire-lost", "reply-lost"),
                ),
            ),
            (one("router", "ip link set v-node1 mtu 1400", "ip link set v-node1 mtu 1500"),),
            prepare=(
                Command(f"pod {SERVER}", f"{link}; {offload.format(dev='eth0')}"),
                Command("node1", offload.format(dev="eth0")),
                Command("node2", f"{offload.format(dev='eth0')}; {offload.format(dev=base.pod(SERVER).interface)}"),
                Command("router", f"{offload.format(dev='v-node1')}; {offload.format(dev='v-node2')}"),
            ),
            size=LARGE,
            harmless=("offloads are off, so that captures show frames of real size",),
        ),
    )
