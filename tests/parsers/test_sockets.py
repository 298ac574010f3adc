"""ss, netstat and /proc/net/tcp: expected sockets by hand from iproute2 misc/ss.c and the kernel's tcp_ipv4.c."""

from __future__ import annotations

from ipaddress import ip_address

from lasthop.facts.network import Socket
from lasthop.parsers.sockets import parse_netstat, parse_proc_sockets, parse_ss

NEW = """\
Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess
tcp   LISTEN 0      4096       127.0.0.1:9099      0.0.0.0:*    users:(("calico-felix",pid=76,fd=3)) ino:5 sk:1 <->
tcp   LISTEN 0      8            0.0.0.0:179       0.0.0.0:*    users:(("bird",pid=171,fd=7))
tcp   LISTEN 129    128                *:8080            *:*    users:(("server",pid=9,fd=3)) ino:1 sk:2 v6only:0 <->
tcp   LISTEN 0      128             [::]:22           [::]:*    ino:1 sk:2 v6only:1 <->
udp   UNCONN 0      0      127.0.0.53%lo:53        0.0.0.0:*
udp   UNCONN 0      0      [fe80::1]%eth0:546          [::]:*
tcp   ESTAB  0      0      10.0.0.1:22       10.0.0.9:51000
u_str LISTEN 0      4096   /run/x 20570 * 0
"""


def by_port(sockets: tuple[Socket, ...]) -> dict[int, Socket]:
    return {socket.port: socket for socket in sockets}


def test_new_ss() -> None:
    result = parse_ss(NEW, "s")
    assert not result.unparsed, result.unparsed
    assert result.lines == 8
    found = by_port(result.values)
    assert sorted(found) == [22, 53, 179, 546, 8080, 9099]
    assert len(result.values) == 7
    felix = found[9099]
    assert (felix.ip, felix.family, felix.process, felix.state) == (
        ip_address("127.0.0.1"),
        4,
        "calico-felix",
        "LISTEN",
    )
    assert (found[179].ip, found[179].family) == (None, 4)
    dual = found[8080]
    assert (dual.ip, dual.family, dual.v6only, dual.recv_q, dual.send_q) == (None, 6, False, 129, 128)
    assert (found[53].dev, found[53].ip, found[53].proto) == ("lo", ip_address("127.0.0.53"), "udp")
    assert (found[546].dev, found[546].ip) == ("eth0", ip_address("fe80::1"))
    only6, established = (socket for socket in result.values if socket.port == 22)
    assert (only6.ip, only6.family, only6.v6only) == (None, 6, True)
    assert (established.state, established.peer, established.peer_port) == ("ESTAB", ip_address("10.0.0.9"), 51000)


def test_star_without_details_is_the_dual_wildcard_of_new_ss() -> None:
    (found,) = parse_ss("tcp LISTEN 0 128 *:80 *:*\n", "s").values
    assert (found.ip, found.family, found.v6only) == (None, 6, False)


def test_old_ss_prints_the_families_otherwise() -> None:
    text = (
        "Netid  State      Recv-Q Send-Q Local Address:Port               Peer Address:Port\n"
        'tcp    LISTEN     0      128       *:22                    *:*                   users:(("sshd",1234,3))\n'
        "tcp    LISTEN     0      128      :::22                   :::*\n"
    )
    four, six = parse_ss(text, "s").values
    assert (four.family, four.ip, four.process) == (4, None, "sshd")
    assert (six.family, six.ip, six.v6only) == (6, None, None)


def test_without_netid_the_state_tells_the_protocol() -> None:
    head = "State Recv-Q Send-Q Local Address:Port Peer Address:Port\n"
    udp = parse_ss(head + "ESTAB 0 0 10.0.0.1:68 10.0.0.9:67\nUNCONN 0 0 0.0.0.0:53 0.0.0.0:*\n", "s").values
    assert [(s.proto, s.port) for s in udp] == [("udp", 68), ("udp", 53)]
    (tcp,) = parse_ss(head + "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n", "s").values
    assert tcp.proto == "tcp"


def test_strange_lines_are_counted() -> None:
    result = parse_ss("tcp LISTEN 0 128 nonsense 0.0.0.0:*\ntcp SLEEPING 0 0 1.1.1.1:1 0.0.0.0:*\ntcp\n", "s")
    assert (result.values, result.lines, len(result.unparsed)) == ((), 3, 3)


def test_netstat() -> None:
    text = (
        "Active Internet connections (only servers)\n"
        "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name\n"
        "tcp        0      0 127.0.0.1:2379          0.0.0.0:*               LISTEN      815/etcd\n"
        "tcp6       5    128 :::10250                :::*                    LISTEN      900/kubelet\n"
        "udp        0      0 0.0.0.0:68              0.0.0.0:*                           700/dhclient\n"
        "tcp        0      0 10.0.0.1:22             10.0.0.9:5000           ESTABLISHED -\n"
        "tcp        0      0 10.0.0.1:22\n"
    )
    result = parse_netstat(text, "n")
    etcd, kubelet, dhcp, ssh = result.values
    assert (etcd.ip, etcd.port, etcd.process, etcd.state) == (ip_address("127.0.0.1"), 2379, "etcd", "LISTEN")
    assert (kubelet.proto, kubelet.family, kubelet.ip, kubelet.v6only, kubelet.recv_q) == ("tcp", 6, None, None, 5)
    assert (dhcp.state, dhcp.port) == ("UNCONN", 68)
    assert (ssh.state, ssh.peer_port) == ("ESTAB", 5000)
    assert (result.lines, len(result.unparsed)) == (5, 1)


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TAIL = "00:00000000 00000000     0        0 5 1 0000000000000000 100 0 0 10 0\n"


def test_proc_net_tcp() -> None:
    text = (
        HEAD
        + f"   0: 0100007F:238B 00000000:0000 0A 00000000:00000002 {TAIL}"
        + f"   1: 00000000:00B3 00000000:0000 0A 00000000:00000000 {TAIL}"
        + f"   2: 0B00140A:C001 0C00140A:00B3 01 00000005:00000000 {TAIL}"
    )
    result = parse_proc_sockets(text, "p", "tcp")
    assert not result.unparsed
    felix, bird, session = result.values
    assert (felix.ip, felix.port, felix.state, felix.recv_q) == (ip_address("127.0.0.1"), 9099, "LISTEN", 2)
    assert (bird.ip, bird.port, bird.family) == (None, 179, 4)
    assert (session.ip, session.peer, session.peer_port) == (ip_address("10.20.0.11"), ip_address("10.20.0.12"), 179)
    assert (session.state, session.send_q) == ("ESTAB", 5)


def test_proc_net_tcp6_and_udp() -> None:
    any6 = "0" * 32
    mapped = "0000000000000000FFFF00000B00140A"
    local = "B80D0120000000000000000001000000"
    text = (
        HEAD
        + f"   0: {any6}:1F90 {any6}:0000 0A 00000000:00000000 {TAIL}"
        + f"   1: {mapped}:1F90 {mapped}:1234 01 00000000:00000000 {TAIL}"
        + f"   2: {local}:0016 {any6}:0000 0A 00000000:00000000 {TAIL}"
    )
    wildcard, four, six = parse_proc_sockets(text, "p", "tcp").values
    assert (wildcard.ip, wildcard.family, wildcard.port, wildcard.v6only) == (None, 6, 8080, None)
    assert (four.ip, four.family) == (ip_address("10.20.0.11"), 4)
    assert six.ip == ip_address("2001:db8::1")
    udp = f"  83: 00000000:0035 00000000:0000 07 00000000:00000000 {TAIL}"
    (dns,) = parse_proc_sockets(HEAD + udp, "p", "udp").values
    assert (dns.state, dns.port, dns.proto) == ("UNCONN", 53, "udp")


def test_big_endian_node() -> None:
    text = f"   0: 7F000001:238B 00000000:0000 0A 00000000:00000000 {TAIL}"
    (felix,) = parse_proc_sockets(text, "p", "tcp", "big").values
    assert felix.ip == ip_address("127.0.0.1")
