"""Which socket takes the packet (net/ipv4/inet_hashtables.c inet_lookup_listener), and what stays open."""

from __future__ import annotations

from typing import Any

import pytest

from lasthop.facts.evidence import NOT_COLLECTED, Complete, Partial
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Disposition, Outcome, Step
from lasthop.parsers.sockets import parse_proc_sockets, parse_ss
from lasthop.parsers.sysctl import parse_sysctls
from lasthop.sim.kernel_state import KernelState
from lasthop.sim.listener import deliver

from .cluster import packet


def ask(text: str, dst: str = "10.244.2.2", asked: bool = False, **fields: Any) -> Step:
    sockets = Complete(parse_ss(text, "ss").values)
    return deliver(KernelState(NetNS("n", sockets=sockets)), packet("10.244.1.2", dst, **fields), asked)


TCP80 = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\n"


def test_wildcard_and_own_address() -> None:
    assert ask(TCP80).outcome is Outcome.PASS
    assert ask("tcp LISTEN 0 128 10.244.2.2:80 0.0.0.0:*\n").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("sockets", "says"),
    [
        ("", "nothing listens on tcp/80"),
        ("tcp LISTEN 0 128 0.0.0.0:8080 0.0.0.0:*\n", "nothing listens on tcp/80"),
        ("udp UNCONN 0 0 0.0.0.0:80 0.0.0.0:*\n", "nothing listens on tcp/80"),
        ("tcp ESTAB 0 0 10.244.2.2:80 10.244.1.2:40000\n", "nothing listens on tcp/80"),
        ("tcp LISTEN 0 128 127.0.0.1:80 0.0.0.0:*\n", "listens on 127.0.0.1, not on 10.244.2.2"),
    ],
)
def test_refused(sockets: str, says: str) -> None:
    step = ask(sockets)
    assert (step.outcome, step.disposition) == (Outcome.STOP, Disposition.NO_LISTENER) and says in step.detail


def test_ipv6_wildcard_takes_ipv4_unless_v6only() -> None:
    """ss shows "*" for a dual socket and "[::]" for one that is IPv6 only."""
    assert ask("tcp LISTEN 0 128 *:80 *:*\n").outcome is Outcome.PASS
    assert ask("tcp LISTEN 0 128 [::]:80 [::]:*\n").outcome is Outcome.STOP


def test_proc_does_not_tell_v6only() -> None:
    text = (
        "  sl  local_address  remote_address  st tx_queue rx_queue tr tm->when\n"
        "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 "
        "00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0\n"
    )
    sockets = Complete(parse_proc_sockets(text, "tcp6", "tcp6").values)
    assert len(sockets.values) == 1
    state = KernelState(NetNS("n", sockets=sockets))
    assert deliver(state, packet("10.244.1.2", "10.244.2.2")).outcome is Outcome.UNKNOWN


def test_full_accept_queue() -> None:
    """sk_acceptq_is_full is `>`: as many waiting as the backlog is not full yet (include/net/sock.h)."""
    assert ask("tcp LISTEN 128 128 0.0.0.0:80 0.0.0.0:*\n").outcome is Outcome.PASS
    assert ask("tcp LISTEN 129 128 0.0.0.0:80 0.0.0.0:*\n").disposition is Disposition.LISTEN_OVERFLOW


def test_sockets_that_are_not_known() -> None:
    one = packet("10.244.1.2", "10.244.2.2")
    absent = deliver(KernelState(NetNS("n", sockets=NOT_COLLECTED)), one)
    assert (absent.outcome, absent.decides) == (Outcome.UNKNOWN, "ss_listen")
    cut = KernelState(NetNS("n", sockets=Partial((), "cut")))
    assert deliver(cut, one).outcome is Outcome.UNKNOWN
    shown = KernelState(NetNS("n", sockets=Partial(parse_ss(TCP80, "ss").values, "cut")))
    assert deliver(shown, one).outcome is Outcome.PASS


def test_udp() -> None:
    assert ask("udp UNCONN 0 0 0.0.0.0:80 0.0.0.0:*\n", proto="udp").outcome is Outcome.PASS
    assert ask(TCP80, proto="udp").outcome is Outcome.STOP


def test_an_answer_goes_to_the_socket_that_asked() -> None:
    assert ask("", asked=True, sport=80, dport=40000).outcome is Outcome.PASS


def test_echo_is_the_kernels() -> None:
    echo = {"proto": "icmp", "sport": None, "dport": None, "icmp_type": 8, "icmp_code": 0}
    assert ask("", **echo).outcome is Outcome.PASS
    sysctls = Complete(parse_sysctls("net.ipv4.icmp_echo_ignore_all = 1\n", "sysctl").values)
    state = KernelState(NetNS("n", sysctls=sysctls))
    assert deliver(state, packet("10.244.1.2", "10.244.2.2", **echo)).outcome is Outcome.STOP
    assert deliver(state, packet("10.244.1.2", "10.244.2.2", **{**echo, "icmp_type": 0})).outcome is Outcome.PASS


def test_other_protocols_are_not_guessed() -> None:
    assert ask("", proto="gre", sport=None, dport=None).outcome is Outcome.UNKNOWN
