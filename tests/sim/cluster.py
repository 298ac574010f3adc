"""Small clusters as text, read by the product's own parsers, so that a test changes one item of evidence.

Nodes n1 (192.0.2.11) and n2 (192.0.2.12) on one segment; pod shop/a (10.244.1.2) on n1 and shop/b (10.244.2.2, TCP 80)
on n2. Felix's usual state: 169.254.1.1 answered by proxy ARP, one /32 per pod, the own block a blackhole, the other
node's block `direct`, by `vxlan` or by `ipip`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Any

from lasthop.facts.calico import WorkloadEndpoint
from lasthop.facts.evidence import NOT_COLLECTED, Artifact, Complete, Evidence
from lasthop.facts.netfilter import Ruleset
from lasthop.facts.snapshot import Cluster, NetNS, Node, Snapshot
from lasthop.facts.trace import Disposition, Packet
from lasthop.parsers.conntrack import parse_conntrack
from lasthop.parsers.iproute_addr import parse_addresses
from lasthop.parsers.iproute_link import parse_links
from lasthop.parsers.iproute_neigh import parse_fdb, parse_neighbours
from lasthop.parsers.iproute_route import parse_routes
from lasthop.parsers.iproute_rule import parse_rules
from lasthop.parsers.sockets import parse_ss
from lasthop.parsers.sysctl import parse_sysctls
from lasthop.sim.tracer import Tracer
from lasthop.sim.walk import End, Walk
from lasthop.sim.world import World

from .ruletext import HERE, ruleset

RULES = """0:	from all lookup local
32766:	from all lookup main
32767:	from all lookup default
"""
HOST_MAC = "ee:ee:ee:ee:ee:ee"
POD_MAC = {1: "0a:00:00:00:01:02", 2: "0a:00:00:00:02:02"}
NODE_MAC = {1: "02:00:00:00:00:11", 2: "02:00:00:00:00:12"}
VTEP_MAC = {1: "66:00:00:00:00:01", 2: "66:00:00:00:00:02"}
NODE_IP = {1: "192.0.2.11", 2: "192.0.2.12"}
POD = {1: "shop/a", 2: "shop/b"}
UP = "<BROADCAST,MULTICAST,UP,LOWER_UP>"


@dataclass
class Texts:
    """One netns as command outputs. `None` is a command that was not collected."""

    links: str | None = ""
    addresses: str | None = ""
    routes: str | None = ""
    rules: str | None = RULES
    neighbours: str | None = ""
    fdb: str | None = ""
    sysctls: str | None = ""
    sockets: str | None = ""
    conntrack: str | None = ""
    routes6: str | None = ""
    neighbours6: str | None = ""
    nft: str | None = ""
    legacy: str | None = ""
    nft6: str | None = ""
    interface: str = ""

    def change(self, kind: str, old: str, new: str) -> None:
        """Replaces one piece of text, which must be there exactly once."""
        text = getattr(self, kind)
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {kind}"
        setattr(self, kind, text.replace(old, new))

    def add(self, kind: str, line: str) -> None:
        setattr(self, kind, (getattr(self, kind) or "") + line.rstrip("\n") + "\n")

    def remove(self, kind: str, start: str) -> None:
        """Removes the lines that begin with `start`; at least one must."""
        lines = getattr(self, kind).splitlines(keepends=True)
        kept = [line for line in lines if not line.strip().startswith(start)]
        assert len(kept) < len(lines), f"no line of {kind} starts with {start!r}"
        setattr(self, kind, "".join(kept))

    def netns(self, node: str, name: str) -> NetNS:
        def evidence(text: str | None, ident: str, parse: Any, *rest: Any) -> Evidence[Any]:
            if text is None:
                return NOT_COLLECTED
            path = f"{node}/{name}/{ident}"
            parsed = parse(text, path, *rest)
            assert not parsed.unparsed, parsed.unparsed
            return Complete(parsed.values, (Artifact(ident, path, node, name),))

        rulesets: dict[tuple[str, int], Evidence[Ruleset]] = {}
        for key, text in ((("nft", 4), self.nft), (("legacy", 4), self.legacy), (("nft", 6), self.nft6)):
            if text is not None:
                rulesets[key] = Complete((ruleset(text, *key),) if text else ())
        rulesets[("legacy", 6)] = Complete(())
        return NetNS(
            node,
            name,
            links=evidence(self.links, "ip_link", parse_links),
            addresses=evidence(self.addresses, "ip_addr", parse_addresses),
            routes=evidence(self.routes, "ip4_route_all", parse_routes, 4),
            routes6=evidence(self.routes6, "ip6_route_all", parse_routes, 6),
            routing_rules=evidence(self.rules, "ip4_rule", parse_rules, 4),
            routing_rules6=Complete(
                parse_rules(RULES.replace("32767:\tfrom all lookup default\n", ""), "r6", 6).values
            ),
            neighbours=evidence(self.neighbours, "ip4_neigh", parse_neighbours),
            neighbours6=evidence(self.neighbours6, "ip6_neigh", parse_neighbours),
            fdb=evidence(self.fdb, "bridge_fdb", parse_fdb),
            rulesets=rulesets,
            nft_chains=Complete(()),
            ipsets=Complete(()),
            conntrack=evidence(self.conntrack, "conntrack", parse_conntrack),
            sysctls=evidence(self.sysctls, "sysctl", parse_sysctls),
            sockets=evidence(self.sockets, "ss_listen", parse_ss),
            host_interface=self.interface,
        )


def sysctls(*devs: str, **values: int) -> str:
    """The sysctls that routing asks for; keyword values count for every interface."""
    lines = ["net.ipv4.ip_forward = 1"]
    usual = {
        "forwarding": 1,
        "rp_filter": 0,
        "accept_local": 0,
        "route_localnet": 0,
        "send_redirects": 1,
        "src_valid_mark": 0,
        "proxy_arp": 0,
    } | values
    for dev in ("all", "default", "lo", *devs):
        for key, value in usual.items():
            if key == "proxy_arp" and dev.startswith("cali"):
                value = 1
            lines.append(f"net.ipv4.conf.{dev}.{key} = {value}")
        lines.append(f"net.ipv6.conf.{dev}.forwarding = 1")
    return "\n".join(lines) + "\n"


def node_texts(one: int, kind: str = "direct") -> Texts:
    other = 3 - one
    me, you, cali = NODE_IP[one], NODE_IP[other], f"cali{one}"
    links = f"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: eth0: {UP} mtu 1500 qdisc fq_codel state UP
    link/ether {NODE_MAC[one]} brd ff:ff:ff:ff:ff:ff
5: {cali}@if3: {UP} mtu 1500 qdisc noqueue state UP
    link/ether {HOST_MAC} brd ff:ff:ff:ff:ff:ff link-netnsid 0
    veth
"""
    addresses = f"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    inet 127.0.0.1/8 scope host lo
2: eth0: {UP} mtu 1500 qdisc fq_codel state UP
    inet {me}/24 brd 192.0.2.255 scope global eth0
5: {cali}@if3: {UP} mtu 1500 qdisc noqueue state UP
    inet6 fe80::ecee:eeff:feee:eeee/64 scope link
"""
    routes = f"""default via 192.0.2.1 dev eth0
192.0.2.0/24 dev eth0 proto kernel scope link src {me}
blackhole 10.244.{one}.0/26 proto bird
10.244.{one}.2 dev {cali} scope link
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local {me} dev eth0 table local proto kernel scope host src {me}
broadcast 192.0.2.255 dev eth0 table local proto kernel scope link src {me}
"""
    neighbours = f"""{you} dev eth0 lladdr {NODE_MAC[other]} REACHABLE
192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE
10.244.{one}.2 dev {cali} lladdr {POD_MAC[one]} REACHABLE
"""
    fdb, devs = "", ["eth0", cali]
    if kind == "direct":
        routes += f"10.244.{other}.0/26 via {you} dev eth0 proto bird\n"
    elif kind == "vxlan":
        devs.append("vxlan.calico")
        links += f"""8: vxlan.calico: {UP} mtu 1450 qdisc noqueue state UNKNOWN
    link/ether {VTEP_MAC[one]} brd ff:ff:ff:ff:ff:ff promiscuity 0
    vxlan id 4096 local {me} dev eth0 srcport 0 0 dstport 4789 nolearning ttl auto ageing 300
"""
        addresses += f"""8: vxlan.calico: {UP} mtu 1450 qdisc noqueue state UNKNOWN
    inet 10.244.{one}.0/32 scope global vxlan.calico
"""
        routes += f"""10.244.{other}.0/26 via 10.244.{other}.0 dev vxlan.calico onlink
local 10.244.{one}.0 dev vxlan.calico table local proto kernel scope host src 10.244.{one}.0
"""
        neighbours += f"10.244.{other}.0 dev vxlan.calico lladdr {VTEP_MAC[other]} PERMANENT\n"
        fdb = f"{VTEP_MAC[other]} dev vxlan.calico dst {you} self permanent\n"
    elif kind == "ipip":
        devs.append("tunl0")
        links += """8: tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UNKNOWN
    link/ipip 0.0.0.0 brd 0.0.0.0 promiscuity 0
    ipip any remote any local any ttl inherit nopmtudisc
"""
        addresses += f"""8: tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UNKNOWN
    inet 10.244.{one}.0/32 scope global tunl0
"""
        routes += f"""10.244.{other}.0/26 via {you} dev tunl0 proto bird onlink
local 10.244.{one}.0 dev tunl0 table local proto kernel scope host src 10.244.{one}.0
"""
    return Texts(
        links,
        addresses,
        routes,
        neighbours=neighbours,
        fdb=fdb,
        sysctls=sysctls(*devs),
        sockets="tcp LISTEN 0 128 0.0.0.0:10250 0.0.0.0:*\n",
    )


def pod_texts(one: int, mtu: int = 1500) -> Texts:
    ip, mac = f"10.244.{one}.2", POD_MAC[one]
    return Texts(
        links=f"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
3: eth0@if5: {UP} mtu {mtu} qdisc noqueue state UP
    link/ether {mac} brd ff:ff:ff:ff:ff:ff link-netnsid 0
    veth
""",
        addresses=f"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    inet 127.0.0.1/8 scope host lo
3: eth0@if5: {UP} mtu {mtu} qdisc noqueue state UP
    inet {ip}/32 scope global eth0
""",
        routes=f"""default via 169.254.1.1 dev eth0
169.254.1.1 dev eth0 scope link
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local {ip} dev eth0 table local proto kernel scope host src {ip}
""",
        neighbours=f"169.254.1.1 dev eth0 lladdr {HOST_MAC} REACHABLE\n",
        sysctls=sysctls("eth0"),
        sockets="tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\n" if one == 2 else "",
        interface=f"cali{one}",
    )


@dataclass
class TwoNodes:
    """Change `n1`, `n2`, `a`, `b`, then ask. `missing` names what has no bundle: "n2" (the node) or "b" (the pod)."""

    kind: str = "direct"
    missing: frozenset[str] = frozenset()
    cluster: Cluster = field(default_factory=Cluster)
    n1: Texts = field(init=False)
    n2: Texts = field(init=False)
    a: Texts = field(init=False)
    b: Texts = field(init=False)

    def __post_init__(self) -> None:
        mtu = {"direct": 1500, "vxlan": 1450, "ipip": 1480}[self.kind]
        self.n1, self.n2 = node_texts(1, self.kind), node_texts(2, self.kind)
        self.a, self.b = pod_texts(1, mtu), pod_texts(2, mtu)

    def endpoints(self) -> tuple[WorkloadEndpoint, ...]:
        return tuple(
            WorkloadEndpoint(
                *POD[one].split("/"),
                f"n{one}",
                f"cali{one}",
                HERE,
                ips=(ip_network(f"10.244.{one}.2/32"),),
                mac=POD_MAC[one],
            )
            for one in (1, 2)
        )

    def snapshot(self) -> Snapshot:
        nodes = {}
        for name, host, pod_name, pod in (("n1", self.n1, "a", self.a), ("n2", self.n2, "b", self.b)):
            if name in self.missing:
                continue
            pods = {} if pod_name in self.missing else {f"shop/{pod_name}": pod.netns(name, f"pod:shop/{pod_name}")}
            nodes[name] = Node(name, host.netns(name, "host"), pods)
        cluster = self.cluster
        if cluster.workload_endpoints is NOT_COLLECTED:
            cluster = replace(cluster, workload_endpoints=Complete(self.endpoints()))
        return Snapshot(nodes, cluster)

    def send(
        self, dst: str = "10.244.2.2", node: str = "n1", netns: str = "pod:shop/a", src: str = "", **fields: Any
    ) -> list[End]:
        """All ends of a packet that `netns` of `node` sends."""
        own = src or (NODE_IP[int(node[1])] if netns == "host" else "10.244.1.2")
        return Tracer(World(self.snapshot())).send(Walk(packet(own, dst, **fields), node, netns))

    def ends(self, *arguments: Any, **fields: Any) -> list[Disposition]:
        return [end.disposition for end in self.send(*arguments, **fields)]


def packet(src: str, dst: str, **fields: Any) -> Packet:
    base = Packet(ip_address(src).version, "tcp", ip_address(src), ip_address(dst), 40000, 80, frozenset({"SYN"}))
    return replace(base, **fields)


def last(end: End) -> tuple[str, str, str]:
    """(node, netns, stage) of the step that ended a branch."""
    hop = end.walk.hops[-1]
    return hop.node, hop.netns, hop.steps[-1].stage
