"""The cases under samples/, each with the answer that a person who follows the packet finds."""

from __future__ import annotations

from .case import Break, Case
from .case_parts import CLIENT, CLIENT_SET, SERVER, bgp, one, vxlan
from .cases_frequent import frequent_breaks
from .cases_reply import reply_breaks
from .cases_request import request_breaks
from .faults import Command, Fault
from .presets import DNS, WEB, cluster, dns_pod, web_ingress, web_only_egress
from .traffic import LARGE


def cases() -> tuple[Case, ...]:
    """All samples, healthy ones first."""
    return (*healthy(), *request_breaks(), *reply_breaks(), *policy_and_service(), *frequent_breaks(), *several())


def healthy() -> tuple[Case, ...]:
    own_block = "blackhole of the node's own block in its route table"
    return (
        Case(
            "healthy-bgp",
            "Pods on two nodes, BGP without encapsulation: works",
            bgp(),
            CLIENT,
            f"pod {SERVER}",
            "no-break",
            size=LARGE,
            harmless=(own_block, "no Felix: a stand-in answers its health port"),
        ),
        Case(
            "healthy-vxlan",
            "Pods on two nodes in two subnets, VXLAN: works",
            vxlan(),
            CLIENT,
            f"pod {SERVER}",
            "no-break",
            size=LARGE,
            harmless=(own_block, "no BIRD: right for VXLAN", "vxlan.calico in state UNKNOWN"),
        ),
        Case(
            "healthy-same-node",
            "Two pods of one node, iptables-legacy: works",
            bgp("v3.27", "legacy"),
            CLIENT,
            "pod shop/web-0",
            "no-break",
            collect=("node1",),
            size=LARGE,
            harmless=(own_block, "the other node was not collected and is not needed"),
        ),
        Case(
            "healthy-with-oddities",
            "A working flow among things that look like faults: FORWARD policy DROP, foreign drops, a FAILED neighbour",
            bgp(),
            CLIENT,
            f"pod {SERVER}",
            "no-break",
            prepare=(
                Command("node1", "iptables-nft -P FORWARD DROP"),
                Command("node1", "iptables-nft -I FORWARD -p tcp --dport 9999 -j DROP"),
                Command("node1", "ip route add blackhole 10.65.200.0/26"),
                Command("node2", "iptables-nft -t raw -I PREROUTING -s 203.0.113.0/24 -j DROP"),
                Command("node2", "lab-probe 10.10.1.99 9 tcp 0 4"),
            ),
            size=LARGE,
            harmless=(
                "FORWARD policy DROP on node1: Calico's accept at the end of FORWARD comes first",
                "foreign drops on both nodes: the flow does not match them",
                "blackhole 10.65.200.0/26 on node1, which BIRD spreads: nobody's block",
                "neighbour 10.10.1.99 FAILED on node2: no such machine, not on the way",
            ),
            quiet=False,
        ),
    )


def policy_and_service() -> tuple[Case, ...]:
    denied = bgp()
    tightened = Fault(
        (
            Command(
                "cluster",
                "calicoctl apply -f web-ingress.yaml  # shop/web-ingress: source role == 'frontend'",
                lambda c: c.apply_policies(web_ingress("frontend")),
            ),
        ),
        (
            Command(
                "cluster",
                "calicoctl apply -f web-ingress.yaml  # shop/web-ingress: source role == 'client'",
                lambda c: c.apply_policies(web_ingress("client")),
            ),
        ),
    )
    named = cluster("bgp", "v3.27", policies=(web_ingress("client"),), extra_pods=(dns_pod(),), services=(WEB, DNS))
    base, three = bgp("v3.27"), bgp(count=3)
    port = denied.pod(SERVER).ports[0].number
    stop = f"kill $(ss -Hltnp sport = :{port} | sed 's/.*pid=\\([0-9]*\\).*/\\1/')"
    start = "lab-server {name} tcp/{port} </dev/null >/dev/null 2>&1 &"
    no_listener = one(f"pod {SERVER}", stop, start.format(name="web-1", port=port))
    dead = "shop/web-2"
    one_dead = one(f"pod {dead}", stop, start.format(name="web-2", port=port))
    return (
        Case(
            "policy-deny-as-written",
            "The policy allows another role than the client's",
            denied,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    4,
                    "node2",
                    "host",
                    "NetworkPolicy shop/web-ingress",
                    "no policy rule allows this client: denied as written",
                    ("DROPPED_BY_RULE",),
                    ("policy-default-deny", "policy-deny"),
                    policy="as-written",
                ),
            ),
            (tightened,),
            harmless=("the denied flow is what the policy says",),
        ),
        Case(
            "dns-denied-by-egress-policy",
            "A new egress policy of the client allows the web servers and forgets DNS (UDP, through a Service)",
            named,
            CLIENT,
            "service kube-system/kube-dns",
            "break",
            (
                Break(
                    "request",
                    2,
                    "node1",
                    "host",
                    "NetworkPolicy default/web-only",
                    "no egress rule allows UDP 53: denied as written",
                    ("DROPPED_BY_RULE",),
                    ("policy-default-deny", "policy-deny"),
                    policy="as-written",
                ),
            ),
            (
                Fault(
                    (
                        Command(
                            "cluster",
                            "calicoctl apply -f web-only.yaml  # default/web-only: egress to app == 'web' only",
                            lambda c: c.apply_policies(web_ingress("client"), web_only_egress()),
                        ),
                    ),
                    (
                        Command(
                            "cluster",
                            "calicoctl delete networkpolicy -n default web-only",
                            lambda c: c.apply_policies(web_ingress("client")),
                        ),
                    ),
                ),
            ),
        ),
        Case(
            "server-not-listening",
            "Nothing listens on the server pod's port",
            base,
            CLIENT,
            f"pod {SERVER}",
            "break",
            (
                Break(
                    "request",
                    4,
                    "node2",
                    "pod:" + SERVER,
                    f"tcp/{port} in the pod",
                    "no process listens on the port",
                    ("NO_LISTENER",),
                    ("no-listener",),
                ),
            ),
            (no_listener,),
            ("refused",),
        ),
        Case(
            "service-one-dead-backend",
            "One of three backends of the Service does not listen",
            three,
            CLIENT,
            "service shop/web",
            "partial",
            (
                Break(
                    "request",
                    4,
                    "node3",
                    "pod:" + dead,
                    f"tcp/{port} in the pod",
                    "no process listens on the port of this backend",
                    ("NO_LISTENER",),
                    ("no-listener", "service-backend-dead"),
                    share=1 / 3,
                ),
            ),
            (one_dead,),
            ("refused",),
            tries=18,
        ),
    )


def several() -> tuple[Case, ...]:
    over = vxlan("v3.33")
    client, server = over.pod(CLIENT), over.pod(SERVER)
    rule = "FORWARD -o vxlan.calico -p tcp --dport 8080 -m comment --comment 'no web between sites' -j DROP"
    return (
        Case(
            "nobody-asked",
            "Bundles without a question: the server pod's /32 route is missing on its node (VXLAN)",
            over,
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
            asked=False,
        ),
        Case(
            "two-faults",
            "A foreign FORWARD rule on the client's node, and a stale policy set on the server's node",
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
                    "filter FORWARD rule 1 (not Calico's)",
                    "a foreign rule in FORWARD drops the request",
                    ("DROPPED_BY_RULE",),
                    ("foreign-rule-drop",),
                ),
                Break(
                    "request",
                    4,
                    "node2",
                    "host",
                    f"ipset {CLIENT_SET}, NetworkPolicy shop/web-ingress",
                    f"the client's address {client.ip} is missing in the set of the policy's selector",
                    ("DROPPED_BY_RULE",),
                    ("stale-ipset", "policy-rendered-differs"),
                    policy="rendered-differs",
                ),
            ),
            (
                one("node1", f"iptables-nft -I {rule}", f"iptables-nft -D {rule}"),
                one("node2", f"ipset del {CLIENT_SET} {client.ip}", f"ipset add {CLIENT_SET} {client.ip}"),
            ),
        ),
    )
