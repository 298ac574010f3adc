"""From a command line to the evidence id of what it prints: `ip -d -j route show table all` is ip_route_all_json.

Only the words are looked at, as the tools themselves do (iproute2 takes any abbreviation of its objects). Ids are those
of docs/bundle-format.md section 6; where a command prints both families at once the id has no 4 or 6 (`ip_route_all`,
`ip_neigh`), and where it prints one table only the id names it (`ip4_route_main`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from .kinds import object_id


@dataclass(frozen=True, slots=True)
class Command:
    """`limits` says what the command leaves out of its subject ("" for nothing); `node` and `pod` are named in it."""

    id: str
    limits: str = ""
    node: str = ""
    pod: str = ""


_Handler = Callable[[str, list[str]], "Command | None"]

_IP_OBJECTS = (
    "address", "addrlabel", "maddress", "route", "rule", "neighbor", "neighbour", "ntable", "link", "tunnel", "tuntap",
    "monitor", "mroute", "netns", "nexthop", "xfrm", "vrf",
)  # fmt: skip
_FILES = {
    "/var/lib/calico/nodename": "nodename", "/etc/hostname": "hostname", "/proc/sys/kernel/hostname": "hostname",
    "/etc/os-release": "os_release", "/proc/uptime": "uptime", "/etc/resolv.conf": "resolv_conf",
    "/proc/sys/kernel/random/boot_id": "boot_id", "/proc/net/fib_trie": "fib_trie", "/proc/net/route": "proc_net_route",
    "/proc/net/arp": "proc_net_arp", "/proc/net/tcp": "proc_net_tcp", "/proc/net/tcp6": "proc_net_tcp6",
    "/proc/net/udp": "proc_net_udp", "/proc/net/udp6": "proc_net_udp6", "/proc/net/snmp": "proc_net_snmp",
    "/proc/net/snmp6": "proc_net_snmp6", "/proc/net/netstat": "proc_net_netstat", "/proc/net/dev": "proc_net_dev",
    "/proc/net/softnet_stat": "proc_net_softnet_stat", "/proc/net/stat/nf_conntrack": "proc_stat_nf_conntrack",
    "/proc/net/nf_conntrack": "proc_nf_conntrack", "/proc/net/ip_tables_names": "ip_tables_names",
    "/proc/net/ip6_tables_names": "ip6_tables_names", "/proc/net/ip_vs": "proc_ip_vs",
    "/proc/net/if_inet6": "proc_net_if_inet6", "/proc/net/ipv6_route": "proc_net_ipv6_route",
    "/proc/sys/net/netfilter/nf_conntrack_count": "conntrack_count", "/var/lib/calico/mtu": "calico_mtu",
}  # fmt: skip
_SELECTING = {"grep", "egrep", "fgrep", "zgrep", "head", "tail", "uniq", "awk"}
_PASSING = {"cat", "tee", "less", "more", "sort"}
_PREFIX_WORDS = {"sudo", "nohup", "time", "chroot"}


def identify_command(line: str) -> Command | None:
    """What the output of this command is, None when it is nothing that is read here."""
    limits = ""
    if " | " in line:
        line, _, rest = line.partition(" | ")
        through = {part.split()[0].rsplit("/", 1)[-1] for part in rest.split(" | ") if part.split()}
        if not through <= _SELECTING | _PASSING:
            return Command("other_output") if identify_command(line) is not None else None
        if through & _SELECTING:
            limits = f"its output went through {rest.strip()[:60]!r}"
    line = re.split(r"\s(?:2?>|//|&&|;)", line, maxsplit=1)[0]
    try:
        # a list of commands does not quote: the backslashes of a pattern stay
        words = line.split() if "sysctl" in line else shlex.split(line)
    except ValueError:
        words = line.split()
    found = _identify(words)
    if found is None:
        return None
    return replace(found, limits="; ".join(filter(None, (found.limits, limits))))


def _identify(words: list[str]) -> Command | None:
    if not words:
        return None
    tool = words[0].rsplit("/", 1)[-1]
    if tool in _PREFIX_WORDS:
        rest = words[1:]
        while rest and (rest[0].startswith("-") or "=" in rest[0] or (tool == "chroot" and rest[0].startswith("/"))):
            rest = rest[1:]
        return _identify(rest)
    if tool == "timeout":
        rest = words[1:]
        while rest and (rest[0].startswith("-") or re.fullmatch(r"[\d.]+[smh]?", rest[0])):
            rest = rest[1:]
        return _identify(rest)
    if tool == "nsenter":
        rest = words[1:]
        while rest and (rest[0].startswith("-") or rest[0].isdigit()):
            rest = rest[1:]
        found = _identify(rest)
        return replace(found, pod="?") if found else None
    if tool in ("docker", "podman", "nerdctl", "crictl") and "exec" in words[1:3]:
        return _exec(words[words.index("exec") + 1 :], node=True)
    if tool in ("kubectl", "oc", "k"):
        return _kubectl(words[1:])
    handler = _TOOLS.get(tool)
    return handler(tool, words[1:]) if handler else None


def _exec(rest: list[str], node: bool) -> Command | None:
    while rest and rest[0].startswith("-"):
        rest = rest[1:]
    if not rest:
        return None
    found = _identify(rest[1:])
    return replace(found, node=rest[0]) if found and node and not found.node else found


def _kubectl(words: list[str]) -> Command | None:
    namespace = ""
    every = False
    output = ""
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            rest += words[at:]
            break
        if word in ("-n", "--namespace", "-c", "--context", "--kubeconfig", "-o", "--output", "-l", "--selector", "-f"):
            value = words[at + 1] if at + 1 < len(words) else ""
            if word in ("-n", "--namespace"):
                namespace = value
            if word in ("-o", "--output"):
                output = value
            at += 2
            continue
        if word in ("-A", "--all-namespaces"):
            every = True
        elif word.startswith("-o"):
            output = word.removeprefix("-o").lstrip("=")
        elif word.startswith("--output="):
            output = word.partition("=")[2]
        elif word.startswith("--namespace=") or (word.startswith("-n") and not word.startswith("--")):
            namespace = word.partition("=")[2] or word[2:]
        elif not word.startswith("-"):
            rest.append(word)
        at += 1
    if not rest:
        return None
    if rest[0] == "exec" and len(rest) > 1:
        inner = rest[rest.index("--") + 1 :] if "--" in rest else rest[2:]
        found = _identify(inner)
        pod = rest[1].removeprefix("pod/")
        if found is None:
            return None
        if pod.startswith("calico-node") or pod.startswith(("ds/calico-node", "daemonset/calico-node")):
            return found
        return replace(found, pod=f"{namespace or 'default'}/{pod}")
    if rest[0] == "version":
        return Command("kube_version")
    if rest[0] == "get" and len(rest) > 1:
        return _objects(rest[1:], output, namespace, every, calico=False)
    return Command("kube_text") if rest[0] in ("describe", "logs", "top", "api-resources") else None


def _objects(names: list[str], output: str, namespace: str, every: bool, calico: bool) -> Command | None:
    kind, _, single = names[0].partition("/")
    identity = object_id(kind, calico)
    if identity is None:
        return Command("kube_text")
    if not output.startswith(("yaml", "json")):
        return Command(identity + "_table")
    if single or len(names) > 1:
        return Command(identity, limits="one object was asked for by name")
    # cluster-wide kinds need no -A; a namespaced kind without it holds one namespace
    if namespace and not every:
        return Command(identity, limits=f"namespace {namespace} only")
    return Command(identity)


def _ip(_: str, words: list[str]) -> Command | None:
    family = ""
    json = brief = False
    at = 0
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        if word in ("-4", "-6"):
            family = word[1]
        elif word in ("-f", "-family"):
            at += 1
            family = {"inet": "4", "inet6": "6"}.get(words[at] if at < len(words) else "", "")
        elif word in ("-j", "-json"):
            json = True
        elif word in ("-br", "-brief", "-o", "-oneline", "-0"):
            brief = True
        elif word in ("-n", "-netns"):
            at += 2
            found = _ip(_, words[at:])
            return replace(found, pod="?") if found else None
        at += 1
    rest = words[at:]
    if not rest:
        return None
    name = next((candidate for candidate in _IP_OBJECTS if candidate.startswith(rest[0])), "")
    if name == "netns" and len(rest) > 3 and rest[1] == "exec":
        found = _identify(rest[3:])
        return replace(found, pod="?") if found else None
    arguments = rest[1:]
    if arguments and any(verb.startswith(arguments[0]) for verb in ("show", "list", "lst")):
        arguments = arguments[1:]
    elif arguments and arguments[0] in ("get", "add", "del", "replace", "flush", "change", "append", "set"):
        return Command("ip_route_get") if arguments[0] == "get" else None
    found = _ip_object(name, family, arguments)
    if found is None:
        return None
    if brief:
        return Command(found.id + "_brief", found.limits)
    return replace(found, id=found.id + "_json") if json else found


def _ip_object(name: str, family: str, arguments: list[str]) -> Command | None:
    said = " ".join(arguments)
    if name == "route":
        if "cache" in arguments:
            return Command(f"ip{family or '4'}_route_cache", limits=_but(arguments, "cache", "table", "all"))
        table = arguments[arguments.index("table") + 1] if "table" in arguments[:-1] else "main"
        limits = _but(arguments, "table", table)
        if table in ("all", "0"):
            return Command(f"ip{family}_route_all", limits)
        if table in ("main", "254"):
            return Command(f"ip{family or '4'}_route_main", limits)
        return Command(f"ip{family or '4'}_route_table_{re.sub(r'[^0-9A-Za-z_.-]', '_', table)}", limits)
    if name == "rule":
        return Command(f"ip{family or '4'}_rule", said and f"only {said!r}")
    if name in ("neighbor", "neighbour"):
        if "proxy" in arguments:
            return Command("ip_neigh_proxy")
        return Command(f"ip{family}_neigh", said and f"only {said!r}")
    if name == "address":
        limits = f"only {said!r}" if said else f"IPv{family} only" if family else ""
        return Command("ip_addr", limits)
    if name == "link":
        return Command("ip_link", said and f"only {said!r}")
    if name == "nexthop":
        return Command("ip_nexthop", said and f"only {said!r}")
    if name == "netns":
        return Command("ip_netns")
    return Command("ip_tunnel") if name == "tunnel" else None


def _but(arguments: list[str], *known: str) -> str:
    rest = [word for word in arguments if word not in known]
    return f"only {' '.join(rest)!r}" if rest else ""


def _iptables_save(tool: str, words: list[str]) -> Command:
    limits = ""
    for at, word in enumerate(words):
        if word in ("-t", "--table") and at + 1 < len(words):
            limits = f"table {words[at + 1]} only"
    return Command(tool.replace("-", "_"), limits)


def _iptables(tool: str, words: list[str]) -> Command | None:
    return Command(f"{tool.replace('-', '_')}_listing") if any(re.match(r"-\w*[LS]|--list", w) for w in words) else None


def _nft(_: str, words: list[str]) -> Command | None:
    json = any(re.fullmatch(r"-\w*j\w*|--json", w) for w in words)
    rest = [w for w in words if not w.startswith("-")]
    if rest[:1] != ["list"] or len(rest) < 2:
        return None
    if rest[1] == "hooks":
        return Command("nft_hooks")
    if rest[1] == "flowtables":
        return Command("nft_flowtables")
    identity = "nft_ruleset_json" if json else "nft_ruleset"
    return Command(identity, "" if rest[1:] == ["ruleset"] else f"only {' '.join(rest[1:])!r}")


def _ipset(_: str, words: list[str]) -> Command | None:
    rest = [w for w in words if not w.startswith("-") or w in ("-L", "-S")]
    if not rest:
        return None
    verb = rest[0]
    limits = f"set {rest[1]} only" if len(rest) > 1 else ""
    if verb in ("save", "-S"):
        return Command("ipset_save", limits)
    if verb in ("list", "-L"):
        return Command("ipset_list", limits or ("names only" if {"-n", "-name", "-t", "-terse"} & set(words) else ""))
    return None


def _conntrack(_: str, words: list[str]) -> Command | None:
    if "-S" in words or "--stats" in words:
        return Command("conntrack_stats")
    if "-C" in words or "--count" in words:
        return Command("conntrack_count")
    if "-E" in words or "--event" in words:
        return Command("conntrack_events")
    if not {"-L", "--dump", "list"} & set(words):
        return None
    six = "ipv6" in words
    filters = set(words) & {"-s", "-d", "-p", "-r", "-q", "-m", "-u", "--src", "--dst", "--proto", "--reply-src"}
    return Command("conntrack6" if six else "conntrack", "a filter was given" if filters else "")


def _sysctl(_: str, words: list[str]) -> Command:
    if "-r" in words[:-1] or "--pattern" in words[:-1]:
        at = words.index("-r" if "-r" in words else "--pattern")
        return Command("sysctl", f"only keys that match {words[at + 1]}")
    if {"-a", "-A", "--all"} & set(words):
        return Command("sysctl")
    return Command("sysctl", f"only {' '.join(w for w in words if not w.startswith('-'))!r}")


def _ss(_: str, words: list[str]) -> Command | None:
    flags = "".join(w.lstrip("-") for w in words if w.startswith("-") and not w.startswith("--"))
    if "s" in flags and not set(flags) & set("tu"):
        return Command("ss_summary")
    protocols = set(flags) & set("tu")
    limits = "" if len(protocols) != 1 else f"{'TCP' if 't' in protocols else 'UDP'} only"
    if not set(flags) & set("la"):
        limits = "; ".join(filter(None, (limits, "connections only, no listeners")))
    return Command("ss_listen", limits)


def _bird(tool: str, words: list[str]) -> Command | None:
    six = tool.endswith("6") or any("bird6" in w for w in words)
    rest: list[str] = []
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word == "-s"
            continue
        rest.append(word)
    if rest[:1] != ["show"] or len(rest) < 2:
        return None
    base = "bird6" if six else "bird"
    what = next((w for w in ("protocols", "route", "status", "interfaces") if w.startswith(rest[1])), "")
    if not what:
        return None
    more = [w for w in rest[2:] if w != "all"]
    return Command(f"{base}_{what}", f"only {' '.join(more)!r}" if more else "")


def _calicoctl(_: str, words: list[str]) -> Command | None:
    output = namespace = ""
    every = False
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word in ("-o", "--output", "-n", "--namespace", "-c", "--config", "--context"):
            value = words[at + 1] if at + 1 < len(words) else ""
            output = value if word in ("-o", "--output") else output
            namespace = value if word in ("-n", "--namespace") else namespace
            at += 2
            continue
        if word in ("-A", "-a", "--all-namespaces"):
            every = True
        elif word.startswith(("-o", "--output=")):
            output = word.partition("=")[2] or word.removeprefix("-o")
        elif not word.startswith("-"):
            rest.append(word)
        at += 1
    if rest[:2] == ["node", "status"]:
        return Command("calico_node_status")
    if rest[:2] == ["ipam", "show"]:
        return Command("calico_ipam_show" if "--show-blocks" in words else "calico_ipam_text")
    if rest[:2] == ["ipam", "check"]:
        return Command("calico_ipam_text")
    if rest[:1] == ["version"]:
        return Command("calicoctl_version")
    return _objects(rest[1:], output, namespace, every, calico=True) if rest[:1] == ["get"] and len(rest) > 1 else None


def _bridge(_: str, words: list[str]) -> Command | None:
    json = "-j" in words or "-json" in words
    rest = [w for w in words if not w.startswith("-")]
    if not rest:
        return None
    name = next((n for n in ("link", "fdb", "mdb", "vlan") if n.startswith(rest[0])), "")
    if not name:
        return None
    more = [w for w in rest[1:] if w not in ("show", "list")]
    return Command(f"bridge_{name}" + ("_json" if json else ""), f"only {' '.join(more)!r}" if more else "")


def _read_file(tool: str, words: list[str]) -> Command | None:
    names = [w for w in words if w.startswith("/")]
    if not names:
        return None
    path = re.sub(r"^/(?:host|rootfs)(?=/)|^/proc/\d+(?=/net/)", lambda m: "/proc" if "proc" in m[0] else "", names[0])
    if len(names) == 1 and path in _FILES:
        return Command(_FILES[path])
    if path.startswith("/proc/sys/"):
        return Command("sysctl_file")
    name = path.rsplit("/", 1)[-1]
    if re.fullmatch(r"bird6?\w*\.cfg", name):
        return Command("bird_config_" + name.removesuffix(".cfg"))
    if name.endswith((".conflist", ".conf")) and "cni" in path:
        return Command("cni_conflist")
    if "/log" in path or tool == "tail" or path.startswith("/var/log"):
        part = next((p for p in ("felix", "confd", "bird6", "bird", "cni", "kubelet") if p in path), "other")
        return Command(f"log_{part}")
    return None


def _fixed(identity: str) -> _Handler:
    return lambda _tool, _words: Command(identity)


def _ethtool(_: str, words: list[str]) -> Command:
    names = [w for w in words if not w.startswith("-")]
    flag = next((w[1].lower() for w in words if re.fullmatch(r"-[kiS]", w)), "link")
    return Command(f"ethtool_{flag}_{names[0] if names else ''}")


def _tc(_: str, words: list[str]) -> Command | None:
    if "qdisc" in words:
        return Command("tc_qdisc")
    return Command("tc_filter") if "filter" in words else None


def _route(_: str, words: list[str]) -> Command | None:
    return Command("route_n") if not [w for w in words if not w.startswith("-")] else None


_TOOLS: dict[str, _Handler] = {
    "ip": _ip, "bridge": _bridge, "nft": _nft, "ipset": _ipset, "conntrack": _conntrack, "sysctl": _sysctl, "ss": _ss,
    "birdcl": _bird, "birdcl6": _bird, "birdc": _bird, "birdc6": _bird, "calicoctl": _calicoctl, "route": _route,
    "ethtool": _ethtool, "tc": _tc, "cat": _read_file, "tail": _read_file, "head": _read_file, "more": _read_file,
    "iptables-save": _iptables_save, "iptables-nft-save": _iptables_save, "iptables-legacy-save": _iptables_save,
    "ip6tables-save": _iptables_save, "ip6tables-nft-save": _iptables_save, "ip6tables-legacy-save": _iptables_save,
    "iptables": _iptables, "ip6tables": _iptables, "iptables-nft": _iptables, "iptables-legacy": _iptables,
    "hostname": _fixed("hostname"), "uname": _fixed("uname"), "date": _fixed("date"), "uptime": _fixed("uptime_text"),
    "ps": _fixed("processes_ps"), "nstat": _fixed("nstat"), "wg": _fixed("wg_show"), "bpftool": _fixed("bpftool_net"),
    "ipvsadm": _fixed("ipvsadm"), "arp": _fixed("arp_n"), "netstat": _fixed("netstat"), "lsmod": _fixed("lsmod"),
    "ls": _fixed("listing"), "curl": _fixed("http_answer"), "etcdctl": _fixed("etcd"), "ifconfig": _fixed("ifconfig"),
    "journalctl": _fixed("log_other"), "dmesg": _fixed("log_kernel"), "chronyc": _fixed("chrony"),
    "timedatectl": _fixed("timezone"), "ping": _fixed("probe_text"), "traceroute": _fixed("probe_text"),
    "gobgp": _fixed("bgp_text"), "env": _fixed("environment"),
}  # fmt: skip
