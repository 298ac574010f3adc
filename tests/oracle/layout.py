"""The router under test: its interfaces, addresses and routes. One place, used by the machine and by the simulation.

Four interfaces, each with one neighbour outside; destinations are routed by prefix, sources may be anything. Local
processes of the router cannot answer (their lookups are prohibited), so that counters count only what was sent; packets
that the router itself sends come from OWN_SOURCES.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from lasthop.facts.network import Ip


@dataclass(frozen=True)
class Port:
    """One interface of the router, `name` inside, `outside` in the namespace of the neighbours."""

    number: int
    name: str
    outside: str
    own4: str
    own6: str
    neighbour4: str
    neighbour6: str
    behind4: str
    behind6: str

    @property
    def mac(self) -> str:
        return f"02:00:00:00:01:{self.number:02x}"

    @property
    def neighbour_mac(self) -> str:
        return f"02:00:00:00:02:{self.number:02x}"


def _port(number: int, name: str) -> Port:
    return Port(
        number, name, f"out{number}", f"192.168.{number}.1", f"fd00:{number}::1", f"192.168.{number}.2",
        f"fd00:{number}::2", f"10.{number}0.0.0/16", f"fd10:{number}::/32",
    )  # fmt: skip


PORTS = (_port(1, "cali1"), _port(2, "cali2"), _port(3, "eth0"), _port(4, "eth1"))
BY_NAME = {port.name: port for port in PORTS}
OWN_SOURCES = {4: "10.77.0.1", 6: "fd77::1"}


@cache
def own_addresses(family: int) -> tuple[Ip, ...]:
    values = [port.own4 if family == 4 else port.own6 for port in PORTS]
    return tuple(ip_address(value) for value in [*values, OWN_SOURCES[family]])


@cache
def networks(family: int) -> tuple[tuple[IPv4Network | IPv6Network, str], ...]:
    """(prefix, interface) of every route that leads out."""
    found: list[tuple[IPv4Network | IPv6Network, str]] = []
    for port in PORTS:
        own, behind = (port.own4, port.behind4) if family == 4 else (port.own6, port.behind6)
        found.append((ip_network(f"{own}/{24 if family == 4 else 64}", strict=False), port.name))
        found.append((ip_network(behind), port.name))
    return tuple(found)


@cache
def out_interface(ip: Ip) -> str | None:
    """The interface that the router uses for `ip`; "" when it is its own; None when there is no route."""
    if ip in own_addresses(ip.version):
        return ""
    for prefix, name in networks(ip.version):
        if ip in prefix:
            return name
    return None
