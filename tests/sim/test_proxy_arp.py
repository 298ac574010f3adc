"""Whether the host answers a pod's ARP request for 169.254.1.1: net/ipv4/arp.c (arp_process)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lasthop.facts.trace import Disposition, Outcome, Packet, Step
from lasthop.sim import proxy_arp
from lasthop.sim.kernel_state import KernelState

from .cluster import Texts, node_texts


def ask(host: Texts, src: str = "10.244.1.2", dst: str = "169.254.1.1") -> Step:
    state = KernelState(host.netns("n1", "host"))
    return proxy_arp.answers(state, "cali1", Packet(4, "", ip_address(src), ip_address(dst), iif="cali1"))


def test_calico_answers() -> None:
    assert ask(node_texts(1)).outcome is Outcome.PASS


def test_needs_a_route_to_the_gateway() -> None:
    """169.254.1.1 is reached by the default route; without one there is no rt and no answer."""
    host = node_texts(1)
    host.remove("routes", "default")
    step = ask(host)
    assert (step.outcome, step.disposition) == (Outcome.STOP, Disposition.NEIGHBOUR_FAILED)


def test_route_must_leave_by_another_interface() -> None:
    host = node_texts(1)
    host.add("routes", "169.254.0.0/16 dev cali1 scope link")
    step = ask(host)
    assert step.outcome is Outcome.STOP and "cali1 itself" in step.detail


@pytest.mark.parametrize(("key", "quoted"), [("proxy_arp", "proxy_arp = 0"), ("forwarding", "forwarding = 0")])
def test_sysctls(key: str, quoted: str) -> None:
    host = node_texts(1)
    host.change("sysctls", f"net.ipv4.conf.cali1.{key} = 1", f"net.ipv4.conf.cali1.{key} = 0")
    step = ask(host)
    assert step.outcome is Outcome.STOP and quoted in step.detail
    assert any(f"cali1.{key} = 0" in source.text for source in step.sources)


def test_proxy_arp_of_all_is_enough() -> None:
    """IN_DEV_PROXY_ARP is an ORCONF."""
    host = node_texts(1)
    host.change("sysctls", "net.ipv4.conf.cali1.proxy_arp = 1", "net.ipv4.conf.cali1.proxy_arp = 0")
    host.change("sysctls", "net.ipv4.conf.all.proxy_arp = 0", "net.ipv4.conf.all.proxy_arp = 1")
    assert ask(host).outcome is Outcome.PASS


def test_not_collected_is_unknown() -> None:
    host = node_texts(1)
    host.remove("sysctls", "net.ipv4.conf.cali1.proxy_arp")
    step = ask(host)
    assert (step.outcome, step.decides) == (Outcome.UNKNOWN, "sysctl")
    host = node_texts(1)
    host.routes = None
    assert ask(host).outcome is Outcome.UNKNOWN


def test_a_policy_rule_bends_the_lookup() -> None:
    host = node_texts(1)
    host.add("rules", "50:\tfrom 10.244.1.2 blackhole")
    assert ask(host).outcome is Outcome.STOP


def test_reverse_path_counts_for_arp_too() -> None:
    """The asker's own address must come back by the interface when rp_filter is 1."""
    host = node_texts(1)
    host.change("sysctls", "net.ipv4.conf.cali1.rp_filter = 0", "net.ipv4.conf.cali1.rp_filter = 1")
    assert ask(host).outcome is Outcome.PASS
    assert ask(host, src="10.244.1.9").outcome is Outcome.STOP


def test_own_address_is_answered_without_proxy_arp() -> None:
    host = node_texts(1)
    host.change("sysctls", "net.ipv4.conf.cali1.proxy_arp = 1", "net.ipv4.conf.cali1.proxy_arp = 0")
    assert ask(host, dst="192.0.2.11").outcome is Outcome.PASS
