"""One bundle in every container, several inputs together, and the degradations of docs/bundle-format.md section 9."""

from __future__ import annotations

from pathlib import Path

import pytest

from lasthop.bundle import Budget, open_bundle
from lasthop.errors import BundleError
from lasthop.facts.evidence import Status
from lasthop.facts.snapshot import Question
from tests.bundle import making

TOP = "lasthop-node1-20260101T000000Z-abc123"


@pytest.mark.parametrize("form", [*making.PACKED, "zip", "stream", "directory", "nested", "nested stream"])
@pytest.mark.parametrize("top", ["", TOP])
def test_every_container_gives_the_same_bundle(tmp_path: Path, form: str, top: str) -> None:
    files = making.node()
    packed = {f"{top}/{name}" if top else name: data for name, data in files.items()}
    if form == "directory":
        path = making.write(tmp_path / "in", packed)
    else:
        path = tmp_path / f"b.{form.replace('nested', 'tar').replace(' ', '')}"
        if form == "zip":
            data = making.zipped(packed)
        elif form == "stream":
            data = making.framed(packed)
        elif form == "nested":
            data = making.tar({"node1.tar.gz": making.PACKED["tar.gz"](making.tar(packed))})
        elif form == "nested stream":
            path = tmp_path / "b.tar"
            data = making.tar({"node1.stream": making.framed(packed)})
        else:
            data = making.PACKED[form](making.tar(packed))
        path.write_bytes(data)
    bundle = open_bundle([path])
    assert [(a.id, a.path, a.node, a.netns, a.status, a.rc, a.start) for a in bundle.artifacts] == [
        ("ip4_route_all", "nodes/node1/host/ip4_route_all.out", "node1", "host", Status.OK, 0, 1000.0),
        ("ip_link", "nodes/node1/host/ip_link.out", "node1", "host", Status.OK, 0, 1000.0),
    ]
    assert bundle.text("nodes/node1/host/ip4_route_all.out") == making.ROUTES
    assert bundle.meta["node1"]["end_epoch"] == "1005.00"
    assert bundle.warnings == ()
    assert bundle.unrecognised == ()


def pack(tmp_path: Path, name: str, files: dict[str, bytes]) -> Path:
    path = tmp_path / name
    path.write_bytes(making.tar(files))
    return path


def test_nodes_of_several_inputs_are_merged(tmp_path: Path) -> None:
    inputs = [pack(tmp_path, "a.tar", making.node("node1")), pack(tmp_path, "b.tar", making.node("node2"))]
    bundle = open_bundle(inputs)
    assert set(bundle.meta) == {"node1", "node2"}
    assert {a.path for a in bundle.artifacts if a.node == "node2"} == {
        "nodes/node2/host/ip4_route_all.out", "nodes/node2/host/ip_link.out",
    }  # fmt: skip
    assert bundle.inputs == tuple(str(path) for path in inputs)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_node_given_twice_the_newest_counts(tmp_path: Path, order: tuple[int, int]) -> None:
    old = pack(
        tmp_path, "old.tar", making.node("node1", {"ip4_route_all": "default via 192.0.2.9 dev eth0 \n"}, 1000.0)
    )
    new = pack(tmp_path, "new.tar", making.node("node1", {"ip4_route_all": making.ROUTES}, 2000.0))
    inputs = [old, new]
    bundle = open_bundle([inputs[at] for at in order])
    assert bundle.text("nodes/node1/host/ip4_route_all.out") == making.ROUTES
    assert len(bundle.artifacts) == 1
    assert any("more than once" in warning for warning in bundle.warnings)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_follow_up_adds_to_the_whole_run_of_the_same_boot(tmp_path: Path, order: tuple[int, int]) -> None:
    whole = making.node("node1", start=1000.0, meta="boot_id=b1\n")
    more = making.node(
        "node1", {"ip4_route_all": "default via 192.0.2.9 dev eth0 \n", "ip4_rule": "0:\tfrom all lookup local\n"},
        2000.0, "boot_id=b1\nonly=ip4_route_all,ip4_rule\n",
    )  # fmt: skip
    inputs = [pack(tmp_path, "whole.tar", whole), pack(tmp_path, "more.tar", more)]
    bundle = open_bundle([inputs[at] for at in order])
    assert sorted((a.id, a.start) for a in bundle.artifacts) == [
        ("ip4_route_all", 2000.0), ("ip4_rule", 2000.0), ("ip_link", 1000.0),
    ]  # fmt: skip
    assert bundle.text("nodes/node1/host/ip4_route_all.out") == "default via 192.0.2.9 dev eth0 \n"
    assert bundle.text("nodes/node1/host/ip_link.out") == making.LINKS
    assert bundle.warnings == ()


def test_a_follow_up_after_a_reboot_adds_nothing(tmp_path: Path) -> None:
    whole = making.node("node1", start=1000.0, meta="boot_id=b1\n")
    more = making.node("node1", {"ip4_rule": "0:\tfrom all lookup local\n"}, 2000.0, "boot_id=b2\nonly=ip4_rule\n")
    bundle = open_bundle([pack(tmp_path, "whole.tar", whole), pack(tmp_path, "more.tar", more)])
    assert [a.id for a in bundle.artifacts] == ["ip4_rule"]
    assert any("more than once" in warning for warning in bundle.warnings)


def cluster(files: dict[str, bytes], status: str, body: bytes | None, start: float) -> dict[str, bytes]:
    index = making.HEADER + making.row("calico_ippools", body, "calico_ippools.out", status, start=start)
    more = {"cluster/index.tsv": index.encode()}
    if body is not None:
        more["cluster/calico_ippools.out"] = body
    return {**files, **more}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_newer_failed_list_does_not_replace_an_older_good_one(tmp_path: Path, order: tuple[int, int]) -> None:
    good = cluster(making.node("node1", start=1000.0), "ok", b'{"items": []}', 1000.0)
    bad = cluster(making.node("node2", start=2000.0), "skipped:no-answer", None, 2000.0)
    inputs = [pack(tmp_path, "a.tar", good), pack(tmp_path, "b.tar", bad)]
    bundle = open_bundle([inputs[at] for at in order])
    lists = [a for a in bundle.artifacts if a.node == ""]
    assert [a.status for a in lists] == [Status.OK]
    assert bundle.read("cluster/calico_ippools.out") == b'{"items": []}'


def test_what_calicoctl_says_of_the_node_is_of_that_node(tmp_path: Path) -> None:
    inputs = []
    for name in ("node1", "node2"):
        said = f"Calico process is running.\n# {name}\n".encode()
        files = making.node(name)
        row = making.row("calico_node_status", said, "calico_node_status.out")
        files["cluster/index.tsv"] = (making.HEADER + row).encode()
        files["cluster/calico_node_status.out"] = said
        inputs.append(pack(tmp_path, f"{name}.tar", files))
    bundle = open_bundle(inputs)
    found = {a.node: bundle.artifact_text(a) for a in bundle.artifacts if a.id == "calico_node_status"}
    assert found == {name: f"Calico process is running.\n# {name}\n" for name in ("node1", "node2")}


def test_the_question_is_read_from_node_meta(tmp_path: Path) -> None:
    meta = "question_from=default/a\nquestion_to=192.0.2.7\nquestion_proto=UDP\nquestion_port=53\n"
    bundle = open_bundle([pack(tmp_path, "b.tar", making.node(meta=meta))])
    assert bundle.questions == (Question("default/a", "192.0.2.7", "udp", 53, "collected-for"),)


def index_of(files: dict[str, bytes]) -> str:
    return files["nodes/node1/index.tsv"].decode()


def test_a_line_without_its_file_is_not_collected(tmp_path: Path) -> None:
    files = making.node()
    del files["nodes/node1/host/ip_link.out"]
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    link = next(a for a in bundle.artifacts if a.id == "ip_link")
    assert link.status is Status.SKIPPED
    assert "not in the bundle" in link.why


def test_a_file_without_a_line_proves_presence_only(tmp_path: Path) -> None:
    files = making.node()
    files["nodes/node1/host/ip4_rule.out"] = b"0:\tfrom all lookup local \n"
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    rule = next(a for a in bundle.artifacts if a.id == "ip4_rule")
    assert (rule.status, rule.rc) == (Status.FAILED, None)


def test_bytes_that_differ_from_the_index_prove_presence_only(tmp_path: Path) -> None:
    files = making.node()
    files["nodes/node1/host/ip4_route_all.out"] = making.ROUTES.replace("192", "193").encode()
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    routes = next(a for a in bundle.artifacts if a.id == "ip4_route_all")
    assert routes.status is Status.TRUNCATED
    assert "sha256" in routes.why
    assert any("sha256" in warning for warning in bundle.warnings)


def test_a_later_line_of_the_same_id_replaces_the_earlier(tmp_path: Path) -> None:
    files = making.node()
    first = making.row("ip_link", None, "host/ip_link.out", "timeout")
    lines = index_of(files).split("\n", 1)
    files["nodes/node1/index.tsv"] = f"{lines[0]}\n{first}{lines[1]}".encode()
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert [a.status for a in bundle.artifacts if a.id == "ip_link"] == [Status.OK]


def test_a_last_index_line_without_its_end_is_ignored(tmp_path: Path) -> None:
    files = making.node()
    files["nodes/node1/index.tsv"] += b"ip4_rule\tok\t0\t1000.00\t1"
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert {a.id for a in bundle.artifacts} == {"ip4_route_all", "ip_link"}


def test_an_unknown_format_is_read_and_told(tmp_path: Path) -> None:
    files = making.node()
    files["bundle.json"] = b'{"format": "lasthop.bundle/9"}'
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert len(bundle.artifacts) == 2
    assert any("lasthop.bundle/9" in warning for warning in bundle.warnings)


def test_statuses_and_reasons_of_the_index(tmp_path: Path) -> None:
    files = making.node()
    extra = [
        ("a", "skipped:not-loaded", Status.SKIPPED, "not-loaded"),
        ("b", "missing", Status.MISSING, ""),
        ("c", "denied", Status.DENIED, ""),
        ("d", "enospc", Status.ENOSPC, ""),
        ("e", "new-word", Status.FAILED, ""),
    ]
    index = index_of(files) + "".join(making.row(i, None, "-", status) for i, status, _, _ in extra)
    files["nodes/node1/index.tsv"] = index.encode()
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    found = {a.id: (a.status, a.why) for a in bundle.artifacts}
    assert {i: found[i] for i, *_ in extra} == {i: (status, why) for i, _, status, why in extra}


def test_escapes_of_the_index_are_undone(tmp_path: Path) -> None:
    files = making.node()
    line = making.row("x", None, "-", "missing").replace("tool of x", "sh -c 'a\\tb\\\\c\\nd'")
    files["nodes/node1/index.tsv"] = (index_of(files) + line).encode()
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert next(a.command for a in bundle.artifacts if a.id == "x") == "sh -c 'a\tb\\c\nd'"


def test_second_takes_have_sample_two(tmp_path: Path) -> None:
    files = making.node(outputs={"ip_link": making.LINKS, "ip_link_t2": making.LINKS})
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert [(a.id, a.sample) for a in bundle.artifacts] == [("ip_link", 1), ("ip_link", 2)]


def test_pods_are_named_by_pod_meta(tmp_path: Path) -> None:
    files = making.node(outputs={"ip_link": making.LINKS, "pods/shop_web-1/ip_link": making.LINKS})
    files["nodes/node1/pods/shop_web-1/pod.meta"] = b"namespace=shop\nname=web_1.x\nhost_interface=cali1\n"
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert {a.netns for a in bundle.artifacts} == {"host", "pod:shop/web_1.x"}
    assert bundle.pods["node1"]["shop/web_1.x"]["host_interface"] == "cali1"


def test_captures_keep_their_meta(tmp_path: Path) -> None:
    files = making.node()
    files["nodes/node1/pcap/eth0.pcap"] = b"\xd4\xc3\xb2\xa1" + bytes(20)
    files["nodes/node1/pcap/eth0.meta"] = (
        b"interface=eth0\nnetns=host\nfilter=tcp port 80\nsnaplen=128\nstart=1000.5\nend=1010\ndropped_kernel=3\n"
    )
    files["nodes/node1/pcap/pod_shop_web-1_eth0.pcap"] = b"\xd4\xc3\xb2\xa1" + bytes(20)
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    first, second = bundle.captures
    assert (first.interface, first.netns, first.filter, first.snaplen, first.start, first.kernel_drops) == (
        "eth0", "host", "tcp port 80", 128, 1000.5, 3,
    )  # fmt: skip
    assert (second.interface, second.netns, second.size) == ("eth0", "pod:shop/web-1", 24)


def test_a_failed_node_of_a_cluster_run_is_told(tmp_path: Path) -> None:
    files = {"node1.tar": making.tar(making.node()), "FAILED/node2.txt": b"ssh: connect timed out\n"}
    bundle = open_bundle([pack(tmp_path, "cluster.tar", files)])
    assert list(bundle.meta) == ["node1"]
    assert "Nothing was collected from node node2: ssh: connect timed out" in bundle.warnings


def test_text_keeps_line_numbers_and_decodes_what_windows_writes(tmp_path: Path) -> None:
    files = {"ip-route.txt": "default via 192.0.2.1 dev eth0 \r\n".encode("utf-16"), "hostname": b"node1\n",
             "ip-rule.txt": b"\xef\xbb\xbf0:\tfrom all lookup local\r\n"}  # fmt: skip
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert bundle.text("ip-route.txt") == "default via 192.0.2.1 dev eth0 \n"
    assert bundle.text("ip-rule.txt") == "0:\tfrom all lookup local\n"


def test_a_line_longer_than_the_budget_is_cut(tmp_path: Path) -> None:
    files = {"ip-route.txt": b"x" * 50 + b"\ndefault via 192.0.2.1 dev eth0\n", "hostname": b"node1\n"}
    bundle = open_bundle([pack(tmp_path, "b.tar", files)], Budget(line_bytes=32))
    assert bundle.text("ip-route.txt").split("\n")[:2] == ["x" * 32, "default via 192.0.2.1 dev eth0"]


def test_lines_around_a_citation(tmp_path: Path) -> None:
    files = {"ip-route.txt": b"".join(b"10.0.0.%d dev eth0\n" % i for i in range(1, 10)), "hostname": b"node1\n"}
    bundle = open_bundle([pack(tmp_path, "b.tar", files)])
    assert bundle.lines_around("ip-route.txt", 2, 1) == (
        (1, "10.0.0.1 dev eth0"), (2, "10.0.0.2 dev eth0"), (3, "10.0.0.3 dev eth0"),
    )  # fmt: skip
    assert bundle.lines_around("absent", 2) == ()


def test_a_bundle_that_ends_before_its_first_evidence_is_a_bundle_that_says_nothing(tmp_path: Path) -> None:
    whole = making.tar({"SHA256SUMS": b"0 x\n", **making.node()})
    path = tmp_path / "b.tar"
    path.write_bytes(whole[: 1024 + 100])
    bundle = open_bundle([path])
    assert bundle.artifacts == ()
    assert any("ends in the middle" in warning for warning in bundle.warnings)
    path.write_bytes(whole[: 512 + 2])
    with pytest.raises(BundleError):
        open_bundle([path])


def test_no_input_is_an_error() -> None:
    with pytest.raises(BundleError):
        open_bundle([])
