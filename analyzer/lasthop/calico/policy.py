"""Intent: what the policies as written say about one flow, egress of the sender and ingress of the receiver.

Order and verdicts: felix/calc/policy_sorter.go and felix/rules/endpoints.go: tiers by order, policies by order inside
a tier, rules top-down; a tier with an applying policy ends in its default action, profiles come last, no allow is a
drop. Staged policies are not enforced. Established connections are not judged here: this is about new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lasthop.facts.calico import HostEndpoint, Policy, PolicyRule, WorkloadEndpoint
from lasthop.facts.evidence import Absent, Complete, SourceRef
from lasthop.facts.network import Ip

from . import kube_policy
from .endpoints import Endpoints
from .peers import Check, Party, all_of, entity, party
from .selectors import LabelView, SelectorError, evaluate, parse, with_prefix
from .tiers import tiers_of
from .version import listed

ALLOW, DENY, UNKNOWN, NOT_POLICED = "allow", "deny", "unknown", "not-policed"
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}


@dataclass(frozen=True, slots=True)
class NearRule:
    """A rule that would allow the flow but for `because` (one sentence per condition that does not hold)."""

    policy: Policy
    rule: int
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DirectionVerdict:
    """`outcome` is allow, deny, unknown or not-policed. `policy` and `rule` (from 0) are what decided; both None for a
    default: then `tier` is the tier whose end denies, "" for the profiles. `why` is one sentence."""

    direction: str
    outcome: str
    why: str
    policy: Policy | None = None
    rule: int | None = None
    tier: str = ""
    profile: str = ""
    nearest: NearRule | None = None
    sources: tuple[SourceRef, ...] = ()

    @property
    def by_default(self) -> bool:
        """Denied because no rule said anything."""
        return self.outcome == DENY and self.policy is None


@dataclass(frozen=True, slots=True)
class FlowVerdict:
    egress: DirectionVerdict
    ingress: DirectionVerdict

    @property
    def outcome(self) -> str:
        outcomes = (self.egress.outcome, self.ingress.outcome)
        if DENY in outcomes:
            return DENY
        return UNKNOWN if UNKNOWN in outcomes else ALLOW


@dataclass(frozen=True, slots=True)
class _End:
    """One possible end of the walk; `unless` is the doubt under which it is reached."""

    action: str
    policy: Policy | None = None
    rule: int | None = None
    tier: str = ""
    profile: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Flow:
    direction: str
    endpoint: WorkloadEndpoint
    labels: LabelView
    src: Party
    dst: Party
    proto: str
    icmp: tuple[int, int] | None

    @property
    def peer(self) -> Party:
        return self.src if self.direction == "ingress" else self.dst


class PolicyBook:
    """All policies of one snapshot in the order of evaluation."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        cluster = endpoints.snapshot.cluster
        self.complete = isinstance(cluster.policies, Complete)
        self.known = not isinstance(cluster.policies, Absent)
        objects = cluster.calico_objects
        self._profiles_listed = listed(endpoints.snapshot, "calico_profiles")
        self._profiles = {item.name: item for item in objects.values if item.kind == "Profile"}
        self.tiers = tiers_of(endpoints.snapshot)
        self._party = lru_cache(maxsize=4096)(self._build_party)

    def _build_party(self, ip: Ip, port: int | None) -> Party:
        return party(self.endpoints, ip, port)

    def judge(
        self,
        src: Ip,
        dst: Ip,
        proto: str,
        port: int | None = None,
        sport: int | None = None,
        icmp: tuple[int, int] | None = None,
    ) -> FlowVerdict:
        """What the policies say about a new flow, addresses and port as the filter table sees them (after DNAT).

        Same-node host to pod is never policed by Calico; addresses without an endpoint have no policy of their own.
        """
        source, target = self._party(src, sport), self._party(dst, port)
        here, there = self.endpoints.by_ip(src), self.endpoints.by_ip(dst)
        egress = self._end("egress", here, source, target, proto.lower(), icmp)
        if there and not here and self.endpoints.node_of(src) == there[0].node:
            why = f"the node's own traffic to its pod {_title(there[0])} is not policed by Calico"
            return FlowVerdict(egress, DirectionVerdict("ingress", NOT_POLICED, why))
        return FlowVerdict(egress, self._end("ingress", there, source, target, proto.lower(), icmp))

    def _end(
        self,
        direction: str,
        found: tuple[WorkloadEndpoint, ...],
        src: Party,
        dst: Party,
        proto: str,
        icmp: tuple[int, int] | None,
    ) -> DirectionVerdict:
        end = src if direction == "egress" else dst
        if len(found) > 1:
            return DirectionVerdict(direction, UNKNOWN, f"{len(found)} endpoints have the address {end.ip}")
        if not found:
            return self._no_workload(direction, end)
        flow = _Flow(direction, found[0], self.endpoints.labels(found[0]), src, dst, proto, icmp)
        if not self.known:
            return DirectionVerdict(direction, UNKNOWN, "the policies were not collected")
        verdict = self._walk(flow)
        if not self.complete and verdict.outcome != UNKNOWN:
            return DirectionVerdict(direction, UNKNOWN, "not all policies are known", nearest=verdict.nearest)
        return verdict

    def _no_workload(self, direction: str, end: Party) -> DirectionVerdict:
        place = end.place
        hosts: tuple[HostEndpoint, ...] = place.host_endpoints if place is not None else ()
        if hosts:
            names = ", ".join(item.name for item in hosts[:3])
            return DirectionVerdict(direction, UNKNOWN, f"policies of host endpoint {names} are not evaluated")
        if place is not None and place.kind in ("node", "tunnel"):
            return DirectionVerdict(
                direction, NOT_POLICED, f"{end.ip} is node {place.node}, which has no host endpoint"
            )
        if place is not None and place.service is not None:
            service = f"{place.service.namespace}/{place.service.name}"
            why = f"{end.ip} is service {service}: policies see the backend, after DNAT"
            return DirectionVerdict(direction, NOT_POLICED, why)
        if not self.endpoints.pods_complete() and place is not None and not place.kind:
            return DirectionVerdict(direction, UNKNOWN, f"it is not known what has the address {end.ip}")
        return DirectionVerdict(direction, NOT_POLICED, f"{end.ip} is no endpoint of this cluster")

    # -- the walk over tiers

    def _walk(self, flow: _Flow) -> DirectionVerdict:
        ends = list(self._tier(flow, 0))
        last = ends[-1]
        if any(end.action != last.action for end in ends):
            doubt = next((end.doubt for end in ends if end.doubt), "labels are not known")
            return DirectionVerdict(flow.direction, UNKNOWN, doubt, nearest=self._nearest(flow))
        nearest = self._nearest(flow) if last.action == DENY else None
        if nearest is not None and not nearest.because:
            nearest = NearRule(nearest.policy, nearest.rule, (f"it is never reached: {_why(flow, last)}",))
        policy = last.policy
        return DirectionVerdict(
            flow.direction,
            last.action,
            _why(flow, last),
            policy,
            last.rule,
            last.tier,
            last.profile,
            nearest,
            (policy.source,) if policy is not None else (),
        )

    def _tier(self, flow: _Flow, index: int) -> Iterator[_End]:
        """Every end that is possible from this tier on; the last one is reached when no doubt is true."""
        if index >= len(self.tiers):
            yield from self._profile_ends(flow)
            return
        tier = self.tiers[index]
        selected: bool | None = False
        for policy in tier.policies:
            applies = self._applies(policy, flow)
            if applies is False:
                continue
            selected = True if applies or selected else None
            for number, rule in enumerate(policy.ingress if flow.direction == "ingress" else policy.egress):
                action = {"Accept": "Allow"}.get(rule.action, rule.action)
                if action == "Log":
                    continue
                checks = self._checks(policy, rule, flow)
                matched = all_of((applies, *(check.outcome for check in checks)))
                if matched is False:
                    continue
                doubt = "" if matched else _doubt(policy, number, applies, checks)
                if action == "Pass":
                    for end in self._tier(flow, index + 1):
                        yield end if matched else _doubted(end, doubt)
                elif action in ("Allow", "Deny"):
                    yield _End(ALLOW if action == "Allow" else DENY, policy, number, tier.name, doubt=doubt)
                else:
                    yield _End(UNKNOWN, policy, number, tier.name, doubt=f"action {action!r} is not understood")
                    continue
                if matched:
                    return
        if selected is not True or tier.default == "Pass":
            rest = self._tier(flow, index + 1)
            if selected is False or tier.default == "Pass":
                yield from rest
                return
            yield _End(DENY, tier=tier.name)
            doubt = f"it is not known whether a policy of tier {tier.name} selects {_title(flow.endpoint)}"
            yield from (_doubted(end, doubt) for end in rest)
            return
        if tier.default == "":
            doubt = f"the default action of tier {tier.name} is not known"
            yield from (_doubted(end, doubt) for end in self._tier(flow, index + 1))
        yield _End(DENY, tier=tier.name)

    def _applies(self, policy: Policy, flow: _Flow) -> bool | None:
        if flow.direction.capitalize() not in policy.types:
            return False
        if policy.kind == "KubernetesNetworkPolicy" or policy.kind in kube_policy.ADMIN_KINDS:
            return kube_policy.applies(policy, flow.endpoint, flow.labels)
        if policy.namespace and policy.namespace != flow.endpoint.namespace:
            return False
        if policy.pre_dnat or policy.do_not_track:
            return False
        spec = policy.raw.get("spec")
        body: dict[str, Any] = spec if isinstance(spec, dict) else {}
        try:
            selectors = [parse(policy.selector)]
            if text := str(body.get("namespaceSelector") or ""):
                selectors.append(with_prefix(parse(text), "pcns."))
            if text := str(body.get("serviceAccountSelector") or ""):
                selectors.append(with_prefix(parse(text), "pcsa."))
        except SelectorError:
            return None
        return all_of(evaluate(selector, flow.labels) for selector in selectors)

    def _checks(self, policy: Policy, rule: PolicyRule, flow: _Flow) -> list[Check]:
        if policy.kind == "KubernetesNetworkPolicy" or policy.kind in kube_policy.ADMIN_KINDS:
            return kube_policy.rule_checks(policy, rule, flow.direction, flow.peer, flow.dst, flow.proto)
        return self._rule(rule.raw, flow, policy.namespace)

    def _rule(self, body: Any, flow: _Flow, namespace: str) -> list[Check]:
        """Conditions of a Calico rule (also of a profile's)."""
        checks: list[Check] = []
        version = body.get("ipVersion")
        if version is not None:
            checks.append(Check(str(version) == str(flow.dst.ip.version), f"the rule is for IPv{version}"))
        if body.get("protocol") is not None:
            same = _same_protocol(body["protocol"], flow.proto)
            checks.append(Check(same, f"protocol {flow.proto} is not {body['protocol']}"))
        not_protocol = body.get("notProtocol", body.get("!protocol"))
        if not_protocol is not None:
            checks.append(Check(not _same_protocol(not_protocol, flow.proto), f"protocol {flow.proto} is excluded"))
        for key, wanted in (("icmp", True), ("notICMP", False), ("!icmp", False)):
            if isinstance(body.get(key), dict):
                checks.append(_icmp(body[key], flow, wanted))
        for side, end in (("source", flow.src), ("destination", flow.dst)):
            if isinstance(body.get(side), dict):
                checks += entity(self.endpoints, body[side], side, end, flow.proto, namespace)
        return checks

    def _profile_ends(self, flow: _Flow) -> Iterator[_End]:
        for name in flow.endpoint.profiles:
            profile = self._profiles.get(name)
            if profile is None:
                if self._profiles and self._profiles_listed:
                    # Felix renders a profile that it never got as a chain that drops everything.
                    yield _End(DENY, profile=name)
                    return
                if name.startswith("kns."):
                    yield _End(ALLOW, profile=name)
                    return
                if not name.startswith("ksa."):
                    yield _End(ALLOW, profile=name, doubt=f"profile {name} was not collected")
                continue
            spec = profile.raw.get("spec")
            rules = spec.get(flow.direction) if isinstance(spec, dict) else None
            for number, body in enumerate(rules if isinstance(rules, list) else []):
                if not isinstance(body, dict):
                    continue
                action = str(body.get("action", "")).capitalize()
                matched = all_of(check.outcome for check in self._rule(body, flow, ""))
                if matched is False or action not in ("Allow", "Deny"):
                    continue
                doubt = "" if matched else f"rule {number + 1} of profile {name} cannot be decided"
                yield _End(ALLOW if action == "Allow" else DENY, rule=number, profile=name, doubt=doubt)
                if matched:
                    return
        yield _End(DENY)

    # -- the nearest rule that would allow

    def _nearest(self, flow: _Flow) -> NearRule | None:
        """The allow rule with the fewest conditions that fail, of policies that select the endpoint or, failing that
        by one condition, of its namespace."""
        best: NearRule | None = None
        for policy in (policy for tier in self.tiers for policy in tier.policies):
            rules = policy.ingress if flow.direction == "ingress" else policy.egress
            if flow.direction.capitalize() not in policy.types or not rules:
                continue
            if policy.namespace not in ("", flow.endpoint.namespace):
                continue
            applies = self._applies(policy, flow)
            selects = (
                () if applies else (f"the policy's selector {policy.selector or 'all()'} does not select the pod",)
            )
            for number, rule in enumerate(rules):
                if rule.action not in ("Allow", "Accept"):
                    continue
                failing = (check.said for check in self._checks(policy, rule, flow) if check.outcome is not True)
                near = NearRule(policy, number, (*selects, *failing))
                if best is None or len(near.because) < len(best.because):
                    best = near
        return best


def _same_protocol(written: object, proto: str) -> bool:
    word = str(written).lower()
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 4 else _PROTOCOLS.get(word, -1)
    return number == _PROTOCOLS.get(proto, int(proto) if proto.isascii() and proto.isdigit() else -2)


def _icmp(body: dict[str, Any], flow: _Flow, wanted: bool) -> Check:
    if flow.proto not in ("icmp", "icmpv6"):
        return Check(not wanted, f"{flow.proto} is not ICMP")
    if flow.icmp is None:
        return Check(None, "the ICMP type is not known")
    kind = body.get("type") is None or str(body["type"]) == str(flow.icmp[0])
    code = body.get("code") is None or str(body["code"]) == str(flow.icmp[1])
    return Check((kind and code) == wanted, f"ICMP type {flow.icmp[0]} code {flow.icmp[1]} does not match")


def _title(endpoint: WorkloadEndpoint) -> str:
    return f"{endpoint.namespace}/{endpoint.pod}"


def _label(policy: Policy) -> str:
    return f"{policy.kind} {policy.namespace}/{policy.name}" if policy.namespace else f"{policy.kind} {policy.name}"


def _doubt(policy: Policy, number: int, applies: bool | None, checks: list[Check]) -> str:
    if applies is None:
        return f"it is not known whether {_label(policy)} selects the pod"
    said = next((check.said for check in checks if check.outcome is None), "")
    return f"rule {number + 1} of {_label(policy)} cannot be decided: it is not known whether {said}"


def _doubted(end: _End, doubt: str) -> _End:
    return _End(end.action, end.policy, end.rule, end.tier, end.profile, end.doubt or doubt)


def _why(flow: _Flow, end: _End) -> str:
    pod = _title(flow.endpoint)
    if end.policy is not None and end.rule is not None:
        verb = "allows" if end.action == ALLOW else "denies"
        return f"rule {end.rule + 1} of {_label(end.policy)} ({flow.direction} of {pod}) {verb} it"
    if end.profile:
        return f"profile {end.profile} {'allows' if end.action == ALLOW else 'denies'} {flow.direction} of {pod}"
    if end.tier:
        return f"no rule of tier {end.tier} allows it, and policies of that tier select {pod} for {flow.direction}"
    return f"no profile of {pod} allows {flow.direction}"
