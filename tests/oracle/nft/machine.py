"""The router of the iptables oracle with native tables besides; they are loaded last, so the kernel asks them first
where priorities are equal."""

from __future__ import annotations

import os
import re

from tests.oracle.machine import Machine, Refused, _run

from .rulesets import NftCase

ORDER = ("native", "nft", "legacy")
_LINE = re.compile(r"/dev/stdin:(\d+):")


class NftMachine(Machine):
    """Namespaces named lhn-<pid>-…"""

    def __init__(self) -> None:
        super().__init__()
        self.router = f"lhn-{os.getpid()}-r"
        self.outside = f"lhn-{os.getpid()}-o"
        self.tables: list[str] = []

    def load_case(self, case: NftCase) -> None:
        """Replace everything; lines that nft refuses are left out of the case. Raises Refused if that does not help."""
        for table in self.tables:
            _run("nft", f"delete table {table}")
        self.tables = []
        self.load(case.rules, case.sets, case.loose)
        for _ in range(40):
            try:
                _run("nft", "-f", "/dev/stdin", text=case.nft)
                break
            except Refused as error:
                found = _LINE.search(str(error))
                lines = case.nft.split("\n")
                number = int(found.group(1)) - 1 if found is not None else -1
                if number < 0 or lines[number].lstrip().startswith(("table", "chain", "type", "}")):
                    raise
                if os.environ.get("LHO_VERBOSE"):
                    print("refused:", lines[number], str(error)[-200:])
                del lines[number]
                case.nft = "\n".join(lines)
        else:
            raise Refused("too many lines are refused")
        self.tables = list(dict.fromkeys(case.tables))

    def listing(self) -> str:
        return _run("nft", "list", "ruleset")
