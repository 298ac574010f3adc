"""What the simulated kernel knows of netfilter, as rows: the public table of `lasthop explain model`."""

from __future__ import annotations

from dataclasses import dataclass

from .extensions import Support, match_extensions, target_extensions
from .ipsets import DIMENSIONS


@dataclass(frozen=True, slots=True)
class Row:
    """`kind` is "match", "target", "set" or "netfilter"; `options` are the options that are understood."""

    kind: str
    name: str
    support: Support
    note: str = ""
    options: tuple[str, ...] = ()


_NETFILTER = (
    Row("netfilter", "tables", Support.MODELLED,
        "raw, mangle, nat, filter, security at PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING in the kernel's order"),
    Row("netfilter", "both back ends", Support.MODELLED,
        "iptables-nft and iptables-legacy together; their order at equal priority is in no dump: both orders are "
        "tried, a difference is UNKNOWN"),
    Row("netfilter", "native nftables", Support.MODELLED,
        "tables ip, ip6, inet from `nft list ruleset`: base chains by priority, jump and goto, verdict maps, sets with "
        "intervals and concatenations, meta, ct, fib, header fields, marks, NAT, numgen and jhash with shares; limit, "
        "quota, ct count, queue, tproxy, dup, raw payload, netdev, bridge and whatever is not recognised are UNKNOWN; "
        "what nft's own listing leaves out (ct l3proto before a header field) cannot be seen"),
    Row("netfilter", "conntrack", Support.MODELLED,
        "NEW, ESTABLISHED, RELATED (ICMP errors), INVALID, UNTRACKED; TCP states without windows; entries of the dump "
        "act; zones per direction, helpers and expectations are not followed"),
    Row("netfilter", "nat", Support.MODELLED,
        "new connections ask the nat tables once; ports that the kernel chooses at random are shown as examples; "
        "address ranges are UNKNOWN"),
)  # fmt: skip


def rows() -> tuple[Row, ...]:
    """Every match, target and set type with its support state, and the general rows."""
    matches = [
        Row("match", extension.module or "(built in)", extension.support, extension.note, extension.options)
        for extension in match_extensions()
    ]
    targets = [
        Row("target", extension.name, extension.support, extension.note) for extension in target_extensions()
    ]
    sets = [Row("set", name, Support.MODELLED) for name in DIMENSIONS]
    return (*_NETFILTER, *matches, *targets, *sets)
