"""Whose rule dropped the packet: a policy as written, a policy rendered differently, Calico's own checks, kube-proxy,
or a stranger's rule.

Chain names and comments are Felix's and kube-proxy's (felix/rules/*.go, pkg/proxy/iptables/proxier.go); versions
differ, so a comment's words are only ever looked for, never required.
"""

from __future__ import annotations

import re

from lasthop.calico.names import owner_of_comment
from lasthop.facts.evidence import SourceRef
from lasthop.facts.netfilter import NetfilterRule
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Hop, RuleVisit, Step, Truth
from lasthop.sim.world import World

from .fault import Fault, change, check
from .intent import Intent, intent_of
from .knowledge import Knowledge

TERMINAL = frozenset({"DROP", "REJECT"})
POLICY_CHAINS = ("cali-pi-", "cali-po-", "cali-pri-", "cali-pro-", "cali-gi-", "cali-go-")
ENDPOINT_CHAINS = ("cali-tw-", "cali-fw-", "cali-sm-")
HOST_CHAINS = ("cali-th-", "cali-fh-", "cali-thfw-", "cali-fhfw-")
NATIVE = "native"
NATIVE_PREFIX = re.compile(r"^(?:raw|mangle|nat|filter)-(?=cali-)")
KUBE_TABLES = frozenset({"ip kube-proxy", "ip6 kube-proxy"})
SERVICE = re.compile(r"\b([a-z0-9][-a-z0-9]*/[a-z0-9][-a-z0-9.]*?)(?::[-a-z0-9]+)? has no (?:local )?endpoints")


def decider(step: Step) -> NetfilterRule | None:
    """The rule that dropped or rejected the packet; None when a chain's policy did."""
    for visit in reversed(step.visits):
        if visit.rule.target in TERMINAL and visit.truth is not Truth.NO:
            return visit.rule
    return None


def explain(knowledge: Knowledge, hop: Hop, step: Step) -> Fault:
    """The fault behind a drop or reject; the walk ended in `step` of `hop`."""
    rule = decider(step)
    if rule is None:
        return _chain_policy(hop, step)
    if "INVALID" in _match_words(rule):
        return _invalid(hop, step, rule)
    chain = plain_chain(rule)
    if chain.startswith("KUBE-") or rule.table in KUBE_TABLES or SERVICE.search(rule.comment):
        return _kube(hop, step, rule)
    if chain.startswith(POLICY_CHAINS) or chain.startswith(ENDPOINT_CHAINS + HOST_CHAINS):
        return _policy(knowledge, hop, step, rule)
    if chain.startswith("cali-"):
        return _calico_check(hop, step, rule)
    return _foreign(hop, step, rule)


def _match_words(rule: NetfilterRule) -> str:
    return " ".join(value for match in rule.matches if not match.negated for value in match.values)


def plain_chain(rule: NetfilterRule) -> str:
    """The chain's name as in iptables: with nftables Felix puts the table before it (felix/nftables/table.go)."""
    return _without_table(rule.chain) if rule.backend == NATIVE else rule.chain


def _without_table(chain: str) -> str:
    return NATIVE_PREFIX.sub("", chain)


def rule_name(rule: NetfilterRule) -> str:
    program = "nftables" if rule.backend == NATIVE else f"iptables-{rule.backend}"
    return f"{rule.table} {rule.chain} rule {rule.index} ({program})"


def _list_command(rule: NetfilterRule, numbers: bool = False) -> str:
    if rule.backend == NATIVE:
        return f"nft {'-a ' if numbers else ''}list chain {rule.table} {rule.chain}"
    return f"{_binary(rule)} -t {rule.table} -L {rule.chain} -n -v" + (" --line-numbers" if numbers else "")


def _binary(rule: NetfilterRule) -> str:
    """The program of the rule's own back end: a plain `iptables` may be the other one's, where the same number is
    another rule."""
    return f"{'ip6tables' if rule.family == 6 else 'iptables'}-{rule.backend}"


def _delete_command(rule: NetfilterRule) -> str:
    """nft deletes by handle only, which the listing gives with -a."""
    if rule.backend == NATIVE:
        handle = re.search(r"# handle (\d+)\s*$", rule.source.text)
        number = handle.group(1) if handle else "N"
        hint = "" if handle else f" (N: {_list_command(rule, numbers=True)})"
        return f"nft delete rule {rule.table} {rule.chain} handle {number}  # and stop whoever adds it{hint}"
    return f"{_binary(rule)} -t {rule.table} -D {rule.chain} {rule.index}  # and stop whoever adds it"


def _carried(step: Step) -> str:
    before = step.before
    return f" The packet is the outer {before.encaps[-1].kind} packet." if before is not None and before.encaps else ""


def _chain_policy(hop: Hop, step: Step) -> Fault:
    return Fault(
        "foreign-rule-drop",
        f"The chain's policy on {hop.node} is DROP and no rule accepts the packet",
        f"policy of {step.stage}",
        step.detail + _carried(step),
        place="policy",
        verify=(_list_of_stage(step.stage),),
    )


def _list_of_stage(stage: str) -> str:
    """How to see the chain of a step "filter FORWARD" or "nftables inet fw input"."""
    words = stage.split()
    if words[0] == "nftables":
        return f"nft list chain {' '.join(words[1:])}"
    return f"iptables -t {words[0]} -L {words[-1]} -n -v"


def _foreign(hop: Hop, step: Step, rule: NetfilterRule) -> Fault:
    spec = _spec(rule)
    return Fault(
        "foreign-rule-drop",
        f"A rule on {hop.node} that is neither Calico's nor kube-proxy's drops the packet",
        rule_name(rule),
        f"{rule.target} by {rule_name(rule)}: {spec}.{_carried(step)}",
        place="policy",
        evidence=(rule.source,),
        fix=(change(_delete_command(rule), hop.node),),
        verify=(_list_command(rule, numbers=True),),
    )


def _spec(rule: NetfilterRule) -> str:
    text = rule.source.text.strip()
    return re.sub(r"^\[\d+:\d+\]\s*", "", text)


def _invalid(hop: Hop, step: Step, rule: NetfilterRule) -> Fault:
    return Fault(
        "conntrack-invalid",
        f"{hop.node} drops the packet as INVALID: it does not know the connection",
        rule_name(rule),
        f"{hop.node} sees this packet without having seen the connection's first one "
        f"({_spec(rule)}): the two directions take different ways",
        place="policy",
        evidence=(rule.source,),
        verify=("conntrack -L", _list_command(rule)),
    )


def _kube(hop: Hop, step: Step, rule: NetfilterRule) -> Fault:
    found = SERVICE.search(rule.comment)
    if found is None:
        return Fault(
            "foreign-rule-drop",
            f"kube-proxy's rule on {hop.node} drops the packet",
            rule_name(rule),
            _spec(rule),
            place="service",
            evidence=(rule.source,),
        )
    name = found.group(1)
    local = "no local endpoints" in rule.comment
    title = (
        f"Service {name} has no endpoint on {hop.node} and its traffic policy is Local"
        if local
        else f"Service {name} has no ready endpoint"
    )
    namespace, _, service = name.partition("/")
    return Fault(
        "kube-proxy-no-endpoints",
        title,
        f"Service {name}",
        f"kube-proxy on {hop.node}: {rule.comment}",
        place="service",
        evidence=(rule.source,),
        fix=(check(f"kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={service}", "cluster"),),
        verify=(f"kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={service}",),
    )


def _calico_check(hop: Hop, step: Step, rule: NetfilterRule) -> Fault:
    words = rule.comment or _spec(rule)
    text = words.lower()
    if "rpfilter" in _modules(rule):
        title = f"Calico's reverse path check on {hop.node} drops the packet"
        because = (
            f"the route back to {step.before.src if step.before else 'the source'} does not leave by "
            f"{step.before.iif if step.before else 'the interface it came from'}"
        )
        return Fault(
            "rp-filter-drop",
            title,
            rule_name(rule),
            because,
            place="policy",
            evidence=(rule.source, *step.sources),
            verify=(f"ip route get {step.before.src if step.before else ''}",),
        )
    code = "calico-rule-drop"
    if "unknown interface" in text:
        code = "endpoint-not-rendered"
    elif step.before is not None and step.before.encaps:
        code = "encapsulation-dropped"
    title = f"Calico on {hop.node} drops the packet: {words}"
    return Fault(
        code,
        title,
        rule_name(rule),
        _spec(rule) + _carried(step),
        place="policy",
        evidence=(rule.source,),
        fix=(check("kubectl logs -n kube-system -l k8s-app=calico-node --tail=100", hop.node),),
        verify=(_list_command(rule),),
    )


def _modules(rule: NetfilterRule) -> set[str]:
    return {match.module for match in rule.matches}


def _policy(knowledge: Knowledge, hop: Hop, step: Step, rule: NetfilterRule) -> Fault:
    """A drop by a policy's own rule, or at the end of a tier because no policy allowed."""
    chain = plain_chain(rule)
    incoming = chain.startswith(("cali-pi-", "cali-pri-", "cali-gi-", "cali-tw-", "cali-th-", "cali-thfw-"))
    direction = "ingress" if incoming else "egress"
    explicit = chain.startswith(POLICY_CHAINS)
    names = policies_met(knowledge.world, hop, step, rule, direction)
    intent = intent_of(knowledge, step, direction)
    policy = {"denied": "as-written", "allowed": "rendered-differs"}.get(intent.verdict)
    pod = intent.endpoint or rule.chain
    written = intent.by or (names[-1] if explicit and names else ", ".join(names))
    evidence = (rule.source, *intent.sources)
    if policy == "rendered-differs":
        return _rendered(hop, step, rule, intent, written, evidence)
    if explicit:
        title = f"{direction.capitalize()} policy of {pod} denies the packet: {written}"
        code, because = "policy-deny", f"{written} denies {direction}: {_spec(rule)}"
    else:
        title = f"No {direction} policy of {pod} allows the packet"
        code, because = "policy-default-deny", f"policies {written or 'of the endpoint'} apply and none allows it"
    if intent.nearest:
        because += f"; nearest rule: {intent.nearest}"
    return Fault(
        code,
        title,
        written or rule.chain,
        because,
        place="policy",
        policy=policy,
        evidence=evidence,
        fix=(check(_get_command(written), "cluster"),),
        verify=(_list_command(rule),),
    )


def _rendered(
    hop: Hop, step: Step, rule: NetfilterRule, intent: Intent, written: str, evidence: tuple[SourceRef, ...]
) -> Fault:
    stale = stale_set(step, incoming=intent.direction == "ingress")
    restart = change(
        f"kubectl delete pod -n kube-system -l k8s-app=calico-node --field-selector spec.nodeName={hop.node}", "cluster"
    )
    log = check("kubectl logs -n kube-system -l k8s-app=calico-node --tail=100", hop.node)
    if stale is not None:
        name, address, visit = stale
        return Fault(
            "stale-ipset",
            f"The ipset of an allowing policy on {hop.node} lacks {address}",
            f"ipset {name}",
            f"{intent.by or written} allows the packet, but {name} on {hop.node} does not hold {address}: {visit.why}",
            place="policy",
            policy="rendered-differs",
            evidence=(*evidence, visit.rule.source),
            fix=(log, restart),
            verify=(
                f"nft get element {visit.rule.table} {name} {{ {address} }}"
                if visit.rule.backend == NATIVE
                else f"ipset test {name} {address}",
            ),
        )
    return Fault(
        "policy-rendered-differs",
        f"The rules on {hop.node} deny what the policies allow",
        written or rule.chain,
        f"the policies allow the packet ({intent.by}), the rules of {hop.node} do not: {_spec(rule)}",
        place="policy",
        policy="rendered-differs",
        evidence=evidence,
        fix=(log, restart),
        verify=(_list_command(rule),),
    )


def stale_set(step: Step, incoming: bool) -> tuple[str, str, RuleVisit] | None:
    """(set, address, visit) of a rule that failed only because the peer's address is not in its set."""
    peer = (step.before.src if incoming else step.before.dst) if step.before is not None else None
    for visit in (*step.near_misses, *step.visits):
        if visit.truth is not Truth.NO or not plain_chain(visit.rule).startswith(POLICY_CHAINS):
            continue
        for match in visit.rule.matches:
            side = "src" if incoming else "dst"
            sides = "".join(match.values[1:2]).split(",")
            of_peer = match.option == "match-set" and not match.negated and side in sides
            if of_peer and match.values[0] in visit.why:
                return match.values[0], str(peer), visit
    return None


def policies_met(world: World, hop: Hop, step: Step, rule: NetfilterRule, direction: str) -> tuple[str, ...]:
    """Names ("NetworkPolicy shop/web-ingress") of the policies whose chains the packet went through here."""
    netns = world.netns(hop.node, hop.netns)
    chains: list[str] = []
    for visit in step.visits:
        for chain in (visit.rule.chain, visit.rule.target if visit.truth is not Truth.NO else ""):
            plain = _without_table(chain) if rule.backend == NATIVE else chain
            if plain.startswith(POLICY_CHAINS) and chain not in chains:
                chains.append(chain)
    names: list[str] = []
    for chain in chains if netns is not None else ():
        assert netns is not None
        owner = next((found for text in _comments(netns, rule, chain) if (found := owner_of_comment(text))), None)
        if owner is not None and owner.direction == direction and owner.kind != "Profile":
            scope = f"{owner.namespace}/" if owner.namespace else ""
            names.append(f"{owner.kind or 'Policy'} {scope}{owner.name}")
        elif owner is not None and owner.direction == direction:
            names.append(f"Profile {owner.name}")
    return tuple(dict.fromkeys(names))


def _comments(netns: NetNS, rule: NetfilterRule, chain: str) -> tuple[str, ...]:
    """Comments of a chain in the ruleset that `rule` is from."""
    if rule.backend == NATIVE:
        family, _, table = rule.table.partition(" ")
        return tuple(r.comment for listing in netns.nft.values for r in listing.rules(family, table, chain))
    rulesets = netns.ruleset(rule.backend, rule.family).values
    return tuple(r.comment for ruleset in rulesets for r in ruleset.rules("filter", chain))


def _get_command(written: str) -> str:
    first = written.split(",")[0].split()
    if len(first) != 2:
        return "calicoctl get networkpolicy,globalnetworkpolicy -A -o yaml"
    kind, name = first
    namespace, slash, plain = name.rpartition("/")
    where = f" -n {namespace}" if slash else ""
    return f"calicoctl get {kind.lower()}{where} {plain} -o yaml"
