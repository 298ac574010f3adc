"""Local delivery: does a socket take the packet?

Sources: inet_lookup_listener (net/ipv4/inet_hashtables.c), ss(8), /proc/net/tcp. A TCP SYN without a listener is
answered by RST, a UDP datagram by ICMP port unreachable: the client sees "refused".
"""

from __future__ import annotations

from lasthop.facts.evidence import Absent, Complete
from lasthop.facts.network import Socket
from lasthop.facts.trace import Disposition, Outcome, Packet, Step

from .fib import whole
from .kernel_state import KernelState

NO_PORTS = frozenset({"icmp", "icmpv6", "igmp", "esp", "ah", "gre", "ipencap"})


def deliver(state: KernelState, packet: Packet, asked: bool = False) -> Step:
    """The step "listener": PASS when a socket (or the kernel, for ICMP) takes the packet; `asked` says that it is an
    answer which a connected socket here waits for."""
    if asked:
        return Step("listener", Outcome.PASS, "the socket that asked takes the answer", before=packet)
    if packet.proto in ("icmp", "icmpv6"):
        ignore = state.sysctl("net.ipv4.icmp_echo_ignore_all")
        if packet.family == 4 and packet.icmp_type == 8 and ignore == "1":
            return Step(
                "listener",
                Outcome.STOP,
                "net.ipv4.icmp_echo_ignore_all = 1",
                state.sysctl_source("net.ipv4.icmp_echo_ignore_all"),
                before=packet,
                disposition=Disposition.NO_LISTENER,
            )
        return Step("listener", Outcome.PASS, "answered by the kernel", before=packet)
    if packet.dport is None or packet.proto in NO_PORTS:
        return Step("listener", Outcome.UNKNOWN, f"what takes {packet.proto} is not known", before=packet)
    if any((packet.proto, packet.dport) in edit.listens for edit in state.edits):
        return Step("listener", Outcome.PASS, "a process is supposed to listen", before=packet)
    sockets = state.netns.sockets
    if isinstance(sockets, Absent):
        return Step(
            "listener",
            Outcome.UNKNOWN,
            f"sockets: {sockets.reason.value}",
            before=packet,
            where=f"{packet.proto}/{packet.dport}",
            decides="ss_listen",
        )
    same_port = [
        socket
        for socket in sockets.values
        if socket.proto.startswith(packet.proto) and socket.port == packet.dport and _waits(socket, packet.proto)
    ]
    taking = [socket for socket in same_port if _takes(socket, packet)]
    sure = [socket for socket, certain in ((s, _certain(s, packet)) for s in taking) if certain]
    if sure:
        socket = sure[0]
        if packet.proto == "tcp" and socket.recv_q and socket.send_q and socket.recv_q > socket.send_q:
            detail = f"the accept queue of {socket.port} is full ({socket.recv_q} > {socket.send_q})"
            return Step(
                "listener",
                Outcome.STOP,
                detail,
                (socket.source,),
                before=packet,
                where=f"{packet.proto}/{packet.dport}",
                disposition=Disposition.LISTEN_OVERFLOW,
            )
        who = f" ({socket.process})" if socket.process else ""
        return Step(
            "listener",
            Outcome.PASS,
            f"{packet.proto}/{packet.dport} listens{who}",
            (socket.source,),
            where=f"{packet.proto}/{packet.dport}",
        )
    if taking:
        return Step(
            "listener",
            Outcome.UNKNOWN,
            "whether the IPv6 socket takes IPv4 (v6only) is not known",
            (taking[0].source,),
            before=packet,
            decides="ss_listen",
        )
    if not isinstance(sockets, Complete):
        return Step(
            "listener",
            Outcome.UNKNOWN,
            f"sockets are only partly known: {sockets.why}",
            before=packet,
            decides="ss_listen",
        )
    if same_port:
        other = same_port[0]
        detail = f"{packet.proto}/{packet.dport} listens on {other.ip}, not on {packet.dst}"
        return Step(
            "listener",
            Outcome.STOP,
            detail,
            tuple(s.source for s in same_port[:3]),
            before=packet,
            where=f"{packet.proto}/{packet.dport}",
            disposition=Disposition.NO_LISTENER,
        )
    return Step(
        "listener",
        Outcome.STOP,
        f"nothing listens on {packet.proto}/{packet.dport}",
        whole(sockets),
        before=packet,
        where=f"{packet.proto}/{packet.dport}",
        disposition=Disposition.NO_LISTENER,
    )


def _waits(socket: Socket, proto: str) -> bool:
    return socket.state == "LISTEN" if proto in ("tcp", "sctp") else socket.state in ("UNCONN", "LISTEN", "")


def _takes(socket: Socket, packet: Packet) -> bool:
    if socket.ip is not None:
        mapped = getattr(socket.ip, "ipv4_mapped", None)
        return socket.ip == packet.dst or mapped == packet.dst
    return socket.family == packet.family or (socket.family == 6 and packet.family == 4 and socket.v6only is not True)


def _certain(socket: Socket, packet: Packet) -> bool:
    """An IPv6 wildcard socket takes IPv4 unless v6only, which /proc/net/tcp6 does not show."""
    return socket.ip is not None or socket.family == packet.family or socket.v6only is False
