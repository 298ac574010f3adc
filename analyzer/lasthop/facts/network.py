"""Links, addresses, routes, rules, neighbours, sockets and sysctls of one network namespace."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Union

from .evidence import SourceRef

Ip = Union[IPv4Address, IPv6Address]
Prefix = Union[IPv4Network, IPv6Network]


@dataclass(frozen=True, slots=True)
class Link:
    """One interface, as `ip -d link` shows it.

    `kind` is the rtnl link kind ("veth", "vxlan", "ipip", "bridge", "wireguard", "vlan", "bond", "dummy", "tun", ...)
    or "" when unknown or a physical device. `peer_ifindex` is the N of `name@ifN` (the other end of a veth, in
    `link_netnsid`); `parent` is the X of `name@X` (VLAN parent). `flags` are upper case words ("UP", "LOWER_UP",
    "NOARP", "PROMISC", "NO-CARRIER"). Missing attributes are None, never a default.
    """

    name: str
    ifindex: int | None
    source: SourceRef
    flags: frozenset[str] = frozenset()
    mtu: int | None = None
    operstate: str = ""
    mac: str = ""
    link_type: str = ""
    kind: str = ""
    peer_ifindex: int | None = None
    link_netnsid: int | None = None
    parent: str = ""
    master: str = ""
    slave_kind: str = ""
    vxlan_id: int | None = None
    vxlan_local: Ip | None = None
    vxlan_remote: Ip | None = None
    vxlan_port: int | None = None
    vxlan_dev: str = ""
    vxlan_learning: bool | None = None
    tunnel_local: Ip | None = None
    tunnel_remote: Ip | None = None
    tunnel_ttl: int | None = None
    tunnel_pmtudisc: bool | None = None
    vlan_id: int | None = None
    vrf_table: int | None = None
    xdp: bool = False
    qdisc: str = ""
    rx_packets: int | None = None
    rx_errors: int | None = None
    rx_dropped: int | None = None
    tx_packets: int | None = None
    tx_errors: int | None = None
    tx_dropped: int | None = None
    tx_carrier: int | None = None

    @property
    def up(self) -> bool:
        """Administratively up (IFF_UP)."""
        return "UP" in self.flags

    @property
    def running(self) -> bool:
        """Up with carrier, as `LOWER_UP` says."""
        return "UP" in self.flags and "LOWER_UP" in self.flags


@dataclass(frozen=True, slots=True)
class Address:
    dev: str
    ip: Ip
    prefixlen: int
    source: SourceRef
    scope: str = "global"
    broadcast: Ip | None = None
    peer: Ip | None = None
    label: str = ""
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NextHop:
    """One way out of a route. `via` may be of the other family (RFC 5549); `weight` counts from 1."""

    dev: str = ""
    via: Ip | None = None
    weight: int = 1
    flags: frozenset[str] = frozenset()
    """"onlink", "linkdown", "dead", "pervasive", "offload"."""


@dataclass(frozen=True, slots=True)
class Route:
    """One FIB entry. `type` is unicast, local, broadcast, multicast, anycast, blackhole, unreachable, prohibit, throw.

    `table` is the numeric table id (254 main, 255 local, 253 default); a named table that is not one of these and not
    numeric keeps its name in `table_name` and `table` None. `proto` is iproute2's word or number as text; "boot" when
    none is printed. `metric` 0 when none is printed (IPv6: as printed, 1024 is the kernel's default).
    """

    dst: Prefix
    source: SourceRef
    type: str = "unicast"
    table: int | None = 254
    table_name: str = ""
    nexthops: tuple[NextHop, ...] = ()
    nhid: int | None = None
    proto: str = "boot"
    scope: str = ""
    metric: int = 0
    prefsrc: Ip | None = None
    tos: int = 0
    mtu: int | None = None
    mtu_lock: bool = False
    encap: str = ""
    src_prefix: Prefix | None = None
    flags: frozenset[str] = frozenset()
    cached: bool = False
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class NexthopObject:
    id: int
    source: SourceRef
    nexthops: tuple[NextHop, ...] = ()
    group: tuple[tuple[int, int], ...] = ()
    """(nexthop id, weight) pairs of a group."""
    blackhole: bool = False
    scope: str = ""
    proto: str = ""


@dataclass(frozen=True, slots=True)
class PolicyRoutingRule:
    """One line of `ip rule`. `src`/`dst` None means all; `negated` is the rule's `not`.

    `action` is lookup, blackhole, unreachable, prohibit, goto, nop; `table` as in Route. Marks are (value, mask).
    """

    priority: int
    family: int
    source: SourceRef
    action: str = "lookup"
    table: int | None = None
    table_name: str = ""
    negated: bool = False
    src: Prefix | None = None
    dst: Prefix | None = None
    iif: str = ""
    oif: str = ""
    fwmark: tuple[int, int] | None = None
    tos: int | None = None
    ipproto: str = ""
    sport: tuple[int, int] | None = None
    dport: tuple[int, int] | None = None
    uidrange: tuple[int, int] | None = None
    suppress_prefixlength: int | None = None
    suppress_ifgroup: str = ""
    l3mdev: bool = False
    goto: int | None = None
    proto: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """`state` is the NUD word (REACHABLE, STALE, PERMANENT, FAILED, INCOMPLETE, NOARP, DELAY, PROBE, NONE)."""

    dev: str
    ip: Ip
    source: SourceRef
    mac: str = ""
    state: str = ""
    proxy: bool = False
    router: bool = False


@dataclass(frozen=True, slots=True)
class FdbEntry:
    dev: str
    mac: str
    source: SourceRef
    dst: Ip | None = None
    vni: int | None = None
    port: int | None = None
    via: str = ""
    master: str = ""
    vlan: int | None = None
    self_: bool = False
    permanent: bool = False
    state: str = ""


@dataclass(frozen=True, slots=True)
class Sysctl:
    """`key` with dots, as sysctl(8) prints it; interface names keep their own dots as slashes ("eth0/100")."""

    key: str
    value: str
    source: SourceRef


@dataclass(frozen=True, slots=True)
class Socket:
    """A bound socket. `state` is LISTEN, UNCONN, ESTAB, ...; `ip` None with `any` true means the wildcard.

    `v6only` None when unknown. An IPv6 wildcard socket without v6only also takes IPv4.
    """

    proto: str
    state: str
    ip: Ip | None
    port: int
    family: int
    source: SourceRef
    dev: str = ""
    peer: Ip | None = None
    peer_port: int | None = None
    recv_q: int | None = None
    send_q: int | None = None
    v6only: bool | None = None
    process: str = ""


@dataclass(frozen=True, slots=True)
class Counter:
    """One named counter of the stack (nstat, /proc/net/snmp, conntrack -S), `sample` 1 or 2 in time order."""

    name: str
    value: int
    source: SourceRef
    sample: int = 1
