"""A peer that is a Service: the pods behind it are pods of the question on the nodes where they run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.collector.node import PODS, SHELLS, Node, Run
from tests.conftest import need

pytestmark = pytest.mark.lab

# The chains of kube-proxy's iptables mode (pkg/proxy/iptables/proxier.go, Kubernetes 1.33) for shop/db, port 80: an
# endpoint here, one on another node. other/db has its endpoint here as well and is not asked for.
KUBE_PROXY = """
iptables-nft-restore --noflush <<'END'
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-DBDBDBDBDBDBDBDB - [0:0]
:KUBE-SEP-HEREHEREHEREHERE - [0:0]
:KUBE-SEP-AWAYAWAYAWAYAWAY - [0:0]
:KUBE-SVC-OTHEROTHEROTHERO - [0:0]
:KUBE-SEP-OTHEROTHEROTHERO - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "shop/db:http cluster IP" -m tcp --dport 80 \
 -j KUBE-SVC-DBDBDBDBDBDBDBDB
-A KUBE-SERVICES -d 10.96.0.100/32 -p tcp -m comment --comment "other/db:http cluster IP" -m tcp --dport 80 \
 -j KUBE-SVC-OTHEROTHEROTHERO
-A KUBE-SVC-DBDBDBDBDBDBDBDB ! -s 10.65.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-DBDBDBDBDBDBDBDB -m comment --comment "shop/db:http -> 10.65.0.2:8080" -m statistic --mode random \
 --probability 0.5 -j KUBE-SEP-HEREHEREHEREHERE
-A KUBE-SVC-DBDBDBDBDBDBDBDB -m comment --comment "shop/db:http -> 10.65.7.9:8080" -j KUBE-SEP-AWAYAWAYAWAYAWAY
-A KUBE-SEP-HEREHEREHEREHERE -s 10.65.0.2/32 -m comment --comment "shop/db:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-HEREHEREHEREHERE -p tcp -m comment --comment "shop/db:http" -m tcp -j DNAT --to-destination 10.65.0.2:8080
-A KUBE-SEP-AWAYAWAYAWAYAWAY -p tcp -m comment --comment "shop/db:http" -m tcp -j DNAT --to-destination 10.65.7.9:8080
-A KUBE-SVC-OTHEROTHEROTHERO -m comment --comment "other/db:http -> 10.65.0.1:8080" -j KUBE-SEP-OTHEROTHEROTHERO
-A KUBE-SEP-OTHEROTHEROTHERO -p tcp -m comment --comment "other/db:http" -m tcp -j DNAT --to-destination 10.65.0.1:8080
COMMIT
END
"""
KUBE_PROXY_SIX = """
ip -n cni-2 addr add fd00:65::2/128 dev eth0 nodad
ip6tables-nft-restore --noflush <<'END'
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-SIXSIXSIXSIXSIXS - [0:0]
:KUBE-SEP-SIXSIXSIXSIXSIXS - [0:0]
-A KUBE-SERVICES -d fd00:96::1/128 -p tcp -m comment --comment "shop/six cluster IP" -m tcp --dport 80 \
 -j KUBE-SVC-SIXSIXSIXSIXSIXS
-A KUBE-SVC-SIXSIXSIXSIXSIXS -j KUBE-SEP-SIXSIXSIXSIXSIXS
-A KUBE-SEP-SIXSIXSIXSIXSIXS -p tcp -m tcp -j DNAT --to-destination [fd00:65::2]:8080
COMMIT
END
"""


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pods(run: Run) -> set[str]:
    return {path.split("/")[1] for path in run.index() if path.startswith("pods/")}


@pytest.mark.parametrize("peer", ["10.96.0.1", "shop/db"])
def test_backends_by_kube_proxy_rules(shell: str, peer: str) -> None:
    """No kubectl, as on most nodes; the client runs elsewhere."""
    run = Node(shell=shell, setup=PODS + KUBE_PROXY).run("--pod", "shop/client-0", "--peer", peer, "--profile", "quick")
    assert run.rc == 0, run.stderr
    assert pods(run) == {"shop_web-2"}
    assert run.status("pods/shop_web-2/ss_listen") in ("ok", "skipped:would-load-module")
    assert run.status("pods/shop_web-2/proc_net_tcp") == "ok"
    assert run.status("pods/shop_web-2/proc_net_snmp_t2") == "ok"
    assert run.meta()["question_local"] == ["shop/web-2"]
    assert run.meta()["question_address"] == ["10.65.0.2", "10.96.0.1"]
    assert run.survivors == []


@pytest.mark.parametrize("peer", ["fd00:96::1", "shop/six"])
def test_backends_of_an_ipv6_service(peer: str) -> None:
    run = Node(setup=PODS + KUBE_PROXY_SIX).run("--pod", "shop/client-0", "--peer", peer, "--profile", "quick")
    assert run.rc == 0, run.stderr
    assert pods(run) == {"shop_web-2"}
    assert run.meta()["question_address"] == ["10.65.0.2", "fd00:65::2", "fd00:96::1"]


def test_a_peer_without_pods_here_adds_none() -> None:
    """An outside address, and a Service whose name only starts alike."""
    for peer in ("198.51.100.7", "shop/d"):
        run = Node(setup=PODS + KUBE_PROXY).run("--pod", "shop/client-0", "--peer", peer, "--profile", "quick")
        assert run.rc == 0, run.stderr
        assert pods(run) == set()
        assert "question_local" not in run.meta()


def test_peer_is_the_address_of_a_pod_here(shell: str) -> None:
    run = Node(shell=shell, setup=PODS).run(
        "--pod", "shop/client-0", "--peer", "10.65.0.2", "--only", "ip4_route_all,ip_addr"
    )
    assert run.rc == 0, run.stderr
    assert pods(run) == {"shop_web-2"}
    assert run.meta()["question_local"] == ["shop/web-2"]


def test_unnamed_backend_is_taken_by_address() -> None:
    """Neither CNI cache nor cgroup name the pod: its netns is the backend all the same."""
    run = Node(setup=PODS + KUBE_PROXY + "rm /var/lib/cni/results/*\n").run(
        "--pod", "shop/client-0", "--peer", "10.96.0.1", "--profile", "quick", "--capture", "1"
    )
    assert run.rc == 0, run.stderr
    (folder,) = pods(run)
    assert folder.startswith("_netns-")
    assert "inet 10.65.0.2/32" in run.node(f"pods/{folder}/ip_addr.out")
    assert "question_local" not in run.meta()
    capture = run.node(f"pcap/pod_{folder}_eth0.meta").splitlines()
    assert "netns=pod" in capture
    assert not [line for line in capture if line.startswith("pod=")]


def test_more_backends_than_a_question_holds() -> None:
    """Six endpoints here: four count as pods of the question, the others are collected as any pod."""
    more = "".join(
        f"""
ip netns add cni-{i}
ip link add cali{i} type veth peer name eth0 netns cni-{i}; ip link set cali{i} up
ip -n cni-{i} link set eth0 up; ip -n cni-{i} addr add 10.65.0.{i}/32 dev eth0; ip route add 10.65.0.{i}/32 dev cali{i}
iptables-nft -t nat -N KUBE-SEP-{i}; iptables-nft -t nat -I KUBE-SVC-DBDBDBDBDBDBDBDB -j KUBE-SEP-{i}
iptables-nft -t nat -A KUBE-SEP-{i} -p tcp -j DNAT --to-destination 10.65.0.{i}:8080
"""
        for i in range(3, 8)
    )
    run = Node(setup=PODS + KUBE_PROXY + more).run(
        "--pod", "shop/client-0", "--peer", "10.96.0.1", "--profile", "quick"
    )
    assert run.rc == 0, run.stderr
    assert len(pods(run)) == 6
    assert len([path for path in run.index() if path.startswith("pods/") and path.endswith("/ss_listen_t2")]) == 4
    assert "10.65.0.1/32" not in "".join(run.node(f"pods/{name}/ip_addr.out") for name in pods(run))


@pytest.mark.parametrize("peer", ["10.96.0.1", "shop/s"])
def test_backends_by_the_api(shell: str, peer: str) -> None:
    """A real kubectl; the node has no rule of kube-proxy. EndpointSlices name the pods."""
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
        shell=shell,
        setup=PODS + f"mkdir -p /run/kube; cat >/run/kube/config <<'END'\n{config}\nEND\n",
        background=[f"exec {sys.executable} {api} 18765"],
        env={"KUBECONFIG": "/run/kube/config"},
        keep=["kubectl"],
        before="sleep 0.5",
        limit=120,
    )
    run = node.run("--pod", "shop/client-0", "--peer", peer, "--only", "ip_addr,proc_net_tcp")
    assert run.rc == 0, run.stderr
    # web-1 by its name; web-2 by its address, for its EndpointSlice names no pod; one endpoint runs nowhere here.
    assert pods(run) == {"shop_web-1", "shop_web-2"}
    assert run.meta()["question_local"] == ["shop/web-1", "shop/web-2"]
    assert run.meta()["question_address"] == ["10.65.0.1", "10.65.0.2", "10.96.0.1"]
    assert run.survivors == []
