"""`make golden`: writes the committed JSON reports again, after a deliberate change of the format.

They guard the format, not the analysis: their diagnoses are made by hand in build.py. Read the difference before
committing it; a key that changes its meaning needs a new schema version.
"""

from __future__ import annotations

from pathlib import Path

from lasthop.report.json_report import dumps

from . import build

FOLDER = Path(__file__).resolve().parent / "golden"
NAMES = ("break", "partial", "clear-in-nodes", "inconclusive", "hostile")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        (FOLDER / f"{name}.json").write_text(dumps(build.ALL[name]()), encoding="utf-8")
        print(FOLDER / f"{name}.json")


if __name__ == "__main__":
    main()
