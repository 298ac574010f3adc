"""Flags, what they record, what leaves the node and what does not."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess

import pytest

from tests.collector.node import COLLECTOR, PODS, SHELLS, Node, untar
from tests.conftest import REPO, need

STUBBED = """ip bridge ss tc nstat nft iptables-nft-save ip6tables-nft-save iptables-legacy-save ip6tables-legacy-save
iptables-save ipset conntrack ethtool tcpdump nsenter birdc birdcl wg ipvsadm bpftool calicoctl kubectl journalctl dmesg
chronyc tar gzip mkdir sysctl ping nc"""
CALLED = '#!/bin/sh\necho "$0 $*" >>/run/called\nexit 0\n'
LISTENER = """ip netns exec cni-2 python3 -c '
import socket, time
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(("", 8080)); s.listen(5); time.sleep(60)'"""


FORBIDDEN = [
    r"modprobe",
    r"insmod",
    r"\bmount ",
    r"sysctl -w",
    r"iptables\S* -[tLS]\b",
    r"\bcurl\b",
    r"\bwget\b",
    r"docker (run|pull)",
    r"ip \S*( \S+)* (add|del|change|replace|flush) ",
    r"conntrack -[DFIU]",
    r"ipset (add|del|create|destroy|flush)",
    r"nft (add|delete|flush|insert)",
    r"ethtool -[em]\b",
    r"nstat -\w*[^s]az\b",
    r"ip route get",
    r"kubectl (apply|delete|patch|create)",
    r"ip netns exec",
    r"wg show \S* *(dump|private)",
    r"timedatectl",
    r"secrets?\b.*-o json",
]


def usage(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(COLLECTOR), *arguments], check=False, capture_output=True, text=True, timeout=20)


def test_shellcheck_clean() -> None:
    need("shellcheck")
    whole = subprocess.run(["shellcheck", "-s", "sh", str(COLLECTOR)], check=False, capture_output=True, text=True)
    assert whole.stdout == ""
    text = COLLECTOR.read_text()
    assert "disable=all" not in text
    # The part that runs inside a netns is a string to ShellCheck: lint its text by itself.
    inner = re.search(r"^IN_NETNS='\n(.*?)^'$", text, re.M | re.S)
    assert inner is not None
    part = subprocess.run(["shellcheck", "-s", "sh", "-"], check=False, input=inner[1], capture_output=True, text=True)
    assert part.stdout == ""


@pytest.mark.parametrize("shell", list(SHELLS))
def test_parses(shell: str) -> None:
    need(SHELLS[shell][0])
    assert subprocess.run([*SHELLS[shell], "-n", str(COLLECTOR)], check=False, capture_output=True).stderr == b""


def test_nothing_that_changes_a_node() -> None:
    """A deny-list over the code without comments and quoted texts of messages."""
    code = "\n".join(line for line in COLLECTOR.read_text().splitlines() if not line.lstrip().startswith("#"))
    for word in FORBIDDEN:
        found = re.search(word, code)
        assert found is None, found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "tcp/0"],
        ["--port", "tcp/65536"],
        ["--port", "gre/1"],
        ["--pod", "noslash"],
        ["--pod", "ns/pod;reboot"],
        ["--peer", "$(reboot)"],
        ["--profile", "huge"],
        ["--capture", "soon"],
        ["--capture"],
        ["--dir", "/no/such/dir"],
        ["--bogus"],
        ["--probe"],
        ["cluster"],
        ["cluster", "--nodes", "a,-oProxyCommand=x"],
        ["--pack-leftover", "/etc"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = usage(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("collector.sh: ")


def test_help_and_version() -> None:
    assert usage("--help").stdout.startswith("collector.sh [options]")
    assert "lasthop.bundle/1" in usage("--version").stdout


def test_nothing_written_is_11() -> None:
    need("unshare", root=True)
    run = Node().run("--only", "no_such_id")
    assert run.rc == 11
    assert run.stdout == b""
    read_only = Node(dir_mount="ro,size=1m").run("--only", "uname")
    assert read_only.rc == 11
    assert "nothing was written" in read_only.stderr


@pytest.mark.lab
def test_dry_run_prints_everything_and_runs_nothing() -> None:
    stubs = dict.fromkeys(STUBBED.split(), CALLED)
    run = Node(stubs=stubs, setup="ip link set lo up\n").run(
        "--dry-run", "--pod", "shop/web-1", "--peer", "10.65.0.2", "--port", "80", "--capture", "5", "--probe"
    )
    assert run.rc == 0, run.stderr
    assert run.called == ""
    assert run.files == {}
    printed = dict(line.split("\t", 1) for line in run.stdout.decode().splitlines() if "\t" in line)
    norm = (REPO / "docs" / "bundle-format.md").read_text()
    expected = """host/ip4_route_all host/iptables_nft_save host/sysctl host/probe host/ip_link_t2 host/log_kernel
        pods/NS_NAME/ip4_neigh cluster/kube_pods cluster/calico_ipamblocks pcap/UPLINK.pcap"""
    for name in expected.split():
        assert name in printed
    assert printed["host/iptables_legacy_save"] == "iptables-legacy-save -c"
    # Every id that is printed is an id of the norm.
    documented = set(re.findall(r"`([a-z0-9_…{},<>]+)`", norm))
    plain = {name.rsplit("/", 1)[1].removesuffix("_t2") for name in printed if name.startswith(("host/", "pods/"))}
    unknown = {
        name
        for name in plain
        if name not in documented
        and not re.match(
            r"(conntrack_focus_|ethtool_|bird6?_|log_|bird_config|proc_net_|ip\w+_json|bridge_fdb_json|ip6)", name
        )
    }
    assert unknown == set()


@pytest.mark.lab
def test_question_is_recorded_and_focuses() -> None:
    run = Node(setup=PODS).run(
        "--pod", "shop/web-1", "--peer", "198.51.100.7", "--port", "udp/53", "--profile", "quick"
    )
    assert run.rc == 0, run.stderr
    meta = run.meta()
    assert meta["question_from"] == ["shop/web-1"]
    assert meta["question_to"] == ["198.51.100.7"]
    assert (meta["question_proto"], meta["question_port"]) == (["udp"], ["53"])
    assert meta["question_address"] == ["10.65.0.1", "198.51.100.7"]
    assert meta["question_local"] == ["shop/web-1"]
    assert json.loads(run.text("bundle.json"))["question"] == {
        "from": "shop/web-1",
        "to": "198.51.100.7",
        "proto": "udp",
        "port": 53,
    }
    assert {path.split("/")[1] for path in run.index() if path.startswith("pods/")} == {"shop_web-1"}
    assert run.index()["host/conntrack_focus_2_dst"]["command"] == "conntrack -L -f ipv4 -o extended -d 198.51.100.7"
    assert run.status("pods/shop_web-1/proc_net_snmp_t2") == "ok"
    pod = dict(line.split("=", 1) for line in run.node("pods/shop_web-1/pod.meta").splitlines())
    # Calico names the host side cali + the first 11 hex digits of sha1("namespace.name").
    assert pod["host_interface"] == "cali" + hashlib.sha1(b"shop.web-1").hexdigest()[:11]
    assert (pod["namespace"], pod["name"], pod["found_by"], pod["entered_by"]) == (
        "shop",
        "web-1",
        "cni-cache",
        "nsenter",
    )


@pytest.mark.lab
def test_pod_found_by_interface_hash() -> None:
    """No CNI cache, no cgroup: the name is proved by Calico's interface name."""
    run = Node(setup=PODS + "rm /var/lib/cni/results/*\nmkdir /var/log/pods/shop_web-2_uid\n").run("--only", "ip_addr")
    pod = dict(line.split("=", 1) for line in run.node("pods/shop_web-2/pod.meta").splitlines())
    assert pod["found_by"] == "interface-hash"
    unnamed = [name for name in run.files if "/pods/_netns-" in name and name.endswith("pod.meta")]
    assert len(unnamed) == 1
    assert "host_interface=cali" in run.text(unnamed[0])


@pytest.mark.lab
def test_pods_without_nsenter() -> None:
    node = Node(
        setup=PODS + "rm /var/lib/cni/results/*\n", hide=["nsenter"], background=["ip netns exec cni-1 sleep 50"]
    )
    run = node.run("--only", "ip_addr,proc_net_route,proc_net_dev")
    names = [name for name in run.files if name.endswith("proc_net_route.out")]
    assert len(names) == 1
    # 0.0.0.0/0 via 169.254.1.1, as /proc/net/route writes it: little-endian hex.
    assert re.search(r"^eth0\t00000000\t0101FEA9\t", run.text(names[0]), re.M)
    assert "entered_by=proc" in run.text(names[0].replace("proc_net_route.out", "pod.meta"))


@pytest.mark.lab
def test_only() -> None:
    run = Node(setup=PODS).run("--only", "uname,ip4_rule")
    assert set(run.index()) == {"host/uname", "host/ip4_rule", "pods/shop_web-1/ip4_rule", "pods/shop_web-2/ip4_rule"}
    assert run.meta()["only"] == ["uname,ip4_rule"]


@pytest.mark.lab
def test_capture_and_probe() -> None:
    tracked = PODS + "iptables-nft -I FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
    run = Node(setup=tracked, background=[LISTENER]).run(
        "--pod",
        "shop/web-1",
        "--peer",
        "shop/web-2",
        "--port",
        "tcp/8080",
        "--capture",
        "2",
        "--probe",
        "--profile",
        "quick",
    )
    assert run.rc == 0, run.stderr
    assert run.status("host/probe") == "ok"
    client = "cali" + hashlib.sha1(b"shop.web-1").hexdigest()[:11]
    for name, netns in ((client, "host"), ("pod_shop_web-2_eth0", "pod"), ("eth0", "host")):
        meta = dict(line.split("=", 1) for line in run.node(f"pcap/{name}.meta").splitlines())
        assert (meta["netns"], meta["status"], meta["dropped_kernel"]) == (netns, "ok", "0")
        data = run.files[f"nodes/lhcol-node/pcap/{name}.pcap"]
        assert data[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")
        # Port 8080 in network order: the probe is on both pods' sides and not on the uplink.
        assert (b"\x1f\x90" in data) is (name != "eth0")
    assert "[NEW] ipv4     2 tcp" in run.node("host/conntrack_events.out")
    assert "dport=8080" in run.node("host/conntrack_events.out")
    assert "dport=8080" in run.node("host/conntrack_focus_1_src_t2.out")
    t2 = run.index()["host/proc_net_snmp_t2"]
    assert float(t2["start"]) > float(run.meta()["capture_end"][0]) - 1


@pytest.mark.lab
def test_secrets_stay() -> None:
    setup = (
        PODS
        + r"""
mkdir -p /var/lib/calico /run/calico; printf lhcol-node >/var/lib/calico/nodename
mkdir -p /etc/cni/net.d
printf '{"plugins":[{"type":"calico","policy":{"type":"k8s","k8s_auth_token":"TOPSECRET1"},"etcd_key":"TOPSECRET2"}]}' \
  >/etc/cni/net.d/10-calico.conflist
printf 'token: TOPSECRET3' >/etc/cni/net.d/calico-kubeconfig
"""
    )
    kubectl = """#!/bin/sh
case $2 in
nodes) echo node/n1 ;;
services) printf '%s' '{"items":[{"metadata":{"annotations":{'
  printf '%s\\n' '"kubectl.kubernetes.io/last-applied-configuration": "{\\"x\\":\\"TOPSECRET4\\"}"},"name":"s"}}]}' ;;
configmap)
  printf '%s' '{"data": {"cni_network_config": "{\\n \\"k8s_auth_token\\": \\"TOPSECRET9\\"}",'
  printf '%s\\n' ' "kubeconfig.conf": "user:\\n token: TOPSECRET10\\n"}}' ;;
*) echo '{"items": []}' ;;
esac
"""
    setup += r"""
mkdir -p /etc/calico/confd/config /etc/bird /var/log/calico/cni
printf 'protocol bgp rack { password "TOPSECRET11"; }' >/etc/bird/bird.conf
printf 'protocol bgp Mesh { password "TOPSECRET5"; }' >/etc/calico/confd/config/bird.cfg
printf 'with --token=TOPSECRET6 and Bearer TOPSECRET7 to https://user:TOPSECRET8@host' >/var/log/calico/cni/cni.log
"""
    bird = "cp /usr/bin/sleep /run/bird; exec /run/bird 300"
    node = Node(setup=setup, stubs={"kubectl": kubectl}, background=[bird], before="sleep 0.3")
    run = node.run()
    everything = b"\n".join(run.files.values())
    assert b"TOPSECRET" not in everything
    assert run.node("host/bird_config_bird.out") == 'protocol bgp Mesh { password "removed"; }'
    assert "https://removed@host" in run.node("host/log_calico_cni.out")
    # Another file with that name is another evidence.
    assert run.node("host/bird_config_etc_bird.out") == 'protocol bgp rack { password "removed"; }'
    assert run.index()["host/bird_config_bird"]["command"] == "cat /etc/calico/confd/config/bird.cfg"
    assert run.index()["host/bird_config_etc_bird"]["command"] == "cat /etc/bird/bird.conf"
    config = json.loads(run.text("cluster/kube_configmap_calico_config.out"))["data"]
    assert json.loads(config["cni_network_config"]) == {"k8s_auth_token": "removed"}
    assert config["kubeconfig.conf"] == "user:\n token: removed\n"
    # What carries no secret is still there, as valid JSON.
    services = json.loads(run.text("cluster/kube_services.out"))
    assert services["items"][0]["metadata"]["name"] == "s"
    assert (
        services["items"][0]["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] == "removed"
    )
    assert b"eyJ0b2tlbiI6InhYIn0" not in everything
    assert '"k8s_auth_token":"removed"' in run.node("host/cni_conflist.out")
    assert "/etc/cni/net.d/calico-kubeconfig" in run.node("host/cni_dir.out")
    assert '"config":"removed"' in run.node("host/cni_results.out")
    assert run.index("cluster/index.tsv")["kube_services"]["status"] == "ok"


@pytest.mark.lab
def test_checksums() -> None:
    run = Node(setup=PODS).run("--profile", "quick")
    rows = [line.split("  ", 1) for line in run.text("SHA256SUMS").splitlines()]
    listed = {name: digest for digest, name in rows}
    assert set(listed) == set(run.files) - {"SHA256SUMS", "bundle.json"}
    for name, digest in listed.items():
        assert hashlib.sha256(run.files[name]).hexdigest() == digest
    for path, row in run.index().items():
        if row["sha256"] != "-" and not path.endswith(".pcap"):
            assert hashlib.sha256(run.files[f"nodes/lhcol-node/{path}.out"]).hexdigest() == row["sha256"]


SSH = """#!/bin/sh
while [ "${1#-o}" != "$1" ]; do shift 2; done
node=$1; shift
case $node in
dead) echo 'ssh: connect to host dead port 22: No route to host' >&2; exit 255 ;;
hung) sleep 1000 ;;
*) exec sh -c "$*" ;;
esac
"""


@pytest.mark.lab
def test_cluster_mode() -> None:
    """Nodes in parallel through a stand-in transport; dead and hung ones are recorded, and nobody waits for them."""
    node = Node(setup=PODS, stubs={"ssh": SSH})
    run = node.run(
        "--nodes",
        "n1,dead,hung",
        "--via",
        "ssh",
        "--only",
        "uname,ip_addr",
        "--node-timeout",
        "5",
        "--pod",
        "shop/web-1",
        "--parallel",
        "2",
        first=("cluster",),
    )
    assert run.rc == 10, run.stderr
    assert run.elapsed < 12
    assert run.survivors == []
    inner = untar(run.files["n1.tar.gz"])
    assert "nodes/lhcol-node/index.tsv" in inner
    assert "question_from=shop/web-1" in inner["nodes/lhcol-node/node.meta"].decode()
    assert "No route to host" in run.text("FAILED/dead.txt")
    assert "rc=timeout" in run.text("FAILED/hung.txt")
    rows = [line.split("\t") for line in run.text("orchestrator.tsv").splitlines()]
    assert rows[0] == ["node", "before", "after", "rc"]
    assert {row[0]: row[3] for row in rows[1:]} == {"n1": "0", "dead": "255", "hung": "timeout"}
