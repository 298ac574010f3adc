"""Shared fixtures. `need` skips with the name of what is missing; in CI a missing thing is a failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"

# Two busy cores: how long one example takes says nothing.
settings.register_profile("lasthop", deadline=None)
settings.load_profile("lasthop")


def need(*tools: str, root: bool = False) -> None:
    """Returns when every tool is on PATH (and the user is root if asked); else skips, or fails when CI=true."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if root and os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    reason = "needs " + ", ".join(missing)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def shared(*parts: str) -> Path:
    """A path in the folder beside the checkout that holds real evidence; skips when it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path.name} beside the checkout")
    return path
