"""The wheel carries everything that the program looks for at run time."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPO


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPO)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = folder.glob("lasthop-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_rules_collector_and_docs_are_inside(members: set[str]) -> None:
    wanted = {f"lasthop/data/{path.relative_to(REPO)}" for path in (REPO / "rules").rglob("*.yaml")}
    wanted |= {f"lasthop/data/docs/{path.name}" for path in (REPO / "docs").glob("*.md")}
    wanted |= {"lasthop/data/collector.sh", "lasthop/data/docs/report.schema.json"}
    assert len(wanted) > 30
    assert wanted - members == set()


def test_the_page_and_every_module_are_inside(members: set[str]) -> None:
    source = REPO / "analyzer"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "lasthop").rglob("*")
        if path.is_file() and path.suffix in (".py", ".css", ".js", ".j2", ".tsv")
    }
    assert wanted - members == set()


def test_no_tests_and_no_samples_are_inside(members: set[str]) -> None:
    assert [name for name in members if name.startswith(("tests/", "samples/"))] == []


def test_the_checkouts_own_files_come_first() -> None:
    from lasthop.resources import collector_path, docs_dir, rules_dir

    assert (collector_path(), docs_dir(), rules_dir()) == (REPO / "collector.sh", REPO / "docs", REPO / "rules")
