"""The collector under four shells and everything that goes wrong on real nodes."""

from __future__ import annotations

import json

import pytest

from tests.collector.node import PODS, SHELLS, Node, Run, unframe

pytestmark = pytest.mark.lab

HANG = "#!/bin/sh\ntrap '' TERM\n: >/run/now\nsleep 1000 & sleep 1000\nsleep 1000\n"
CHILD_HANG = "#!/bin/sh\nsleep 1000 &\necho table from a tool whose child stays\nexit 0\n"
FLOOD = "#!/bin/sh\n: >/run/now\nexec yes flood\n"
SOME = "uname,ip_link,ip_addr,nft_ruleset,ip4_route_all,ipset_save"


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def whole(run: Run, code: int) -> None:
    """Every run, however it ended: this exit code, an archive named on the last line, an index, nobody left running."""
    assert run.rc == code, run.stderr
    assert run.last_line.startswith("/") and "lasthop-lhcol-node-" in run.last_line, run.stdout
    assert run.text("nodes/lhcol-node/index.tsv").endswith("\n")
    assert run.meta()["exit"] == [str(code)]
    assert json.loads(run.text("bundle.json"))["exit"] == code
    assert run.survivors == []
    for path, row in run.index().items():
        name = f"nodes/lhcol-node/{path}" if path.endswith(".pcap") else f"nodes/lhcol-node/{path}.out"
        if row["status"] in ("ok", "rc", "truncated"):
            assert len(run.files[name]) == int(row["bytes"]), path


def test_ok(shell: str) -> None:
    run = Node(shell=shell, setup=PODS).run()
    whole(run, 0)
    index = run.index()
    must = ["ip_link", "ip_addr", "ip4_route_all", "ip4_rule", "ip4_neigh", "sysctl", "iptables_nft_save", "ipset_save"]
    assert {name: index[f"host/{name}"]["status"] for name in must} == dict.fromkeys(must, "ok")
    assert index["host/iptables_legacy_save"]["status"] == "skipped:no-tables"
    assert "10.65.0.1 dev cali" in run.node("host/ip4_route_all.out")
    assert "default via 169.254.1.1 dev eth0" in run.node("pods/shop_web-1/ip4_route_all.out")
    assert run.meta()["fingerprint_changed"] == ["no"]
    assert run.meta()["status"] == ["running", "complete"]


def test_hang(shell: str) -> None:
    run = Node(shell=shell, stubs={"nft": HANG}).run("--only", SOME, "--command-timeout", "1")
    whole(run, 10)
    assert run.status("host/nft_ruleset") == "timeout"
    assert run.status("host/ip4_route_all") == "ok"
    assert run.status("host/ipset_save") == "ok"
    assert run.elapsed < 10


def test_child_hang(shell: str) -> None:
    run = Node(shell=shell, stubs={"nft": CHILD_HANG}).run("--only", SOME)
    whole(run, 0)
    assert run.status("host/nft_ruleset") == "ok"
    assert run.elapsed < 5


def test_flood(shell: str) -> None:
    run = Node(shell=shell, stubs={"nft": FLOOD}).run("--only", SOME, "--profile", "quick")
    whole(run, 10)
    assert run.status("host/nft_ruleset") == "truncated"
    assert len(run.files["nodes/lhcol-node/host/nft_ruleset.out"]) == 2 << 20
    assert run.status("host/ipset_save") == "ok"


def test_missing_tool(shell: str) -> None:
    run = Node(shell=shell, hide=["ipset", "bridge"]).run("--only", SOME + ",bridge_fdb")
    whole(run, 0)
    assert run.status("host/ipset_save") == "missing"
    assert run.status("host/bridge_fdb") == "missing"
    assert "nodes/lhcol-node/host/ipset_save.out" not in run.files
    without_ip = Node(shell=shell, hide=["ip"]).run("--only", SOME + ",ip_*,proc_net_route,fib_trie")
    whole(without_ip, 10)
    assert without_ip.status("host/ip4_route_all") == "missing"
    assert without_ip.node("host/proc_net_route.out").startswith("Iface")


def test_full_disk(shell: str) -> None:
    run = Node(shell=shell, stubs={"nft": FLOOD}, dir_mount="size=600k").run("--only", SOME)
    whole(run, 10)
    assert run.status("host/ip_link") == "ok"
    assert run.status("host/nft_ruleset") == "enospc"
    assert run.status("host/ipset_save") in ("enospc", "skipped:enospc")
    assert "the disk is full" in run.stderr


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals(shell: str, name: str, code: int) -> None:
    run = Node(shell=shell, stubs={"nft": HANG}, signal=name).run("--only", SOME)
    whole(run, code)
    assert run.status("host/ip_link") == "ok"
    assert run.status("host/nft_ruleset") == "skipped:interrupted"
    assert run.meta()["status"] == ["running", "interrupted"]
    assert run.elapsed < 8


def test_no_tar(shell: str) -> None:
    run = Node(shell=shell, hide=["tar"]).run("--only", SOME)
    whole(run, 0)
    assert run.last_line.endswith(".stream")


def test_no_setsid(shell: str) -> None:
    run = Node(shell=shell, hide=["setsid"], stubs={"nft": HANG, "ipset": CHILD_HANG}).run(
        "--only", SOME, "--command-timeout", "1"
    )
    whole(run, 10)
    assert run.status("host/nft_ruleset") == "timeout"
    assert run.status("host/ip4_route_all") == "ok"


def test_no_timeout(shell: str) -> None:
    run = Node(shell=shell, hide=["timeout"], stubs={"nft": HANG}).run("--only", SOME, "--command-timeout", "1")
    whole(run, 10)
    assert run.status("host/nft_ruleset") == "timeout"


def test_not_root(shell: str) -> None:
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    run = Node(shell=shell, setup=PODS, prefix=user).run(
        "--only", SOME + ",iptables_nft_save,conntrack,ip_tables_names"
    )
    whole(run, 10)
    assert run.status("host/ip4_route_all") == "ok"
    assert run.status("host/nft_ruleset") in ("denied", "rc")
    assert run.status("host/ipset_save") == "denied"
    assert run.status("host/iptables_nft_save") == "denied"
    assert run.meta()["uid"] == ["65534"]


def test_killed_run_is_readable(shell: str) -> None:
    """SIGKILL: no archive, but the directory is a bundle, what was started is ended, and --pack-leftover packs it."""
    node = Node(
        shell=shell,
        stubs={"nft": HANG},
        prefix=[
            "sh",
            "-c",
            '"$@" & pid=$!; while [ ! -e /run/now ]; do sleep 0.05; done; sleep 0.3; kill -9 $pid; wait $pid; '
            'sleep 1.5; shift $(($# - 1)); exec sh "$0" --pack-leftover lasthop-*',
        ],
    )
    script = "../collector.sh"
    node.prefix.append(script)
    run = node.run("--only", SOME)
    assert run.rc == 10, run.stderr
    assert run.meta()["status"] == ["running"]
    assert run.status("host/ip_link") == "ok"
    assert run.survivors == []


def test_stream_to_stdout(shell: str) -> None:
    run = Node(shell=shell, setup=PODS, hide=["tar", "gzip"], piped=True).run(
        "--stdout", "--only", "uname,ip_link,ip_addr"
    )
    assert run.rc == 0, run.stderr
    assert unframe(run.stdout) == run.files
    assert run.status("host/uname") == "ok"
    assert run.node("pods/shop_web-1/ip_addr.out")
