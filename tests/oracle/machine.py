"""A router in namespaces of the real kernel: load rules, send packets, see what comes out, read the counters.

The process that uses it lives in the router's namespace from `enter` on; its sockets to the outside were opened before.
Everything is named lho-<pid>-… and removed at the end.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from lasthop.facts.trace import Packet

from .layout import BY_NAME, OWN_SOURCES, PORTS
from .wire import Seen, decode, encode, frame

SENDER_UID = 4242
SO_RCVBUFFORCE = 33  # not in the socket module
LEGACY_TABLES = ("raw", "mangle", "nat", "filter")
SAVE = {
    ("nft", 4): "iptables-nft", ("legacy", 4): "iptables-legacy",
    ("nft", 6): "ip6tables-nft", ("legacy", 6): "ip6tables-legacy",
}  # fmt: skip
CHAINS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
EMPTY = "".join(
    f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
    for table, chains in CHAINS.items()
)
TOOLS = ("ip", "ipset", "conntrack", "nft", "iptables-nft-restore", "iptables-legacy-restore")
_LIBC = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel or a tool did not take the ruleset."""


def _setns(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.setns(fd, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip()[:400]}")
    return done.stdout


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


class Machine:
    """Use as a context manager; only one per process."""

    def __init__(self) -> None:
        self.router = f"lho-{os.getpid()}-r"
        self.outside = f"lho-{os.getpid()}-o"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.sockets: dict[str, socket.socket] = {}
        self.locals: list[socket.socket] = []
        self.senders: dict[int, socket.socket] = {}
        self.loaded: set[tuple[str, int]] = set()
        self.sets_loaded = False

    def __enter__(self) -> Machine:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in (*self.sockets.values(), *self.locals, *self.senders.values()):
            sock.close()
        if _LIBC.setns(self.home, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns home")
        for name in (self.router, self.outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        os.close(self.home)

    def _build(self) -> None:
        _run("ip", "netns", "add", self.router)
        _run("ip", "netns", "add", self.outside)
        outside, router = f"/var/run/netns/{self.outside}", f"/var/run/netns/{self.router}"
        _setns(outside)
        for path in Path("/proc/sys/net/ipv6/conf").iterdir():
            (path / "disable_ipv6").write_text("1")
        for port in PORTS:
            _run("ip", "link", "add", port.outside, "address", port.neighbour_mac, "type", "veth", "peer", "name",
                 port.name, "address", port.mac, "netns", self.router)  # fmt: skip
            _run("ip", "link", "set", port.outside, "up")
        for port in PORTS:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            sock.bind((port.outside, 3))
            sock.setblocking(False)
            self.sockets[port.name] = sock
        _setns(router)
        self._configure()
        for proto in (6, 17, 1, 4, 47, 132):
            self._listen(socket.AF_INET, proto)
        for proto in (6, 17, 58, 4, 47, 132):
            self._listen(socket.AF_INET6, proto)
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        sender.bind((OWN_SOURCES[4], 0))
        self.senders[4] = sender
        self.senders[6] = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.senders[6].bind((OWN_SOURCES[6], 0))
        for sock in self.senders.values():
            os.fchown(sock.fileno(), SENDER_UID, -1)

    def _listen(self, family: int, proto: int) -> None:
        sock = socket.socket(family, socket.SOCK_RAW, proto)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.locals.append(sock)

    def sysctl(self, key: str, value: str) -> None:
        Path("/proc/sys/" + key.replace(".", "/")).write_text(value)

    def _configure(self) -> None:
        for which in ("all", "default", *(port.name for port in PORTS), "lo"):
            for name, value in (("rp_filter", "0"), ("send_redirects", "0"), ("log_martians", "0")):
                self.sysctl(f"net.ipv4.conf.{which}.{name}", value)
            for name, value in (("accept_dad", "0"), ("router_solicitations", "0"), ("addr_gen_mode", "1"),
                                ("accept_ra", "0"), ("mldv1_unsolicited_report_interval", "1"),
                                ("mldv2_unsolicited_report_interval", "1")):  # fmt: skip
                self.sysctl(f"net.ipv6.conf.{which}.{name}", value)
        self.sysctl("net.ipv4.ip_forward", "1")
        self.sysctl("net.ipv6.conf.all.forwarding", "1")
        self.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "1")
        self.sysctl("net.netfilter.nf_conntrack_log_invalid", "0")
        self.sysctl("net.netfilter.nf_conntrack_checksum", "0")  # SCTP packets are sent without a checksum
        lines = ["link set lo up", f"addr add {OWN_SOURCES[4]}/32 dev lo", f"addr add {OWN_SOURCES[6]}/128 dev lo"]
        for port in PORTS:
            lines += [
                f"addr add {port.own4}/24 dev {port.name}",
                f"-6 addr add {port.own6}/64 dev {port.name} nodad",
                f"link set {port.name} up",
                f"neigh add {port.neighbour4} lladdr {port.neighbour_mac} dev {port.name} nud permanent",
                f"neigh add {port.neighbour6} lladdr {port.neighbour_mac} dev {port.name} nud permanent",
                f"neigh add 192.168.{port.number}.77 lladdr {port.neighbour_mac} dev {port.name} nud permanent",
                f"route add {port.behind4} via {port.neighbour4}",
                f"-6 route add {port.behind6} via {port.neighbour6}",
            ]
        for flag in ("-4", "-6"):
            # Before the local table: the router is not to answer itself either.
            lines += [f"{flag} rule add pref 7 lookup local", f"{flag} rule del pref 0"]
            lines.append(f"{flag} rule add pref 5 iif lo uidrange {SENDER_UID}-{SENDER_UID} lookup main")
            for proto in ("tcp", "icmp" if flag == "-4" else "ipv6-icmp"):
                lines.append(f"{flag} rule add pref 6 iif lo ipproto {proto} prohibit")
        for line in lines:
            _run("ip", *line.split())
        time.sleep(0.2)  # multicast reports of the new interfaces would be counted
        # Without any rule that needs it, the kernel does not track connections in a namespace.
        _run("nft", "add table inet lho; add chain inet lho tracking; add rule inet lho tracking ct state new")
        # Registered first, so at equal priority legacy tables are asked after those of nft.
        for family in (4, 6):
            for table in LEGACY_TABLES:
                _run(SAVE[("legacy", family)], "-t", table, "-S")

    # -- one case ---------------------------------------------------------------------------------------------------

    def load(self, rules: dict[tuple[str, int], str], sets: str, loose: bool) -> None:
        """Replace all rules and sets. `rules` is keyed by (back end, family) and complete for each table it names."""
        self._clear()
        self.sysctl("net.netfilter.nf_conntrack_tcp_loose", "1" if loose else "0")
        if sets:
            self.sets_loaded = True
            _run("ipset", "restore", text=sets)
        for (backend, family), text in rules.items():
            self.loaded.add((backend, family))
            _run(SAVE[(backend, family)] + "-restore", text=text)
        _run("conntrack", "-F")

    def _clear(self) -> None:
        for backend, family in self.loaded:
            if backend == "nft":
                continue
            _run(SAVE[(backend, family)] + "-restore", text=EMPTY)
        if any(backend == "nft" for backend, _ in self.loaded):
            _run("nft", "flush ruleset ip; flush ruleset ip6")
        self.loaded.clear()
        if self.sets_loaded:
            for attempt in range(100):  # nftables lets go of a set a moment after its rules are gone
                try:
                    _run("ipset", "restore", text="flush\ndestroy\n")
                    break
                except Refused:
                    if attempt == 99:
                        raise
                    time.sleep(0.01)
            self.sets_loaded = False

    def send(self, packets: Iterable[Packet], first: int = 1) -> list[Seen]:
        """Send packets one after the other, numbered from `first`; answer everything that came out or was delivered."""
        self.drain(0.0)
        seen: list[Seen] = []
        for ident, packet in enumerate(packets, first):
            if packet.local_out:
                try:
                    data = encode(packet, ident)
                    if packet.family == 4:
                        self.senders[4].sendto(data, (str(packet.dst), 0))
                    else:
                        self.senders[6].sendto(data, (str(packet.dst), 0, 0, 0))
                except (PermissionError, OSError):
                    pass  # EPERM: dropped in OUTPUT; the counters tell the rest
            else:
                port = BY_NAME[packet.iif]
                self.sockets[packet.iif].send(frame(packet, ident, port.mac, port.neighbour_mac))
            if ident % 64 == 0:
                seen += self.drain(0.0)
        return seen + self.drain(0.004)

    def drain(self, quiet: float) -> list[Seen]:
        """Everything received, until nothing comes for `quiet` seconds."""
        seen: list[Seen] = []
        names = {sock: name for name, sock in self.sockets.items()}
        watched = [*self.sockets.values(), *self.locals]
        while True:
            ready, _, _ = select.select(watched, [], [], quiet)
            if not ready:
                return seen
            for sock in ready:
                try:
                    while True:
                        data = sock.recv(4096)
                        if sock in names:
                            found = decode(data[14:], names[sock])
                        elif sock.family == socket.AF_INET:
                            found = decode(data, "")
                        else:
                            found = None  # IPv6 raw sockets give no header: the counters tell
                        if found is not None:
                            seen.append(found)
                except BlockingIOError:
                    pass

    def save(self, backend: str, family: int) -> str:
        return _run(SAVE[(backend, family)] + "-save", "-c")

    def save_sets(self) -> str:
        return _run("ipset", "save") if self.sets_loaded else ""
