"""Imports go one way, and the command line starts without heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

SOURCE = REPO / "analyzer" / "lasthop"
ORDER = (
    ("errors", "facts", "resources"),
    ("bundle",),
    ("parsers",),
    ("snapshot",),
    ("calico", "kube"),
    ("sim",),
    ("capture",),
    ("rules",),
    ("diagnosis",),
    ("report",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
HEAVY = ("pandas", "numpy", "networkx", "pyshark", "jinja2", "yaml", "rich", "sqlite3", "zstandard")
MODULES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that the file imports, relative ones resolved."""
    package = ("lasthop", *path.relative_to(SOURCE).parts[:-1])
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module or "") if part)
            whole = node.module and stem != "lasthop"
            names |= {stem} if whole else {f"{stem}.{alias.name}" for alias in node.names}
    return names


def test_every_package_has_its_place() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert packages - {"data"} - set(LEVEL) == set()
    assert {path.stem for path in SOURCE.glob("*.py")} - {"__init__"} <= set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for name in imported(path):
        words = name.split(".")
        if words[0] != "lasthop" or len(words) < 2 or words[1] not in LEVEL:
            continue
        other = words[1]
        assert other == part or LEVEL[other] < LEVEL[part], f"{part} imports {name}"


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "sim").rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_the_simulator_needs_only_facts_and_the_standard_library(path: Path) -> None:
    for name in imported(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or name.startswith(("lasthop.facts", "lasthop.sim")), name


@pytest.mark.parametrize("words", [["--help"], ["analyze", "--help"], ["--version"], ["rules", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; from lasthop.cli.main import guarded; guarded(sys.argv[1:]); "
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(SOURCE.parent), "PATH": "/usr/bin:/bin"}, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() != ""
    assert done.stderr.strip() == ""
