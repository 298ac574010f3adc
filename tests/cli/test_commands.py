"""The command as a user meets it: exit codes, sentences, pipes and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import jsonschema
import pytest

from tests.conftest import REPO

SAMPLES = REPO / "samples"
BROKEN = sorted((SAMPLES / "pod-route-missing").glob("*.tar.*"))
HEALTHY = sorted((SAMPLES / "healthy-bgp").glob("*.tar.*"))
START = "from lasthop.cli.main import run; run()"


def lasthop(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO / "analyzer"), "LC_ALL": "C.UTF-8", **more}
    return subprocess.run(
        [sys.executable, "-c", START, *map(str, words)],
        capture_output=True, check=False, text=True, env=environment, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def refused(*words: object) -> str:
    """The sentence of a command that must end with 2, without output and without a traceback."""
    done = lasthop(*words)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_break_ends_with_1_and_says_where() -> None:
    done = lasthop("analyze", *BROKEN)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("✕ BREAK  request, step 4 of 8, node2: ")
    assert "\x1b" not in done.stdout
    assert len(done.stdout.rstrip("\n").split("\n")) <= 12
    assert done.stderr == ""


def test_json_on_stdout_is_alone_there_and_keeps_the_schema() -> None:
    done = lasthop("analyze", *BROKEN, "--json", "-")
    report = json.loads(done.stdout)
    schema = json.loads((REPO / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(report)
    assert (done.returncode, report["exit_code"], report["verdict"]) == (1, 1, "break")
    assert report["flows"][0]["breaks"][0]["node"] == "node2"


def test_json_and_page_as_files(tmp_path: Path) -> None:
    done = lasthop("analyze", *BROKEN, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json"]
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["verdict"] == "break"
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "✕ BREAK" in page
    assert len(page.encode()) < 1_000_000
    assert "r.html" in done.stdout


def test_equal_bundles_give_equal_json() -> None:
    first, second = (lasthop("analyze", *BROKEN, "--json", "-", PYTHONHASHSEED=seed).stdout for seed in "12")
    assert first == second


def test_path_prints_both_directions() -> None:
    done = lasthop("path", *HEALTHY, "--from", "default/client-a", "--to", "shop/web-1:8080")
    assert done.returncode in (0, 3), done.stderr
    assert "request, first packet: DELIVERED" in done.stdout
    assert "reply, answer: DELIVERED" in done.stdout


def test_ls_and_show() -> None:
    done = lasthop("ls", *BROKEN)
    assert done.returncode == 0, done.stderr
    assert "node1" in done.stdout
    assert "lines read" in done.stdout
    done = lasthop("show", "routes", *BROKEN, "--node", "node2", "--match", "blackhole")
    assert done.returncode == 0, done.stderr
    rows = done.stdout.split("\n")
    assert any(row.startswith("  nodes/node2/host/") and "blackhole" in row for row in rows)
    assert not any("default via" in row for row in rows)


@pytest.mark.parametrize(
    "kind",
    ["links", "addresses", "routing-rules", "neighbours", "rules", "sets", "conntrack", "sysctls", "sockets",
     "endpoints", "pools", "blocks", "policies", "pods", "services"],
)  # fmt: skip
def test_every_kind_can_be_shown(kind: str) -> None:
    done = lasthop("show", kind, BROKEN[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout != ""


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["analyze", "no/such.tar"], "no/such.tar"),
        (["analyze", *BROKEN, "--from", "default/client-a", "--to", "shop/web-1:99999"], "out of range"),
        (["analyze", *BROKEN, "--from", "default/client-a"], "--from needs --to"),
        (["analyze", *BROKEN, "--rules", "/no/such/folder"], "no such folder"),
        (["analyze", *BROKEN, "--html", "/no/such/folder/x.html"], "does not exist"),
        (["path", *BROKEN], "path needs --from and --to"),
        (["show", "routs", *BROKEN], "did you mean routes"),
        (["show", "routes", *BROKEN, "--node", "node9"], "did you mean node"),
        (["explain", "NO_ROUT"], "did you mean NO_ROUTE"),
        (["rules", "explain", "CAL-RT-999"], "did you mean CAL-RT-00"),
        (["analyze"], "Missing argument"),
        (["analyse"], "No such command"),
        (["analyze", *BROKEN, "--jsno", "-"], "--jsno"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(words: list[object], part: str) -> None:
    assert part in refused(*words)


def test_a_pod_that_is_not_there_gets_near_names() -> None:
    sentence = refused("analyze", *BROKEN, "--from", "default/client-z", "--to", "shop/web-1:8080")
    assert "client-z" in sentence
    assert "default/client-a" in sentence


def test_what_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("this is no archive\n" * 99)
    (tmp_path / "nothing").write_bytes(b"")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    (tmp_path / "folder").mkdir()
    for name in ("text.tar", "nothing", "empty.tar", "folder"):
        assert name in refused("analyze", tmp_path / name)


def test_a_rule_file_with_a_typo_is_refused(tmp_path: Path) -> None:
    rule = next((REPO / "rules").rglob("*.yaml"))
    (tmp_path / rule.name).write_text(rule.read_text(encoding="utf-8").replace("severity:", "severty:", 1))
    done = lasthop("rules", "lint", tmp_path)
    assert done.returncode == 2
    assert "severty" in done.stdout
    assert "severty" in refused("analyze", *BROKEN, "--rules", tmp_path)


def test_nothing_but_the_named_outputs_is_written(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", START, "analyze", *map(str, BROKEN), "--html", "page.html"],
        capture_output=True, check=False, cwd=work, timeout=120,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO / "analyzer"), "HOME": str(work), "TMPDIR": str(work),
             "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert [path.name for path in work.rglob("*")] == ["page.html"]


def test_an_output_without_unicode_still_works() -> None:
    done = lasthop("analyze", *BROKEN, PYTHONIOENCODING="ascii")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("x BREAK  request, step 4 of 8")


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f'{sys.executable} -c "{START}" show rules {BROKEN[0]} | head -n 1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, check=False, text=True, timeout=120,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO / "analyzer"), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split("\n")[1] in ("141", "0")


def test_a_defect_ends_with_4_and_says_how_to_report_it() -> None:
    script = (
        "import sys, lasthop.cli.opening as o\n"
        "def boom(*a): raise ZeroDivisionError('x')\n"
        "o.open_snapshot = boom\n"
        "from lasthop.cli.main import guarded\n"
        "sys.exit(guarded(['analyze', 'b'], debug=len(sys.argv) > 1))"
    )
    for extra, traceback in (([], False), (["--debug"], True)):
        done = subprocess.run(
            [sys.executable, "-c", script, *extra], capture_output=True, check=False, text=True, timeout=60,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO / "analyzer")},
        )  # fmt: skip
        assert done.returncode == 4
        assert "internal error: ZeroDivisionError" in done.stderr
        assert "report it" in done.stderr
        assert ("Traceback" in done.stderr) is traceback


def test_interrupted_ends_with_130() -> None:
    script = (
        "import sys, lasthop.cli.opening as o\n"
        "def boom(*a): raise KeyboardInterrupt\n"
        "o.open_snapshot = boom\n"
        "from lasthop.cli.main import guarded\n"
        "sys.exit(guarded(['analyze', 'b']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO / "analyzer")},
    )  # fmt: skip
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_the_collector_is_printed_as_it_is() -> None:
    done = lasthop("collector")
    assert done.returncode == 0
    assert done.stdout == (REPO / "collector.sh").read_text(encoding="utf-8")


def test_every_disposition_is_explained() -> None:
    from lasthop.cli.explain import dispositions
    from lasthop.facts.trace import Disposition

    assert set(dispositions()) == {disposition.value for disposition in Disposition}


@pytest.mark.parametrize("word", ["model", "NO_ROUTE", "no_route", "CAL-RT-001", "cal-rt-001", "route-missing"])
def test_explain(word: str) -> None:
    done = lasthop("explain", word)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100


def test_no_color_and_pipes() -> None:
    from lasthop.cli.output import colored

    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    os.environ.pop("NO_COLOR", None)
    assert colored(False, terminal) is (os.environ.get("TERM") != "dumb")  # type: ignore[arg-type]
    assert colored(True, terminal) is False  # type: ignore[arg-type]
    os.environ["NO_COLOR"] = "1"
    try:
        assert colored(False, terminal) is False  # type: ignore[arg-type]
    finally:
        del os.environ["NO_COLOR"]


def _without_cluster_objects(source: Path, target: Path) -> Path:
    with tarfile.open(source) as whole, tarfile.open(target, "w") as half:
        for member in whole:
            if "/cluster/" not in member.name:
                half.addfile(member, whole.extractfile(member) if member.isfile() else None)
    return target


def test_a_pod_that_an_incomplete_list_lacks_is_missing_evidence_not_wrong_usage(tmp_path: Path) -> None:
    half = _without_cluster_objects(HEALTHY[0], tmp_path / "node1.tar")
    for verb in ("analyze", "path"):
        done = lasthop(verb, half, "--from", "default/client-a", "--to", "shop/elsewhere:80")
        assert done.returncode == 3, done.stderr
        assert "shop/elsewhere is not in the bundle" in " ".join(done.stdout.split())


def test_a_folder_as_the_name_of_a_page_and_an_empty_rules_folder_are_refused(tmp_path: Path) -> None:
    assert "is a folder" in refused("analyze", *HEALTHY, "--html", tmp_path)
    assert "is a folder" in refused("analyze", *HEALTHY, "--json", "")
    assert "no rule file" in refused("analyze", *HEALTHY, "--rules", tmp_path)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        done = lasthop("analyze", *HEALTHY, "--json", pipe)
        text, _ = reader.communicate(timeout=20)
    assert done.returncode == 0, done.stderr
    assert json.loads(text)["verdict"] == "no-break"
    assert pipe.is_fifo()
