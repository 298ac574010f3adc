"""The rules, sets and hashes that Felix would program on one node, in Felix's own spelling.

Chain texts, their order and the rule hashes follow felix/rules/*.go, felix/generictables/rules.go and
felix/iptables/{match_builder,actions,renderer}.go of Calico v3.33-dev and v3.27; hash and name algorithms follow
libcalico-go/lib/hash/unique_id.go. Hashes depend on every byte of the rendered text, so equal hashes prove an equal
text.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from .model import POOL, VXLAN_DEVICE, ClusterSpec, Node, Pod, Policy, PolicyRule, matches

Chains = dict[str, list[str]]
ACCEPT, PASS = 0x10000, 0x20000


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the two rendered versions: marks, set names and some texts."""

    version: str
    drop: int
    scratch: int
    all_bits: int
    forward_clear: int
    endpoint_clear: int
    pools_set: str
    dscp: bool
    masq_ports: bool
    notrack: bool
    nat_postrouting_last: bool
    trim_last_return: bool
    tiers_named: bool


V3_33 = Dialect(
    "v3.33", 0x40000, 0x80000, 0x1B0000, 0x1A0000, 0x30000, "cali40network-ip-pools", True, True, True, True, True, True
)
V3_27 = Dialect(
    "v3.27", 0, 0x40000, 0xF0000, 0xE0000, 0x10000, "cali40all-ipam-pools", False, False, False, False, False, False
)
DIALECTS = {"v3.33": V3_33, "v3.27": V3_27}


def rule_hashes(chain: str, rules: list[str]) -> list[str]:
    """The 16-character hash of each rule: a SHA-224 chain seeded with the chain's name (generictables/rules.go
    RuleHashes).
    """
    digest = hashlib.sha224(chain.encode()).digest()
    hashes = []
    for rule in rules:
        digest = hashlib.sha224(digest + f"-A {chain} HASH {rule}".encode()).digest()
        hashes.append(base64.urlsafe_b64encode(digest).decode()[:16])
    return hashes


def length_limited(prefix: str, ident: str, limit: int) -> str:
    """prefix + ident when it fits, else prefix + `_` + url-safe base64 of SHA256(ident), cut
    (hash.GetLengthLimitedID).
    """
    if len(prefix) + len(ident) <= limit:
        return prefix + ident
    digest = base64.urlsafe_b64encode(hashlib.sha256(ident.encode()).digest()).decode().rstrip("=")
    return (prefix + "_" + digest)[:limit]


def canonical_selector(labels: dict[str, str], namespace: str | None, selected_namespace: str | None = None) -> str:
    """The selector as Felix prints it after parsing: double quotes, every && list in parentheses, namespace first.

    `namespace` is the policy's own (no namespaceSelector), `selected_namespace` the one that a namespaceSelector names.
    """
    terms = [f'{key} == "{value}"' for key, value in labels.items()]
    own = terms[0] if len(terms) == 1 else "(" + " && ".join(terms) + ")" if terms else "all()"
    if selected_namespace:
        return f'(pcns.projectcalico.org/name == "{selected_namespace}" && {own})'
    return own if namespace is None else f'(projectcalico.org/namespace == "{namespace}" && {own})'


def selector_set(labels: dict[str, str], namespace: str | None, selected_namespace: str | None = None) -> str:
    """The IPv4 ipset name of a selector."""
    digest = hashlib.sha224(("s:" + canonical_selector(labels, namespace, selected_namespace)).encode()).digest()
    return ("cali40s:" + base64.urlsafe_b64encode(digest).decode())[:31]


class NodeRules:
    """Everything Felix programs on one node: chains per table (hashed later), hook rules and sets."""

    def __init__(self, spec: ClusterSpec, node: Node) -> None:
        self.spec = spec
        self.node = node
        self.tables: dict[str, Chains] = {"raw": {}, "mangle": {}, "nat": {}, "filter": {}}
        self.sets: dict[str, tuple[str, list[str]]] = {}
        self.d = DIALECTS[spec.calico]
        self.vxlan = spec.routing == "vxlan"
        self.pods = spec.pods_of(node.name)
        self._base_sets()
        self._raw()
        self._mangle()
        self._nat()
        self._filter()

    # -- sets ---------------------------------------------------------------------------------------------------------

    def _base_sets(self) -> None:
        local = ["127.0.0.1", "127.0.0.0", self.node.ip] + ([self.node.tunnel_ip] if self.vxlan else [])
        self.sets["cali40this-host"] = ("hash:ip", local)
        self.sets[self.d.pools_set] = ("hash:net", [str(POOL)])
        self.sets["cali40masq-ipam-pools"] = ("hash:net", [str(POOL)])
        if self.d.dscp:
            self.sets["cali40dscp-src-net"] = ("hash:net", [])
        if self.vxlan:
            self.sets["cali40all-vxlan-net"] = (
                "hash:net",
                [str(n.calico_address.ip) for n in self.spec.nodes if n is not self.node],
            )

    def _peer_set(self, policy: Policy, rule: PolicyRule) -> str:
        assert rule.peer is not None
        name = selector_set(rule.peer, policy.namespace, rule.peer_namespace)
        namespace = rule.peer_namespace or policy.namespace
        peers = [pod.ip for pod in self.spec.pods if namespace in (None, pod.namespace) and matches(rule.peer, pod)]
        self.sets[name] = ("hash:net", peers)
        return name

    # -- tables -------------------------------------------------------------------------------------------------------

    def _raw(self) -> None:
        d, t = self.d, self.tables["raw"]
        notrack = ["-p udp --dport 4789 --jump NOTRACK"] if self.vxlan and d.notrack else []
        workload = f"-m mark --mark {d.scratch:#x}/{d.scratch:#x}"
        t["cali-PREROUTING"] = [
            clear(d.all_bits),
            *notrack,
            f"--in-interface cali+ {put(d.scratch)}",
            f"{workload} --jump cali-rpf-skip",
            f"{workload} -m rpfilter --invert --validmark --jump DROP",
            f"-m mark --mark 0/{d.scratch:#x} --jump cali-from-host-endpoint",
            f"{has(ACCEPT)} --jump ACCEPT",
        ]
        t["cali-OUTPUT"] = [clear(d.all_bits), "--jump cali-to-host-endpoint", *notrack, f"{has(ACCEPT)} --jump ACCEPT"]
        t["cali-rpf-skip"] = []
        t["cali-from-host-endpoint"] = []
        t["cali-to-host-endpoint"] = []

    def _mangle(self) -> None:
        d, t = self.d, self.tables["mangle"]
        accepted = comment("Host endpoint policy accepted packet.")
        dscp = (
            f"{comment('set dscp for traffic leaving cluster.')} -m set --match-set cali40dscp-src-net src "
            f"-m set ! --match-set {d.pools_set} dst -m set ! --match-set cali40this-host dst --jump cali-egress-dscp"
        )
        t["cali-PREROUTING"] = [
            "-m conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT",
            f"{has(ACCEPT)} --jump ACCEPT",
            "--jump cali-from-host-endpoint",
            f"{accepted} {has(ACCEPT)} --jump ACCEPT",
        ]
        t["cali-POSTROUTING"] = [
            *([dscp] if d.dscp else []),
            f"{has(ACCEPT)} --jump RETURN",
            clear(d.all_bits),
            "-m conntrack --ctstate DNAT --jump cali-to-host-endpoint",
            f"{accepted} {has(ACCEPT)} --jump RETURN",
        ]
        if d.dscp:
            t["cali-egress-dscp"] = []
        t["cali-from-host-endpoint"] = []
        t["cali-to-host-endpoint"] = []

    def _nat(self) -> None:
        d, t = self.d, self.tables["nat"]
        t["cali-PREROUTING"] = ["--jump cali-fip-dnat"]
        t["cali-OUTPUT"] = ["--jump cali-fip-dnat"]
        tunnel = f"--out-interface {VXLAN_DEVICE}"
        local = "-m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL --jump MASQUERADE"
        masquerade = []
        if self.vxlan and d.masq_ports:
            masquerade.append(f"-p 17 {tunnel} {local} --to-ports 4790-65535 --random-fully")
        if self.vxlan:
            masquerade.append(f"{tunnel} {local} --random-fully")
        t["cali-POSTROUTING"] = ["--jump cali-fip-snat", "--jump cali-nat-outgoing", *masquerade]
        t["cali-nat-outgoing"] = [
            "-m set --match-set cali40masq-ipam-pools src "
            f"-m set ! --match-set {d.pools_set} dst --jump MASQUERADE --random-fully"
        ]
        t["cali-fip-dnat"] = []
        t["cali-fip-snat"] = []

    def _filter(self) -> None:
        d, t = self.d, self.tables["filter"]
        accepted = comment("Host endpoint policy accepted packet.")
        allowed = "-m set --match-set cali40all-vxlan-net"
        into, out = [], []
        if self.vxlan:
            port = "-p 17"
            dports = "-m multiport --destination-ports 4789"
            into = [
                f"{comment('Allow IPv4 VXLAN packets from allowed hosts')} {port} {dports} {allowed} src "
                "-m addrtype --dst-type LOCAL --jump ACCEPT",
                f"{comment('Drop IPv4 VXLAN packets from non-allowed hosts')} {port} {dports} "
                "-m addrtype --dst-type LOCAL --jump DROP",
            ]
            out = [
                f"{comment('Allow IPv4 VXLAN packets to other allowed hosts')} {port} {dports} "
                f"-m addrtype --src-type LOCAL {allowed} dst --jump ACCEPT"
            ]
        t["cali-FORWARD"] = [
            clear(d.forward_clear),
            f"-m mark --mark 0/{ACCEPT:#x} --jump cali-from-hep-forward",
            "--in-interface cali+ --jump cali-from-wl-dispatch",
            "--out-interface cali+ --jump cali-to-wl-dispatch",
            "--jump cali-to-hep-forward",
            "--jump cali-cidr-block",
        ]
        t["cali-INPUT"] = [
            *into,
            "--in-interface cali+ --goto cali-wl-to-host",
            f"{has(ACCEPT)} --jump ACCEPT",
            clear(d.all_bits),
            "--jump cali-from-host-endpoint",
            f"{accepted} {has(ACCEPT)} --jump ACCEPT",
        ]
        t["cali-OUTPUT"] = [
            f"{has(ACCEPT)} --jump ACCEPT",
            "--out-interface cali+ --jump RETURN",
            *out,
            clear(d.all_bits),
            "-m conntrack ! --ctstate DNAT --jump cali-to-host-endpoint",
            f"{accepted} {has(ACCEPT)} --jump ACCEPT",
        ]
        t["cali-wl-to-host"] = [
            "--jump cali-from-wl-dispatch",
            f"{comment('Configured DefaultEndpointToHostAction')} --jump ACCEPT",
        ]
        for name in ("from-hep-forward", "to-hep-forward", "from-host-endpoint", "to-host-endpoint", "cidr-block"):
            t[f"cali-{name}"] = []
        self._dispatch(t, "cali-from-wl-dispatch", "--in-interface", "cali-fw-")
        self._dispatch(t, "cali-to-wl-dispatch", "--out-interface", "cali-tw-")
        for pod in self.pods:
            t[f"cali-tw-{pod.interface}"] = self._endpoint(t, pod, ingress=True)
            t[f"cali-fw-{pod.interface}"] = self._endpoint(t, pod, ingress=False)

    def _dispatch(self, table: Chains, chain: str, direction: str, prefix: str) -> None:
        """One jump per interface; interfaces that share the next character go through a child chain
        (rules/dispatch.go).
        """
        unknown = f"{comment('Unknown interface')} --jump DROP"
        names = sorted(pod.interface for pod in self.pods)
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(name[len("cali")], []).append(name)
        rules = []
        for char, members in groups.items():
            if len(members) == 1:
                rules.append(f"{direction} {members[0]} --goto {prefix}{members[0]}")
                continue
            child = f"{chain}-{char}"
            rules.append(f"{direction} cali{char}+ --goto {child}")
            table[child] = [f"{direction} {name} --goto {prefix}{name}" for name in members] + [unknown]
        table[chain] = [*rules, unknown]

    def _endpoint(self, table: Chains, pod: Pod, ingress: bool) -> list[str]:
        """The order of rules of felix/rules/endpoints.go endpointIptablesChain."""
        d = self.d
        rules = [
            "-m conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT",
            "-m conntrack --ctstate INVALID --jump DROP",
            clear(d.endpoint_clear),
        ]
        if not ingress:
            rules.append(
                f"{comment('Drop VXLAN encapped packets originating in workloads')} -p 17 "
                "-m multiport --destination-ports 4789 --jump DROP"
            )
            rules.append(f"{comment('Drop IPinIP encapped packets originating in workloads')} -p 4 --jump DROP")
        policies = [
            policy
            for policy in sorted(self.spec.policies, key=lambda p: (p.order, p.name))
            if policy.applies_to(pod) and (policy.ingress if ingress else policy.egress) is not None
        ]
        if policies:
            rules.append(f"{comment('Start of tier default' if d.tiers_named else 'Start of policies')} {clear(PASS)}")
            for policy in policies:
                chain = self._policy_chain(table, policy, ingress)
                rules.append(f"-m mark --mark 0/{PASS:#x} --jump {chain}")
                rules.append(f"{comment('Return if policy accepted')} {has(ACCEPT)} --jump RETURN")
            end = (
                "End of tier default. Drop if no policies passed packet"
                if d.tiers_named
                else "Drop if no policies passed packet"
            )
            rules.append(f"{comment(end)} -m mark --mark 0/{PASS:#x} --jump DROP")
        for profile in pod.profiles:
            rules.append(f"--jump {self._profile_chain(table, profile, ingress)}")
            rules.append(f"{comment('Return if profile accepted')} {has(ACCEPT)} --jump RETURN")
        rules.append(f"{comment('Drop if no profiles matched')} --jump DROP")
        return rules

    def _policy_chain(self, table: Chains, policy: Policy, ingress: bool) -> str:
        kind = "np" if policy.namespace else "gnp"
        full = f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name
        if self.d.tiers_named:
            ident = f"{kind}/{full}"
            text = f"{'NetworkPolicy' if policy.namespace else 'GlobalNetworkPolicy'} {full}"
        else:
            ident = f"{policy.namespace}/default.{policy.name}" if policy.namespace else f"default.{policy.name}"
            text = f"Policy {ident}"
        chain = length_limited("cali-pi-" if ingress else "cali-po-", ident, 28)
        if chain not in table:
            name = comment(f"{text} {'ingress' if ingress else 'egress'}")
            rules: list[str] = []
            for rule in (policy.ingress if ingress else policy.egress) or ():
                rules += self._policy_rule(policy, rule, ingress)
            table[chain] = self._named(name, rules)
        return chain

    def _policy_rule(self, policy: Policy, rule: PolicyRule, ingress: bool) -> list[str]:
        side = "src" if ingress else "dst"
        match = []
        if rule.protocol:
            match.append(f"-p {rule.protocol.lower()}")
        if rule.peer_nets:
            assert len(rule.peer_nets) == 1, "several nets need scratch-bit blocks; the lab has no such policy"
            match.append(f"{'--source' if ingress else '--destination'} {rule.peer_nets[0]}")
        if rule.peer is not None:
            match.append(f"-m set --match-set {self._peer_set(policy, rule)} {side}")
        if rule.ports:
            match.append(f"-m multiport --destination-ports {','.join(map(str, rule.ports))}")
        head = " ".join(match)
        if rule.action == "Allow":
            return [join(head, put(ACCEPT)), f"{has(ACCEPT)} --jump RETURN"]
        if rule.action == "Pass":
            return [join(head, put(PASS)), f"{has(PASS)} --jump RETURN"]
        if self.d.drop:
            return [join(head, put(self.d.drop)), f"{has(self.d.drop)} --jump DROP"]
        return [join(head, "--jump DROP")]

    def _profile_chain(self, table: Chains, profile: str, ingress: bool) -> str:
        chain = length_limited("cali-pri-" if ingress else "cali-pro-", profile, 28)
        name = comment(f"Profile {profile} {'ingress' if ingress else 'egress'}")
        rules = [put(ACCEPT), f"{has(ACCEPT)} --jump RETURN"] if profile.startswith("kns.") else []
        table[chain] = self._named(name, rules)
        return chain

    def _named(self, name: str, rules: list[str]) -> list[str]:
        """The chain's name stands as a comment on its first rule, or on a rule without action when it has none."""
        if self.d.trim_last_return and rules and rules[-1].endswith("--jump RETURN"):
            rules = rules[:-1]
        return [f"{name} {rules[0]}", *rules[1:]] if rules else [name]

    # -- output -------------------------------------------------------------------------------------------------------

    def chain_lines(self, table: str) -> list[str]:
        """`-A` lines of every cali chain of the table, with hashes."""
        lines = []
        for chain, rules in sorted(self.tables[table].items()):
            for rule, digest in zip(rules, rule_hashes(chain, rules), strict=True):
                lines.append(f'-A {chain} -m comment --comment "cali:{digest}" {rule}')
        return lines

    def hook(self, table: str) -> dict[str, tuple[list[str], list[str]]]:
        """Per kernel chain: lines before and lines after everybody else's."""
        hooks = {
            "raw": {"PREROUTING": "6gwbT8clXdHdC1b1", "OUTPUT": "tVnHkvAo15HuiPy0"},
            "mangle": {"PREROUTING": "6gwbT8clXdHdC1b1", "POSTROUTING": "O3lYWMrLQYEMJtB5"},
            "nat": {"PREROUTING": "6gwbT8clXdHdC1b1", "OUTPUT": "tVnHkvAo15HuiPy0", "POSTROUTING": "O3lYWMrLQYEMJtB5"},
            "filter": {"INPUT": "Cz_u1IQiXIMmKD4c", "FORWARD": "wUHhoiAYhphO9Mso", "OUTPUT": "tVnHkvAo15HuiPy0"},
        }[table]
        result: dict[str, tuple[list[str], list[str]]] = {}
        for chain, digest in hooks.items():
            last = table == "nat" and chain == "POSTROUTING" and self.d.nat_postrouting_last
            digest = "0i8pjzKKPyA34aQD" if last else digest
            line = f'-A {chain} -m comment --comment "cali:{digest}" -j cali-{chain}'
            result[chain] = ([], [line]) if last else ([line], [])
        if table == "filter":
            result["FORWARD"][1].extend(
                [
                    '-A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" '
                    f"{comment('Policy explicitly accepted packet.')} {has(ACCEPT)} -j ACCEPT",
                    f'-A FORWARD -m comment --comment "cali:mp77cMpurHhyjLrM" {put(ACCEPT)}',
                ]
            )
        return result

    def ipset_restore(self) -> str:
        """Input of `ipset restore`."""
        lines = []
        for name, (kind, members) in self.sets.items():
            lines.append(f"create {name} {kind} family inet maxelem 1048576")
            lines += [f"add {name} {member}" for member in members]
        return "\n".join(lines) + "\n"


def clear(bits: int) -> str:
    return f"--jump MARK --set-mark 0/{bits:#x}"


def put(bits: int) -> str:
    return f"--jump MARK --set-mark {bits:#x}/{bits:#x}"


def has(bits: int) -> str:
    return f"-m mark --mark {bits:#x}/{bits:#x}"


def comment(text: str) -> str:
    return f'-m comment --comment "{text}"'


def join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
