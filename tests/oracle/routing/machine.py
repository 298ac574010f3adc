"""A router namespace of the real kernel for routing cases: configure, send, see where packets and ARP answers appear.

Everything is named lhr-<pid>-…; the process lives in the router's namespace until `close`.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

from lasthop.facts.trace import Packet
from tests.oracle.wire import decode, frame

from .generate import HOSTS, MARK_PORTS, PORTS, ZERO_NET, Setup, neighbour

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
LAST = 65000
"""The IP id of the packet that ends a batch: whatever was sent before it has been routed when it appears."""


def mac(port: str, side: int) -> str:
    return f"02:00:00:00:{side:02x}:{PORTS.index(port) + 1:02x}"


def run(*command: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[:300]}")
    return done.stdout


class RoutingMachine:
    """Use as a context manager; one per process."""

    def __init__(self) -> None:
        self.router, self.outside = f"lhr-{os.getpid()}-r", f"lhr-{os.getpid()}-o"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.sockets: dict[str, socket.socket] = {}

    def __enter__(self) -> RoutingMachine:
        for name in (self.router, self.outside):
            run("ip", "netns", "add", name)
        self._enter(self.outside)
        for port in PORTS:
            run("ip", "link", "add", f"o{port}", "address", mac(port, 2), "type", "veth", "peer", "name", port,
                "address", mac(port, 1), "netns", self.router)  # fmt: skip
            run("sysctl", "-qw", f"net.ipv6.conf.o{port}.disable_ipv6=1")
            run("ip", "link", "set", f"o{port}", "up")
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
            sock.bind((f"o{port}", 3))
            sock.setblocking(False)
            self.sockets[port] = sock
        self._enter(self.router)
        run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        run("ip", "link", "set", "lo", "up")
        # Errors would come back as packets with ids of their own; one static mark rule gives fwmark something to match.
        for dport, mark in MARK_PORTS.items():
            run("iptables-legacy", "-t", "mangle", "-A", "PREROUTING", "-p", "udp", "--dport", str(dport), "-j", "MARK",
                "--set-mark", str(mark))  # fmt: skip
        run("iptables-legacy", "-A", "OUTPUT", "-p", "icmp", "-j", "DROP")
        for port in PORTS:
            run("ip", "link", "set", port, "up")
            run("sysctl", "-qw", f"net.ipv4.neigh.{port}.proxy_delay=0")
        self.local = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self.local.setblocking(False)
        self.sender = self.sockets
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (*self.sockets.values(), self.local):
            sock.close()
        _LIBC.setns(self.home, CLONE_NEWNET)
        for name in (self.router, self.outside):
            run("ip", "netns", "del", name, check=False)

    def _enter(self, name: str) -> None:
        fd = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
        if _LIBC.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {name}")
        os.close(fd)

    def configure(self, setup: Setup) -> None:
        """Flushes what the last case left and applies this one; commands that the kernel refuses are left out."""
        clean = ["rule flush", "rule add priority 32766 lookup main", "rule add priority 32767 lookup default"]
        clean += [f"route flush table {table}" for table in (254, 100, 101)]
        clean += [f"addr flush dev {port}" for port in PORTS]
        run("ip", "-4", "-force", "-batch", "-", text="\n".join(clean) + "\n", check=False)
        for path, value in setup.sysctls:
            Path(f"/proc/sys/net/ipv4/conf/{path}").write_text(value)
        run("ip", "-4", "-force", "-batch", "-", text="\n".join(setup.commands) + "\n", check=False)
        neighbours = [
            f"neigh replace {ip} lladdr {mac(port, 2)} dev {port} nud permanent"
            for port in PORTS
            for ip in (*HOSTS, ZERO_NET, *(neighbour(other) for other in PORTS))
        ]
        run("ip", "-4", "-force", "-batch", "-", text="\n".join(neighbours) + "\n", check=False)

    def send(self, packets: tuple[Packet, ...]) -> dict[int, str]:
        """ident -> "p2" (came out there) or "local"; idents that appear nowhere were dropped."""
        self._drain()
        for ident, packet in enumerate(packets, 1):
            self.sockets[packet.iif].send(frame(packet, ident, mac(packet.iif, 1), mac(packet.iif, 2)))
        return self._observe()

    def _observe(self) -> dict[int, str]:
        seen: dict[int, str] = {}
        names = {sock.fileno(): port for port, sock in self.sockets.items()} | {self.local.fileno(): "local"}
        deadline = time.monotonic() + 0.02
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(list(names), [], [], left)
            for fd in ready:
                for data in self._read(fd, names[fd]):
                    found = decode(data, names[fd])
                    if found is not None and found.dport is not None:
                        seen[found.ident] = found.where
            if ready:
                deadline = time.monotonic() + 0.004
        return seen

    def _read(self, fd: int, name: str) -> list[bytes]:
        sock = self.local if name == "local" else self.sockets[name]
        found = []
        while True:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return found
            if name == "local":
                found.append(data)
            elif data[12:14] == b"\x08\x00":
                found.append(data[14:])

    def _drain(self) -> None:
        for name in (*PORTS, "local"):
            sock = self.local if name == "local" else self.sockets[name]
            try:
                while True:
                    sock.recv(2048)
            except BlockingIOError:
                continue

    def ask(self, port: str, sender: str, target: str) -> bool:
        """Sends one ARP request; whether the router answered it."""
        self._drain()
        own = bytes.fromhex(mac(port, 2).replace(":", ""))
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + ip_address(sender).packed
        body += b"\0" * 6 + ip_address(target).packed
        self.sockets[port].send(b"\xff" * 6 + own + b"\x08\x06" + body)
        deadline = time.monotonic() + 0.01
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.sockets[port]], [], [], left)
            if not ready:
                return False
            data = self.sockets[port].recv(2048)
            if data[12:14] == b"\x08\x06" and data[20:22] == b"\0\x02" and data[28:32] == ip_address(target).packed:
                return True
        return False

    def state(self) -> dict[str, str]:
        """The outputs that the collector takes, for the product's own parsers."""
        return {
            "links": run("ip", "-d", "link"),
            "addresses": run("ip", "-d", "addr"),
            "routes": run("ip", "-4", "route", "show", "table", "all"),
            "rules": run("ip", "-4", "rule"),
            "sysctls": run("sysctl", "-a", "-r", r"^net\.ipv4\.(ip_forward|conf)"),
        }
