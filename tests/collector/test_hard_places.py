"""Hangs inside a pod's netns, signals at bad moments, a container with next to no tools, the kubectl transport."""

from __future__ import annotations

import pytest

from tests.collector.node import PODS, SHELLS, Node, Run, untar

pytestmark = pytest.mark.lab

HANG = "#!/bin/sh\n: >/run/now\ntrap '' TERM\nsleep 1000 & sleep 1000\nsleep 1000\n"
# What the calico-node image does not have under its own name (its clean-up script's keep list).
NOT_IN_CALICO_NODE = """tar head wc cut tr awk ps ss tcpdump nsenter setsid mktemp sha256sum sha1sum id uname df
readlink diff renice mawk gawk perl"""


@pytest.mark.parametrize("shell", list(SHELLS))
def test_hang_inside_a_pod_costs_one_command(shell: str) -> None:
    run = Node(shell=shell, setup=PODS, stubs={"ss": HANG}).run(
        "--only", "ip_addr,ss_listen,proc_net_tcp,ip_link_json", "--command-timeout", "1"
    )
    assert run.rc == 0, run.stderr
    assert run.survivors == []
    for pod in ("shop_web-1", "shop_web-2"):
        found = {
            name: run.status(f"pods/{pod}/{name}") for name in ("ip_addr", "ss_listen", "proc_net_tcp", "ip_link_json")
        }
        assert found == {"ip_addr": "ok", "ss_listen": "timeout", "proc_net_tcp": "ok", "ip_link_json": "ok"}
    assert run.elapsed < 15


def whole(run: Run, code: int) -> None:
    assert run.rc == code, run.stderr
    assert run.survivors == []
    assert run.meta()["exit"] == [str(code)]


def test_interrupt_inside_a_pod() -> None:
    run = Node(setup=PODS, stubs={"ss": HANG}, signal="SIGTERM").run()
    whole(run, 143)
    assert run.status("host/ip4_route_all") == "ok"
    assert run.status("pods/shop_web-1/ip_addr") == "ok"
    assert run.status("pods/shop_web-1/ss_listen") == "skipped:interrupted"
    assert "name=web-1" in run.node("pods/shop_web-1/pod.meta")


def test_interrupt_during_capture_keeps_the_packets() -> None:
    """Ctrl-C after the problem was reproduced: the usual way to end a capture."""
    send = 'import socket; socket.socket(2, 2).sendto(b"x", ("10.65.0.2", 53))'
    ready = "until pgrep -x tcpdump; do sleep 0.1; done; sleep 1.5"
    traffic = f"{ready}; ip netns exec cni-1 python3 -c '{send}'; touch /run/now"
    run = Node(setup=PODS, background=[traffic], signal="SIGINT").run(
        "--pod", "shop/web-1", "--peer", "shop/web-2", "--capture", "50", "--profile", "quick"
    )
    whole(run, 130)
    assert run.elapsed < 20
    meta = dict(line.split("=", 1) for line in run.node("pcap/pod_shop_web-1_eth0.meta").splitlines())
    assert meta["status"] == "ok"
    assert int(meta["captured"]) > 0
    assert run.status("pcap/pod_shop_web-1_eth0.pcap") == "ok"


def test_container_with_next_to_no_tools() -> None:
    run = Node(setup=PODS, hide=NOT_IN_CALICO_NODE.split(), piped=True).run("--stdout", "--profile", "quick")
    assert run.rc == 0, run.stderr
    assert run.status("host/ip4_route_all") == "ok"
    assert run.status("host/iptables_nft_save") == "ok"
    assert run.status("host/ss_listen") == "missing"
    assert run.index()["host/ip_link"]["bytes"] == str(len(run.files["nodes/lhcol-node/host/ip_link.out"]))
    assert run.meta()["status"] == ["running", "complete"]


KUBECTL = """#!/bin/sh
case "$1 $2" in
'get pods') echo 'kube-system calico-node-x1' ;;
'exec -i')
  [ "$3 $4 $5 $6 $7 $8 $9" = '-n kube-system calico-node-x1 -c calico-node -- sh' ] || exit 9
  shift 8; exec "$@" ;;
*) exit 1 ;;
esac
"""


def test_cluster_by_kubectl() -> None:
    run = Node(setup=PODS, stubs={"kubectl": KUBECTL}, keep=["kubectl"]).run(
        "--nodes",
        "n1",
        "--via",
        "kubectl",
        "--only",
        "uname",
        "--pod",
        "shop/web-1",
        "--port",
        "tcp/80",
        first=("cluster",),
    )
    assert run.rc == 0, run.stderr
    inner = untar(run.files["n1.tar.gz"])
    assert "question_port=80" in inner["nodes/lhcol-node/node.meta"].decode()


def test_tools_of_calico_node() -> None:
    """The node lacks tools that the calico-node container has: its mount namespace, the node's network."""
    felix = (
        "cp /usr/bin/sleep /run/calico-node; unshare -m sh -c 'umount /usr/bin /usr/sbin; exec /run/calico-node 300'"
    )
    wait = "until pgrep -x calico-node; do sleep 0.05; done\n"
    node = Node(setup=PODS, hide=["ipset", "nft"], background=[felix], before=wait)
    run = node.run("--only", "ipset_save,nft_ruleset,uname")
    assert run.rc == 0, run.stderr
    assert "create cali40s:abc hash:net" in run.node("host/ipset_save.out")
    assert "table ip filter" in run.node("host/nft_ruleset.out")
    assert run.index()["host/ipset_save"]["command"].startswith("nsenter -t ")


UID = "5f1b2c3d-1111-4000-8000-000000000001"
CGROUPS = {
    "systemd, v2": f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/"
    "cri-containerd-0123456789abcdef.scope",
    "cgroupfs, v1": f"4:memory:/kubepods/besteffort/pod{UID}/0123456789abcdef\n"
    f"1:name=systemd:/kubepods/besteffort/pod{UID}/0123456789abcdef",
    "kind": f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID.replace('-', '_')}.slice/"
    "cri-containerd-0123456789abcdef.scope",
}


@pytest.mark.parametrize("driver", list(CGROUPS))
def test_pod_found_by_cgroup(driver: str) -> None:
    """No CNI cache: the pod's uid is in its process's cgroup, its name in kubelet's log folder."""
    lines = CGROUPS[driver].replace("\n", "\\n")
    background = (
        f"printf '{lines}\\n' >/run/cgroup; "
        "exec nsenter -n/run/netns/cni-1 sh -c 'mount --bind /run/cgroup /proc/$$/cgroup; "
        "echo $$ >/run/pid; sleep 300; :'"
    )
    setup = PODS + f"rm /var/lib/cni/results/*\nmkdir -p /var/log/pods/shop_db-0_{UID}\n"
    run = Node(setup=setup, background=[background], before="until [ -s /run/pid ]; do sleep 0.05; done").run(
        "--only", "ip_addr"
    )
    pod = dict(line.split("=", 1) for line in run.node("pods/shop_db-0/pod.meta").splitlines())
    assert (pod["uid"], pod["found_by"], pod["container_ids"]) == (UID, "cgroup", "0123456789abcdef")


def test_busybox_ip() -> None:
    """A host whose ip is BusyBox's: plain text without details, JSON failed, nothing of the must-have ids lost."""
    run = Node(setup=PODS, stubs={"ip": '#!/bin/sh\nexec busybox ip "$@"\n'}).run("--only", "ip_*,ip4_*,uname")
    assert run.rc == 0, run.stderr
    assert run.status("host/ip_link_json") == "rc"
    assert "10.65.0.1 dev cali" in run.node("host/ip4_route_all.out")
    assert "inet 10.65.0.1/32" in run.node("pods/shop_web-1/ip_addr.out")


@pytest.mark.parametrize(("owner", "code"), [("1 $(cut -d' ' -f22 /proc/1/stat)", 11), ("1 77", 0), ("999999 5", 0)])
def test_one_collector_per_node(owner: str, code: int) -> None:
    """A lock of a live process (same pid and start time) is respected, a stale one is not."""
    lock = "/run/lasthop-collector-$(readlink /proc/self/ns/net | tr -dc 0-9).lock"
    run = Node(setup=f"ip link set lo up\nmkdir {lock}\necho {owner} >{lock}/owner\n").run("--only", "uname")
    assert run.rc == code, run.stderr
    assert ("another collector" in run.stderr) is (code == 11)


def test_captures_of_several_nodes_end_together() -> None:
    """Each collector captures from when it is ready until the same number of seconds after its start."""
    run = Node(setup=PODS).run("--pod", "shop/web-1", "--capture", "1", "--capture-after", "7", "--profile", "quick")
    whole(run, 0)
    meta = run.meta()
    ended = float(meta["capture_end"][0]) - float(meta["start_epoch"][0])
    assert 7.5 < ended < 20
    assert float(meta["capture_start"][0]) < float(meta["capture_end"][0]) - 1
