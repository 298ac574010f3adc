"""Counters and processes: samples in the tools' formats, expected values by hand."""

from __future__ import annotations

import pytest

from lasthop.facts.evidence import ParseResult
from lasthop.facts.network import Counter
from lasthop.parsers import counters
from lasthop.parsers.processes import name_of, parse_processes


def values(result: ParseResult[Counter]) -> dict[str, int]:
    assert not result.unparsed, result.unparsed
    return {counter.name: counter.value for counter in result.values}


def test_nstat() -> None:
    text = "#kernel\nIpInReceives                    943                0.0\nTcpExtListenDrops 7 0.1\n"
    result = counters.parse_nstat(text, "n", 2)
    assert values(result) == {"IpInReceives": 943, "TcpExtListenDrops": 7}
    assert (result.lines, result.values[0].sample, result.values[0].source.line) == (2, 2, 2)


def test_snmp_pairs_names_and_values() -> None:
    text = "Ip: Forwarding InReceives\nIp: 1 943\nTcp: MaxConn\nTcp: -1\nTcpExt: ListenDrops\nTcpExt: 3\n"
    assert values(counters.parse_snmp(text, "s")) == {
        "IpForwarding": 1, "IpInReceives": 943, "TcpMaxConn": -1, "TcpExtListenDrops": 3,
    }  # fmt: skip
    cut = counters.parse_snmp("Ip: Forwarding InReceives\n", "s")
    assert cut.truncated
    uneven = counters.parse_snmp("Ip: A B\nIp: 1\n", "s")
    assert (uneven.values, uneven.touches) == ((), ("Ip",))


def test_snmp6() -> None:
    assert values(counters.parse_snmp6("Ip6InReceives                   \t12\n", "s")) == {"Ip6InReceives": 12}


def test_conntrack_stats_are_summed_over_cpus() -> None:
    text = "cpu=0   \tfound=1 invalid=2 drop=3 \ncpu=1   \tfound=10 invalid=20 drop=30 \n"
    result = counters.parse_conntrack_stats(text, "c")
    assert values(result) == {"nf_conntrack.found": 11, "nf_conntrack.invalid": 22, "nf_conntrack.drop": 33}
    assert (result.values[0].source.line, result.values[0].source.end_line) == (1, 2)
    broken = counters.parse_conntrack_stats(text + "cpu=2 found=x\n", "c")
    assert broken.values == ()
    assert len(broken.unparsed) == 1


def test_proc_stat_conntrack_is_hexadecimal_and_entries_is_no_sum() -> None:
    text = "entries  clashres found drop\n00000039  00000000 00000001 0000000a\n00000039  00000000 00000002 00000010\n"
    assert values(counters.parse_proc_stat_conntrack(text, "c")) == {
        "nf_conntrack.clashres": 0, "nf_conntrack.found": 3, "nf_conntrack.drop": 26, "nf_conntrack.count": 57,
    }  # fmt: skip


def test_conntrack_count() -> None:
    assert values(counters.parse_conntrack_count("261\n", "c")) == {"nf_conntrack.count": 261}


def test_softnet() -> None:
    row = "00000010 00000001 00000002 " + "00000000 " * 12
    assert values(counters.parse_softnet(f"{row}\n{row}\n", "s")) == {
        "softnet.processed": 32, "softnet.dropped": 2, "softnet.time_squeeze": 4,
    }  # fmt: skip


def test_proc_dev() -> None:
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"  # noqa: E501
        "  eth0:    100       2    3    4    5     6          7         8      900      10   11   12   13    14      15        16\n"  # noqa: E501
    )
    found = values(counters.parse_proc_dev(text, "d"))
    assert (found["dev.eth0.rx_packets"], found["dev.eth0.rx_dropped"]) == (2, 4)
    assert (found["dev.eth0.tx_errors"], found["dev.eth0.tx_carrier"], len(found)) == (11, 15, 16)


def test_tc_qdisc() -> None:
    text = (
        "qdisc fq_codel 8001: dev eth0 root refcnt 2 limit 10240p flows 1024\n"
        " Sent 1500 bytes 10 pkt (dropped 3, overlimits 4 requeues 5) \n"
        " backlog 0b 0p requeues 0\n"
        "  maxpacket 0 drop_overlimit 0\n"
    )
    result = counters.parse_tc_qdisc(text, "t")
    assert values(result) == {
        "tc.eth0.fq_codel.8001:.packets": 10, "tc.eth0.fq_codel.8001:.dropped": 3,
        "tc.eth0.fq_codel.8001:.overlimits": 4,
    }  # fmt: skip
    assert result.lines == 4


@pytest.mark.parametrize(
    ("args", "comm", "name"),
    [
        ("calico-felix", "", "felix"),
        ("calico-node -felix", "calico-node", "felix"),
        ("calico-felix component felix", "", "felix"),
        ("/usr/bin/calico component felix", "", "felix"),
        ("calico component confd", "", "confd"),
        ("calico-node -confd", "", "confd"),
        ("confd -confdir=/etc/calico/confd -node=http://etcd1:4001", "", "confd"),
        ("bird -R -s /var/run/calico/bird.ctl -d -c /etc/calico/confd/config/bird.cfg", "", "bird"),
        ("bird6 -R -s /var/run/calico/bird6.ctl", "", "bird6"),
        ("/usr/local/bin/kube-proxy --config=/var/lib/kube-proxy/config.conf", "", "kube-proxy"),
        ("calico-node -monitor-token", "", "calico-node"),
        ("", "kworker/0:1", "kworker/0:1"),
    ],
)
def test_names_of_processes(args: str, comm: str, name: str) -> None:
    assert name_of(args, comm) == name


def test_ps_of_several_shapes() -> None:
    lstart = (
        "    PID STAT                  STARTED COMMAND\n"
        "     76 SNl  Mon Nov 23 00:49:17 2026 calico-felix component felix\n"
    )
    (felix,) = parse_processes(lstart, "p").values
    assert (felix.pid, felix.stat, felix.name, felix.args) == (76, "SNl", "felix", "calico-felix component felix")
    aux = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND\nroot 105 0.0 0.1 4 5 ? Ss 10:00 0:00 bird -R -s x\n"
    (bird,) = parse_processes(aux, "p").values
    assert (bird.pid, bird.stat, bird.args) == (105, "Ss", "bird -R -s x")
    ef = "UID PID PPID C STIME TTY TIME CMD\nroot 7 1 0 10:00 ? 00:00:01 /usr/bin/kubelet --x\n"
    (kubelet,) = parse_processes(ef, "p").values
    assert (kubelet.pid, kubelet.name, kubelet.stat) == (7, "kubelet", "")
    busybox = "PID   USER     TIME   COMMAND\n  112 root       0:40 bird -R\n"
    assert parse_processes(busybox, "p").values[0].pid == 112


def test_processes_of_the_collector() -> None:
    text = (
        "pid\tppid\tstate\tcomm\tcmdline\n76\t1\tT\tcalico-node\tcalico-node -felix\n9\t1\tS\tbird\t\nx\t1\tS\tb\tc\n"
    )
    result = parse_processes(text, "p")
    felix, bird = result.values
    assert (felix.name, felix.stat, felix.pid) == ("felix", "T", 76)
    assert (bird.name, bird.args) == ("bird", "bird")
    assert (result.lines, len(result.unparsed)) == (3, 1)


def test_ps_without_heading_is_not_understood() -> None:
    result = parse_processes("76 calico-felix\n", "p")
    assert (result.values, len(result.unparsed)) == ((), 1)
