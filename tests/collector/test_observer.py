"""The collector reads and never changes: proved from outside, on a node and in its pods."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.collector.node import PODS, Node
from tests.conftest import need

pytestmark = pytest.mark.lab

# What must not differ between before and after, as the node and its pods show it (not by the collector's own means).
STATE = """
for n in '' cni-1 cni-2; do
  in=; [ -z "$n" ] || in="ip netns exec $n"
  echo "== $n"
  $in cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null
  $in nft list ruleset
  $in ipset list -n
  $in ip -d -o link | sed -e 's/ state [A-Z]*//'
  $in ip -o addr | grep -v 'scope link'
  $in ip route show table all; $in ip rule; $in ip neigh
  $in sysctl -a 2>/dev/null | grep ^net | grep -v -e stable_secret -e nf_conntrack_count
  $in ss -lntu
  $in ls /proc/net/netfilter
done
cat /proc/modules 2>/dev/null | cut -d' ' -f1 | sort
ls -A /etc/cni /var/lib/calico /root/.kube 2>/dev/null
"""
# Duplicate address detection of the new links is over after two seconds.
SETTLED = PODS + "sleep 2.5\n"
LEGACY_SETUP = (
    SETTLED
    + "iptables-legacy -t mangle -A FORWARD -j ACCEPT\nip netns exec cni-2 iptables-legacy -A OUTPUT -j ACCEPT\n"
)


def test_state_is_the_same_afterwards() -> None:
    run = Node(setup=SETTLED, before=STATE).run(
        "--pod", "shop/web-1", "--peer", "shop/web-2", "--port", "tcp/80", "--capture", "1"
    )
    assert run.rc == 0, run.stderr
    assert "table ip filter" in run.before and "10.65.0.1" in run.before
    assert run.after == run.before
    assert run.meta()["fingerprint_changed"] == ["no"]
    assert run.node("fingerprint_before.txt") == run.node("fingerprint_after.txt")
    assert "promiscuous" not in run.node("pcap/eth0.err")


def test_legacy_tables_are_read_where_they_exist_and_made_nowhere() -> None:
    need("iptables-legacy", root=True)
    run = Node(setup=LEGACY_SETUP, before=STATE).run("--profile", "quick")
    assert run.rc == 0, run.stderr
    assert run.after == run.before
    assert run.status("host/iptables_legacy_save") == "ok"
    assert "*mangle" in run.node("host/iptables_legacy_save.out")
    assert "*filter" not in run.node("host/iptables_legacy_save.out")
    assert run.status("pods/shop_web-1/iptables_legacy_save") == "skipped:no-tables"
    assert "-A OUTPUT -j ACCEPT" in run.node("pods/shop_web-2/iptables_legacy_save.out")


def test_a_real_change_is_told() -> None:
    """The fingerprint is no constant: a listener that appears meanwhile is in observer_diff.txt."""
    stub = "#!/bin/sh\nip link set wire promisc on\n"
    run = Node(setup=PODS, stubs={"nstat": stub}).run("--profile", "quick")
    assert run.meta()["fingerprint_changed"] == ["yes"]
    assert "link\twire@eth0 PROMISC" in run.node("observer_diff.txt")


def test_fingerprint_sees_links_with_busybox_ip() -> None:
    """BusyBox's ip refuses -d; a shell that runs its own applets first has no other."""
    run = Node(shell="ash", setup=PODS, stubs={"ip": '#!/bin/sh\nexec busybox ip "$@"\n'}).run("--profile", "quick")
    links = {line.split()[1] for line in run.node("fingerprint_before.txt").splitlines() if line.startswith("link\t")}
    assert {"lo", "eth0@wire", "wire@eth0"} <= links
    assert run.meta()["fingerprint_changed"] == ["no"]


def test_allowed_fields_only() -> None:
    """A real kubectl against an API with secrets in pod environments, annotations, messages and DaemonSets."""
    need("kubectl", root=True)
    api = Path(__file__).with_name("api.py")
    config = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:18765"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        }
    )
    node = Node(
        setup=PODS + f"mkdir -p /run/kube; cat >/run/kube/config <<'END'\n{config}\nEND\n",
        background=[f"exec {sys.executable} {api} 18765"],
        env={"KUBECONFIG": "/run/kube/config"},
        keep=["kubectl"],
        before="sleep 0.5",
        limit=120,
    )
    run = node.run("--only", "kube_pods,kube_nodes,kube_daemonsets,kube_services")
    assert run.rc == 0, run.stderr
    assert b"TOPSECRET" not in b"".join(run.files.values())
    web, bare = json.loads(run.text("cluster/kube_pods.out"))["items"]
    assert web["metadata"]["labels"] == {"app": "web", "x/y": "z"}
    assert web["status"]["podIPs"] == [{"ip": "10.65.0.1"}, {"ip": "fd00::1"}]
    assert web["spec"]["containers"][0]["ports"][1] == {"name": "m", "hostPort": 9090, "containerPort": 9090}
    assert web["status"]["conditions"][1] == {"type": "X", "reason": 'R "q"', "status": "False"}
    assert web["status"]["containerStatuses"][1]["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert bare["spec"]["hostNetwork"] is True
    (n1,) = json.loads(run.text("cluster/kube_nodes.out"))["items"]
    assert n1["metadata"]["annotations"] == {"projectcalico.org/IPv4Address": "192.0.2.11/24"}
    (calico,) = json.loads(run.text("cluster/kube_daemonsets.out"))["items"]
    assert calico["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {"name": "IP", "value": "autodetect"},
        {"name": "CLUSTER_TYPE", "value": "k8s,bgp"},
    ]
    (service,) = json.loads(run.text("cluster/kube_services.out"))["items"]
    assert service["metadata"]["annotations"] == {"kubectl.kubernetes.io/last-applied-configuration": "removed"}


def test_sysctls_are_those_of_sysctl() -> None:
    """Every key and value equals sysctl(8)'s, numbers of many digits and interface names with dots too."""
    need("sysctl", root=True)
    setup = PODS + "ip link add a.100 type veth peer name a.200\nsleep 2\n"
    run = Node(setup=setup, before="sysctl -a 2>/dev/null").run("--only", "sysctl")
    theirs = {
        key.strip(): value.strip() for key, _, value in (line.partition(" = ") for line in run.after.splitlines())
    }
    ours = dict(line.split(" = ", 1) for line in run.node("host/sysctl.out").splitlines())
    assert len(ours) > 400
    assert "net.ipv4.conf.a/100.rp_filter" in ours
    changing = {"net.netfilter.nf_conntrack_count"}
    assert {k: v.strip() for k, v in ours.items() if k not in changing} == {
        k: theirs[k] for k in ours if k not in changing
    }
