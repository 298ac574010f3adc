"""Input decisions: forwarding, reverse path, martians (net/ipv4/route.c, net/ipv4/fib_frontend.c)."""

from __future__ import annotations

from typing import Any

import pytest

from lasthop.facts.trace import Disposition, Truth
from lasthop.sim.kernel_state import KernelState
from lasthop.sim.routing import Decision, reverse_path, route_input, route_output

from .cluster import Texts, node_texts, packet


def decide(host: Texts, dev: str, src: str, dst: str, **fields: Any) -> tuple[Decision, ...]:
    return route_input(KernelState(host.netns("n1", "host")), packet(src, dst, iif=dev, **fields), dev)


def ends(decision: Decision) -> tuple[str, Disposition | None]:
    return decision.kind, decision.steps[-1].disposition if decision.kind == "drop" else None


def sysctl(host: Texts, key: str, value: int) -> None:
    old = next(line for line in (host.sysctls or "").splitlines() if line.startswith(f"net.ipv4.conf.{key} = "))
    host.change("sysctls", old + "\n", f"net.ipv4.conf.{key} = {value}\n")


def test_forward_and_local() -> None:
    (forward,) = decide(node_texts(1), "cali1", "10.244.1.2", "10.244.2.2")
    assert (forward.kind, forward.dev, str(forward.gateway)) == ("forward", "eth0", "192.0.2.12")
    (local,) = decide(node_texts(1), "cali1", "10.244.1.2", "192.0.2.11")
    assert local.kind == "local"


def test_forwarding_is_the_input_interfaces() -> None:
    host = node_texts(1)
    sysctl(host, "eth0.forwarding", 0)
    (outward,) = decide(host, "cali1", "10.244.1.2", "10.244.2.2")
    (inward,) = decide(host, "eth0", "10.244.2.2", "10.244.1.2")
    assert ends(outward) == ("forward", None) and ends(inward) == ("drop", Disposition.NOT_FORWARDING)
    assert any("eth0.forwarding = 0" in source.text for source in inward.steps[-1].sources)


def test_local_delivery_needs_no_forwarding() -> None:
    host = node_texts(1)
    sysctl(host, "eth0.forwarding", 0)
    assert decide(host, "eth0", "192.0.2.12", "192.0.2.11")[0].kind == "local"


def test_unknown_forwarding_goes_both_ways() -> None:
    host = node_texts(1)
    host.remove("sysctls", "net.ipv4.conf.eth0.forwarding")
    (decision,) = decide(host, "eth0", "10.244.2.2", "10.244.1.2")
    assert (decision.kind, decision.dev) == ("unknown", "cali1")


# net/ipv4/fib_frontend.c __fib_validate_source, label last_resort: without an address on the interface, a route back
# by another interface passes only with rp_filter 0, and 2 is then as strict as 1. With an address, 2 is loose.
@pytest.mark.parametrize(
    ("dev", "rp_filter", "passes"),
    [
        ("cali1", 0, True),
        ("cali1", 1, False),
        ("cali1", 2, False),
        ("eth0", 0, True),
        ("eth0", 1, False),
        ("eth0", 2, True),
    ],
)
def test_reverse_path_of_a_source_behind_another_interface(dev: str, rp_filter: int, passes: bool) -> None:
    host = node_texts(1)
    sysctl(host, f"{dev}.rp_filter", rp_filter)
    src, dst = ("10.244.2.9", "192.0.2.11") if dev == "cali1" else ("10.244.1.2", "192.0.2.11")
    (decision,) = decide(host, dev, src, dst)
    assert ends(decision) == (("local", None) if passes else ("drop", Disposition.RPF_FAILED))


def test_the_larger_of_all_and_own_rp_filter_counts() -> None:
    host = node_texts(1)
    sysctl(host, "all.rp_filter", 1)
    assert ends(decide(host, "cali1", "10.244.2.9", "192.0.2.11")[0]) == ("drop", Disposition.RPF_FAILED)


def test_right_source_passes_strict() -> None:
    host = node_texts(1)
    sysctl(host, "cali1.rp_filter", 1)
    assert decide(host, "cali1", "10.244.1.2", "10.244.2.2")[0].kind == "forward"


def test_unknown_rp_filter_is_unknown_only_where_it_matters() -> None:
    host = node_texts(1)
    host.remove("sysctls", "net.ipv4.conf.cali1.rp_filter")
    assert decide(host, "cali1", "10.244.1.2", "10.244.2.2")[0].kind == "forward"
    assert decide(host, "cali1", "10.244.2.9", "10.244.2.2")[0].kind == "unknown"


def test_own_address_as_source_is_martian() -> None:
    host = node_texts(1)
    assert ends(decide(host, "eth0", "192.0.2.11", "10.244.1.2")[0]) == ("drop", Disposition.MARTIAN)
    sysctl(host, "eth0.accept_local", 1)
    assert decide(host, "eth0", "192.0.2.11", "10.244.1.2")[0].kind == "forward"


def test_unknown_accept_local_is_not_a_drop() -> None:
    host = node_texts(1)
    host.remove("sysctls", "net.ipv4.conf.eth0.accept_local")
    assert decide(host, "eth0", "192.0.2.11", "10.244.1.2")[0].kind == "unknown"


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("127.0.0.1", "10.244.1.2"),
        ("10.244.2.2", "127.0.0.1"),
        ("224.0.0.5", "10.244.1.2"),
        ("255.255.255.255", "10.244.1.2"),
        ("0.0.0.0", "10.244.1.2"),
    ],
)
def test_martians(src: str, dst: str) -> None:
    assert ends(decide(node_texts(1), "eth0", src, dst)[0]) == ("drop", Disposition.MARTIAN)


def test_route_localnet_lets_loopback_in() -> None:
    host = node_texts(1)
    sysctl(host, "eth0.route_localnet", 1)
    assert decide(host, "eth0", "10.244.2.2", "127.0.0.1")[0].kind == "local"


def test_no_route_and_blackhole() -> None:
    host = node_texts(1)
    assert ends(decide(host, "cali1", "10.244.1.2", "10.244.1.9")[0]) == ("drop", Disposition.BLACKHOLED)
    host.remove("routes", "default")
    assert ends(decide(host, "cali1", "10.244.1.2", "198.51.100.1")[0]) == ("drop", Disposition.NO_ROUTE)


def test_ecmp_gives_one_decision_per_next_hop() -> None:
    host = node_texts(1)
    host.remove("routes", "10.244.2.0/26")
    host.add(
        "routes",
        "10.244.2.0/26\n\tnexthop via 192.0.2.12 dev eth0 weight 1\n\tnexthop via 192.0.2.13 dev eth0 weight 3",
    )
    found = decide(host, "cali1", "10.244.1.2", "10.244.2.2")
    assert [(str(d.gateway), d.share * 4, d.hops) for d in found] == [("192.0.2.12", 1, 2), ("192.0.2.13", 3, 2)]


def test_strict_reverse_path_accepts_every_next_hop_of_the_route_back() -> None:
    host = node_texts(1)
    sysctl(host, "cali1.rp_filter", 1)
    host.add("routes", "10.244.9.0/26\n\tnexthop via 192.0.2.12 dev eth0 weight 1\n\tnexthop dev cali1 weight 1")
    assert decide(host, "cali1", "10.244.9.1", "192.0.2.11")[0].kind == "local"


def test_source_of_an_own_packet() -> None:
    host = node_texts(1, "vxlan")
    state = KernelState(host.netns("n1", "host"))
    assert str(route_output(state, packet("0.0.0.0", "10.244.2.2"))[0].src) == "10.244.1.0"
    assert str(route_output(state, packet("0.0.0.0", "192.0.2.12"))[0].src) == "192.0.2.11"
    host.change(
        "routes",
        "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.11",
        "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.99",
    )
    assert (
        str(route_output(KernelState(host.netns("n1", "host")), packet("0.0.0.0", "192.0.2.12"))[0].src) == "192.0.2.99"
    )


def test_rpfilter_match() -> None:
    """net/ipv4/netfilter/ipt_rpfilter.c: loose ignores the interface; the mark counts only with --validmark."""
    host = node_texts(1)
    host.add("rules", "50:\tfrom all fwmark 0x1 lookup 9")
    host.add("routes", "default dev elsewhere table 9")
    state = KernelState(host.netns("n1", "host"))

    def check(src: str, **options: bool) -> Truth:
        flags = {"loose": False, "validmark": False, "accept_local": False} | options
        one = packet(src, "10.244.2.2", iif="cali1")
        return reverse_path(state, one, **flags).truth

    assert check("10.244.1.2") is Truth.YES and check("10.244.2.2") is Truth.NO
    assert check("10.244.2.2", loose=True) is Truth.YES
    assert check("192.0.2.11") is Truth.NO
    assert check("10.244.1.40", loose=True) is Truth.NO


def test_ports_are_swapped_for_the_way_back() -> None:
    """__fib_validate_source dissects the packet when rules ask for ports, with source and destination swapped."""
    host = node_texts(1)
    sysctl(host, "cali1.rp_filter", 1)
    host.add("rules", "50:\tfrom all ipproto tcp sport 80 lookup 9")
    host.add("routes", "default dev eth0 table 9")
    assert ends(decide(host, "cali1", "10.244.1.2", "198.51.100.1")[0]) == ("drop", Disposition.RPF_FAILED)
