"""Matches without influence, and matches that are known but depend on what no dump shows: they answer UNKNOWN."""

from __future__ import annotations

from lasthop.facts.netfilter import Match

from .context import Answer, Context, unknown
from .registry import (
    CompiledMatch,
    MatchExtension,
    Support,
    Test,
    Value,
    always_true,
    always_unknown,
    group_text,
    register,
    single,
)


def _owner(match: Match) -> tuple[Test, Value]:
    """net/netfilter/xt_owner.c: a packet without a local socket matches only what is negated."""

    def test(c: Context) -> Answer:
        if c.packet.local_out:
            return unknown("the owner of the sending socket is not in the evidence")
        return False

    return test, (lambda c: "no local socket")


_REASONS: dict[str, tuple[tuple[str, ...], str]] = {
    "limit": (("limit", "limit-burst"), "the rate limit's bucket at that moment is not in the evidence"),
    "hashlimit": (
        ("hashlimit-upto", "hashlimit-above", "hashlimit-burst", "hashlimit-mode", "hashlimit-name",
         "hashlimit-htable-size", "hashlimit-htable-max", "hashlimit-htable-expire", "hashlimit-htable-gcinterval",
         "hashlimit-srcmask", "hashlimit-dstmask", "hashlimit-rate-match", "hashlimit-rate-interval", "hashlimit"),
        "the rate limit's buckets at that moment are not in the evidence",
    ),
    "connlimit": (
        ("connlimit-upto", "connlimit-above", "connlimit-mask", "connlimit-saddr", "connlimit-daddr"),
        "the number of parallel connections at that moment is not in the evidence",
    ),
    "connbytes": (("connbytes", "connbytes-mode", "connbytes-dir"), "the connection's byte count is not followed"),
    "connlabel": (("label", "set"), "connection labels are not in the evidence"),
    "helper": (("helper",), "connection helpers are not followed"),
    "quota": (("quota",), "the rest of the quota is not in the evidence"),
    "rateest": ((), "rate estimators are not in the evidence"),
    "socket": (("transparent", "nowildcard", "restore-skmark"), "the socket lookup is not evaluated"),
    "cgroup": (("cgroup", "path"), "the control group of the sender is not in the evidence"),
    "bpf": (("bytecode", "object-pinned"), "BPF programs are not evaluated"),
    "u32": (("u32",), "u32 expressions are not evaluated"),
    "string": (
        ("string", "hex-string", "algo", "from", "to", "icase"), "the payload of the packet is not followed",
    ),
    "time": (
        ("timestart", "timestop", "days", "weekdays", "monthdays", "datestart", "datestop", "kerneltz", "utc",
         "contiguous"),
        "the moment of the packet is not fixed",
    ),
    "policy": (
        ("dir", "pol", "strict", "reqid", "spi", "proto", "mode", "tunnel-src", "tunnel-dst", "next"),
        "IPsec state is not evaluated",
    ),
    "ipvs": (
        ("ipvs", "vproto", "vaddr", "vport", "vdir", "vmethod", "vportctl"), "IPVS connections are not evaluated",
    ),
    "realm": (("realm",), "route realms are not followed"),
    "cpu": (("cpu",), "the CPU that handles the packet is not fixed"),
    "devgroup": (("src-group", "dst-group"), "device groups are not in the evidence"),
    "dccp": (("sport", "dport", "dccp-types", "dccp-option"), "DCCP headers are not followed"),
    "ah": (("ahspi", "ahlen", "ahres"), "AH headers are not followed"),
    "esp": (("espspi",), "ESP headers are not followed"),
    "ecn": (("ecn-tcp-cwr", "ecn-tcp-ece", "ecn-ip-ect"), "ECN bits are not followed"),
    "tcpmss": (("mss",), "TCP options of the packet are not known"),
    "osf": (("genre", "ttl", "log"), "OS fingerprints are not evaluated"),
    "ipv6header": (("header", "soft"), "lists of IPv6 extension headers are not compared"),
    "cluster": (
        ("cluster-total-nodes", "cluster-local-node", "cluster-local-nodemask", "cluster-hash-seed"),
        "the cluster hash is not evaluated",
    ),
}  # fmt: skip


def _nfacct(group: tuple[Match, ...]) -> list[CompiledMatch]:
    return [CompiledMatch(lambda c: True, group_text(group), lambda c: "counted")]


def _recent(group: tuple[Match, ...]) -> list[CompiledMatch]:
    """net/netfilter/xt_recent.c: --set always matches (and remembers); the others ask a list that no dump shows."""
    remembers = next((match for match in group if match.option == "set"), None)
    if remembers is None:
        return always_unknown("the recent list at that moment is not in the evidence")(group)
    answer = not remembers.negated
    return [CompiledMatch(lambda c: answer, group_text(group), lambda c: "the address is remembered")]


def _no_extension_header(group: tuple[Match, ...]) -> list[CompiledMatch]:
    """Packets of the walk carry no extension headers: these matches find nothing to compare, negated or not."""
    return [CompiledMatch(lambda c: False, group_text(group), lambda c: "no such extension header")]


for _module, (_options, _why) in _REASONS.items():
    register(MatchExtension(_module, _options, Support.ANSWERS_UNKNOWN, _why, always_unknown(_why)))
register(MatchExtension("nfacct", ("nfacct-name",), Support.IRRELEVANT, "only counts", _nfacct))
register(
    MatchExtension(
        "recent",
        ("set", "rcheck", "update", "remove", "seconds", "reap", "hitcount", "rttl", "name", "mask", "rsource",
         "rdest"),
        Support.MODELLED,
        "--set always matches; the other questions answer UNKNOWN: the list is not in the evidence",
        _recent,
    )
)  # fmt: skip
for _module, _options in {
    "frag": ("fragid", "fraglen", "fragres", "fragfirst", "fragmore", "fraglast"),
    "dst": ("dst-len", "dst-opts"),
    "hbh": ("hbh-len", "hbh-opts"),
    "rt": ("rt-type", "rt-segsleft", "rt-len", "rt-0-res", "rt-0-addrs", "rt-0-not-strict"),
    "mh": ("mh-type",),
}.items():
    register(MatchExtension(_module, _options, Support.MODELLED, "packets of the walk carry no extension headers",
                            _no_extension_header))  # fmt: skip
register(MatchExtension("comment", ("comment",), Support.IRRELEVANT, "", always_true))
register(
    MatchExtension(
        "owner",
        ("uid-owner", "gid-owner", "socket-exists", "suppl-groups"),
        Support.MODELLED,
        "UNKNOWN for packets of local processes",
        single(_owner),
    )
)
