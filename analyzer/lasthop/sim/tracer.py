"""The walk: one packet through netns after netns, every fork followed, until each branch ends.

Kernel order for a received packet: PREROUTING, routing decision, then INPUT and local delivery, or the MTU and TTL
checks of ip_forward, FORWARD, POSTROUTING and transmission. For a sent one: routing decision, OUTPUT, a second
decision when OUTPUT changed what routing depends on, POSTROUTING, transmission (net/ipv4/ip_input.c, ip_forward.c,
ip_output.c). Tunnel devices start again with the outer header at OUTPUT, or with the inner one at PREROUTING.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lasthop.facts.evidence import Absent, AbsentReason, Evidence
from lasthop.facts.netfilter import Ruleset
from lasthop.facts.network import Ip, NextHop
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Choice, Disposition, MatchResult, Outcome, Packet, Step

from . import routing
from .conntrack import ConntrackTable
from .edits import RuleKey
from .kernel_state import KernelState
from .listener import deliver
from .netfilter import Firewall, HookResult
from .routing import Decision
from .transmit import Encapsulated, Transmitter
from .tunnels import decapsulate
from .walk import End, Walk, lost, stop
from .world import HOST, World

MAX_LIVE = 256
MAX_HOPS = 32
POD_FILTER = "no packet filter inside the netns of a pod where none was collected"


class Around:
    """What netfilter asks of routing, for one packet position (sim.netfilter.Surroundings)."""

    def __init__(self, state: KernelState, gateway: Ip | None = None) -> None:
        self.state = state
        self.gateway = gateway

    def address_type(self, ip: Ip, dev: str | None) -> str | None:
        return self.state.address_type(ip, dev)

    def reverse_path(self, packet: Packet, *, loose: bool, validmark: bool, accept_local: bool) -> MatchResult:
        return routing.reverse_path(self.state, packet, loose=loose, validmark=validmark, accept_local=accept_local)

    def masquerade_source(self, packet: Packet, oif: str) -> Ip | None:
        toward = self.gateway or packet.dst
        return routing.source_address(self.state, None, NextHop(oif, toward), packet.dst)

    def primary_address(self, dev: str) -> Ip | None:
        found = self.state.addresses(dev)
        return found[0].ip if found else None


Firewalls = dict[tuple[str, str], Firewall | None]


class Tracer:
    """Walks packets over one World. Firewalls are compiled once per netns and kept."""

    def __init__(self, world: World, level: str = "normal", firewalls: Firewalls | None = None) -> None:
        self.world = world
        self.level = level
        self._firewalls: Firewalls = firewalls if firewalls is not None else {}
        self.transmitter = Transmitter(world)

    def edited(self, world: World) -> Tracer:
        """A tracer of `world` (this one's, edited), which shares the compiled rules."""
        return Tracer(world, self.level, self._firewalls)

    def send(self, walk: Walk) -> list[End]:
        """Walks a packet that the netns of `walk` sends itself; all ends of all branches."""
        return self._collect(self._send(walk))

    def receive(self, walk: Walk) -> list[End]:
        """Walks a packet that has just been received by `walk.iif`."""
        return self._collect(self._receive(walk))

    def _collect(self, ends: Iterator[End]) -> list[End]:
        collected: list[End] = []
        for end in ends:
            collected.append(end)
            if len(collected) >= MAX_LIVE:
                step = Step("limit", Outcome.UNKNOWN, f"more than {MAX_LIVE} branches")
                collected.append(lost(replace(end.walk, choices=()), step))
                break
        return collected

    def _firewall(self, state: KernelState) -> Firewall | None:
        key = (state.node, state.name)
        if key not in self._firewalls:
            netns = state.netns if state.name == HOST else _pod_filter(state.netns)
            self._firewalls[key] = Firewall(netns) if netns is not None else None
        return self._firewalls[key]

    def _hook(
        self, hook: str, walk: Walk, state: KernelState, gateway: Ip | None = None
    ) -> Iterator[tuple[Walk, HookResult | None]]:
        """Runs one hook; ends come as (walk, result with a stopping verdict), survivors as (walk, None).

        Where rules were not collected at all the packet may also end or change here in any way: such a result is
        given twice, once as an open end.
        """
        firewall = self._firewall(state)
        if firewall is None:
            yield walk.assume(POD_FILTER), None
            return
        key = (walk.node, walk.netns)
        table = walk.conntracks.get(key)
        if table is None:
            table = ConntrackTable.of(state.netns)
        for result in firewall.run(
            hook, walk.packet, table, Around(state, gateway), level=self.level, ignored=self._ignored_of(state)
        ):
            opened = _opened(result)
            after = replace(
                walk,
                packet=result.packet,
                conntracks={**walk.conntracks, key: result.conntrack},
                unknown=(*walk.unknown, *result.assumed),
                nat_unknown=walk.nat_unknown or (opened and hook != "FORWARD") or _nat_unknown(result),
            )
            after = after.step(*result.steps).choose(*result.choices)
            if opened and result.verdict == "accept":
                yield after, replace(result, verdict="unknown")
            yield after, None if result.verdict == "accept" else result

    def _ignored_of(self, state: KernelState) -> frozenset[RuleKey]:
        """Rules of this netns that are supposed to be deleted."""
        return frozenset(key for edit in state.edits for key in edit.rules_ignored)

    def _filtered(self, hook: str, walk: Walk, state: KernelState, gateway: Ip | None = None) -> Iterator[Walk | End]:
        for after, result in self._hook(hook, walk, state, gateway):
            if result is None:
                if after.nat_unknown and not self.world.owned(after.packet.dst):
                    step = Step(f"nat {hook}", Outcome.UNKNOWN, f"whether {after.packet.dst} is rewritten is not known",
                                decides="iptables_nft_save")  # fmt: skip
                    yield lost(after, step)
                else:
                    yield after
            elif result.verdict == "unknown":
                yield lost(after)
            else:
                yield End(_disposition(result), after.close())

    # received packets

    def _receive(self, walk: Walk) -> Iterator[End]:
        state = self.world.state(walk.node, walk.netns)
        if state is None:
            yield lost(walk, Step("netns", Outcome.UNKNOWN, f"{walk.node} {walk.netns} was not collected"))
            return
        core = (walk.node, walk.netns, walk.iif, walk.packet.src, walk.packet.dst, walk.packet.dport, len(walk.inner))
        if core in walk.seen or len(walk.hops) > MAX_HOPS:
            step = Step("loop", Outcome.STOP, f"the packet comes back to {walk.node} {walk.iif} again until its TTL "
                        "is used up", where=walk.iif, before=walk.packet, disposition=Disposition.LOOP)  # fmt: skip
            yield stop(walk, step)
            return
        walk = replace(walk, seen=walk.seen | {core}, packet=replace(walk.packet, iif=walk.iif, oif=""))
        for after in self._filtered("PREROUTING", walk, state):
            if isinstance(after, End):
                yield after
                continue
            for decision in routing.route_input(state, after.packet, after.iif):
                yield from self._decided(after, state, decision, received=True)

    def _decided(self, walk: Walk, state: KernelState, decision: Decision, received: bool) -> Iterator[End]:
        if decision.hops > 1:
            label = f"next hop {decision.gateway or decision.dev}"
            source = decision.route.source if decision.route is not None else None
            where = f"{walk.node} {walk.netns} {decision.route.dst if decision.route else ''}"
            walk = walk.choose(Choice(where, label, decision.share, source))
        walk = walk.step(*decision.steps)
        if decision.kind == "drop":
            yield End(decision.steps[-1].disposition or Disposition.NO_ROUTE, walk.close())
            return
        if decision.kind == "unknown":
            yield lost(walk)
            if not decision.dev:
                return
            walk = replace(walk, unknown=(*walk.unknown, decision.steps[0].detail))
        if decision.dev == "lo" or decision.kind == "local":
            yield from self._local(walk, state)
        elif received:
            yield from self._forward(walk, state, decision)
        else:
            yield from self._post(walk, state, decision)

    def _local(self, walk: Walk, state: KernelState) -> Iterator[End]:
        walk = replace(walk, packet=replace(walk.packet, oif=""))
        for after in self._filtered("INPUT", walk, state):
            if isinstance(after, End):
                yield after
            elif after.inner:
                yield from self._decapsulate(after, state)
            else:
                step = deliver(state, after.packet, asked=after.client == (after.node, after.netns))
                if step.outcome is Outcome.STOP:
                    yield stop(after, step)
                    continue
                if step.outcome is Outcome.UNKNOWN:
                    yield lost(after, step)
                    after = after.doubt(step)
                else:
                    after = after.step(step)
                yield End(Disposition.DELIVERED, after.close())

    def _decapsulate(self, walk: Walk, state: KernelState) -> Iterator[End]:
        for after in decapsulate(walk, state):
            if isinstance(after, End):
                yield after
            else:
                yield from self._receive(after)

    def _forward(self, walk: Walk, state: KernelState, decision: Decision) -> Iterator[End]:
        packet = walk.packet
        if packet.ttl <= 1:
            yield stop(walk, Step("ttl", Outcome.STOP, "the TTL is used up", before=packet,
                                  disposition=Disposition.TTL_EXPIRED))  # fmt: skip
            return
        walk = replace(walk, packet=replace(packet, ttl=packet.ttl - 1, oif=decision.dev))
        checked = self._mtu(walk, state, decision)
        if isinstance(checked, End):
            yield checked
            return
        for after in self._filtered("FORWARD", checked, state):
            if isinstance(after, End):
                yield after
            else:
                yield from self._post(after, state, decision)

    def _mtu(self, walk: Walk, state: KernelState, decision: Decision) -> Walk | End:
        """ip_forward's check: too big with DF means ICMP fragmentation needed to the sender (RFC 1191)."""
        route_mtu = decision.route.mtu if decision.route is not None else None
        mtu = route_mtu or state.mtu(decision.dev)
        packet = walk.packet
        if mtu is None:
            if packet.length > 576:
                return walk.doubt(Step("mtu", Outcome.UNKNOWN, f"the MTU of {decision.dev} is not known",
                                       decides="ip_link"))  # fmt: skip
            return walk
        if packet.length <= mtu or (packet.family == 4 and not packet.df):
            return walk
        return self.too_big(walk, state, decision.dev, mtu)

    def too_big(self, walk: Walk, state: KernelState, dev: str, mtu: int) -> Walk | End:
        """The node tells the sender; when that message arrives the sender goes on with packets that fit."""
        link = state.links.get(dev)
        sources = (link.source,) if link is not None else ()
        words = f"{walk.packet.length} bytes with DF do not fit {dev} (MTU {mtu})"
        back = self._icmp_back(walk, state)
        if back is True:
            step = Step("mtu", Outcome.INFO, f"{words}: ICMP reaches the sender, which goes on with {mtu} bytes",
                        sources, where=dev)  # fmt: skip
            return replace(walk.step(step), packet=replace(walk.packet, length=mtu))
        if back is None:
            return lost(walk, Step("mtu", Outcome.UNKNOWN, f"{words}; whether the ICMP error gets back is not known",
                                   sources, where=dev))  # fmt: skip
        return stop(walk, Step("mtu", Outcome.STOP, f"{words} and the ICMP error does not reach the sender", sources,
                               where=dev, before=walk.packet, disposition=Disposition.TOO_BIG))  # fmt: skip

    def _icmp_back(self, walk: Walk, state: KernelState) -> bool | None:
        """Whether an ICMP error of this netns gets back to the sender of the packet: walked like any packet."""
        packet = walk.packet
        toward = routing.route_output(state, replace(packet, dst=packet.src, src=packet.dst))
        source = toward[0].src if toward else None
        if source is None:
            return None
        error = Packet(
            packet.family, "icmp" if packet.family == 4 else "icmpv6", source, packet.src,
            icmp_type=3 if packet.family == 4 else 2, icmp_code=4 if packet.family == 4 else 0, length=576,
            local_out=True, quoted=packet,
        )  # fmt: skip
        probe = Walk(error, walk.node, walk.netns, conntracks=walk.conntracks)
        ends = self.send(probe)
        if all(end.delivered for end in ends):
            return True
        return None if any(end.delivered or end.open_ for end in ends) else False

    # sent packets

    def _send(self, walk: Walk) -> Iterator[End]:
        state = self.world.state(walk.node, walk.netns)
        if state is None:
            yield lost(walk, Step("netns", Outcome.UNKNOWN, f"{walk.node} {walk.netns} was not collected"))
            return
        packet = replace(walk.packet, iif="", oif="", local_out=True)
        for decision in routing.route_output(state, packet):
            if decision.kind in ("drop", "unknown"):
                yield from self._decided(replace(walk, packet=packet), state, decision, received=False)
                continue
            sent = self._tunnel_mtu(replace(walk, packet=replace(packet, oif=decision.dev)), state, decision)
            if isinstance(sent, End):
                yield sent
                continue
            for after in self._filtered("OUTPUT", sent, state):
                if isinstance(after, End):
                    yield after
                    continue
                if not _reroutes(after.steps[len(sent.steps) :]):
                    yield from self._decided(after, state, decision, received=False)
                    continue
                for again in routing.route_output(state, after.packet):
                    moved = replace(after, packet=replace(after.packet, oif=again.dev))
                    yield from self._decided(moved, state, again, received=False)

    def _tunnel_mtu(self, walk: Walk, state: KernelState, decision: Decision) -> Walk | End:
        """tnl_update_pmtu: an outer packet with DF that does not fit makes an ICMP error to the inner sender."""
        mtu = (decision.route.mtu if decision.route is not None else None) or state.mtu(decision.dev)
        outer = walk.packet
        if not walk.inner or not outer.df or mtu is None or outer.length <= mtu:
            return walk
        overhead = outer.length - walk.inner[-1].length
        told = self.too_big(replace(walk, packet=walk.inner[-1], inner=walk.inner[:-1]), state, decision.dev,
                            mtu - overhead)  # fmt: skip
        if isinstance(told, End):
            return told
        return replace(told, packet=replace(outer, length=mtu), inner=(*walk.inner[:-1], told.packet))

    def _post(self, walk: Walk, state: KernelState, decision: Decision) -> Iterator[End]:
        walk = replace(walk, packet=replace(walk.packet, oif=decision.dev))
        for after in self._filtered("POSTROUTING", walk, state, decision.gateway):
            if isinstance(after, End):
                yield after
                continue
            for moved in self.transmitter.transmit(after, state, decision):
                if isinstance(moved, End):
                    yield moved
                elif isinstance(moved, Encapsulated):
                    yield from self._send(moved.walk)
                else:
                    yield from self._receive(moved)


def _opened(result: HookResult) -> bool:
    """Whether whole rulesets, not single rules, are missing at this hook."""
    return any(
        step.outcome is Outcome.UNKNOWN and step.stage.startswith(("netfilter ", "nftables ")) for step in result.steps
    )


def _reroutes(steps: tuple[Step, ...]) -> bool:
    """ip_route_me_harder: only mangle and nat OUTPUT (and native chains of type route or nat) look the route up
    again; a mark that raw or filter sets comes too late for it."""
    for step in steps:
        before, after = step.before, step.after
        if before is None or after is None or not step.stage.startswith(("mangle ", "nat ", "nftables ")):
            continue
        if (before.dst, before.src, before.mark, before.tos) != (after.dst, after.src, after.mark, after.tos):
            return True
    return False


def _nat_unknown(result: HookResult) -> bool:
    return any(step.stage.startswith("nat ") and step.outcome is Outcome.UNKNOWN for step in result.steps)


def _disposition(result: HookResult) -> Disposition:
    last = result.steps[-1].disposition if result.steps else None
    if last is not None:
        return last
    return Disposition.REJECTED_BY_RULE if result.verdict == "reject" else Disposition.DROPPED_BY_RULE


def _pod_filter(netns: NetNS) -> NetNS | None:
    """A pod's netns for its Firewall: tables of a back end that was not collected there are taken as absent.

    None when nothing was collected: the stated assumption POD_FILTER applies.
    """
    absent = Absent(AbsentReason.NOT_APPLICABLE, POD_FILTER)
    rulesets: dict[tuple[str, int], Evidence[Ruleset]] = {}
    collected = False
    for backend in ("nft", "legacy"):
        for family in (4, 6):
            evidence = netns.ruleset(backend, family)
            if isinstance(evidence, Absent):
                rulesets[(backend, family)] = absent
            else:
                rulesets[(backend, family)] = evidence
                collected = collected or any(ruleset.tables() for ruleset in evidence.values)
    if not collected:
        return None
    return NetNS(
        netns.node, netns.name, rulesets=rulesets, ipsets=netns.ipsets, conntrack=netns.conntrack,
        sysctls=netns.sysctls, nft_chains=netns.nft_chains, nft=netns.nft, links=netns.links,
    )  # fmt: skip
