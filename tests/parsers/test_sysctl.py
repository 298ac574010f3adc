"""sysctl(8) output and its relatives: expected keys by hand (a dot in an interface name is printed as a slash)."""

from __future__ import annotations

import pytest

from lasthop.parsers.sysctl import key_of, parse_sysctls


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("net.ipv4.ip_forward = 1", "net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_forward=1", "net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_forward: 1", "net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.eth0/100.rp_filter = 2", "net.ipv4.conf.eth0/100.rp_filter", "2"),
        ("/proc/sys/net/ipv4/conf/eth0.100/rp_filter = 2", "net.ipv4.conf.eth0/100.rp_filter", "2"),
        ("/proc/sys/net/ipv4/conf/all/rp_filter:0", "net.ipv4.conf.all.rp_filter", "0"),
        ("net/ipv4/conf/all/rp_filter = 0", "net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.tcp_rmem = 4096\t131072\t6291456", "net.ipv4.tcp_rmem", "4096\t131072\t6291456"),
        ("net.ipv4.ip_local_reserved_ports =", "net.ipv4.ip_local_reserved_ports", ""),
        ("net.ipv4.ip_local_reserved_ports = ", "net.ipv4.ip_local_reserved_ports", ""),
        ("net.ipv4.conf.eth0:1.forwarding = 1", "net.ipv4.conf.eth0:1.forwarding", "1"),
        ("kernel.domainname = (none)", "kernel.domainname", "(none)"),
    ],
)
def test_forms(line: str, key: str, value: str) -> None:
    (found,) = parse_sysctls(line + "\n", "s").values
    assert (found.key, found.value) == (key, value)


def test_errors_of_sysctl_touch_their_key() -> None:
    text = (
        "sysctl: permission denied on key 'net.ipv4.tcp_fastopen_key'\n"
        'sysctl: reading key "net.ipv6.conf.all.stable_secret"\n'
        "sysctl: cannot stat /proc/sys/net/ipv4/conf/eth0.5/rp_filter: No such file or directory\n"
        "hello world\n"
        "# comment\n"
    )
    result = parse_sysctls(text, "s")
    assert result.values == ()
    assert result.lines == 4
    assert result.touches == (
        "net.ipv4.tcp_fastopen_key",
        "net.ipv6.conf.all.stable_secret",
        "net.ipv4.conf.eth0/5.rp_filter",
        "",
    )


def test_key_of_a_path() -> None:
    assert key_of("/proc/sys/net/ipv4/conf/cali1.2/proxy_arp") == "net.ipv4.conf.cali1/2.proxy_arp"
