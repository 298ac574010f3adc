"""Random native rulesets: tables of families ip, ip6 and inet with base chains at many priorities, verdict maps, sets,
intervals, concatenations, marks, conntrack and NAT; in some cases next to iptables of both back ends."""

# ruff: noqa: E501 - one kind of rule reads best as one row

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.oracle.layout import PORTS
from tests.oracle.rulesets import FAMILIES, PORT_POOL, Case, Pool, random_case

PRIORITIES = (-350, -300, -300, -201, -200, -199, -150, -150, -101, -100, -99, -10, 0, 0, 0, 1, 10, 50, 100, 110, 300)
MARKS = ("0x1", "0x2", "0x4", "0x10000", "0x20000", "0x80000000")
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
STATES = ("new", "established", "related", "invalid", "untracked")


@dataclass
class NftCase(Case):
    """A case of the iptables oracle (`rules` may be empty) with native tables besides."""

    nft: str = ""
    tables: list[str] = field(default_factory=list)


class TableGenerator:
    """The text of one table."""

    def __init__(self, pool: Pool, name: str, family: str, alone: bool) -> None:
        self.pool = pool
        self.rng = pool.rng
        self.name = name
        self.family = family
        self.version = pool.family
        self.ip = "ip" if pool.family == 4 else "ip6"
        self.sets: list[tuple[str, str]] = []
        """(name, kind) with kind addr, net, service, pair, ifname, mark, triple."""
        self.maps: list[tuple[str, str, str]] = []
        """(name, kind of key, class of chains)"""
        self.alone = alone
        """No iptables besides: xt_rpfilter and nft_fib look up differently in the machine's routing rules."""
        self.proto = ""

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    # -- values -----------------------------------------------------------------------------------------------------

    def host(self) -> str:
        return self.pool.host()

    def net(self) -> str:
        length = self.rng.choice((8, 15, 16, 17, 24, 30, 31) if self.version == 4 else (16, 32, 33, 48, 64, 127))
        return f"{self.host()}/{length}"

    def span(self) -> str:
        from ipaddress import ip_address

        low, high = sorted((ip_address(self.host()), ip_address(self.host())))
        return f"{low}-{high}" if low != high else str(low)

    def address(self) -> str:
        return self.rng.choice((self.host, self.host, self.net, self.span))()

    def port(self) -> str:
        return str(self.pool.port())

    def ports(self) -> str:
        low, high = sorted((self.pool.port(), self.pool.port()))
        return f"{low}-{high}" if low != high and self.maybe(0.5) else str(low)

    def interface(self) -> str:
        return self.rng.choice((*(f'"{port.name}"' for port in PORTS), '"cali*"', '"eth*"', '"nope"', '"eth0*"'))

    def name_(self) -> str:
        return f'"{self.rng.choice(PORTS).name}"'

    def bits(self) -> str:
        return hex(sum(int(mark, 16) for mark in self.rng.sample(MARKS, self.rng.randint(1, 3))))

    def proto_(self) -> str:
        return self.rng.choice(("tcp", "udp", "icmp" if self.version == 4 else "ipv6-icmp", "sctp", "gre"))

    def bang(self, chance: float = 0.25) -> str:
        return "!= " if self.maybe(chance) else ""

    def many(self, make: object, low: int = 1, high: int = 5) -> list[str]:
        assert callable(make)
        return list(dict.fromkeys(make() for _ in range(self.rng.randint(low, high))))

    # -- sets and maps ----------------------------------------------------------------------------------------------

    def declare(self) -> str:
        rng = self.rng
        text = ""
        addr = "ipv4_addr" if self.version == 4 else "ipv6_addr"
        for number in range(rng.randint(1, 4)):
            kind = rng.choice(("addr", "net", "service", "pair", "netpair", "ifname", "mark", "triple"))
            name = f"s{number}"
            type_, flags, make = {
                "addr": (addr, "", self.host), "net": (addr, "interval", self.address),
                "service": ("inet_service", "interval", self.ports), "mark": ("mark", "interval", self.bits),
                "pair": (f"{addr} . inet_service", "", lambda: f"{self.host()} . {self.port()}"),
                "netpair": (f"{addr} . inet_service", "interval", lambda: f"{self.address()} . {self.ports()}"),
                "ifname": ("ifname", rng.choice(("", "interval")), self.name_),
                "triple": (f"{addr} . inet_proto . inet_service", "",
                           lambda: f"{self.host()} . {rng.choice(('tcp', 'udp', 'sctp'))} . {self.port()}"),
            }[kind]  # fmt: skip
            if kind == "ifname" and flags:
                make = self.interface
            head = f" set {name} {{ type {type_};" + (f" flags {flags};" if flags else "")
            if flags and kind != "netpair":
                head += " auto-merge;"
            elements = self.many(make, 1, 6)
            text += f"{head} elements = {{ {', '.join(elements)} }}; }}\n"
            self.sets.append((name, kind))
        return text

    def late_maps(self, chains: list[str]) -> str:
        """Verdict maps; their chains exist already."""
        text = ""
        rng = self.rng
        addr = "ipv4_addr" if self.version == 4 else "ipv6_addr"
        for number in range(rng.randint(0, 2)):
            kind = rng.choice(("addr", "service", "triple", "ifname"))
            type_, make = {
                "addr": (addr, self.host), "service": ("inet_service", self.port), "ifname": ("ifname", self.name_),
                "triple": (f"{addr} . inet_proto . inet_service",
                           lambda: f"{self.host()} . {rng.choice(('tcp', 'udp'))} . {self.port()}"),
            }[kind]  # fmt: skip
            elements = [f"{key} : {self.plain_verdict(chains)}" for key in self.many(make, 1, 5)]
            text += f" map m{number} {{ type {type_} : verdict; elements = {{ {', '.join(elements)} }}; }}\n"
            self.maps.append((f"m{number}", kind, "f"))
        return text

    def plain_verdict(self, chains: list[str]) -> str:
        choices = ["accept", "drop", "return", "continue"]
        if chains:
            choices += [f"jump {self.rng.choice(chains)}", f"goto {self.rng.choice(chains)}"] * 3
        return self.rng.choice(choices)

    # -- matches ----------------------------------------------------------------------------------------------------

    def m_address(self) -> str:
        side = f"{self.ip} {self.rng.choice(('saddr', 'daddr'))}"
        named = [name for name, kind in self.sets if kind in ("addr", "net")]
        how = self.rng.random()
        if named and how < 0.3:
            return f"{side} {self.bang()}@{self.rng.choice(named)}"
        if how < 0.45:
            return f"{side} {self.bang()}{{ {', '.join(self.many(self.host, 1, 4))} }}"
        if how < 0.55 and self.version == 4:
            mask = self.rng.choice(("255.255.0.255", "0.0.0.255", "255.0.255.0"))
            value = ".".join(str(int(a) & int(b)) for a, b in zip(self.host().split("."), mask.split("."), strict=True))
            return f"{side} & {mask} {self.rng.choice(('==', '!='))} {value}"
        return f"{side} {self.bang()}{self.address()}"

    def m_port(self) -> str:
        proto = self.transport(("tcp", "tcp", "udp", "sctp", "th"))
        field_ = f"{proto} {self.rng.choice(('sport', 'dport', 'dport'))}"
        head = "meta l4proto { tcp, udp } " if proto == "th" and not self.proto else ""
        # nft 1.0.6 loads "tcp sport != 1 tcp dport != 2" as one inequality of both and lists two.
        bang = self.bang() if not self.proto else ""
        self.proto = self.proto or proto
        named = [name for name, kind in self.sets if kind == "service"]
        how = self.rng.random()
        if named and how < 0.25:
            return f"{head}{field_} {bang}@{self.rng.choice(named)}"
        if how < 0.4:
            return f"{head}{field_} {bang}{{ {', '.join(self.many(self.port, 1, 4))} }}"
        if how < 0.55:
            return f"{head}{field_} {self.rng.choice(('<', '>', '<=', '>='))} {self.rng.choice(PORT_POOL)}"
        return f"{head}{field_} {bang}{self.ports()}"

    def transport(self, wanted: tuple[str, ...]) -> str:
        """One protocol per rule: nft refuses two."""
        if self.proto in wanted or not self.proto:
            return self.proto or self.rng.choice(wanted)
        return "th" if self.proto in ("tcp", "udp", "sctp") else "none"

    def m_meta(self) -> str:
        rng = self.rng
        return rng.choice((
            self.m_l4proto,
            lambda: f"meta length {rng.choice(('60', '80', '60-100', '!= 60', '< 100', '> 99', '{ 60, 80-84 }'))}",
            lambda: f"meta nfproto {self.bang()}{rng.choice(('ipv4', 'ipv6'))}" if self.family == "inet" else "meta mark 0x0",
            # "meta protocol ip6 ip daddr …" can be loaded; nft's listing leaves the contradiction out.
            lambda: f"meta protocol {rng.choice((self.ip, '!= ip6', '!= ip', '!= arp'))}",
            lambda: f"meta pkttype {self.bang()}{rng.choice(('host', 'broadcast', 'multicast'))}",
        ))()  # fmt: skip

    def m_l4proto(self) -> str:
        rng = self.rng
        if self.proto:
            return f"meta l4proto != {rng.choice(('gre', 'esp'))}"
        self.proto = "any"
        return rng.choice((f"meta l4proto {self.bang()}{self.proto_()}",
                           f"meta l4proto {self.bang()}{{ tcp, {rng.choice(('udp', 'sctp', 'gre'))} }}"))  # fmt: skip

    def m_interface(self) -> str:
        side = self.rng.choice(("iifname", "oifname", "iif", "oif"))
        if side in ("iif", "oif"):
            return f"{side} {self.bang()}{self.name_()}"
        named = [name for name, kind in self.sets if kind == "ifname"]
        if named and self.maybe(0.3):
            return f"{side} {self.bang()}@{self.rng.choice(named)}"
        if self.maybe(0.2):
            return f"{side} {self.bang()}{{ {', '.join(self.many(self.name_, 1, 3))} }}"
        return f"{side} {self.bang()}{self.interface()}"

    def m_mark(self) -> str:
        rng = self.rng
        which = rng.choice(("meta mark", "meta mark", "ct mark"))
        named = [name for name, kind in self.sets if kind == "mark"]
        if named and self.maybe(0.15):
            return f"{which} {self.bang()}@{rng.choice(named)}"
        value, mask = self.bits(), self.bits()
        return rng.choice((
            f"{which} & {mask} {rng.choice(('==', '!='))} {hex(int(value, 16) & int(mask, 16))}",
            f"{which} & {mask} == 0x0",
            f"{which} {self.bang()}{value}",
            f"{which} {rng.choice(('<', '>', '<=', '>='))} {value}",
            f"{which} {{ {value}, 0x0 }}",
            f"{which} ^ {mask} == {value}",
        ))  # fmt: skip

    def m_ct(self) -> str:
        rng = self.rng
        words = ",".join(rng.sample(STATES, rng.randint(1, 3)))
        statuses = ",".join(rng.sample(("snat", "dnat", "seen-reply", "assured", "confirmed"), rng.randint(1, 2)))
        port = self.port()
        head = "" if self.proto else "meta l4proto tcp "
        return rng.choice((
            f"ct state {words}", f"ct state {words}", f"ct state {rng.choice(('!=', '!'))} {words}",
            f"ct state {{ {words} }}", f"ct status {statuses}", f"ct status ! {statuses}",
            f"ct status != {rng.choice(('dnat', 'snat'))}", f"ct direction {rng.choice(('original', 'reply'))}",
            f"ct {rng.choice(('original', 'reply'))} {self.ip} {rng.choice(('saddr', 'daddr'))} {self.bang()}{self.address()}",
            f"{head}ct {rng.choice(('original', 'reply'))} proto-{rng.choice(('src', 'dst'))} {self.bang()}{port}",
            # ct l3proto and ct protocol are not asked: nft 1.0.6 takes them for a hidden dependency of a header field
            # that follows and leaves them out of its listing.
        ))  # fmt: skip

    def m_header(self) -> str:
        rng = self.rng
        flags = rng.choice(("syn", "syn,ack", "fin,rst", "ack"))
        four = (
            lambda: f"ip ttl {rng.choice(('64', '< 64', '> 62', '!= 63', '{ 61, 63 }'))}",
            lambda: f"ip dscp {self.bang()}{rng.choice(('cs1', 'ef', 'af11', 'cs0'))}",
            lambda: f"ip protocol {self.proto_()}",
            lambda: f"ip length {rng.choice(('60', '60-99', '!= 84'))}",
            lambda: f"icmp type {self.bang()}{rng.choice(('echo-request', 'echo-reply', '{ echo-request, 3 }'))}",
            lambda: f"icmp code {self.bang()}{rng.choice(('0', '1', '3'))}",
            lambda: "ip frag-off & 0x1fff == 0", lambda: f"icmp id {rng.choice(('< 30000', '> 30000'))}",
        )  # fmt: skip
        six = (
            lambda: f"ip6 hoplimit {rng.choice(('64', '< 64', '!= 63'))}",
            lambda: f"ip6 dscp {self.bang()}{rng.choice(('cs1', 'ef', 'cs0'))}",
            lambda: f"ip6 nexthdr {self.proto_()}",
            lambda: f"ip6 length {rng.choice(('40', '40-64', '!= 44'))}",
            lambda: f"icmpv6 type {self.bang()}{rng.choice(('echo-request', '{ echo-request, echo-reply }', '1'))}",
        )
        tcp = (
            lambda: f"tcp flags {flags}", lambda: f"tcp flags != {flags}", lambda: f"tcp flags == {flags}",
            lambda: f"tcp flags & (fin|syn|rst|ack) == {rng.choice(('syn', 'ack', 'fin|ack'))}",
            lambda: f"tcp flags ! {flags}", lambda: "tcp flags { syn, ack, fin | ack }",
            lambda: f"udp length {rng.choice(('40', '< 41', '> 41'))}",
        )  # fmt: skip
        if self.proto == "":
            found = rng.choice((*(four if self.version == 4 else six), *tcp))()
            self.proto = {"icmp": "icmp", "icmpv6": "icmp", "tcp": "tcp", "udp": "udp"}.get(found.split()[0], "")
            return found
        if self.proto == "tcp":
            return rng.choice(tcp[:-1])()
        return rng.choice((four[0], four[1], four[3]) if self.version == 4 else (six[0], six[1], six[3]))()

    def m_concat(self) -> str:
        rng = self.rng
        pairs = [(name, kind) for name, kind in self.sets if kind in ("pair", "netpair", "triple")]
        proto = self.transport(("tcp", "udp"))
        if proto in ("none", "th"):
            return f"meta mark . ct state {{ {self.bits()} . new, 0x0 . established, 0x0 . new }}"
        if pairs and self.maybe(0.6):
            name, kind = rng.choice(pairs)
            side = rng.choice(("saddr", "daddr"))
            if kind == "triple":
                return f"{self.ip} {side} . meta l4proto . th dport {self.bang(0.15)}@{name}"
            self.proto = proto
            return f"{self.ip} {side} . {proto} dport {self.bang(0.2)}@{name}"
        return rng.choice((
            lambda: f"{self.ip} saddr . {proto} dport {{ {self.host()} . {self.port()}, {self.address()} . {self.ports()} }}",
            lambda: f"iifname . {self.ip} daddr {self.bang(0.2)}{{ {self.name_()} . {self.host()}, {self.name_()} . {self.host()} }}",
            lambda: f"meta mark . ct state {{ {self.bits()} . new, 0x0 . established, 0x0 . new }}",
        ))()  # fmt: skip

    def m_fib(self) -> str:
        side = self.rng.choice(("saddr", "daddr"))
        return f"fib {side} type {self.bang()}{self.rng.choice(('local', 'unicast', '{ local, broadcast }'))}"

    def matches(self, fib: bool = False) -> list[str]:
        rng = self.rng
        self.proto = ""
        pool = (self.m_address, self.m_address, self.m_port, self.m_port, self.m_meta, self.m_interface, self.m_mark,
                self.m_ct, self.m_ct, self.m_header, self.m_concat)  # fmt: skip
        if fib and self.version == 4:
            pool = (*pool, self.m_fib)
        return [rng.choice(pool)() for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3)))]

    # -- statements -------------------------------------------------------------------------------------------------

    def change(self, early: bool) -> str:
        rng = self.rng
        value, mask = self.bits(), self.bits()
        field_ = "ip dscp" if self.version == 4 else "ip6 dscp"
        changes = [
            f"meta mark set {value}", f"meta mark set meta mark | {value}", f"meta mark set meta mark & {mask}",
            f"meta mark set meta mark ^ {value}", "meta mark set ct mark", "ct mark set meta mark",
            f"ct mark set {value}", f"meta mark set ct mark & {mask}", f"ct mark set ct mark | {value}",
            f"ct mark set meta mark & {mask}", "meta mark set meta mark << 1", f"{field_} set {rng.choice(('cs1', 'ef'))}",
            f"meta mark set {self.ip} saddr map {{ {self.host()} : {value}, {self.net()} : {mask} }}",
            f"meta mark set meta mark and {mask} or {value}",
        ]  # fmt: skip
        if early:
            changes += ["notrack"] * 2
        return rng.choice(changes)

    def verdict(self, chains: list[str], reject: bool) -> str:
        rng = self.rng
        choices = ["accept"] * 3 + ["drop"] + ["return", "continue"]
        if chains:
            choices += [f"jump {rng.choice(chains)}", f"goto {rng.choice(chains)}"] * 3
        if reject:
            # A reset would leave through OUTPUT and be counted there.
            choices.append("reject with icmpx admin-prohibited" if self.family == "inet" and self.maybe(0.5) else "reject")
        return rng.choice(choices)

    def vmap(self, chains: list[str]) -> str:
        rng = self.rng
        if self.maps and chains and self.maybe(0.5):
            name, kind, _ = rng.choice(self.maps)
            if kind == "service" and self.proto:
                return f"meta mark & 0x3 vmap {{ 0x0-0x1 : {self.plain_verdict(chains)} }}"
            key = {"addr": f"{self.ip} {rng.choice(('saddr', 'daddr'))}", "service": f"{rng.choice(('tcp', 'udp'))} dport",
                   "ifname": rng.choice(("iifname", "oifname")),
                   "triple": f"{self.ip} daddr . meta l4proto . th dport"}[kind]  # fmt: skip
            return f"{key} vmap @{name}"
        verdict = lambda: self.plain_verdict(chains)  # noqa: E731
        return rng.choice((
            lambda: f"ct state vmap {{ established : {verdict()}, new : {verdict()}, invalid : {verdict()} }}",
            lambda: f"{'th' if self.proto else 'tcp'} dport vmap {{ {min(int(self.port()), 19999)} : {verdict()}, 20000-40001 : {verdict()} }}"
            if self.proto in ("", "tcp", "udp", "sctp") else "ct state vmap { new : accept }",
            lambda: f"{self.ip} saddr vmap {{ {self.net()} : {verdict()} }}",
            lambda: f"meta pkttype vmap {{ host : {verdict()}, multicast : {verdict()} }}",
            lambda: f"meta mark & 0x3 vmap {{ 0x0 : {verdict()}, 0x1 : {verdict()}, 0x2-0x3 : {verdict()} }}",
        ))()  # fmt: skip

    def rule(self, chains: list[str], reject: bool, early: bool = False, fib: bool = False) -> str:
        rng = self.rng
        front = self.maybe(0.1)
        words = ["counter"] if front else []
        words += self.matches(fib)
        if self.maybe(0.15):
            return " ".join([*words, *([] if front else ["counter"]), self.vmap(chains)])
        if not front and self.maybe(0.92):
            words.append("counter")
        if self.maybe(0.05):
            words.append('log prefix "x y"')
        verdict = self.verdict(chains, reject) if self.maybe(0.6) else ""
        if self.maybe(0.3) or not verdict:
            words.append(self.change(early))
        if self.maybe(0.2):
            verdict += f' comment "rule {rng.randint(1, 99)}; a \'b\' {{"'
        return " ".join(word for word in [*words, verdict] if word)

    def nat_rule(self, kind: str, chains: list[str], hook: str) -> str:
        rng = self.rng
        words = self.matches()
        if self.maybe(0.3) and chains:
            return " ".join([*words, "counter", f"{rng.choice(('jump', 'goto'))} {rng.choice(chains)}"])
        level = f" {self.ip}" if self.family == "inet" else ""
        target = rng.choice(self.pool.inside)
        shown = target if self.version == 4 else f"[{target}]"
        if kind == "dst":
            proto = self.transport(("tcp", "udp"))
            # The simulated router has no loopback delivery of what it sends itself.
            redirect = "redirect" if hook == "prerouting" else f"dnat{level} to {target}"
            ports = (redirect, "accept") if proto in ("none", "th") else (
                f"{proto} dport != 1 counter dnat{level} to {shown}:{self.port()}",
                f"counter dnat{level} to {self.ip} daddr . {proto} dport map {{ {self.host()} . {self.port()} : "
                f"{target} . {self.port()} }}",
            )  # fmt: skip
            statement = rng.choice((
                f"dnat{level} to {target}", f"dnat{level} to {target}", redirect, *ports,
                f"dnat{level} to {self.ip} daddr map {{ {self.host()} : {target}, {self.host()} : {rng.choice(self.pool.inside)} }}",
                "accept", "return",
            ))  # fmt: skip
        else:
            statement = rng.choice(("masquerade", f"snat{level} to {self.own()}", f"snat{level} to {target}", "accept",
                                    f"snat{level} to {self.ip} saddr map {{ {self.host()} : {target} }}"))  # fmt: skip
        if "counter" not in statement:
            words.append("counter")
        return " ".join([*words, statement])

    def own(self) -> str:
        return self.pool.own()

    # -- the whole table --------------------------------------------------------------------------------------------

    def text(self) -> str:
        rng = self.rng
        body = self.declare()
        plain = [f"c{number}" for number in range(rng.randint(0, 3))]
        chains: list[str] = []
        for number, name in reversed(list(enumerate(plain))):
            rules = [self.rule(plain[number + 1 :], False) for _ in range(rng.randint(1, 4))]
            chains.append(_chain(name, "", rules))
        # Verdict maps name chains, so they come after them; only base chains look in them: no loops.
        maps = self.late_maps(plain)
        for number in range(rng.randint(1, 4)):
            hook = rng.choice((*HOOKS, "forward", "prerouting"))
            kind = "route" if hook == "output" and self.maybe(0.5) else "filter"
            priority = rng.choice(PRIORITIES)
            policy = "drop" if self.maybe(0.07) else "accept"
            head = f"type {kind} hook {hook} priority {priority}; policy {policy};"
            early = priority < -200 and hook in ("prerouting", "output")
            rules = [self.rule(plain, hook != "postrouting", early, hook in ("prerouting", "input", "forward"))
                     for _ in range(rng.randint(1, 5))]  # fmt: skip
            if self.alone and hook in ("prerouting", "forward", "input") and self.maybe(0.2):
                flags = rng.choice(("saddr . iif", "saddr . mark . iif", "saddr"))
                rules.append(f"fib {flags} oif {rng.choice(('missing', 'exists'))} counter {rng.choice(('accept', 'drop', ''))}")
            chains.append(_chain(f"b{number}-{hook}", head, rules))
        if self.maybe(0.5):
            chains += self.nat_chains()
        return f"table {self.family} {self.name} {{\n{body}{_empty(plain)}}}\ntable {self.family} {self.name} {{\n" \
               f"{maps}{''.join(chains)}}}\n"  # fmt: skip

    def nat_chains(self) -> list[str]:
        rng = self.rng
        found = []
        for hook, kind in rng.sample((("prerouting", "dst"), ("output", "dst"), ("postrouting", "src"), ("input", "src")), 2):
            called = f"n-{hook}"
            rules = [self.nat_rule(kind, [], hook) for _ in range(rng.randint(1, 3))]
            found.append(_chain(called, "", rules))
            priority = rng.choice((-100, 100, -99, 5, 110, -150))
            rules = [self.nat_rule(kind, [called], hook) for _ in range(rng.randint(1, 3))]
            found.append(_chain(f"nat-{hook}", f"type nat hook {hook} priority {priority}; policy accept;", rules))
        return found


def _empty(names: list[str]) -> str:
    return "".join(f" chain {name} {{\n }}\n" for name in names)


def _chain(name: str, head: str, rules: list[str]) -> str:
    lines = ([f"  {head}"] if head else []) + [f"  {rule}" for rule in rules]
    return f" chain {name} {{\n" + "".join(line + "\n" for line in lines) + " }\n"


def random_nft_case(rng: random.Random) -> NftCase:
    """A third of the cases with iptables besides."""
    if rng.random() < 0.3:
        base = random_case(rng)
        pool = Pool(rng, base.family, list(base.hosts))
        pool.inside, pool.outside = list(base.hosts), list(base.outside)
        case = NftCase(base.family, base.rules, base.sets, base.loose, base.hosts, base.outside)
    else:
        pool = Pool(rng, rng.choice(FAMILIES))
        case = NftCase(pool.family, {}, "", rng.random() < 0.9, pool.inside, pool.outside)
    own = "ip" if case.family == 4 else "ip6"
    for number in range(rng.randint(1, 3)):
        family = rng.choice((own, own, "inet"))
        generator = TableGenerator(pool, f"t{number}", family, not case.rules)
        case.nft += generator.text()
        case.tables.append(f"{family} t{number}")
    return case
