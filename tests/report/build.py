"""Diagnosis values made by hand, one for every verdict, as the diagnosis would make them from a bundle."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

from lasthop.diagnosis.result import (
    Branch,
    BundleHealth,
    CoverageCell,
    Diagnosis,
    Endpoint,
    FlowResult,
    NodeHealth,
    Verdict,
)
from lasthop.facts.evidence import SourceRef
from lasthop.facts.netfilter import NetfilterRule
from lasthop.facts.trace import (
    Choice,
    Command,
    Disposition,
    Encapsulation,
    Finding,
    Hop,
    Mark,
    MissingEvidence,
    NotEvaluated,
    Outcome,
    Packet,
    RuleVisit,
    Sighting,
    Step,
    Trace,
    Truth,
)

PASS, STOP, UNKNOWN, INFO = Outcome.PASS, Outcome.STOP, Outcome.UNKNOWN, Outcome.INFO
SRC, DST = ip_address("10.244.1.23"), ip_address("10.244.2.17")
W1, W2 = ip_address("192.0.2.11"), ip_address("192.0.2.12")
ROUTES2 = "nodes/worker-2/host/ip4_route_all.out"
ROUTE_LINES = (
    (12, "default via 192.0.2.1 dev eth0 proto static"),
    (13, "10.244.1.0/26 via 192.0.2.11 dev eth0 proto bird"),
    (14, "blackhole 10.244.2.0/26 proto bird"),
    (15, "10.244.2.9 dev cali77de01a6b3f scope link"),
)
CLIENT = Endpoint("pod", "shop/cart-7d9f", SRC, "worker-1", "cali4f20e1b7c55")
SERVER = Endpoint("pod", "shop/db-0", DST, "worker-2", "cali8a1f00c3d21")
SYN = Packet(4, "tcp", SRC, DST, 40112, 5432, tcp_flags=frozenset({"SYN"}))


def src(path: str, line: int, text: str = "", end: int = 0) -> SourceRef:
    return SourceRef(path, line, text, end)


def rule(chain: str, index: int, text: str, line: int, target: str = "ACCEPT") -> NetfilterRule:
    return NetfilterRule(
        "nft", 4, "filter", chain, index, src("nodes/worker-1/host/iptables_nft_save.out", line, text), target=target
    )


def step(stage: str, detail: str, outcome: Outcome = PASS, *sources: SourceRef, **more: object) -> Step:
    return Step(stage, outcome, detail, sources, **more)  # type: ignore[arg-type]


def client_hop() -> Hop:
    path = "nodes/worker-1/pods/shop_cart-7d9f/ip4_route_all.out"
    neigh = "nodes/worker-1/pods/shop_cart-7d9f/ip_neigh.out"
    return Hop(
        "worker-1",
        "pod:shop/cart-7d9f",
        (
            step("pod-route", "via 169.254.1.1 dev eth0", PASS, src(path, 1, "default via 169.254.1.1 dev eth0")),
            step(
                "gateway-neighbour",
                "ee:ee:ee:ee:ee:ee is the MAC of cali4f20e1b7c55",
                PASS,
                src(neigh, 1, "169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee REACHABLE"),
            ),
        ),
        step=1,
        oif="eth0",
    )


def first_node_hop() -> Hop:
    ipt = "nodes/worker-1/host/iptables_nft_save.out"
    routes = "nodes/worker-1/host/ip4_route_all.out"
    visits = (
        RuleVisit(rule("cali-FORWARD", 1, "-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch", 411), Truth.YES),
        RuleVisit(rule("cali-fw-cali4f20e1b7c55", 2, "-A cali-fw-cali4f20e1b7c55 -m conntrack --ctstate INVALID -j "
                       "DROP", 512, "DROP"), Truth.NO, "ctstate NEW"),
        RuleVisit(rule("cali-po-allow-db", 1, "-A cali-po-allow-db -p tcp -m multiport --dports 5432 -j MARK "
                       "--set-xmark 0x10000/0x10000", 987, "MARK"), Truth.YES),
    )  # fmt: skip
    marked = Packet(4, "tcp", SRC, DST, 40112, 5432, mark=Mark(0x10000), ctstate="NEW")
    return Hop(
        "worker-1",
        "host",
        (
            step("link", "cali4f20e1b7c55 is up", PASS, where="cali4f20e1b7c55"),
            step("raw PREROUTING", "no rule drops it", PASS, src(ipt, 88, "-A cali-PREROUTING -j ACCEPT")),
            step("conntrack", "NEW", PASS, before=SYN, after=marked),
            step("rp_filter", "strict; the way back is cali4f20e1b7c55", PASS),
            step("mangle PREROUTING", "no rule matches", PASS),
            step("nat PREROUTING", "no DNAT", PASS),
            step(
                "route",
                "10.244.2.0/26 via 192.0.2.12 dev eth0 proto bird",
                PASS,
                src(routes, 9, "10.244.2.0/26 via 192.0.2.12 dev eth0 proto bird"),
            ),
            step("forwarding", "net.ipv4.conf.cali4f20e1b7c55.forwarding = 1", PASS),
            step(
                "filter FORWARD",
                "ACCEPT by cali-po-allow-db",
                PASS,
                src(ipt, 411, "-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch"),
                src(ipt, 987, "-A cali-po-allow-db -p tcp -m multiport --dports 5432 -j MARK"),
                visits=visits,
                skipped_rules=1201,
            ),
            step("nat POSTROUTING", "inside the pools, no masquerade", PASS),
            step("neighbour", "192.0.2.12 is at 52:54:00:00:02:12, REACHABLE", PASS),
        ),
        step=2,
        iif="cali4f20e1b7c55",
        oif="eth0",
    )


def wire_hop(outcome: Outcome = PASS) -> Hop:
    return Hop("", "wire", (step("wire", "seen at worker-2 eth0", outcome),), step=3)


def second_node_hop(*, broken: bool) -> Hop:
    head = (
        step("link", "eth0 takes 52:54:00:00:02:12", PASS, where="eth0"),
        step("raw PREROUTING", "no rule drops it", PASS),
        step("rp_filter", "strict; the way back is eth0", PASS),
    )
    if broken:
        tail = (
            step(
                "route",
                "blackhole 10.244.2.0/26 proto bird",
                STOP,
                src(ROUTES2, 14, "blackhole 10.244.2.0/26 proto bird"),
                where="10.244.2.0/26",
                disposition=Disposition.BLACKHOLED,
            ),
        )
    else:
        tail = (
            step("route", "10.244.2.17 dev cali8a1f00c3d21 scope link", PASS),
            step("filter FORWARD", "ACCEPT by cali-pi-allow-db", PASS),
        )
    return Hop("worker-2", "host", head + tail, step=4, iif="eth0", oif="" if broken else "cali8a1f00c3d21")


def server_hop() -> Hop:
    return Hop(
        "worker-2",
        "pod:shop/db-0",
        (step("local-delivery", "10.244.2.17 is local", PASS), step("listener", "postgres listens on 5432", PASS)),
        step=4,
        iif="eth0",
    )


def reply_hops() -> tuple[Hop, ...]:
    return (
        Hop("worker-2", "pod:shop/db-0", (step("pod-route", "via 169.254.1.1 dev eth0"),), step=5, oif="eth0"),
        Hop(
            "worker-2",
            "host",
            (
                step("link", "cali8a1f00c3d21 is up"),
                step("conntrack", "ESTABLISHED"),
                step("route", "10.244.1.0/26 via 192.0.2.11 dev eth0"),
                step("filter FORWARD", "ACCEPT: ESTABLISHED"),
            ),
            step=6,
            iif="cali8a1f00c3d21",
            oif="eth0",
        ),
        Hop("", "wire", (step("wire", "forwarded by the underlay (assumed)", INFO),), step=7),
        Hop(
            "worker-1",
            "host",
            (
                step("link", "eth0 is up"),
                step("route", "10.244.1.23 dev cali4f20e1b7c55 scope link"),
                step("filter FORWARD", "ACCEPT: ESTABLISHED"),
            ),
            step=8,
            iif="eth0",
            oif="cali4f20e1b7c55",
        ),
        Hop("worker-1", "pod:shop/cart-7d9f", (step("local-delivery", "10.244.1.23 is local"),), step=8, iif="eth0"),
    )


def request_trace(*, broken: bool, packet: str = "first") -> Trace:
    hops = (client_hop(), first_node_hop(), wire_hop(), second_node_hop(broken=broken))
    if broken:
        return Trace("request", packet, Disposition.BLACKHOLED, hops)
    return Trace("request", packet, Disposition.DELIVERED, (*hops, server_hop()))


def reply_trace(packet: str = "answer") -> Trace:
    return Trace("reply", packet, Disposition.DELIVERED, reply_hops())


def missing_route() -> Finding:
    return Finding(
        code="pod-route-missing",
        title="no route to the pod",
        severity="critical",
        confidence="proven",
        because="10.244.2.17/32 is missing on worker-2; the longest match is the node's own block, a blackhole",
        rule="CAL-RT-003",
        direction="request",
        step=4,
        node="worker-2",
        object="10.244.2.17/32",
        place="route",
        died_node="worker-2",
        died_step=4,
        disposition=Disposition.BLACKHOLED,
        evidence=(
            src(ROUTES2, 14, "blackhole 10.244.2.0/26 proto bird"),
            src("cluster/calico_workloadendpoints.out", 212, '    "interfaceName": "cali8a1f00c3d21",', 240),
            src(ROUTES2, 0, ""),
        ),
        fix=(Command("ip route add 10.244.2.17/32 dev cali8a1f00c3d21 scope link", "worker-2", "changes"),),
        verify=("ip route get 10.244.2.17",),
    )


def sightings() -> tuple[Sighting, ...]:
    return (
        Sighting("worker-1", "host", "cali4f20e1b7c55", "request", "first", True,
                 "nodes/worker-1/pcap/cali4f20e1b7c55.pcap", (1, 4, 9), 1763781764.2, step=1),
        Sighting("worker-2", "host", "eth0", "request", "first", True,
                 "nodes/worker-2/pcap/eth0.pcap", (2, 5, 11), 1763781764.3, step=3),
        Sighting("worker-2", "host", "cali8a1f00c3d21", "request", "first", False,
                 "nodes/worker-2/pcap/cali8a1f00c3d21.pcap", note="capture was running, 0 kernel drops", step=4),
    )  # fmt: skip


KINDS = (
    "links", "addresses", "routes", "rules", "neighbours", "fdb", "iptables-nft", "iptables-legacy", "ipsets",
    "conntrack", "sysctls", "sockets", "bird", "captures",
)  # fmt: skip


def bundle(*nodes: str, gaps: tuple[tuple[str, str], ...] = ()) -> BundleHealth:
    cells = []
    for node in nodes:
        for kind in KINDS:
            state = "partial" if (node, kind) == ("worker-1", "conntrack") else "complete"
            state = "absent" if (node, kind) in gaps else state
            why = {"partial": "cut at 2 MiB", "absent": "not collected"}.get(state, "")
            hides = "step 3 and 7: the wire" if (state, kind) == ("absent", "captures") else ""
            command = "sh collector.sh --capture 20" if hides else ""
            cells.append(CoverageCell(node, "host", kind, state, why, command, hides))
        cells.append(CoverageCell(node, "pod:shop/cart-7d9f", "routes", "complete"))
        cells.append(CoverageCell(node, "host", "nft", "not-applicable", "no nft table"))
    return BundleHealth(
        inputs=tuple(f"{node}.tar.gz" for node in nodes),
        nodes=tuple(
            NodeHealth(node, 1763781660.0, 1763781712.0, 12, "collector.sh 0.1.0", (), 0.012) for node in nodes
        ),
        coverage=tuple(cells),
        spread_seconds=52.0,
        lines=18_211,
        unparsed=2,
        unparsed_examples=(src("nodes/worker-1/host/nstat.out", 7, "TcpExtWhatIsThis 0"),),
        unrecognised=("nodes/worker-1/host/notes.txt",),
        warnings=("worker-2 was given twice; the newer one counts",),
    )


CONTEXT = {
    (ROUTES2, 14): ROUTE_LINES,
    ("cluster/calico_workloadendpoints.out", 212): (
        (211, '   "spec": {'),
        (212, '    "interfaceName": "cali8a1f00c3d21",'),
        (213, '    "ipNetworks": ["10.244.2.17/32"],'),
    ),
}
OTHER = (
    Finding(
        "clock-skew", "the clock of worker-3 is 41 s ahead", "low", "strong", "chrony is not synchronised",
        rule="CAL-BQ-002", node="worker-3", place="bundle",
        evidence=(src("nodes/worker-3/host/clock.out", 3, "System clock synchronized: no"),),
    ),
    Finding("policy-denies", "policy shop/default-deny denies udp/53", "info", "proven", "as written", node="worker-1",
            place="policy"),
)  # fmt: skip
GAP = MissingEvidence(
    "worker-1", "ip6tables_nft_save", "IPv6 flows are not judged", "sh collector.sh --only ip6tables_nft_save"
)


def broken_flow() -> FlowResult:
    return FlowResult(
        CLIENT, SERVER, "tcp", 5432, "asked", Verdict.BREAK,
        "The request reaches worker-2 and dies there: the node has no route to the pod.",
        breaks=(missing_route(),),
        request=request_trace(broken=True),
        request_full=request_trace(broken=True, packet="full-size"),
        assumptions=("no packet filter inside the netns of shop/db-0",),
        sightings=sightings(),
    )  # fmt: skip


def rich_break() -> Diagnosis:
    return Diagnosis(
        Verdict.BREAK, "1 of 1 flows breaks", (broken_flow(),), OTHER,
        (NotEvaluated("CAL-BGP-001", "worker-1", ("bgp_sessions",)),
         NotEvaluated("CAL-BGP-001", "worker-2", ("bgp_sessions",))),
        (GAP,), bundle("worker-1", "worker-2", "worker-3", gaps=(("worker-3", "captures"),)), CONTEXT,
    )  # fmt: skip


def healthy_flow(verdict: Verdict = Verdict.NO_BREAK, summary: str = "") -> FlowResult:
    return FlowResult(
        CLIENT, SERVER, "tcp", 5432, "asked", verdict,
        summary or "Every step of both directions passes, full-size packets too.",
        request=request_trace(broken=False), reply=reply_trace(),
        request_full=request_trace(broken=False, packet="full-size"), reply_full=reply_trace("full-size"),
    )  # fmt: skip


def no_break() -> Diagnosis:
    return Diagnosis(
        Verdict.NO_BREAK, "The flow passes.", (healthy_flow(),), (), (), (), bundle("worker-1", "worker-2")
    )


def clear_in_nodes() -> Diagnosis:
    need = MissingEvidence(
        "worker-2", "captures", "the wire was not observed; a capture on eth0 of both nodes decides",
        "sh collector.sh --pod shop/db-0 --peer 10.244.1.23 --capture 20",
    )  # fmt: skip
    flow = healthy_flow(
        Verdict.CLEAR_IN_NODES, "No fault inside the nodes at that moment; the wire was not observed."
    )
    return Diagnosis(
        Verdict.CLEAR_IN_NODES, flow.summary, (flow,), (), (), (need,),
        bundle("worker-1", "worker-2", gaps=(("worker-1", "captures"), ("worker-2", "captures"))),
    )  # fmt: skip


def inconclusive() -> Diagnosis:
    outside = Hop("", "host", (step("link", "192.0.2.12 is not in the bundle", UNKNOWN,
                                    decides="the bundle of worker-2"),), step=4)  # fmt: skip
    trace = Trace(
        "request", "first", Disposition.LEFT_EVIDENCE, (client_hop(), first_node_hop(), wire_hop(UNKNOWN), outside)
    )
    need = MissingEvidence(
        "worker-2", "bundle", "it owns 10.244.2.0/26 (192.0.2.12)",
        "sh collector.sh --pod shop/db-0 --peer 10.244.1.23 --capture 20",
    )  # fmt: skip
    flow = FlowResult(
        CLIENT, Endpoint("pod", "shop/db-0", DST), "tcp", 5432, "conntrack", Verdict.INCONCLUSIVE,
        "The walk leaves the evidence after step 2, on the way to 192.0.2.12", request=trace, missing=(need,),
    )  # fmt: skip
    return Diagnosis(
        Verdict.INCONCLUSIVE, flow.summary, (flow,), (), (), (need,),
        bundle("worker-1", gaps=(("worker-1", "captures"),)),
    )  # fmt: skip


def partial_service() -> Diagnosis:
    service = Endpoint("service", "shop/db", ip_address("10.96.7.7"))
    branches = []
    for i, ip in enumerate(("10.244.2.17", "10.244.2.18", "10.244.1.40")):
        dead = i == 0
        dump = src("nodes/worker-1/host/iptables_nft_save.out", 700 + i, "-A KUBE-SVC-DB -m statistic")
        choice = Choice("nat KUBE-SVC-DB", f"{ip}:5432", Fraction(1, 3), dump)
        branches.append(
            Branch(
                f"shop/db-{i} {ip}:5432", Fraction(1, 3), Verdict.BREAK if dead else Verdict.NO_BREAK, (choice,),
                request_trace(broken=dead), None if dead else reply_trace(),
            )
        )  # fmt: skip
    found = missing_route()
    found = Finding(**{name: getattr(found, name) for name in Finding.__slots__} | {"share": Fraction(1, 3)})
    flow = FlowResult(
        CLIENT, service, "tcp", 5432, "asked", Verdict.PARTIAL,
        "One of three backends, shop/db-0, cannot be reached: a third of new connections always fails.",
        breaks=(found,), request=branches[0].request, branches=tuple(branches),
    )  # fmt: skip
    return Diagnosis(Verdict.PARTIAL, flow.summary, (flow,), (), (), (), bundle("worker-1", "worker-2"), CONTEXT)


def several() -> Diagnosis:
    flows = [healthy_flow(), clear_in_nodes().flows[0], broken_flow(), partial_service().flows[0]]
    return Diagnosis(
        Verdict.BREAK, "2 of 4 flows break", tuple(flows), OTHER, (), (GAP,), bundle("worker-1", "worker-2"), CONTEXT
    )


def no_flow() -> Diagnosis:
    return Diagnosis(
        Verdict.INCONCLUSIVE, "No flow could be judged: no pod and no failed connection in the bundle.", (), (), (),
        (MissingEvidence("worker-1", "pods", "no pod netns was collected", "sh collector.sh --pod NS/NAME"),),
        bundle("worker-1"),
    )  # fmt: skip


SCRIPT = "</script><img src=x onerror=alert(1)>"
LONG = "n" * 300
RTL = "shop/\u202egnp.exe\u05d0\u05d1"
ESC = "shop/\x1b]0;owned\x07\x1b[2J\x9b31mred"
WIDE = "店/データベース"


def hostile() -> Diagnosis:
    """Names, lines and commands of a bundle that was made to attack its reader."""
    flows = []
    for name in (SCRIPT, LONG, RTL, ESC, WIDE, "{{ 7*7 }}", "a\nb\r\n\x00c", "half\ud800pair", "'\"><svg/onload=x>"):
        found = Finding(
            code="pod-route-missing", title=f"no route to {name}", severity="critical", confidence="proven",
            because=f"{name} is missing", direction="request", step=4, node=name, netns=f"pod:{name}", object=name,
            died_node=name, died_step=4, disposition=Disposition.NO_ROUTE,
            evidence=(src(f"nodes/{name}/x.out", 3, f"line of {name}"),),
            fix=(Command(f"echo '{name}'", name, "changes"),), verify=(f"check {name}",),
        )  # fmt: skip
        hops = (
            Hop(name, f"pod:{name}", (step("pod-route", name, PASS, src(name, 1, name)),), step=1, oif=name),
            Hop(name, "host", (step("route", f"no route covers {name}", STOP, where=name),), step=4, iif=name),
        )
        flows.append(
            FlowResult(
                Endpoint("pod", name, SRC, name, name), Endpoint("pod", name, DST, name, name), "tcp", 80, "asked",
                Verdict.BREAK, f"The request to {name} dies.", breaks=(found,),
                request=Trace("request", "first", Disposition.NO_ROUTE, hops),
                sightings=(Sighting(name, "host", name, "request", "first", True, name, (1,)),),
                assumptions=(name,), missing=(MissingEvidence(name, name, name, name),),
            )
        )  # fmt: skip
    return Diagnosis(
        Verdict.BREAK, SCRIPT, tuple(flows), (), (NotEvaluated(SCRIPT, SCRIPT, (SCRIPT,)),), (),
        BundleHealth((SCRIPT,), (NodeHealth(SCRIPT),), (CoverageCell(SCRIPT, "host", SCRIPT, "absent", SCRIPT),),
                     warnings=(ESC,)),
        {(f"nodes/{SCRIPT}/x.out", 3): ((2, SCRIPT), (3, f"line of {SCRIPT}"))},
    )  # fmt: skip


def vxlan_packet() -> Packet:
    return Packet(4, "tcp", SRC, DST, 1, 2, encaps=(Encapsulation("vxlan", W1, W2, 4096, 4789),))


ALL = {
    "break": rich_break, "partial": partial_service, "no-break": no_break, "clear-in-nodes": clear_in_nodes,
    "inconclusive": inconclusive, "several": several, "no-flow": no_flow, "hostile": hostile,
}  # fmt: skip
