"""Bundles from a hostile or broken machine: a Bundle or a BundleError, in bounded time and memory, nothing written."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import tarfile
import time
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lasthop.bundle import Budget, Bundle, open_bundle
from lasthop.errors import BundleError, BundleRefused
from lasthop.snapshot.build import build, read_all
from tests.bundle import making

GOOD = making.node()


def put(tmp_path: Path, data: bytes, name: str = "bundle.tar") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def with_extra(extra: bytes) -> bytes:
    """A good node bundle in front of hostile entries: the good part must survive."""
    whole = making.tar(GOOD)
    return whole[: whole.rindex(GOOD["bundle.json"]) + 512] + extra + making.END


def good_part(bundle: Bundle) -> None:
    assert {artifact.id for artifact in bundle.artifacts} == {"ip4_route_all", "ip_link"}
    assert bundle.text("nodes/node1/host/ip4_route_all.out") == making.ROUTES


BAD_NAMES = [
    b"../evil", b"nodes/../../evil", b"/etc/passwd", b"C:\\evil", b"C:evil", b"\\\\?\\C:\\evil", b"..\\evil", b"\\evil",
    b"a/" * 40 + b"deep", b"./../evil", b"nodes/node1/host/../../../x",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_elsewhere_are_left_out_and_told(tmp_path: Path, name: bytes) -> None:
    bundle = open_bundle([put(tmp_path, with_extra(making.entry(name, b"evil")))])
    good_part(bundle)
    assert not [path for path in bundle.members if "evil" in path or path.endswith("deep") or path == "x"]
    assert any("skipped" in warning for warning in bundle.warnings)


@pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
def test_devices_and_pipes_are_skipped(tmp_path: Path, kind: bytes) -> None:
    bundle = open_bundle([put(tmp_path, with_extra(making.entry(b"nodes/node1/host/odd.out", kind=kind)))])
    good_part(bundle)
    assert "nodes/node1/host/odd.out" not in bundle.members
    assert any("which no bundle has" in warning for warning in bundle.warnings)


@pytest.mark.parametrize("kind", [b"1", b"2"])
@pytest.mark.parametrize("target", [b"/etc/passwd", b"../../../../../../etc/passwd", b"/proc/self/environ", b"C:\\x"])
def test_links_out_of_the_bundle_are_not_followed(tmp_path: Path, kind: bytes, target: bytes) -> None:
    name = b"nodes/node1/host/ip_addr.out"
    bundle = open_bundle([put(tmp_path, with_extra(making.entry(name, kind=kind, target=target)))])
    good_part(bundle)
    with pytest.raises(BundleError):
        bundle.read(name.decode())


def test_links_inside_the_bundle_lead_to_the_member(tmp_path: Path) -> None:
    extra = making.entry(b"links/routes", kind=b"2", target=b"../nodes/node1/host/ip4_route_all.out")
    extra += making.entry(b"links/again", kind=b"2", target=b"routes")
    bundle = open_bundle([put(tmp_path, with_extra(extra))])
    assert bundle.text("links/again") == making.ROUTES


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    extra = making.entry(b"a", kind=b"2", target=b"b") + making.entry(b"b", kind=b"2", target=b"a")
    bundle = open_bundle([put(tmp_path, with_extra(extra))])
    good_part(bundle)
    with pytest.raises(BundleError):
        bundle.read("a")


def test_a_link_then_a_file_through_it_stays_in_memory(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    extra = making.entry(b"out", kind=b"2", target=str(victim).encode()) + making.entry(b"out/x", b"evil")
    good_part(open_bundle([put(tmp_path, with_extra(extra))]))
    assert list(victim.iterdir()) == []


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    sparse = bytearray(making.header(b"nodes/node1/host/big.out", 512, b"S"))
    sparse[482] = 1  # an extension block follows
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    bundle = open_bundle([put(tmp_path, with_extra(bytes(sparse) + b"\0" * 512 + b"x" * 512))])
    good_part(bundle)
    assert "nodes/node1/host/big.out" not in bundle.members


def test_pax_sparse_members_are_refused(tmp_path: Path) -> None:
    record = b"%d GNU.sparse.major=1\n" % (len(b" GNU.sparse.major=1\n") + 2)
    extra = making.entry(b"p", record, b"x") + making.entry(b"big.out", b"x")
    bundle = open_bundle([put(tmp_path, with_extra(extra))])
    good_part(bundle)
    assert "big.out" not in bundle.members


def test_the_first_of_two_members_of_one_name_is_used(tmp_path: Path) -> None:
    extra = making.entry(b"nodes/node1/host/ip4_route_all.out", b"default via 6.6.6.6 dev eth0\n")
    bundle = open_bundle([put(tmp_path, with_extra(extra))])
    good_part(bundle)
    assert any("twice" in warning for warning in bundle.warnings)


def test_names_that_differ_only_in_case_or_form_are_told(tmp_path: Path) -> None:
    extra = making.entry(b"nodes/node1/host/IP_LINK.out", b"x") + making.entry("caf\u00e9".encode(), b"x")
    extra += making.entry("cafe\u0301".encode(), b"y")
    bundle = open_bundle([put(tmp_path, with_extra(extra))])
    assert sum("differ only" in warning for warning in bundle.warnings) == 2


@pytest.mark.parametrize(
    "name", [b"nodes/node1/host/\x1b]52;c;ZXZpbA==\x07.out", "nodes/node1/host/\u202egpj.out".encode(),
             b"nodes/node1/host/\xff\xfe.out", b"nodes/node1/host/a\nb.out", b"-o", b"--config=x", b"<script>"],
)  # fmt: skip
def test_strange_names_come_out_printable(tmp_path: Path, name: bytes) -> None:
    bundle = open_bundle([put(tmp_path, with_extra(making.entry(name, b"x\n")))])
    assert all(path.isprintable() for path in bundle.members)
    assert all(warning.isprintable() for warning in bundle.warnings)
    for path in bundle.unrecognised:
        assert path.isprintable()
        bundle.read(path)


def test_a_name_with_nul_in_a_pax_header_is_refused(tmp_path: Path) -> None:
    body = b" path=nodes/node1/host/a\0b.out\n"
    record = b"%d" % (len(body) + 2) + body
    bundle = open_bundle([put(tmp_path, with_extra(making.entry(b"p", record, b"x") + making.entry(b"q", b"x")))])
    good_part(bundle)
    assert any("NUL" in warning for warning in bundle.warnings)


@pytest.mark.parametrize("size", [b"9" * 30, b"-5", b"1e9", b" 12", b"99999999999999999999"])
def test_pax_sizes_that_lie_end_the_reading(tmp_path: Path, size: bytes) -> None:
    body = b" size=" + size + b"\n"
    record = b"%d" % (len(body) + 2) + body
    bundle = open_bundle([put(tmp_path, with_extra(making.entry(b"p", record, b"x") + making.entry(b"q", b"x")))])
    good_part(bundle)


@pytest.mark.parametrize("raw", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"9" * 12, b"-0000000001\0", b"77777777777\0"])
def test_header_sizes_that_lie_end_the_reading(tmp_path: Path, raw: bytes) -> None:
    bundle = open_bundle([put(tmp_path, with_extra(making.header(b"nodes/node1/host/x.out", raw_size=raw)))])
    good_part(bundle)


def test_a_huge_name_header_is_not_believed(tmp_path: Path) -> None:
    bundle = open_bundle([put(tmp_path, with_extra(making.header(b"././@LongLink", 1 << 32, b"L") + b"x" * 4096))])
    good_part(bundle)


def test_malformed_pax_records_are_survived(tmp_path: Path) -> None:
    for record in (b"5 a\n", b"0 path=x\n", b"999999 path=x\n", b"path=x\n", b" path=x\n", b"\xff\xff", b"12 path=\n"):
        extra = making.entry(b"p", record, b"x") + making.entry(b"some/file.out", b"x")
        good_part(open_bundle([put(tmp_path, with_extra(extra))]))


BOMB = b"\0" * (300 << 20)


@pytest.mark.parametrize(
    "pack, name",
    [(lambda d: gzip.compress(d, 6), "b.tar.gz"), (lambda d: lzma.compress(d, preset=0), "b.tar.xz"),
     (zstandard.ZstdCompressor().compress, "b.tar.zst")],
)  # fmt: skip
def test_a_compression_bomb_is_stopped_early(tmp_path: Path, pack: object, name: str) -> None:
    inner = making.header(b"nodes/node1/host/bomb.out", len(BOMB)) + BOMB
    path = put(tmp_path, pack(inner), name)  # type: ignore[operator]
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(BundleRefused, match="times its size"):
            open_bundle([path])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 10
    assert peak < 150 << 20  # of the bomb's 300 MiB


def test_a_bomb_behind_good_members_keeps_the_good_ones(tmp_path: Path) -> None:
    data = with_extra(b"")[: -len(making.END)] + making.header(b"nodes/node1/host/bomb.out", len(BOMB)) + BOMB
    bundle = open_bundle([put(tmp_path, gzip.compress(data, 6), "b.tar.gz")])
    good_part(bundle)
    assert any("times its size" in warning for warning in bundle.warnings)


def test_a_zip_bomb_and_names_in_a_zip(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="times its size"):
        open_bundle([put(tmp_path, making.zipped({"nodes/node1/host/bomb.out": BOMB[: 100 << 20]}), "b.zip")])
    bundle = open_bundle([put(tmp_path, making.zipped({**GOOD, "../evil": b"x", "/etc/evil": b"x"}), "b.zip")])
    good_part(bundle)
    assert not [path for path in bundle.members if "evil" in path]


def test_members_larger_than_the_limit_are_skipped(tmp_path: Path) -> None:
    files = making.node(outputs={"ip4_route_all": making.ROUTES, "ip_link": making.LINKS, "conntrack": "x" * 5000})
    bundle = open_bundle([put(tmp_path, making.tar(files))], Budget(text_bytes=4096))
    conntrack = next(a for a in bundle.artifacts if a.id == "conntrack")
    assert "larger than the reader's limit" in conntrack.why
    assert bundle.text("nodes/node1/host/ip4_route_all.out") == making.ROUTES


def test_too_many_members_stop_the_reading(tmp_path: Path) -> None:
    files = {**GOOD, **{f"x/{i}": b"" for i in range(500)}}
    bundle = open_bundle([put(tmp_path, making.tar(files))], Budget(members=100))
    good_part(bundle)
    assert any("more than 100 members" in warning for warning in bundle.warnings)


def test_too_many_bytes_stop_the_reading(tmp_path: Path) -> None:
    files = {**GOOD, **{f"x/{i}": bytes(100_000) for i in range(50)}}
    bundle = open_bundle([put(tmp_path, making.tar(files))], Budget(total_bytes=1 << 20))
    assert any("holds more than" in warning for warning in bundle.warnings)


def test_a_million_empty_headers_take_bounded_time(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(making.header(b"x/%d" % i) for i in range(60_000)), 1)
    started = time.monotonic()
    with pytest.raises(BundleError):
        open_bundle([put(tmp_path, data, "b.tar.gz")])
    assert time.monotonic() - started < 20


def test_archives_nest_once(tmp_path: Path) -> None:
    inner = gzip.compress(making.tar(GOOD))
    good_part(open_bundle([put(tmp_path, making.tar({"node1.tar.gz": inner}))]))
    twice = making.tar({"a.tar": making.tar({"node1.tar.gz": inner})})
    with pytest.raises(BundleError):
        open_bundle([put(tmp_path, twice, "twice.tar")])


def test_concatenated_gzip_members_are_one_stream(tmp_path: Path) -> None:
    whole = making.tar(GOOD)
    good_part(open_bundle([put(tmp_path, gzip.compress(whole[:700]) + gzip.compress(whole[700:]), "b.tar.gz")]))


@pytest.mark.parametrize("tail", [b"garbage" * 100, b"\0" * 5000, b"\x1f\x8b\x08broken"])
def test_garbage_after_the_end_is_no_harm(tmp_path: Path, tail: bytes) -> None:
    good_part(open_bundle([put(tmp_path, gzip.compress(making.tar(GOOD)) + tail, "b.tar.gz")]))
    good_part(open_bundle([put(tmp_path, making.tar(GOOD) + tail)]))


NOT_BUNDLES = {
    "empty.tar": b"", "zeros.tar": making.END, "text.tar": b"hello\n" * 200,
    "random.tar": random.Random(1).randbytes(5000),
    "empty.tar.gz": gzip.compress(b""), "zeros.tar.gz": gzip.compress(making.END), "half.tar.gz": b"\x1f\x8b\x08",
    "noise.txt": random.Random(2).randbytes(4000), "letters.txt": b"dear support, it does not work\n", "empty.txt": b"",
    "evil.pkl": b"\x80\x04\x95\x00cos\nsystem\n(S'true'\ntR.",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_BUNDLES)
def test_what_is_no_bundle_gets_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        open_bundle([put(tmp_path, NOT_BUNDLES[name], name)])
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_no_such_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        open_bundle([tmp_path / "absent.tar"])


def test_pipes_and_links_in_a_directory_are_not_opened(tmp_path: Path) -> None:
    root = making.write(tmp_path / "bundle", GOOD)
    os.mkfifo(root / "nodes/node1/host/pipe.out")
    (root / "nodes/node1/host/secret.out").symlink_to("/etc/hostname")
    (root / "nodes/loop").symlink_to(root)
    bundle = open_bundle([root])
    good_part(bundle)
    assert "nodes/node1/host/secret.out" not in bundle.members
    assert not any(path.startswith("nodes/loop") for path in bundle.members)


def test_a_broken_archive_in_a_directory_is_skipped(tmp_path: Path) -> None:
    root = making.write(tmp_path / "all", {"broken.tar": b"x" * 2000, "empty.tgz": b"", "n1.tar": making.tar(GOOD)})
    bundle = open_bundle([root])
    good_part(bundle)
    assert sum("skipped" in warning for warning in bundle.warnings) == 2


def test_a_pipe_named_as_bundle_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.tar")
    with pytest.raises(BundleError, match="neither a file nor a directory"):
        open_bundle([tmp_path / "b.tar"])


def test_a_very_deep_directory_is_survived(tmp_path: Path) -> None:
    root = making.write(tmp_path / "bundle", GOOD)
    deep = root
    for _ in range(60):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")
    good_part(open_bundle([root]))


SMALL = making.node(outputs={"ip4_route_all": making.ROUTES, "hostname": "node1\n"}, meta="x" * 50 + "\n")
CUT_FORMS = {
    "b.tar": making.tar(SMALL, "lasthop-node1-20260101T000000Z-abc123"),
    "b.tar.gz": gzip.compress(making.tar(SMALL), 6),
    "b.tar.xz": lzma.compress(making.tar(SMALL)),
    "b.tar.zst": zstandard.ZstdCompressor().compress(making.tar(SMALL)),
    "b.stream": making.framed(SMALL),
    "b.zip": making.zipped(SMALL),
    "outer.tar": making.tar({"node1.tar.gz": gzip.compress(making.tar(SMALL)), "FAILED/node2.txt": b"no answer\n"}),
}


@pytest.mark.parametrize("name", CUT_FORMS)
def test_a_bundle_cut_anywhere_gives_a_bundle_or_a_bundle_error(tmp_path: Path, name: str) -> None:
    data = CUT_FORMS[name]
    step = 1 if len(data) < 2500 else 37
    opened = 0
    for length in range(0, len(data), step):
        path = put(tmp_path, data[:length], name)
        try:
            bundle = open_bundle([path])
        except BundleError:
            continue
        opened += 1
        read_all(build(bundle))
        for artifact in bundle.artifacts:
            if artifact.id == "ip4_route_all" and artifact.path in bundle.members:
                assert making.ROUTES.startswith(bundle.text(artifact.path))
    whole = open_bundle([put(tmp_path, data, name)])
    assert {a.id for a in whole.artifacts} == {"ip4_route_all", "hostname"}
    if name in ("b.tar", "b.stream"):
        assert opened > 10  # plain forms give what they hold as soon as one member is there


def test_a_cut_route_table_proves_nothing_absent(tmp_path: Path) -> None:
    files = making.node(outputs={"ip4_route_all": making.ROUTES * 30})
    data = making.tar({k: files[k] for k in sorted(files, reverse=True)})
    at = data.index(making.ROUTES.encode()) + 700
    bundle = open_bundle([put(tmp_path, data[:at])])
    routes = build(bundle).nodes["node1"].host.routes
    assert type(routes).__name__ == "Partial"
    assert routes.values


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CUT_FORMS)))
    blob = bytearray(CUT_FORMS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        bundle = open_bundle([put(tmp_path, bytes(blob), name)])
    except BundleError:
        return
    read_all(build(bundle))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000), st.sampled_from(["x.tar", "x.txt", "x.stream", "x.pcap", "ip-route.txt", "x.tar.gz"]))
def test_any_bytes_are_survived(tmp_path: Path, data: bytes, name: str) -> None:
    try:
        bundle = open_bundle([put(tmp_path, data, name)])
    except BundleError:
        return
    read_all(build(bundle))


def test_nothing_is_written_and_tarfile_agrees_on_honest_archives(tmp_path: Path) -> None:
    """Against an independent reader: the same names and bytes, for GNU and pax long names and unicode."""
    files = {**GOOD, "nodes/node1/host/" + "x" * 150 + ".out": b"long\n", "nodes/node1/host/ä.out": b"u\n"}
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, data in files.items():
                if form == tarfile.USTAR_FORMAT and len(name) > 150:
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        path = put(tmp_path, out.getvalue())
        before = sorted(tmp_path.rglob("*"))
        bundle = open_bundle([path])
        assert sorted(tmp_path.rglob("*")) == before
        with tarfile.open(path) as archive:
            for info in archive:
                extracted = archive.extractfile(info)
                if extracted is not None and info.name in bundle.members:
                    assert bundle.read(info.name) == extracted.read()
            wanted = {info.name for info in archive} - {"bundle.json"}
        assert wanted <= set(bundle.members)
