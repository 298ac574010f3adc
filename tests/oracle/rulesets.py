"""Random rulesets: chains that call later chains, every modelled match with its negation, marks from a few bits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .layout import PORTS

HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
MARKS = ("0x1", "0x2", "0x4", "0x10000", "0x20000")
PORT_POOL = (22, 53, 79, 80, 81, 443, 1000, 1024, 8080, 30000, 32767, 40000, 65535)
FAMILIES = (4, 4, 4, 6)


@dataclass
class Case:
    """One ruleset for the machine: complete texts for iptables-restore and ipset restore."""

    family: int
    rules: dict[tuple[str, int], str]
    sets: str
    loose: bool
    hosts: list[str]
    outside: list[str]


@dataclass
class Pool:
    """Values that rules and packets share, so that they meet."""

    rng: random.Random
    family: int
    inside: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    sets: list[tuple[str, str]] = field(default_factory=list)
    """(name, type)"""

    def __post_init__(self) -> None:
        rng = self.rng
        for port in PORTS:
            if self.family == 4:
                base = port.behind4.rsplit(".", 2)[0]
                self.inside += [f"{base}.{rng.choice((0, 1, 255))}.{rng.choice((1, 2, 3, 4, 127, 128, 254))}"
                                for _ in range(3)]  # fmt: skip
            else:
                base = port.behind6.split("::")[0]
                self.inside += [f"{base}::{rng.choice(('', '1:', 'ffff:'))}{rng.randint(1, 5):x}" for _ in range(3)]
        self.outside = self.inside + (
            ["10.200.0.1", "172.16.5.5", "192.168.1.77"] if self.family == 4 else ["fdaa::1", "2001:db8::5"]
        )

    def own(self) -> str:
        port = self.rng.choice(PORTS)
        return port.own4 if self.family == 4 else port.own6

    def host(self) -> str:
        return self.own() if self.rng.random() < 0.1 else self.rng.choice(self.outside)

    def net(self) -> str:
        host = self.host()
        if self.family == 4:
            length = self.rng.choice((0, 8, 15, 16, 17, 24, 25, 30, 31, 32, 32, 32))
            if self.rng.random() < 0.06:
                return f"{host}/{self.rng.choice(('255.0.255.0', '255.255.0.255', '0.0.0.255', '255.0.0.0'))}"
        else:
            length = self.rng.choice((0, 16, 31, 32, 64, 112, 127, 128, 128))
        return f"{host}/{length}"

    def port(self) -> int:
        value = self.rng.choice(PORT_POOL)
        return min(65535, max(1, value + self.rng.choice((0, 0, 0, -1, 1))))

    def port_range(self) -> str:
        low, high = sorted((self.port(), self.port()))
        return self.rng.choice((f"{low}", f"{low}", f"{low}:{high}", f":{high}", f"{low}:"))

    def interface(self) -> str:
        return self.rng.choice((*(port.name for port in PORTS), "cali+", "eth+", "eth0+", "+", "c+", "nope"))


class RulesetGenerator:
    """Texts for one back end and family."""

    def __init__(self, pool: Pool, backend: str) -> None:
        self.pool = pool
        self.rng = pool.rng
        self.backend = backend
        self.family = pool.family
        self.proto = ""

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def bang(self, chance: float = 0.25) -> str:
        return "! " if self.maybe(chance) else ""

    # -- matches ----------------------------------------------------------------------------------------------------

    def protocol(self, want: tuple[str, ...] = ()) -> str:
        """-p, which fixes the protocol for the matches after it."""
        icmp = "icmp" if self.family == 4 else "ipv6-icmp"
        self.proto = self.rng.choice(want or ("tcp", "tcp", "udp", "udp", icmp, "sctp", "4", "47"))
        if not want and self.maybe(0.12):
            text, self.proto = f"! -p {self.proto}", ""
            return text
        return f"-p {self.proto}"

    def m_address(self) -> str:
        side = self.rng.choice(("-s", "-d"))
        net = self.pool.net()
        return f"{'' if net.endswith('/0') else self.bang()}{side} {net}"

    def m_ports(self) -> str:
        head = "" if self.proto in ("tcp", "udp", "sctp") else self.protocol(("tcp", "udp", "sctp")) + " "
        side = self.rng.choice(("--sport", "--dport", "--dport"))
        ports = self.pool.port_range()
        # "! --dport 0:65535" never matches and iptables-save does not print it.
        return f"{head}-m {self.proto} {'' if ports in (':65535', '0:') else self.bang()}{side} {ports}"

    def m_flags(self) -> str:
        head = "" if self.proto == "tcp" else self.protocol(("tcp",)) + " "
        if self.maybe(0.3):
            return f"{head}-m tcp {self.bang()}--syn"
        names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"]
        mask = self.rng.sample(names, self.rng.randint(1, 4))
        wanted = [flag for flag in mask if self.maybe(0.4)]
        return f"{head}-m tcp {self.bang()}--tcp-flags {','.join(mask)} {','.join(wanted) or 'NONE'}"

    def m_icmp(self) -> str:
        if self.family == 4:
            head = "" if self.proto == "icmp" else self.protocol(("icmp",)) + " "
            kind = self.rng.choice(("8", "0", "3", "3/3", "3/1", "any", "8/0"))
            return f"{head}-m icmp {self.bang()}--icmp-type {kind}"
        head = "" if self.proto == "ipv6-icmp" else self.protocol(("ipv6-icmp",)) + " "
        kind = self.rng.choice(("128", "129", "1", "1/4", "1/3", "128/0"))
        return f"{head}-m icmp6 {self.bang()}--icmpv6-type {kind}"

    def m_multiport(self) -> str:
        head = "" if self.proto in ("tcp", "udp", "sctp") else self.protocol(("tcp", "udp", "sctp")) + " "
        items: list[str] = []
        slots = self.rng.randint(1, 6)
        while slots > 0:
            if slots > 1 and self.maybe(0.3):
                low, high = sorted((self.pool.port(), self.pool.port()))
                items.append(f"{low}:{high}" if low != high else str(low))
                slots -= 2
            else:
                items.append(str(self.pool.port()))
                slots -= 1
        option = self.rng.choice(("sports", "dports", "dports", "ports"))
        return f"{head}-m multiport {self.bang()}--{option} {','.join(items)}"

    def m_mark(self) -> str:
        mask = self.mask()
        value = int(mask, 16) & self.rng.choice((0, int(mask, 16), int(self.rng.choice(MARKS), 16)))
        name = self.rng.choice(("mark", "mark", "mark", "connmark"))
        return f"-m {name} {self.bang()}--mark {value:#x}/{mask}"

    def mask(self) -> str:
        bits = 0
        for mark in self.rng.sample(MARKS, self.rng.randint(1, 3)):
            bits |= int(mark, 16)
        return f"{bits if self.maybe(0.9) else 0xffffffff:#x}"

    def m_state(self) -> str:
        states = ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"]
        chosen = self.rng.sample(states, self.rng.randint(1, 2))
        if self.maybe(0.2):
            return f"-m state {self.bang()}--state {','.join(chosen)}"
        if self.maybe(0.2):
            chosen += self.rng.sample(["SNAT", "DNAT"], 1)
        return f"-m conntrack {self.bang()}--ctstate {','.join(chosen)}"

    def m_conntrack(self) -> str:
        kind = self.rng.randrange(7)
        if kind == 0:
            return f"-m conntrack {self.bang(0)}--ctdir {self.rng.choice(('ORIGINAL', 'REPLY'))}"
        if kind == 1:
            field_name = self.rng.choice(("ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst"))
            return f"-m conntrack {self.bang()}--{field_name} {self.pool.host()}"
        if kind == 2:
            field_name = self.rng.choice(("ctorigsrcport", "ctorigdstport", "ctreplsrcport", "ctrepldstport"))
            return f"-m conntrack {self.bang()}--{field_name} {self.pool.port_range().strip(':')}"
        if kind == 3:
            status = self.rng.choice(("SEEN_REPLY", "ASSURED", "CONFIRMED", "NONE", "EXPECTED,CONFIRMED"))
            return f"-m conntrack {self.bang()}--ctstatus {status}"
        if kind == 4:
            return f"-m conntrack {self.bang()}--ctproto {self.rng.choice(('6', '17', '1'))}"
        if kind == 5:
            state = self.rng.choice(("NEW", "ESTABLISHED", "INVALID", "DNAT"))
            return f"-m conntrack {self.bang()}--ctstate {state} --ctdir ORIGINAL"
        return f"-m conntrack {self.bang()}--ctstate NEW {self.bang()}--ctorigdst {self.pool.host()}"

    def m_set(self) -> str:
        if not self.pool.sets:
            return self.m_address()
        name, kind = self.rng.choice(self.pool.sets)
        dims = 1 if kind == "list:set" else kind.split(":")[1].count(",") + 1
        if kind == "list:set":
            dims = self.rng.choice((1, 1, 2))
        directions = ",".join(self.rng.choice(("src", "dst")) for _ in range(dims))
        extra = " --return-nomatch" if "net" in kind and self.maybe(0.1) else ""
        return f"-m set {self.bang()}--match-set {name} {directions}{extra}"

    def m_iprange(self) -> str:
        low, high = sorted((self.pool.host(), self.pool.host()), key=_order)
        return f"-m iprange {self.bang()}--{self.rng.choice(('src', 'dst'))}-range {low}-{high}"

    def m_length(self) -> str:
        low = self.rng.choice((0, 40, 59, 60, 61, 84, 100))
        high = self.rng.choice((60, 100, 1500, 65535)) if low <= 60 else 65535
        return f"-m length {self.bang()}--length {low}:{high}"

    def m_ttl(self) -> str:
        name, value = ("ttl", self.rng.choice((62, 63, 64)))
        how = self.rng.choice(("eq", "gt", "lt"))
        name = "ttl" if self.family == 4 else "hl"
        bang = self.bang() if how == "eq" else ""
        return f"-m {name} {bang}--{name}-{how} {value}"

    def m_tos(self) -> str:
        if self.maybe(0.5):
            return f"-m dscp {self.bang()}--dscp {self.rng.choice(('0x00', '0x08', '0x2e'))}"
        return f"-m tos {self.bang()}--tos {self.rng.choice(('0x20/0xe0', '0xb8/0xff', '0x00/0x3f'))}"

    def m_addrtype(self) -> str:
        if self.family == 6:
            kind = self.rng.choice(("LOCAL", "UNICAST", "LOCAL,UNICAST"))
        else:
            kind = self.rng.choice(("LOCAL", "UNICAST", "LOCAL,BROADCAST", "MULTICAST"))
        return f"-m addrtype {self.bang()}--{self.rng.choice(('src', 'dst'))}-type {kind}"

    def m_pkttype(self) -> str:
        return f"-m pkttype {self.bang()}--pkt-type {self.rng.choice(('unicast', 'broadcast'))}"

    def m_comment(self) -> str:
        return '-m comment --comment "a \\"quoted\\" comment -j DROP"'

    def match(self, used: set[str]) -> str:
        """One match of a kind that is not in `used` yet (iptables-nft-save prints two uses of one match wrongly)."""
        choices: list[tuple[int, Callable[[], str]]] = [
            (10, self.m_address), (6, self.m_ports), (3, self.m_flags), (3, self.m_icmp), (5, self.m_multiport),
            (8, self.m_mark), (5, self.m_state), (3, self.m_conntrack), (7, self.m_set), (2, self.m_iprange),
            (1, self.m_length), (1, self.m_ttl), (1, self.m_tos), (3, self.m_addrtype), (1, self.m_comment),
        ]  # fmt: skip
        left = [(weight, build) for weight, build in choices if build.__name__ not in used]
        build = self.rng.choices([c for _, c in left], [w for w, _ in left])[0]
        used.add(build.__name__)
        return build()

    def interfaces(self, chain: str) -> str:
        words = []
        if chain not in ("OUTPUT", "POSTROUTING") and self.maybe(0.2):
            words.append(self.on("-i"))
        if chain not in ("PREROUTING", "INPUT") and self.maybe(0.2):
            words.append(self.on("-o"))
        return " ".join(words)

    def on(self, option: str) -> str:
        name = self.pool.interface()
        # iptables-save leaves out "! -i +" (which never matches): no dump can tell.
        return f"{'' if name == '+' else self.bang()}{option} {name}"

    def special(self, table: str, chain: str) -> str:
        """Matches that are allowed at some hooks only; base chains."""
        # IPv6's lookup for rpfilter would meet the rule that silences the router itself.
        if self.family == 4 and table in ("raw", "mangle") and chain == "PREROUTING" and self.maybe(0.15):
            return "-m rpfilter" + self.rng.choice(("", " --loose", " --invert", " --loose --invert", " --validmark"))
        if chain in ("PREROUTING", "INPUT", "FORWARD") and self.maybe(0.06):
            return f"-m addrtype {self.bang()}--{self.rng.choice(('src', 'dst'))}-type LOCAL --limit-iface-in"
        if chain in ("FORWARD", "OUTPUT", "POSTROUTING") and self.maybe(0.06):
            kind = self.rng.choice(("src", "dst"))
            return f"-m addrtype {self.bang()}--{kind}-type LOCAL --limit-iface-out"
        if chain in ("PREROUTING", "INPUT", "FORWARD") and self.maybe(0.05):
            port = self.rng.choice(PORTS)
            return f"-m mac {self.bang()}--mac-source {port.neighbour_mac}"
        if chain in ("PREROUTING", "INPUT", "FORWARD") and self.maybe(0.04):
            return f"-m physdev {self.bang(0.5)}--physdev-is-bridged"
        return ""

    # -- targets ----------------------------------------------------------------------------------------------------

    def mark_target(self) -> str:
        if self.maybe(0.2):
            how = self.rng.choice(("--save-mark", "--restore-mark", "--set-xmark"))
            if how == "--set-xmark":
                return f"-j CONNMARK --set-xmark {self.rng.choice(MARKS)}/{self.mask()}"
            if self.maybe(0.5):
                return f"-j CONNMARK {how} --nfmask {self.mask()} --ctmask {self.mask()}"
            return f"-j CONNMARK {how}"
        how = self.rng.choice(("--set-xmark", "--set-xmark", "--set-mark", "--and-mark", "--or-mark", "--xor-mark"))
        if how in ("--set-xmark", "--set-mark"):
            return f"-j MARK {how} {self.rng.choice((*MARKS, '0x0'))}/{self.mask()}"
        return f"-j MARK {how} {self.rng.choice(MARKS)}"

    def nat_target(self, chain: str) -> str:
        tcp_or_udp = self.proto in ("tcp", "udp")
        host = self.rng.choice(self.pool.inside)
        if chain in ("PREROUTING", "OUTPUT"):
            if self.maybe(0.2):
                return "-j REDIRECT" + (f" --to-ports {self.pool.port()}" if tcp_or_udp and self.maybe(0.6) else "") \
                    if chain == "PREROUTING" and self.family == 4 else "-j ACCEPT"  # fmt: skip
            if self.maybe(0.1) and self.family == 4:
                return "-j NETMAP --to 10.30.0.0/24"
            if tcp_or_udp and self.maybe(0.6):
                if self.family == 6:
                    return f"-j DNAT --to-destination [{host}]:{self.pool.port()}"
                return f"-j DNAT --to-destination {host}:{self.pool.port()}"
            return f"-j DNAT --to-destination {host}"
        if chain == "POSTROUTING" and self.maybe(0.6):
            return "-j MASQUERADE"
        return f"-j SNAT --to-source {host}"

    def target(self, table: str, chain: str, later: list[str]) -> str:
        rng = self.rng
        if later and self.maybe(0.35):
            return f"{'-g' if self.maybe(0.25) else '-j'} {rng.choice(later)}"
        if self.maybe(0.12):
            return "-j RETURN"
        if self.maybe(0.08):
            return ""
        if self.maybe(0.4):
            return self.mark_target()
        if table == "nat" and chain:
            return self.nat_target(chain)
        if table == "raw":
            return rng.choice(("-j CT --notrack", "-j ACCEPT", "-j ACCEPT", "-j DROP", "-j NOTRACK")) if chain in HOOKS[
                "raw"
            ] else rng.choice(("-j ACCEPT", "-j DROP", "-j ACCEPT"))
        if table == "mangle":
            hl = "-j TTL --ttl-set 63" if self.family == 4 else "-j HL --hl-set 63"
            return rng.choice(
                ("-j ACCEPT", "-j ACCEPT", "-j DROP", "-j DSCP --set-dscp 0x08", "-j TOS --set-tos 0x20/0xe0", hl,
                 "-j TTL --ttl-inc 1" if self.family == 4 else hl)
            )  # fmt: skip
        if table == "filter":
            return rng.choice(("-j ACCEPT", "-j ACCEPT", "-j ACCEPT", "-j DROP", "-j DROP", "-j REJECT", "-j LOG"))
        return "-j ACCEPT"

    def rule(self, table: str, chain: str, base: bool, later: list[str]) -> str:
        self.proto = ""
        parts: list[str] = []
        if base:
            parts.append(self.interfaces(chain))
            parts.append(self.special(table, chain))
        if self.maybe(0.3):
            parts.append(self.protocol())
        used: set[str] = set()
        for _ in range(self.rng.choices((0, 1, 2, 3), (10, 45, 35, 10))[0]):
            before = self.proto
            text = self.match(used)
            if " -p " in " " + text and any(" -p " in " " + part for part in parts):
                self.proto = before
                continue
            parts.append(text)
        body = " ".join(part for part in parts if part)
        target = self.target(table, chain if base else "", later)
        return f"-A {chain} {body} {target}".replace("  ", " ").strip()

    def table(self, table: str) -> str:
        rng = self.rng
        users = [f"c{number}-{table}" for number in range(rng.randint(0, 5))]
        bases = [hook for hook in HOOKS[table] if self.maybe(0.75)] or [rng.choice(HOOKS[table])]
        lines = [f"*{table}"]
        for hook in HOOKS[table]:
            drop = table == "filter" and self.maybe(0.12)
            lines.append(f":{hook} {'DROP' if drop else 'ACCEPT'} [0:0]")
        lines += [f":{name} - [0:0]" for name in users]
        for hook in bases:
            for _ in range(rng.randint(1, 6)):
                lines.append(self.rule(table, hook, True, users))
        for position, name in enumerate(users):
            for _ in range(rng.choice((0, 1, 2, 3, 5, 8) if self.maybe(0.93) else (30, 40))):
                lines.append(self.rule(table, name, False, users[position + 1 :]))
        lines.append("COMMIT")
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        chosen = [table for table in HOOKS if self.maybe(0.65)] or ["filter"]
        return "".join(self.table(table) for table in chosen)


def _order(text: str) -> int:
    from ipaddress import ip_address

    return int(ip_address(text))


def _sets(pool: Pool) -> str:
    """ipset restore text; fills pool.sets. Only types that this kernel has."""
    rng, family = pool.rng, pool.family
    lines: list[str] = []
    word = "inet" if family == 4 else "inet6"
    full = 32 if family == 4 else 128
    kinds = ["hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net",
             "hash:net,iface", "bitmap:port", "hash:net", "hash:ip"]  # fmt: skip
    if family == 4:
        kinds += ["bitmap:ip"]
    for number in range(rng.randint(0, 4)):
        kind = rng.choice(kinds)
        name = f"s{number}-{kind.replace(':', '-').replace(',', '-')}"[:31]
        if kind == "bitmap:port":
            lines.append(f"create {name} {kind} range 0-65535")
        elif kind == "bitmap:ip":
            lines.append(f"create {name} {kind} range 10.10.0.0-10.10.3.255")
        else:
            lines.append(f"create {name} {kind} family {word}")
        known: set[str] = set()
        for _ in range(rng.randint(0, 8)):
            element = _element(pool, kind, full)
            if element is None or element.split()[0] in known:
                continue
            known.add(element.split()[0])
            lines.append(f"add {name} {element} -exist")
        pool.sets.append((name, kind))
    plain = [name for name, kind in pool.sets if kind != "list:set"]
    if plain and rng.random() < 0.4:
        lines.append("create l0 list:set")
        for name in rng.sample(plain, min(len(plain), 2)):
            lines.append(f"add l0 {name}")
        pool.sets.append(("l0", "list:set"))
    return "\n".join(lines) + "\n" if lines else ""


def _element(pool: Pool, kind: str, full: int) -> str | None:
    rng = pool.rng
    if kind == "bitmap:port":
        return str(pool.port())
    if kind == "bitmap:ip":
        return f"10.10.{rng.choice((0, 1))}.{rng.choice((1, 2, 3, 4, 127, 128, 254))}"
    parts: list[str] = []
    nomatch = ""
    for dim in kind.split(":")[1].split(","):
        if dim == "ip":
            parts.append(pool.host())
        elif dim == "net":
            length = rng.choice((8, 16, 24, 31, full, full) if full == 32 else (16, 32, 64, 127, full))
            parts.append(f"{pool.host()}/{length}")
            if rng.random() < 0.2:
                nomatch = " nomatch"
        elif dim == "port":
            icmp = "icmp:8/0" if full == 32 else "icmpv6:128/0"
            parts.append(rng.choice((f"tcp:{pool.port()}", f"udp:{pool.port()}", f"sctp:{pool.port()}", icmp)))
        elif dim == "iface":
            parts.append(rng.choice(PORTS).name)
    return ",".join(parts) + nomatch


def random_case(rng: random.Random) -> Case:
    """A whole case; which back ends carry rules varies."""
    family = rng.choice(FAMILIES)
    pool = Pool(rng, family)
    sets = _sets(pool)
    which = rng.choice((("nft",), ("nft",), ("legacy",), ("legacy",), ("nft", "legacy")))
    rules = {(backend, family): RulesetGenerator(pool, backend).text() for backend in which}
    return Case(family, rules, sets, rng.random() < 0.7, pool.inside, pool.outside)
