"""From walked legs to the verdict of a flow: breaks, shares, what is missing (design 5)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from lasthop.facts.trace import Disposition, Finding, Hop, MissingEvidence, Outcome, Packet, Sighting, Step
from lasthop.sim.walk import WIRE

from . import stops
from .ends import FlowEnds
from .fault import change, check
from .flow import Leg, Walked
from .knowledge import Knowledge
from .missing import missing_of
from .result import Branch, FlowResult, Verdict
from .wire import WireProof, wire_proof

STOPS = frozenset(Disposition) - {
    Disposition.DELIVERED,
    Disposition.INSUFFICIENT_EVIDENCE,
    Disposition.LEFT_EVIDENCE,
    Disposition.BYPASSED,
}
SIZED = frozenset({"tcp", "udp", "sctp"})
"""Protocols whose full-size packets are walked too."""
ONE_WAY_PORTS = frozenset({162, 514, 2055, 4739, 4789, 6081, 6343, 8125, 8472, 9995, 9996, 12201, 25826})
"""SNMP traps, syslog, NetFlow, IPFIX, VXLAN, Geneve, sFlow, StatsD, Linux VXLAN, NetFlow, GELF, collectd."""


class Judge:
    """Judges flows of one snapshot."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self.world = knowledge.world
        self.pools = knowledge.pools

    def judge(self, ends: FlowEnds, walks: tuple[Walked, ...], seen: tuple[tuple[Sighting, ...], ...]) -> FlowResult:
        """`seen` holds the sightings of each of `walks`."""
        proofs = [wire_proof(self.world, ends, walked, own) for walked, own in zip(walks, seen, strict=True)]
        judged = [(walked, *self._branch(ends, walked, proof)) for walked, proof in zip(walks, proofs, strict=True)]
        sightings = tuple(dict.fromkeys(sighting for own in seen for sighting in own))
        branches = tuple(branch for _, branch, _ in judged)
        breaks = self._ranked([(walked, found) for walked, _, found in judged], len(walks) > 1)
        verdict = _combined(branches)
        shown = next((walked for walked, _, found in judged if found), judged[0][0]) if judged else None
        if verdict is Verdict.INCONCLUSIVE and shown is not None:
            shown = next((w for w, b, _ in judged if b.verdict is Verdict.INCONCLUSIVE), shown)
        missing = missing_of(self.world, ends, walks)
        assumptions = tuple(dict.fromkeys(text for w in walks for leg in w.legs() for text in leg.trace.assumptions))
        first = "proven"
        if breaks and shown is not None and any(not leg.result.certain for leg in _until_break(shown)):
            first = "unknown"
        return FlowResult(
            ends.src,
            ends.dst,
            ends.proto,
            ends.port,
            ends.origin,
            verdict,
            _summary(verdict, breaks, missing, branches, proofs),
            first,
            breaks,
            shown.request.trace if shown else None,
            shown.reply.trace if shown and shown.reply else None,
            shown.request_full.trace if shown and shown.request_full else None,
            shown.reply_full.trace if shown and shown.reply_full else None,
            branches if len(branches) > 1 else (),
            assumptions,
            sightings,
            missing,
        )

    def _branch(self, ends: FlowEnds, walked: Walked, proof: WireProof) -> tuple[Branch, tuple[Finding, ...]]:
        found = self._breaks(ends, walked, proof)
        if found and any(finding.confidence != "possible" for finding in found):
            verdict = Verdict.BREAK
        elif not _complete(ends, walked):
            verdict = Verdict.INCONCLUSIVE
        elif proof.observed or not _crosses_wire(walked):
            verdict = Verdict.NO_BREAK
        else:
            verdict = Verdict.CLEAR_IN_NODES
        label = ", ".join(choice.label for choice in walked.choices) or "the only way"
        branch = Branch(
            label,
            walked.share,
            verdict,
            walked.choices,
            walked.request.trace,
            walked.reply.trace if walked.reply else None,
            walked.request_full.trace if walked.request_full else None,
            walked.reply_full.trace if walked.reply_full else None,
        )
        return branch, found

    def breaks_of(self, ends: FlowEnds, walked: Walked) -> tuple[Finding, ...]:
        """The breaks that the walk alone shows, without captures."""
        return self._breaks(ends, walked, WireProof())

    def _breaks(self, ends: FlowEnds, walked: Walked, proof: WireProof) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for leg in walked.legs():
            if leg.trace.direction == "reply" and one_way(ends):
                continue
            if leg.disposition in STOPS:
                found.append(stops.finding(self.knowledge, ends, leg))
            elif leg.disposition is Disposition.LEFT_EVIDENCE:
                strayed = self._strayed(ends, leg)
                if strayed is not None:
                    found.append(strayed)
        if walked.wrong_host and not found:
            found.append(_wrong_host(ends, walked))
        if not found and proof.lost is not None:
            found.append(proof.lost)
        return tuple(found)

    def _strayed(self, ends: FlowEnds, leg: Leg) -> Finding | None:
        """A pod address that leaves the collected nodes although the cluster's objects demand a way to its own node:
        only the default route covers it, or a route for it leads to a stranger."""
        hop = leg.trace.hops[-1]
        step = hop.steps[-1]
        packet = step.before
        if packet is None or not hop.node:
            return None
        if packet.encaps:
            return self._wrong_node_address(leg, hop, step, packet)
        route = next((s for s in reversed(hop.steps) if s.stage == "route"), None)
        if route is None or self.pools.external_peers() is not False:
            return None
        expected = self.pools.expected_route(hop.node, packet.dst)
        if expected.kind not in ("direct", "ipip", "vxlan") or expected.owner not in self.world.snapshot.nodes:
            return None
        # a route straight to the owner is a way to it, if not the designed one: what the owner says decides
        if any(f"via {via} " in route.where + " " for via in (*expected.via, expected.owner_ip) if via is not None):
            return None
        missing = route.where.startswith("default")
        if not missing and expected.through_owner:
            return None
        cidr = str(expected.prefixes[0])
        wanted = " or ".join(str(via) for via in expected.via) or expected.owner
        return Finding(
            code="route-missing" if missing else "route-wrong-nexthop",
            title=f"{hop.node} has no route to the block {cidr} of {expected.owner}"
            if missing
            else f"{hop.node} sends packets for {expected.owner} to the wrong next hop",
            severity="critical",
            confidence="strong",
            because=f"{packet.dst} is in block {cidr} of {expected.owner} (next hop {wanted}), but leaves by "
            f"{route.where}",
            direction=leg.trace.direction,
            step=hop.step,
            node=hop.node,
            netns=hop.netns,
            object=f"route {cidr}" if missing else f"route {route.where}",
            place="route",
            died_node=hop.node,
            died_step=hop.step,
            disposition=Disposition.LEFT_EVIDENCE,
            evidence=(*route.sources, *expected.sources),
            fix=(check("calicoctl node status", hop.node), change("restart calico-node", expected.owner)),
            verify=(f"ip route get {packet.dst}",),
        )

    def _wrong_node_address(self, leg: Leg, hop: Hop, step: Step, packet: Packet) -> Finding | None:
        """A tunnel packet for a collected node's address that no underlay can know: Calico registered it wrongly."""
        place = self.world.host_addresses.get(packet.dst)
        if place is None or place.node == hop.node:
            return None
        registered = [
            node.source
            for node in self.world.snapshot.cluster.calico_nodes.values
            if node.name == place.node and node.bgp_ipv4.split("/")[0] == str(packet.dst)
        ]
        if not registered:
            return None
        wire = 3 if leg.trace.direction == "request" else 7
        return Finding(
            code="node-address-wrong",
            title=f"Calico knows {place.node} by the address of its {place.dev}, which other nodes cannot reach",
            severity="critical",
            confidence="strong",
            because=f"{hop.node} sends tunnel packets for {place.node} to {packet.dst}; that is {place.dev} inside "
            f"{place.node}, not an address of the network between the nodes",
            direction=leg.trace.direction,
            step=wire,
            node=place.node,
            netns="host",
            object=f"Node {place.node}, address {packet.dst}",
            place="node",
            died_node="",
            died_step=wire,
            disposition=Disposition.LEFT_EVIDENCE,
            evidence=(*registered, *step.sources),
            fix=(
                change(
                    f"set IP_AUTODETECTION_METHOD of calico-node, or correct Node {place.node} (spec.bgp.ipv4Address)",
                    "cluster",
                ),
            ),
            verify=(f"calicoctl get node {place.node} -o yaml",),
        )

    @staticmethod
    def _ranked(judged: list[tuple[Walked, tuple[Finding, ...]]], several: bool) -> tuple[Finding, ...]:
        """First break of each branch first; equal findings of several branches are one with their shares added."""
        merged: dict[tuple[object, ...], Finding] = {}
        order: list[tuple[int, tuple[object, ...]]] = []
        for walked, found in judged:
            for position, finding in enumerate(found):
                key = (finding.code, finding.node, finding.object, finding.direction)
                share = walked.share if several else Fraction(1)
                if key in merged:
                    merged[key] = replace(merged[key], share=min(Fraction(1), merged[key].share + share))
                else:
                    merged[key] = replace(finding, share=share)
                    order.append((position, key))
        return tuple(merged[key] for _, key in sorted(order, key=lambda pair: pair[0]))


def _until_break(walked: Walked) -> list[Leg]:
    legs: list[Leg] = []
    for leg in walked.legs():
        legs.append(leg)
        if leg.disposition in STOPS:
            break
    return legs


def one_way(ends: FlowEnds) -> bool:
    """Whether the protocol expects no answer (IANA's port numbers): a missing one is then no fault."""
    return ends.proto == "udp" and ends.port in ONE_WAY_PORTS


def _complete(ends: FlowEnds, walked: Walked) -> bool:
    """Whether every direction was walked to its end with evidence; an asked address outside may end it."""
    outside = ends.dst.kind == "address"
    from_outside = ends.src.kind == "address" or not ends.src.node
    request_ok = walked.request.disposition is Disposition.DELIVERED or (
        outside and walked.request.disposition is Disposition.LEFT_EVIDENCE
    )
    if request_ok and one_way(ends):
        return walked.request_full is None or walked.request_full.disposition is walked.request.disposition
    if not request_ok or walked.reply is None:
        return False
    inside = not outside and not from_outside and len({(hop.node, hop.netns) for hop in walked.request.trace.hops}) > 1
    if inside and ends.proto in SIZED and (walked.request_full is None or walked.reply_full is None):
        return False
    reply_ok = walked.reply.disposition is Disposition.DELIVERED or (
        from_outside and walked.reply.disposition is Disposition.LEFT_EVIDENCE
    )
    full = [leg for leg in (walked.request_full, walked.reply_full) if leg is not None]
    return reply_ok and all(
        leg.disposition is Disposition.DELIVERED
        or ((outside or from_outside) and leg.disposition is Disposition.LEFT_EVIDENCE)
        for leg in full
    )


def _crosses_wire(walked: Walked) -> bool:
    return any(
        hop.netns == WIRE or any(step.stage == "wire" for step in hop.steps)
        for leg in walked.legs()
        for hop in leg.trace.hops
    )


def _wrong_host(ends: FlowEnds, walked: Walked) -> Finding:
    hop = walked.request.trace.hops[-1]
    where = hop.netns.removeprefix("pod:") if hop.netns != "host" else hop.node
    routes = [s for h in walked.request.trace.hops for s in h.steps if s.stage in ("route", "neighbour", "fdb")]
    return Finding(
        code="wrong-host",
        title=f"The packet is delivered to {where}, not to {ends.dst.name}",
        severity="critical",
        confidence="proven" if walked.request.result.certain else "strong",
        because=f"{ends.dst.ip} is answered by {where} on {hop.node}",
        direction="request",
        step=hop.step,
        node=hop.node,
        netns=hop.netns,
        object=f"address {ends.dst.ip}",
        place="ipam",
        died_node=hop.node,
        died_step=hop.step,
        disposition=Disposition.WRONG_HOST,
        evidence=tuple(source for step in routes[-3:] for source in step.sources),
        verify=(f"ip route get {ends.dst.ip}",),
    )


def _combined(branches: tuple[Branch, ...]) -> Verdict:
    verdicts = [branch.verdict for branch in branches]
    if not verdicts:
        return Verdict.INCONCLUSIVE
    broken = [verdict is Verdict.BREAK for verdict in verdicts]
    if all(broken):
        return Verdict.BREAK
    if any(broken):
        return Verdict.PARTIAL
    for verdict in (Verdict.INCONCLUSIVE, Verdict.CLEAR_IN_NODES):
        if verdict in verdicts:
            return verdict
    return Verdict.NO_BREAK


def share_text(share: Fraction) -> str:
    """ "1/3" for what `--probability 0.33333333349` means; other shares in per cent."""
    simple = share.limit_denominator(1000)
    return str(simple) if abs(simple - share) < Fraction(1, 1_000_000) else f"{float(share):.1%}"


def _summary(
    verdict: Verdict,
    breaks: tuple[Finding, ...],
    missing: tuple[MissingEvidence, ...],
    branches: tuple[Branch, ...],
    proofs: list[WireProof],
) -> str:
    if verdict is Verdict.PARTIAL:
        broken = [branch for branch in branches if branch.verdict is Verdict.BREAK]
        share = sum((branch.share for branch in broken), Fraction(0))
        ways = f"{len(broken)} of {len(branches)} ways break ({share.limit_denominator(100)} of new connections)"
        return f"{ways}: {breaks[0].title}"
    if breaks:
        return breaks[0].title
    if verdict is Verdict.NO_BREAK:
        words = next((proof.words for proof in proofs if proof.words), "")
        return "Every step of both directions passes" + (f"; {words}" if words else "")
    if verdict is Verdict.CLEAR_IN_NODES:
        return "No fault inside the nodes; the wire between them was not observed"
    if missing:
        return f"Not enough evidence: {missing[0].why}"
    return "Not enough evidence"


def first_unknown(leg: Leg) -> Step | None:
    """The first step of the leg that evidence did not decide."""
    for hop in leg.trace.hops:
        for step in hop.steps:
            if step.outcome is Outcome.UNKNOWN:
                return step
    return None
