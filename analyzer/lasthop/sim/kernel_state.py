"""One netns as the walk needs it: links, own addresses, sysctls, FIBs, indexed once."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from lasthop.facts.evidence import Absent, Complete, SourceRef
from lasthop.facts.network import Address, FdbEntry, Ip, Link, Neighbour
from lasthop.facts.snapshot import NetNS

from .edits import Edit
from .fib import Fib

USABLE_STATES = frozenset({"PERMANENT", "NOARP", "REACHABLE", "STALE", "DELAY", "PROBE"})


class KernelState:
    """Read-only view of one netns, with supposed `edits`. Every question that evidence cannot answer gives None."""

    def __init__(self, netns: NetNS, edits: tuple[Edit, ...] = ()) -> None:
        self.netns = netns
        self.edits = edits
        self.node = netns.node
        self.name = netns.name

    @cached_property
    def links(self) -> dict[str, Link]:
        links = {link.name: link for link in self.netns.links.values}
        for name in {name for edit in self.edits for name in edit.links_up} & links.keys():
            links[name] = replace(links[name], flags=links[name].flags | {"UP", "LOWER_UP"})
        return links

    @cached_property
    def links_complete(self) -> bool:
        return isinstance(self.netns.links, Complete)

    @cached_property
    def _addresses(self) -> dict[str, list[Address]]:
        by_dev: dict[str, list[Address]] = {}
        for address in self.netns.addresses.values:
            by_dev.setdefault(address.dev, []).append(address)
        return by_dev

    def addresses(self, dev: str, family: int = 4) -> list[Address]:
        return [address for address in self._addresses.get(dev, ()) if address.ip.version == family]

    @cached_property
    def address_devs(self) -> dict[Ip, Address]:
        return {address.ip: address for address in self.netns.addresses.values}

    @cached_property
    def fib4(self) -> Fib:
        return Fib(self.netns, 4, self.edits)

    @cached_property
    def fib6(self) -> Fib:
        return Fib(self.netns, 6, self.edits)

    def fib(self, family: int) -> Fib:
        return self.fib4 if family == 4 else self.fib6

    def owns(self, ip: Ip) -> bool | None:
        """Whether `ip` is one of the netns's own addresses; None when neither addresses nor routes can tell."""
        if ip in self.address_devs:
            return True
        local = self.fib(ip.version).has_local(ip)
        if local is not None:
            return local
        return False if isinstance(self.netns.addresses, Complete) else None

    @cached_property
    def _sysctls(self) -> dict[str, str]:
        supposed = {key: value for edit in self.edits for key, value in edit.sysctls}
        return {entry.key: entry.value for entry in self.netns.sysctls.values} | supposed

    @cached_property
    def _sysctl_sources(self) -> dict[str, SourceRef]:
        return {entry.key: entry.source for entry in self.netns.sysctls.values}

    def sysctl(self, key: str) -> str | None:
        value = self._sysctls.get(key)
        return value.strip() if value is not None else None

    def sysctl_source(self, key: str) -> tuple[SourceRef, ...]:
        source = self._sysctl_sources.get(key)
        return (source,) if source is not None else ()

    @staticmethod
    def conf_key(family: int, dev: str, name: str) -> str:
        return f"net.ipv{family}.conf.{dev.replace('.', '/')}.{name}"

    def conf(self, family: int, dev: str, name: str) -> int | None:
        """One per-interface value as a number. sysctl(8) shows dots of interface names either way."""
        for shown in (dev.replace(".", "/"), dev):
            value = self.sysctl(f"net.ipv{family}.conf.{shown}.{name}")
            if value is not None and value.lstrip("-").isdigit():
                return int(value)
        return None

    def conf_max(self, dev: str, name: str) -> int | None:
        """IN_DEV_MAXCONF: rp_filter, arp_ignore, arp_announce. None unless both values are known (or one is 2)."""
        own, every = self.conf(4, dev, name), self.conf(4, "all", name)
        return None if own is None or every is None else max(own, every)

    def conf_or(self, dev: str, name: str) -> bool | None:
        """IN_DEV_ORCONF: proxy_arp, accept_local, src_valid_mark, send_redirects, route_localnet."""
        values = (self.conf(4, dev, name), self.conf(4, "all", name))
        if any(values):
            return True
        return None if None in values else False

    def forwarding(self, family: int, dev: str) -> bool | None:
        """IN_DEV_FORWARD of the *input* interface (net/ipv4/route.c); IPv6 too since per-device forwarding exists."""
        value = self.conf(family, dev, "forwarding")
        if value is not None:
            return value != 0
        # Writing ip_forward sets every interface's value, so an unread interface follows it unless set since.
        return False if family == 4 and self.sysctl("net.ipv4.ip_forward") == "0" else None

    @cached_property
    def neighbours(self) -> dict[tuple[str, Ip], Neighbour]:
        entries = {}
        for evidence in (self.netns.neighbours, self.netns.neighbours6):
            for entry in evidence.values:
                if not entry.proxy:
                    entries[(entry.dev, entry.ip)] = entry
        for edit in self.edits:
            for forgotten in edit.neighbours_forgotten:
                entries.pop(forgotten, None)
        return entries

    def neighbours_known(self, family: int) -> bool:
        return isinstance(self.netns.neighbours if family == 4 else self.netns.neighbours6, Complete)

    @cached_property
    def fdb(self) -> dict[tuple[str, str], list[FdbEntry]]:
        entries: dict[tuple[str, str], list[FdbEntry]] = {}
        for entry in self.netns.fdb.values:
            entries.setdefault((entry.dev, entry.mac.lower()), []).append(entry)
        for edit in self.edits:
            for dev, mac, right in edit.vteps:
                entries[(dev, mac)] = [replace(entry, dst=right) for entry in entries.get((dev, mac), ())]
        return entries

    @property
    def fdb_known(self) -> bool:
        return isinstance(self.netns.fdb, Complete)

    def address_type(self, ip: Ip, dev: str | None) -> str | None:
        """inet_addr_type / inet_dev_addr_type as xt_addrtype uses them (net/ipv4/fib_frontend.c): upper-case word.

        `dev` limits local and broadcast answers to addresses of that interface. None when the tables are not known.
        """
        if ip.is_multicast:
            return "MULTICAST"
        if int(ip) == 0 or (ip.version == 4 and int(ip) == 0xFFFFFFFF):
            return "BROADCAST"
        fib = self.fib(ip.version)
        if isinstance(fib.routes, Absent):
            own = self.owns(ip)
            return "LOCAL" if own else None
        found = fib.lookup_local(ip)
        if found is None:
            return None
        kind, devs = found
        if dev is not None and kind in ("LOCAL", "BROADCAST", "ANYCAST") and dev not in devs:
            return "UNICAST"
        return kind

    def link_state(self, dev: str) -> bool | None:
        """True when frames can leave: administratively up with carrier; False when they cannot; None if unknown."""
        link = self.links.get(dev)
        if link is None:
            return False if self.links_complete and dev else None
        if not link.flags:
            return None
        return link.running if link.kind not in ("ipip", "wireguard", "tun") else link.up

    def mtu(self, dev: str) -> int | None:
        link = self.links.get(dev)
        return link.mtu if link is not None else None
