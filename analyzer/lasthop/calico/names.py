"""Names that Felix and the CNI plugin make: interfaces, chains, sets, and the way back from a comment to an object.

Sources: libcalico-go/lib/hash/unique_id.go (shortening), felix/rules/policy.go PolicyChainName (ids by version),
libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go (interfaces), felix/ipsets/ipset_defs.go (sets).
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass

from lasthop.facts.calico import Policy

MAX_CHAIN = 28
MAX_SET = 31

_PREFIXES = {
    ("policy", "ingress"): "cali-pi-",
    ("policy", "egress"): "cali-po-",
    ("profile", "ingress"): "cali-pri-",
    ("profile", "egress"): "cali-pro-",
}


def workload_interface(namespace: str, pod: str, prefix: str = "cali") -> str:
    """The host side of a pod's veth: the prefix and 11 hex digits of SHA1("namespace.pod")."""
    digest = hashlib.sha1(f"{namespace}.{pod}".encode(), usedforsecurity=False).hexdigest()
    return prefix + digest[:11]


def shorten(prefix: str, ident: str, limit: int = MAX_CHAIN) -> str:
    """`prefix + ident` if that fits in `limit`, else the prefix, "_" and the start of base64url(SHA256(ident)).

    A name of exactly `limit` characters whose id begins with "_" is hashed as well, so that it cannot be mistaken
    for a hash.
    """
    name = prefix + ident
    if len(name) < limit or (len(name) == limit and not ident.startswith("_")):
        return name
    digest = urlsafe_b64encode(hashlib.sha256(ident.encode()).digest()).decode()
    return (prefix + "_" + digest)[:limit]


def endpoint_chain(interface: str, direction: str) -> str:
    """The chain of a workload interface: "ingress" (to the pod) or "egress" (from the pod)."""
    return shorten("cali-tw-" if direction == "ingress" else "cali-fw-", interface)


def host_endpoint_chain(interface: str, direction: str, forward: bool = False) -> str:
    """The chain of a host interface; ingress is traffic from the wire. "*" is `any-interface-at-all`."""
    name = "any-interface-at-all" if interface == "*" else interface
    if forward:
        return shorten("cali-fhfw-" if direction == "ingress" else "cali-thfw-", name)
    return shorten("cali-fh-" if direction == "ingress" else "cali-th-", name)


def profile_chain(profile: str, direction: str) -> str:
    return shorten(_PREFIXES["profile", direction], profile)


_SHORT_KINDS = {
    "NetworkPolicy": "np",
    "GlobalNetworkPolicy": "gnp",
    "KubernetesNetworkPolicy": "knp",
    "ClusterNetworkPolicy": "kcnp",
}


def policy_ids(policy: Policy) -> tuple[str, ...]:
    """Every id that a Calico version may have hashed into the chain names of this policy, newest version first.

    v3.32+ `kind/ns/name`; v3.29-v3.31 `tier/ns/name`; v3.0-v3.28 `ns/name`, Kubernetes policies as `knp.default.name`;
    2.6 `knp.default.ns.name`. Names may carry their tier as a prefix or not.
    """
    kube = policy.kind == "KubernetesNetworkPolicy"
    plain = policy.name.removeprefix("knp.default.") if kube else policy.name
    bare = plain.removeprefix(policy.tier + ".") if not kube else plain
    namespace = policy.namespace
    ids: list[str] = []
    if kind := _SHORT_KINDS.get(policy.kind):
        ids += [f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}" for name in (plain, bare)]
    old: tuple[str, ...]
    if kube:
        old = (f"knp.default.{plain}",)
    elif policy.kind == "AdminNetworkPolicy":
        old = (f"kanp.adminnetworkpolicy.{plain}",)
    elif policy.kind == "BaselineAdminNetworkPolicy":
        old = (f"kbanp.baselineadminnetworkpolicy.{plain}",)
    else:
        old = (plain, bare, f"{policy.tier}.{bare}")
    for name in old:
        scoped = f"{namespace}/{name}" if namespace else name
        ids += [f"{policy.tier}/{scoped}", scoped]
    if kube:
        ids.append(f"knp.default.{namespace}.{plain}")
    return tuple(dict.fromkeys(ids))


def policy_chains(policy: Policy, direction: str) -> tuple[str, ...]:
    """The possible chain names of a policy for "ingress" or "egress", newest Calico version first."""
    return tuple(shorten(_PREFIXES["policy", direction], ident) for ident in policy_ids(policy))


def policies_by_chain(policies: Iterable[Policy]) -> dict[str, tuple[Policy, str]]:
    """Chain name -> (policy, direction) in every version's spelling, for rules without names in comments (to v3.23)."""
    found: dict[str, tuple[Policy, str]] = {}
    for policy in policies:
        for direction in ("ingress", "egress"):
            for chain in policy_chains(policy, direction):
                found.setdefault(chain, (policy, direction))
    return found


@dataclass(frozen=True, slots=True)
class ChainOwner:
    """What a rule's comment says about its chain. `kind` is "" where the version does not tell it ("Policy ...")."""

    kind: str
    namespace: str
    name: str
    direction: str


_COMMENT = re.compile(
    r"(?:^|[ ;])(?P<kind>Profile|Policy|(?:[A-Z][A-Za-z]*)?NetworkPolicy) (?P<name>\S+) (?P<way>ingress|egress)\b"
)


def owner_of_comment(comment: str) -> ChainOwner | None:
    """The policy or profile that a chain's first rule names (v3.24+), or None.

    v3.24-v3.31 print `Policy shop/default.web-ingress ingress`, v3.32+ `NetworkPolicy shop/web-ingress ingress`,
    profiles `Profile kns.default ingress`. Comments of several `-m comment` may be joined.
    """
    match = _COMMENT.search(comment)
    if match is None:
        return None
    kind = "" if match["kind"] == "Policy" else match["kind"]
    namespace, slash, name = match["name"].partition("/")
    if not slash:
        namespace, name = "", match["name"]
    return ChainOwner(kind, namespace, name, match["way"])


def is_owner(owner: ChainOwner, policy: Policy) -> bool:
    """True when the comment can mean this policy, whatever the version's way to write its name."""
    if owner.namespace != policy.namespace or (owner.kind and owner.kind != policy.kind):
        return False
    names = {ident.rpartition("/")[2] for ident in policy_ids(policy)}
    return owner.name in names


def selector_set(canonical: str, family: int = 4) -> str:
    """The ipset of a selector in canonical form (calico.selectors.canonical)."""
    digest = hashlib.sha224(f"s:{canonical}".encode()).digest()
    name = f"cali{family}0s:" + urlsafe_b64encode(digest).decode().rstrip("=")
    return name[:MAX_SET]
