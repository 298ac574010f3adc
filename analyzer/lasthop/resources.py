"""Where the files that travel with the program are: the checkout's own when it is one, else the package's data."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


def _find(name: str) -> Path:
    """`name` beside `pyproject.toml` of a checkout that holds this very package, else in `lasthop/data/`."""
    in_checkout = _CHECKOUT / name
    if (_CHECKOUT / "pyproject.toml").is_file() and in_checkout.exists() and _PACKAGE.parent.name == "analyzer":
        return in_checkout
    return _PACKAGE / "data" / name


def rules_dir() -> Path:
    """The folder of the shipped rule files, `<area>/<id>.yaml`."""
    return _find("rules")


def collector_path() -> Path:
    """The `collector.sh` of this very version."""
    return _find("collector.sh")


def docs_dir() -> Path:
    """The folder with causes.md, the JSON Schemas and the other pages."""
    return _find("docs")
