"""From the step that stops a packet to a finding: what is at fault, why, how to repair it and how to check.

Codes are those of docs/causes.md. One function per kind of stop; each answers a Fault, which becomes a Finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lasthop.facts.evidence import Complete
from lasthop.facts.trace import Disposition, Finding, Hop, Outcome, Step
from lasthop.sim.fib import whole
from lasthop.sim.walk import WIRE
from lasthop.sim.world import HOST, PodPlace, World

from . import filter_stops
from .ends import FlowEnds
from .fault import Fault, change, check
from .flow import Leg
from .knowledge import Knowledge

SAFE = re.compile(r"[\w.:@/+,=%\- ]*")


@dataclass(frozen=True, slots=True)
class Scene:
    """A stopped leg: the hop and step where the packet died, and whose flow it is."""

    knowledge: Knowledge
    ends: FlowEnds
    leg: Leg
    hop: Hop
    step: Step

    @property
    def world(self) -> World:
        return self.knowledge.world

    @property
    def node(self) -> str:
        return self.hop.node

    @property
    def dst(self) -> object:
        return self.step.before.dst if self.step.before is not None else self.ends.dst.ip

    @property
    def pod(self) -> PodPlace | None:
        """The pod that the packet is for at this place."""
        before = self.step.before
        return self.world.pod_addresses.get(before.dst) if before is not None else None


def finding(knowledge: Knowledge, ends: FlowEnds, leg: Leg) -> Finding:
    """What the stop of `leg` comes to; `leg` ends in a stop."""
    hop = leg.trace.hops[-1]
    step = hop.steps[-1]
    scene = Scene(knowledge, ends, leg, hop, step)
    fault = EXPLAIN.get(step.disposition or Disposition.INSUFFICIENT_EVIDENCE, _other)(scene)
    return Finding(
        code=fault.code,
        title=fault.title,
        severity="critical",
        confidence="proven" if leg.result.certain else "strong",
        because=fault.because or step.detail,
        direction=leg.trace.direction,
        step=_step_of(leg, fault.node or scene.node) or hop.step,
        node=fault.node if fault.node is not None else scene.node,
        netns=fault.netns or hop.netns,
        object=fault.object,
        place=fault.place,
        died_node=scene.node,
        died_step=hop.step,
        disposition=step.disposition,
        policy=fault.policy,
        evidence=tuple(dict.fromkeys(fault.evidence or step.sources)),
        fix=fault.fix if _plain(scene) else (),
        verify=fault.verify if _plain(scene) else (),
    )


def _plain(scene: Scene) -> bool:
    """Whether every name that a command may quote is safe to paste into a shell. Interface names may hold anything but
    "/" and spaces (dev_valid_name, net/core/dev.c), and the bundle comes from somewhere else."""
    place = scene.pod
    names = [scene.step.where, scene.hop.node, scene.hop.netns, scene.hop.iif, scene.hop.oif]
    names += [place.name, place.interface] if place is not None else []
    return all(SAFE.fullmatch(name) for name in names)


def _step_of(leg: Leg, node: str) -> int | None:
    """The method's step of the last hop on `node`: where the faulty state is, not where the packet died."""
    steps = [hop.step for hop in leg.trace.hops if hop.node == node and hop.netns != WIRE]
    return steps[-1] if steps else None


def _other(scene: Scene) -> Fault:
    return Fault("insufficient-evidence", "The packet stops here", scene.step.where, place="node")


def _route(scene: Scene) -> Fault:
    """No route, an unreachable one or a blackhole."""
    if scene.hop.netns != HOST and scene.step.before is not None and scene.step.before.family == 6:
        return Fault(
            "pod-no-route", "The pod has no IPv6 route to the destination", f"pod {_pod_name(scene.hop)} default route",
            f"pod {_pod_name(scene.hop)} has no route to {scene.dst}: neither a default route nor another covers it",
            place="pod",
            fix=(check(f"ip -6 route show; ip -6 addr  # inside pod {_pod_name(scene.hop)}", scene.node),),
            verify=(f"ip -6 route get {scene.dst}  # inside the pod",),
        )  # fmt: skip
    if scene.hop.netns != HOST:
        return Fault(
            "pod-no-route", "The pod has no route to the destination", f"pod {_pod_name(scene.hop)} default route",
            f"pod {_pod_name(scene.hop)} has no route to {scene.dst}: its default route via 169.254.1.1 is missing",
            place="pod",
            fix=(change(f"ip route add default via 169.254.1.1 dev eth0  # inside pod {_pod_name(scene.hop)}; "
                        "recreating the pod does the same", scene.node),),
            verify=(f"ip route get {scene.dst}  # inside the pod",),
        )  # fmt: skip
    place = scene.pod
    if place is not None and place.node == scene.node:
        return _local_pod_route(scene, place)
    if place is None and scene.world.pods_known():
        stale = _stale_backend(scene)
        if stale is not None:
            return stale
    route = scene.step.where
    if scene.step.disposition is Disposition.BLACKHOLED and place is None and _own_block(scene):
        return Fault(
            "route-missing", f"{scene.node} has no route to {scene.dst}", f"route to {_wanted(scene)}",
            f"only a block's blackhole covers {scene.dst}, as on the block's own node where no pod has the address; "
            "which pod should have it is not in the evidence", place="route",
            fix=(check(f"kubectl get pods -A -o wide | grep -wF {scene.dst}", "cluster"),),
            verify=(f"ip route get {scene.dst}",),
        )  # fmt: skip
    if scene.step.disposition is Disposition.BLACKHOLED:
        return Fault(
            "route-blackhole", f"{scene.node} throws the packet away: a blackhole route covers the destination",
            f"route blackhole {route}", f"on {scene.node} the route to {scene.dst} is {scene.step.detail}",
            place="route",
            fix=(change(f"ip route del blackhole {route}", scene.node),),
            verify=(f"ip route get {scene.dst}",),
        )  # fmt: skip
    return Fault(
        "route-missing", f"{scene.node} has no route to the destination", f"route to {_wanted(scene)} (default)"
        if place is None else f"route to {_wanted(scene)}", f"{scene.node}: {scene.step.detail}", place="route",
        fix=(check(f"ip route get {scene.dst}", scene.node),), verify=(f"ip route get {scene.dst}",),
    )  # fmt: skip


def _own_block(scene: Scene) -> bool:
    """The blackhole is the one that Calico keeps for a block of this node: by the block's affinity where that is known,
    else by the route's proto (BIRD's, or Felix's 80)."""
    before = scene.step.before
    block = scene.knowledge.pools.block_of(before.dst) if before is not None else None
    if block is not None:
        return block.node == scene.node
    return any(f" proto {name} " in f"{scene.step.detail} " for name in ("bird", "80"))


def _stale_backend(scene: Scene) -> Fault | None:
    """kube-proxy's rules send the connection to an address that no pod has."""
    for hop in scene.leg.trace.hops:
        for step in hop.steps:
            rules = [visit.rule for visit in step.visits if visit.rule.target == "DNAT"]
            translates = step.stage.startswith(("nat ", "nftables ")) and rules
            if translates and step.after is not None and step.after.dst == scene.dst:
                rule = rules[-1]
                to = " ".join(value for option, values in rule.target_options for value in values)
                return Fault(
                    "service-backend-dead", f"{hop.node} sends {scene.ends.dst.name} to {scene.dst}, which no pod has",
                    f"chain {rule.chain}, DNAT to {to}", f"{rule.chain} on {hop.node} rewrites to {to}, but no pod has "
                    f"{scene.dst}; {scene.node}: {scene.step.detail}", node=hop.node, place="service",
                    evidence=(rule.source, *scene.step.sources),
                    fix=(check("kubectl logs -n kube-system -l k8s-app=kube-proxy --tail=50", hop.node),
                         change("restart kube-proxy", hop.node)),
                    verify=(f"iptables -t nat -L {rule.chain} -n",),
                )  # fmt: skip
    return None


def _wanted(scene: Scene) -> str:
    """The block that holds the destination, else the address itself."""
    before = scene.step.before
    if before is None:
        return ""
    for block in scene.world.snapshot.cluster.ipam_blocks.values:
        if block.cidr.version == before.dst.version and before.dst in block.cidr:
            return str(block.cidr)
    return str(before.dst)


def _local_pod_route(scene: Scene, place: PodPlace) -> Fault:
    """The destination's own node lacks the /32: the interface is gone, or down, or the route alone is missing."""
    before = scene.step.before
    assert before is not None
    state = scene.world.state(scene.node)
    bits = 32 if before.family == 4 else 128
    route = f"{before.dst}/{bits}" if before.family == 6 else str(before.dst)
    link = state.links.get(place.interface) if state is not None else None
    evidence = (*scene.step.sources, *place.sources)
    if state is not None and place.interface and link is None and isinstance(state.netns.links, Complete):
        return Fault(
            "veth-missing", f"The workload interface of {place.name} does not exist on {scene.node}",
            f"interface {place.interface}", f"{place.name} should be on {place.interface}, which {scene.node} does not "
            f"have; so {before.dst} falls to {scene.step.where}",
            evidence=(*evidence, *whole(state.netns.links)), place="veth",
            fix=(change(f"kubectl delete pod -n {place.name.replace('/', ' ')}", "cluster"),),
            verify=(f"ip link show {place.interface}",),
        )  # fmt: skip
    if link is not None and state is not None and state.link_state(place.interface) is False:
        words = "is down" if not link.up else "has no carrier"
        return Fault(
            "veth-down", f"The workload interface of {place.name} {words}", f"interface {place.interface}",
            f"{place.interface} {words}, so {scene.node} has no route to {before.dst}", evidence=(*evidence,
            link.source), place="veth", fix=(change(f"ip link set {place.interface} up", scene.node),),
            verify=(f"ip link show {place.interface}", f"ip route get {before.dst}"),
        )  # fmt: skip
    where = f" dev {place.interface}" if place.interface else ""
    swallowed = scene.step.disposition is Disposition.BLACKHOLED
    because = (f"{route} is missing on {scene.node}; the longest match is {scene.step.where}"
               + (", the node's own blackhole" if swallowed else ""))  # fmt: skip
    return Fault(
        "route-missing", f"{scene.node} has no route to the pod {place.name}", f"route {route}{where}", because,
        evidence=evidence, place="route",
        fix=(change(f"ip route add {route}{where} scope link", scene.node),
             check("calicoctl node status; kubectl logs -n kube-system -l k8s-app=calico-node  # why Felix did not",
                   scene.node)),
        verify=(f"ip route get {before.dst}",),
    )  # fmt: skip


def _reverse_path(scene: Scene) -> Fault:
    key = scene.step.where
    return Fault(
        "rp-filter-drop", f"{scene.node} drops the packet by reverse path filtering", key, scene.step.detail,
        place="node", fix=(check(f"ip route get {scene.step.before.src if scene.step.before else ''}", scene.node),
                           change(f"sysctl -w {key}=0", scene.node)),
        verify=("nstat -asz TcpExtIPReversePathFilter",),
    )  # fmt: skip


def _martian(scene: Scene) -> Fault:
    return Fault("martian-source", f"{scene.node} drops the packet as martian", scene.step.where, scene.step.detail,
                 place="node", verify=("nstat -asz",))  # fmt: skip


def _forwarding(scene: Scene) -> Fault:
    key = scene.step.where
    general = any("ip_forward" in source.text for source in scene.step.sources) and any(
        source.text.rstrip().endswith("0") for source in scene.step.sources if "ip_forward" in source.text
    )
    name = "net.ipv4.ip_forward" if general else key
    return Fault("forwarding-off", f"{scene.node} does not forward packets", f"{name} = 0", scene.step.detail,
                 place="node", fix=(change(f"sysctl -w {name}=1", scene.node),),
                 verify=(f"sysctl {name}",))  # fmt: skip


def _neighbour(scene: Scene) -> Fault:
    step, where = scene.step, scene.step.where
    if step.stage == "gateway-neighbour":
        pod = _pod_name(scene.hop)
        off = "proxy_arp = 0" in step.detail
        code = "proxy-arp-off" if off else "pod-gateway-neighbour"
        key = f"net.ipv4.conf.{where}.proxy_arp"
        return Fault(
            code, f"Nobody answers ARP for the pod's gateway on {scene.node}", key if off else f"gateway of pod {pod}",
            step.detail, place="veth", fix=(change(f"sysctl -w {key}=1", scene.node),) if off else (),
            verify=("ip neigh show  # inside the pod",), netns=HOST if off else "",
        )  # fmt: skip
    if step.stage == "fdb":
        return Fault("fdb-missing", f"{scene.node} has no FDB entry for the remote VTEP", where, step.detail,
                     place="tunnel", verify=("bridge fdb show dev vxlan.calico",),
                     fix=(check("calicoctl node status", scene.node),))  # fmt: skip
    return Fault("neighbour-failed", f"{scene.node} gets no answer from the next hop", where, step.detail,
                 place="wire" if scene.hop.netns == HOST else "pod", verify=("ip neigh show",))  # fmt: skip


def _link(scene: Scene) -> Fault:
    where = scene.step.where
    if scene.step.stage == "decap":
        kind = "vxlan" if "VXLAN" in scene.step.detail or "vxlan" in where else "ipip"
        return Fault(f"{kind}-device-down", f"{scene.node} has no working tunnel device for the packet", where,
                     scene.step.detail, place="tunnel", fix=(change(f"ip link set {where} up", scene.node),),
                     verify=(f"ip -d link show {where}",))  # fmt: skip
    pod = scene.hop.netns != HOST or scene.world.pod_behind(scene.node, where) is not None
    kind = "vxlan-device-down" if where.startswith("vxlan") else "ipip-device-down" if where.startswith("tunl") else ""
    usual = "pod-interface-down" if scene.hop.netns != HOST else "veth-down"
    return Fault(kind or usual, scene.step.detail + f" on {scene.node}", f"interface {where}",
                 scene.step.detail, place="veth" if pod else "node",
                 fix=(change(f"ip link set {where} up", scene.node),), verify=(f"ip link show {where}",))  # fmt: skip


def _sandbox(scene: Scene) -> Fault:
    return Fault("veth-missing", f"The pod's interface on {scene.node} is gone", f"interface {scene.step.where}",
                 scene.step.detail, place="veth", verify=(f"ip link show {scene.step.where}",))  # fmt: skip


def _wrong_mac(scene: Scene) -> Fault:
    step = scene.step
    if step.stage == "decap" and "inner frame" in step.detail:
        return _wrong_vtep(scene)
    if step.stage == "decap":
        return Fault("vxlan-vni-mismatch", f"VXLAN settings of {scene.node} differ from the sender's", step.where,
                     step.detail, place="tunnel", verify=(f"ip -d link show {step.where}",))  # fmt: skip
    if step.stage == "gateway-neighbour":
        return Fault("neighbour-wrong-mac", "The pod sends to a MAC that its node does not have",
                     f"neighbour of pod {_pod_name(scene.hop)}", step.detail, place="veth",
                     fix=(change("ip neigh flush dev eth0  # inside the pod", scene.node),),
                     verify=("ip neigh show  # inside the pod",))  # fmt: skip
    return Fault("neighbour-wrong-mac", f"A neighbour entry of {scene.node} has the wrong MAC", step.where, step.detail,
                 place="wire", fix=(change(_neigh_del(step.where), scene.node),),
                 verify=("ip neigh show",))  # fmt: skip


def _neigh_del(where: str) -> str:
    words = where.split()
    return f"ip neigh del {words[1]} dev {words[3]}" if len(words) == 4 else "ip neigh show"


def _wrong_vtep(scene: Scene) -> Fault:
    """The frame came to a node whose VTEP it is not for: the sender's FDB or neighbour entry is wrong."""
    step = scene.step
    carried = step.before.encaps[-1] if step.before is not None and step.before.encaps else None
    mac = carried.inner_dst_mac if carried is not None else ""
    sender = next((hop for hop in reversed(scene.leg.trace.hops[:-1]) if hop.netns == HOST), scene.hop)
    fdb = next((s for s in reversed(sender.steps) if s.stage == "fdb"), None)
    neighbour = next((s for s in reversed(sender.steps) if s.stage == "neighbour" and "vxlan" in s.where), None)
    rightful = [place for place in scene.world.macs.get(mac, ()) if place.node != scene.node]
    if rightful and fdb is not None:
        detail = f"{fdb.detail}, but that MAC is {rightful[0].node}'s {rightful[0].dev}"
        return Fault("fdb-wrong", f"{sender.node} sends VXLAN frames for {rightful[0].node} to {scene.node}", fdb.where,
                     detail, node=sender.node, evidence=(*fdb.sources, *step.sources), place="tunnel",
                     fix=(change("restart calico-node  # Felix rewrites the FDB at start", sender.node),),
                     verify=("bridge fdb show dev vxlan.calico",))  # fmt: skip
    sources = (*neighbour.sources, *step.sources) if neighbour is not None else step.sources
    return Fault("neighbour-wrong-mac", f"{sender.node} addresses the tunnel of {scene.node} with a wrong MAC",
                 neighbour.where if neighbour is not None else step.where, step.detail, node=sender.node,
                 evidence=sources, place="tunnel",
                 fix=(change("restart calico-node  # Felix rewrites the neighbour entries", sender.node),),
                 verify=("ip neigh show dev vxlan.calico",))  # fmt: skip


def _listener(scene: Scene) -> Fault:
    step, pod = scene.step, _pod_name(scene.hop)
    wrong = "listens on" in step.detail and "nothing" not in step.detail
    code = "listener-wrong-address" if wrong else "no-listener"
    if scene.ends.dst.kind == "service":
        code = "service-backend-dead"
    return Fault(code, f"{step.detail} in {pod}",
                 f"{step.where} in {pod}", f"the packet reaches {pod}; {step.detail}: the client sees a refusal",
                 place="pod", fix=(check("ss -lntu  # inside the pod", scene.node),),
                 verify=("ss -lntu  # inside the pod",))  # fmt: skip


def _overflow(scene: Scene) -> Fault:
    return Fault("listen-overflow", "The server does not accept connections fast enough", scene.step.where,
                 scene.step.detail, place="pod", verify=("ss -lnt; nstat -asz TcpExtListenOverflows",))  # fmt: skip


def _loop(scene: Scene) -> Fault:
    nodes = " → ".join(dict.fromkeys(hop.node for hop in scene.leg.trace.hops if hop.node))
    routes = [s for hop in scene.leg.trace.hops for s in hop.steps if s.stage == "route" and s.outcome is Outcome.PASS]
    return Fault("routing-loop", f"The packet circles between {nodes}", scene.step.where, scene.step.detail,
                 evidence=tuple(source for step in routes[-2:] for source in step.sources), place="route",
                 verify=(f"ip route get {scene.dst}",))  # fmt: skip


def _too_big(scene: Scene) -> Fault:
    return Fault("mtu-blackhole", "Large packets do not fit and the sender never learns it", scene.step.where,
                 scene.step.detail, place="node", verify=("ip link show; ip route show cache",))  # fmt: skip


def _conntrack_full(scene: Scene) -> Fault:
    return Fault("conntrack-full", f"The conntrack table of {scene.node} is full", "net.netfilter.nf_conntrack_max",
                 scene.step.detail, place="node", fix=(change("sysctl -w net.netfilter.nf_conntrack_max=VALUE",
                 scene.node),), verify=("conntrack -S; dmesg | grep nf_conntrack",))  # fmt: skip


def _ttl(scene: Scene) -> Fault:
    return Fault("ttl-expired", "The TTL is used up", scene.step.where, scene.step.detail, place="route")


def _filtered(scene: Scene) -> Fault:
    return filter_stops.explain(scene.knowledge, scene.hop, scene.step)


def _pod_name(hop: Hop) -> str:
    return hop.netns.removeprefix("pod:") if hop.netns != HOST else hop.node


EXPLAIN: dict[Disposition, Callable[[Scene], Fault]] = {
    Disposition.NO_ROUTE: _route,
    Disposition.BLACKHOLED: _route,
    Disposition.RPF_FAILED: _reverse_path,
    Disposition.MARTIAN: _martian,
    Disposition.NOT_FORWARDING: _forwarding,
    Disposition.NEIGHBOUR_FAILED: _neighbour,
    Disposition.LINK_DOWN: _link,
    Disposition.NO_SANDBOX: _sandbox,
    Disposition.WRONG_VNI_OR_MAC: _wrong_mac,
    Disposition.NO_LISTENER: _listener,
    Disposition.LISTEN_OVERFLOW: _overflow,
    Disposition.LOOP: _loop,
    Disposition.TOO_BIG: _too_big,
    Disposition.TTL_EXPIRED: _ttl,
    Disposition.CONNTRACK_FULL: _conntrack_full,
    Disposition.DROPPED_BY_RULE: _filtered,
    Disposition.REJECTED_BY_RULE: _filtered,
}
