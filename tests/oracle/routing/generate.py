"""Random routing set-ups: addresses, routes of every type, policy routing rules, sysctls, and packets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import ip_address

from lasthop.facts.trace import Mark, Packet

PORTS = ("p1", "p2", "p3", "p4")
TABLES = (254, 100, 101)
HOSTS = ("10.1.0.9", "10.1.0.10", "10.2.0.9", "10.2.5.9", "10.3.0.9", "10.3.3.3", "10.4.0.9", "172.16.5.5", "192.0.2.7")
PREFIXES = ("default",
            "10.1.0.0/24", "10.1.0.9", "10.1.0.8/29", "10.2.0.0/16", "10.2.5.0/24", "10.2.5.9", "10.3.0.0/16",
            "10.3.3.3", "10.4.0.0/24", "172.16.0.0/12", "172.16.5.5", "192.0.2.0/24", "10.0.0.0/8")  # fmt: skip
ZERO_NET = "0.9.9.9"
MARK_PORTS = {1001: 1, 1002: 2, 1003: 3}
"""UDP destination port -> mark that the router's mangle PREROUTING sets."""


def neighbour(port: str) -> str:
    return f"10.9.{PORTS.index(port) + 1}.2"


@dataclass(frozen=True)
class Setup:
    """Commands for `ip -batch`, and sysctls by path below net/ipv4/conf."""

    commands: tuple[str, ...]
    sysctls: tuple[tuple[str, str], ...]
    packets: tuple[Packet, ...] = ()
    arps: tuple[tuple[str, str, str], ...] = field(default=())
    """(port, asking address, asked address)."""


def make(rng: random.Random, packets: int) -> Setup:
    commands = []
    own = []
    for number, port in enumerate(PORTS, 1):
        if rng.random() < 0.75:
            commands.append(f"addr add 10.9.{number}.1/24 dev {port}")
            own.append(f"10.9.{number}.1")
        if rng.random() < 0.2:
            commands.append(f"addr add 10.{number}.0.1/32 dev {port}")
            own.append(f"10.{number}.0.1")
    commands += [_route(rng) for _ in range(rng.randint(2, 14))]
    commands += [_rule(rng, priority) for priority in sorted(rng.sample(range(100, 400), rng.randint(0, 5)))]
    sysctls = [(f"{dev}/rp_filter", rng.choice("001122")) for dev in ("all", *PORTS)]
    sysctls += [(f"{dev}/accept_local", rng.choice("00001")) for dev in ("all", *PORTS)]
    sysctls += [(f"{dev}/src_valid_mark", rng.choice("0001")) for dev in ("all", *PORTS)]
    sysctls += [(f"{dev}/send_redirects", rng.choice("011")) for dev in ("all", *PORTS)]
    sysctls += [(f"{dev}/forwarding", rng.choice("11110")) for dev in PORTS]
    sysctls += [(f"{dev}/proxy_arp", rng.choice("01")) for dev in PORTS]
    sent = tuple(_packet(rng, own) for _ in range(packets))
    arps = tuple(
        (rng.choice(PORTS), rng.choice(HOSTS), rng.choice((*HOSTS, *own, "169.254.1.1")))
        for _ in range(max(1, packets // 10))
    )
    return Setup(tuple(commands), tuple(sysctls), sent, arps)


def _route(rng: random.Random) -> str:
    prefix = rng.choice(PREFIXES)
    table = rng.choice((254, 254, 254, 100, 101))
    metric = rng.choice(("", "", " metric 10", " metric 1024"))
    tos = rng.choice(("", "", "", "", "", " tos 0x10"))
    words = f"{tos} {prefix} table {table}{metric}"
    kind = rng.random()
    if kind < 0.12:
        return f"route add blackhole{words}"
    if kind < 0.2:
        return f"route add {rng.choice(('unreachable', 'prohibit', 'throw'))}{words}"
    if kind < 0.3:
        ways = rng.sample(PORTS, 2)
        hops = " ".join(f"nexthop via {neighbour(p)} dev {p} weight {rng.randint(1, 3)} onlink" for p in ways)
        return f"route add{tos} {prefix} table {table}{metric} {hops}"
    port = rng.choice(PORTS)
    way = f"via {neighbour(port)} dev {port} onlink" if rng.random() < 0.6 else f"dev {port} scope link"
    return f"route add{tos} {prefix} {way} table {table}{metric}"


def _rule(rng: random.Random, priority: int) -> str:
    words = []
    if rng.random() < 0.25:
        words.append("not")
    if rng.random() < 0.4:
        words.append(f"from {rng.choice(PREFIXES[1:])}")
    if rng.random() < 0.3:
        words.append(f"to {rng.choice(PREFIXES[1:])}")
    if rng.random() < 0.3:
        words.append(f"iif {rng.choice((*PORTS, 'lo'))}")
    if rng.random() < 0.3:
        words.append(f"fwmark {rng.choice(('1', '2', '3', '0x2/0x2', '0/0x1'))}")
    if rng.random() < 0.1:
        words.append("tos 0x10")
    if rng.random() < 0.15:
        # port 4000 is every packet's source: only the reverse path check sees it as a destination, or 53 as a source
        ports = ("dport 1001", "dport 1002-1003", "dport 53", "sport 4000", "dport 4000", "sport 53")
        words.append(f"ipproto udp {rng.choice(ports)}")
    if rng.random() < 0.1:
        words.append(f"uidrange {rng.choice(('0-0', '1000-2000'))}")
    if not words or words == ["not"]:
        words = ["from all"]
    kind = rng.random()
    if kind < 0.1:
        action = rng.choice(("blackhole", "unreachable", "prohibit"))
    elif kind < 0.2:
        action = f"lookup {rng.choice(TABLES)} suppress_prefixlength {rng.choice((0, 8, 16, 24))}"
    elif kind < 0.27:
        action = f"goto {priority + rng.choice((30, 32766 - priority))}"
    else:
        action = f"lookup {rng.choice(TABLES)}"
    return f"rule add priority {priority} {' '.join(words)} {action}"


def _packet(rng: random.Random, own: list[str]) -> Packet:
    src = rng.choice((*HOSTS, *HOSTS, *own, "127.0.0.1", "0.1.2.3", "0.0.0.0", "224.0.0.9"))
    dst = rng.choice((*HOSTS, *HOSTS, *HOSTS, *own, "127.0.0.1", ZERO_NET))
    dport = rng.choice((53, 80, *MARK_PORTS))
    return Packet(
        4, "udp", ip_address(src), ip_address(dst), sport=4000, dport=dport, length=60, df=False,
        iif=rng.choice(PORTS), tos=rng.choice((0, 0, 0, 0x10)), mark=Mark(MARK_PORTS.get(dport, 0)),
    )  # fmt: skip
