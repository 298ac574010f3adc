"""Tables that are worked out of several facts, where a plain join would have to read far too much."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from ipaddress import ip_address

from lasthop.facts.netfilter import NetfilterRule, Ruleset
from lasthop.facts.snapshot import Snapshot
from lasthop.kube.chains import endpoint_chains
from lasthop.snapshot.columns import Column, Row, Sources, range_keys
from lasthop.snapshot.tables import Layout, owners

_SERVICE_CHAINS = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-XLB-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SERVICES", "KUBE-NODEPORTS")
_TEXT = "TEXT"

DERIVED: Mapping[str, Layout] = {
    "unexpected_backends": Layout(
        "unexpected_backends",
        (
            Column("node", _TEXT),
            Column("netns", _TEXT),
            Column("backend", _TEXT),
            Column("chain", _TEXT),
            Column("ip", _TEXT, "address"),
            Column("ip_lo", _TEXT),
            Column("ip_hi", _TEXT),
            Column("port", "INTEGER"),
            Column("comment", _TEXT),
            Column("src", "INTEGER"),
            Column("jump_src", "INTEGER"),
        ),
        "netns",
        "hook_rules",
    )
}
"""unexpected_backends: kube-proxy's DNAT rules in use that no Service and endpoint object accounts for."""


def derived_rows(snapshot: Snapshot, name: str, sources: Sources) -> Iterator[Row]:
    """Rows of one derived table, each led by its place's number."""
    return _ROWS[name](snapshot, sources)


def _unexpected_backends(snapshot: Snapshot, sources: Sources) -> Iterator[Row]:
    """Chain names are hashes of service, port and endpoint: only chains with a name that nothing explains are read."""
    known = endpoint_chains(snapshot)
    for place, number, netns in owners(snapshot, "netns"):
        if place[1] != "host":
            continue
        for evidence in netns.rulesets.values():
            for ruleset in evidence.values:
                for rule, jump in _in_use(ruleset, known):
                    target, _, text = _destination(rule).rpartition(":")
                    port = int(text) if text.isdigit() else None
                    address = target.strip("[]")
                    keys = range_keys(address) or (None, None)
                    yield (
                        number, *place, ruleset.backend, rule.chain, address, *keys, port,
                        rule.comment, sources.number(rule.source), sources.number(jump.source),
                    )  # fmt: skip


def _in_use(ruleset: Ruleset, known: Container[str]) -> Iterator[tuple[NetfilterRule, NetfilterRule]]:
    """(DNAT rule, a rule that jumps to its chain): kube-proxy may leave chains behind that nobody reaches."""
    if "nat" not in ruleset.tables():
        return
    names = [chain.name for chain in ruleset.chains("nat")]
    strange = {name for name in names if name.startswith("KUBE-SEP-") and name not in known}
    if not strange:
        return
    jumps: dict[str, NetfilterRule] = {}
    for name in names:
        if name.startswith(_SERVICE_CHAINS):
            for rule in ruleset.rules("nat", name):
                if rule.target in strange:
                    jumps.setdefault(rule.target, rule)
    for name in sorted(jumps):
        for rule in ruleset.rules("nat", name):
            if rule.target == "DNAT" and _is_address(_destination(rule)):
                yield rule, jumps[name]


def _destination(rule: NetfilterRule) -> str:
    return next((" ".join(values) for option, values in rule.target_options if option == "to-destination"), "")


def _is_address(destination: str) -> bool:
    try:
        ip_address(destination.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


_ROWS: Mapping[str, Callable[[Snapshot, Sources], Iterator[Row]]] = {"unexpected_backends": _unexpected_backends}
