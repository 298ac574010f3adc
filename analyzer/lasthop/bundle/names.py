"""From a file's name to an evidence id: what customers, support tools and calicoctl call the outputs they save."""

from __future__ import annotations

import re

from .commands import Command, identify_command
from .kinds import object_id

_ENDING = re.compile(r"\.(txt|out|log|stdout|json|yaml|yml|dump|conf|cfg|tsv|md|lst)$", re.IGNORECASE)
_IDS = frozenset(
    {"identity", "os_release", "uname", "uptime", "boot_id", "clock_start", "clock_end", "timezone", "chrony",
     "dmi", "capabilities", "tools", "tool_versions", "ip_link", "ip_addr", "ip4_route_all", "ip6_route_all",
     "ip4_rule", "ip6_rule", "ip4_neigh", "ip6_neigh", "ip_neigh_proxy", "bridge_fdb", "bridge_vlan",
     "ip_nexthop", "ip4_route_cache", "ip6_route_cache", "ip_netns", "fib_trie", "proc_net_route", "proc_net_arp",
     "iptables_nft_save", "ip6tables_nft_save", "iptables_legacy_save", "ip6tables_legacy_save", "iptables_save",
     "ip6tables_save", "nft_ruleset", "nft_hooks", "nft_flowtables", "ip_tables_names", "ip6_tables_names",
     "ipset_save", "conntrack", "conntrack6", "proc_nf_conntrack", "conntrack_count", "conntrack_stats", "sysctl",
     "ss_listen", "proc_net_tcp", "proc_net_tcp6", "proc_net_udp", "proc_net_udp6", "proc_net_snmp",
     "proc_net_netstat", "proc_net_snmp6", "proc_net_softnet_stat", "proc_net_dev", "nstat", "tc_qdisc",
     "tc_filter", "bird_status", "bird_protocols", "bird_route", "bird_interfaces", "bird6_status",
     "bird6_protocols", "bird6_route", "bird6_interfaces", "processes", "resolv_conf", "wg_show", "ipvsadm",
     "proc_ip_vs", "proc_stat_nf_conntrack"}
)  # fmt: skip

# After every run of characters that are no letters or digits became one "-", lower case, without ending and without
# the words that say nothing ("output", "show"). First match wins. `6` in a group means IPv6.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"ip(6)?tables-(?:nft|nft-save|save-nft)", "ip{6}tables_nft_save"),
    (r"ip(6)?tables-(?:legacy|legacy-save|save-legacy)", "ip{6}tables_legacy_save"),
    (r"ip(6)?tables-nft-save-c", "ip{6}tables_nft_save"),
    (r"ip(6)?tables(?:-save)?(?:-c)?", "ip{6}tables_save"),
    (r"nft-?(?:a-)?(?:list-)?rule-?set|nft-list|nftables|nft", "nft_ruleset"),
    (r"ipset(?:-l|-?list)", "ipset_list"),
    (r"ipsets?(?:-save)?", "ipset_save"),
    (r"conntrack(?:-l|-list|-table|-entries|-dump)?(?:-o-extended)?(?:-extended)?", "conntrack"),
    (r"conntrack-(?:s|stats?)", "conntrack_stats"),
    (r"conntrack-(?:c|count)", "conntrack_count"),
    (r"(?:proc-)?(?:net-)?nf-conntrack", "proc_nf_conntrack"),
    (r"(?:proc-net-)?nf-conntrack-stat", "proc_stat_nf_conntrack"),
    (r"ip-?(6)-?routes?(?:-all|-table-all)|ip-routes?-v?(6)-all", "ip{6}_route_all"),
    (r"ip-?(?:4-)?routes?-(?:table-)?all|ip-?r-table-all|routes?-all(?:-tables)?", "ip_route_all"),
    (r"ip-?(6)-?r(?:outes?)?|ip-routes?-v?(6)|routes?-?v?(6)", "ip{6}_route_main"),
    (r"ip-?(?:4-)?r(?:outes?)?(?:-v?4)?(?:-main)?|routes?-?v?4?|routing-table", "ip4_route_main"),
    (r"route-n|netstat-rn", "route_n"),
    (r"ip-?(6)-?rules?|ip-rules?-v?(6)|rules-v?(6)", "ip{6}_rule"),
    (r"ip-?(?:4-)?ru(?:les?)?(?:-v?4)?", "ip4_rule"),
    (r"ip-?(?:s-)?(?:d-)?a(?:ddr(?:ess(?:es)?)?)?|addr(?:ess(?:es)?)?", "ip_addr"),
    (r"ip-?(?:s-)?(?:d-)?l(?:inks?)?(?:-stats?)?|links?|interfaces", "ip_link"),
    (r"ip-?(6)-?n(?:eigh(?:bou?rs?)?)?", "ip{6}_neigh"),
    (r"ip-?(?:4-)?n(?:eigh(?:bou?rs?)?)?|neigh(?:bou?rs?)?", "ip_neigh"),
    (r"arp(?:-a?n)?", "arp_n"),
    (r"ip-next-?hops?", "ip_nexthop"),
    (r"bridge-?fdb|fdb", "bridge_fdb"),
    (r"bridge-?vlan", "bridge_vlan"),
    (r"sysctl(?:-a)?(?:-net)?", "sysctl"),
    (r"ss(?:-[a-z]+)?|sockets|listeners", "ss_listen"),
    (r"netstat(?:-[a-z]+)?", "netstat"),
    (r"nstat(?:-az?)?", "nstat"),
    (r"(?:proc-net-)?snmp", "proc_net_snmp"),
    (r"(?:proc-net-)?snmp6", "proc_net_snmp6"),
    (r"proc-net-netstat", "proc_net_netstat"),
    (r"softnet-stat", "proc_net_softnet_stat"),
    (r"(?:calicoctl|calico)-node-status|node-status", "calico_node_status"),
    (r"(?:calicoctl-)?ipam-show(?:-blocks|-show-blocks)?", "calico_ipam_show"),
    (r"bird(6)?(?:cl6?)?-protocols?(?:-all)?", "bird{6}_protocols"),
    (r"bird(6)?(?:cl6?)?-routes?(?:-all)?", "bird{6}_route"),
    (r"bird(6)?(?:cl6?)?-status", "bird{6}_status"),
    (r"bird(6)?(?:cl6?)?-interfaces?", "bird{6}_interfaces"),
    (r"bird6?(?:-aggr|-ipam)?(?:-cfg)?", "bird_config_bird"),
    (r"ps(?:-aux|-ef)?|processes", "processes_ps"),
    (r"etcd(?:-.*)?", "etcd"),
    (r"hostname", "hostname"),
    (r"nodename|node-name", "nodename"),
    (r"uname(?:-a)?", "uname"),
    (r"date(?:-u)?", "date"),
    (r"uptime", "uptime_text"),
    (r"os-release", "os_release"),
    (r"wg(?:-show)?", "wg_show"),
    (r"tc(?:-s)?-qdisc", "tc_qdisc"),
    (r"tc(?:-s)?-filter", "tc_filter"),
    (r"resolv(?:-conf)?", "resolv_conf"),
    (r"ethtool-([kis])-.*", "ethtool_{6}"),
    (
        r"(?:calico-node|calico|felix|confd|bird6?|cni|kubelet|kernel|dmesg|messages|syslog)(?:-log)?(?:-.*)?",
        "log_other",
    ),
)
_COMPILED = tuple((re.compile(pattern), identity) for pattern, identity in _NAMES)
_NO_NODE = frozenset({"calico", "calico-node", "output", "cmd", "node", "host", "net", "network", "show", "my", "k8s"})
_FORMS = ("ip_", "ip4_", "ip6_", "bridge_", "nft_ruleset")


def identify_name(name: str, hints: bool = True) -> Command | None:
    """The evidence id of a file called `name` (last path component), None when the name says nothing known.

    With `hints` a name may begin with something else, which is given as the command's node.
    """
    lower = name.lower()
    stem = lower
    while _ENDING.search(stem):
        stem = _ENDING.sub("", stem)
    json = lower.endswith(".json") or bool(re.search(r"[-_.]json$", stem))
    yaml = lower.endswith((".yaml", ".yml"))
    exact = stem.removesuffix("_json")
    if exact in _IDS or re.match(r"calico_|kube_|ethtool_[kis]_|log_|bird_config_", exact):
        return Command(stem if json or exact == stem else exact)
    key = re.sub(r"[^a-z0-9]+", "-", re.sub(r"[-_.]json$", "", stem)).strip("-")
    key = re.sub(r"-?\b(?:output|show|result|dump of)\b-?", "-", key).strip("-")
    if json or yaml:
        found = _objects(key)
        if found is not None:
            return found
        if yaml:
            return None
    for pattern, identity in _COMPILED:
        match = pattern.fullmatch(key)
        if match:
            six = "".join(group for group in match.groups() if group)
            filled = identity.replace("{6}", six)
            return Command(filled + "_json" if json and filled.startswith(_FORMS) else filled)
    # sosreport and insights keep the command itself as the name, with "_" for a space
    mangled = identify_command(re.sub(r"\.(txt|out|log)$", "", name).replace("_", " "))
    if mangled is not None or not hints:
        return mangled
    # `worker-1_ip-route.txt`: what is left of the part that names the output may name the node
    parts = re.split(r"([-_.]+)", stem)
    for at in range(2, len(parts), 2):
        rest = identify_name("".join(parts[at:]) + (".json" if json else ""), hints=False)
        if rest is not None and not rest.id.startswith(("log_", "bird_config_", "calico_", "kube_", "listing")):
            hint = "".join(parts[: at - 1])
            return Command(rest.id, rest.limits, node="" if hint in _NO_NODE else hint)
    return None


def _objects(key: str) -> Command | None:
    """`calicoctl-get-ippools-o-yaml`, `ippools`, `kubectl-get-pods-a`."""
    words = [w for w in key.split("-") if w not in ("o", "yaml", "json", "get", "a", "all", "namespaces", "wide")]
    calico = any(w.startswith("calico") for w in words)
    words = [w for w in words if w not in ("calicoctl", "kubectl", "calico", "k8s", "kube", "crd", "cluster")]
    if len(words) != 1:
        return None
    identity = object_id(words[0], calico)
    return Command(identity) if identity else None
