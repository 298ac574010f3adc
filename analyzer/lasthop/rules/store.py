"""The database that rules query: fact tables loaded when a query names them, seen only where evidence allows."""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from lasthop.errors import QueryRefused, RuleError
from lasthop.facts.evidence import SourceRef
from lasthop.facts.snapshot import Snapshot
from lasthop.snapshot.columns import Column, Row, Sources, range_keys
from lasthop.snapshot.tables import (
    Layout,
    coverage_rows,
    evidence_state,
    kinds,
    layouts,
    owners,
    places,
    table_rows,
)

from .derived import DERIVED, derived_rows
from .guard import Guard, Rows
from .load import did_you_mean
from .walk_tables import WALK_TABLES, walk_rows

_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_RAW = "raw__"

Place = tuple[str, str]


@cache
def all_layouts() -> Mapping[str, Layout]:
    """Every table that a query may name: facts, bookkeeping, what is derived, and the walk's own."""
    walk = {name: Layout(name, columns, "cluster", "") for name, columns in WALK_TABLES.items()}
    return {**layouts(), **DERIVED, **walk}


def _readable(name: str) -> bool:
    return name.removeprefix(_RAW) in all_layouts() or name == f"{_RAW}scope"


def named_tables(sql: str) -> tuple[str, ...]:
    """Tables whose names occur as words in the query."""
    known = all_layouts()
    return tuple(word for word in dict.fromkeys(_WORD.findall(sql)) if word in known)


@cache
def kind_levels() -> Mapping[str, str]:
    """Kind of evidence as `needs` names it -> netns, node or cluster."""
    return {kind: level for level in ("netns", "node", "cluster") for kind, _ in kinds(level)}


class Store(ABC):
    """An in-memory database over the facts of `places`, which are numbered from 0; cluster objects have place -1."""

    def __init__(self, where: Sequence[Place]) -> None:
        self.places = tuple(where)
        self.sources = Sources()
        self._ready: set[str] = set()
        self._covered: set[str] = set()
        self._db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self._db.execute(f"CREATE TABLE {_RAW}scope (place INTEGER PRIMARY KEY)")
        self._guard = Guard(self._db, _readable)
        self._scope: tuple[int, ...] = ()

    @abstractmethod
    def state(self, kind: str, place: int) -> str:
        """complete, partial, absent or not-applicable: what is known of that kind at that place."""

    def select(self, sql: str, visible: Iterable[int], needs: Iterable[str] = ()) -> Rows:
        """Rows of the query over the facts of the places in `visible` (cluster objects are always visible).

        The table `coverage` speaks of the kinds in `needs` at least. Raises QueryRefused for what rules may not do and
        RuleError for a wrong query.
        """
        if _RAW in sql.lower():
            raise QueryRefused(f"the query names {_RAW}…; the tables without it are the ones that evidence gates")
        named = named_tables(sql)
        for name in named:
            self._ensure(name)
        if "coverage" in named:
            self._cover({kind.removeprefix("pod.") for kind in needs})
        scope = tuple(visible)
        if scope != self._scope:
            self._db.execute(f"DELETE FROM {_RAW}scope")
            self._db.executemany(f"INSERT INTO {_RAW}scope VALUES (?)", ((place,) for place in scope))
            self._scope = scope
        try:
            return self._guard.select(sql)
        except sqlite3.OperationalError as error:
            raise RuleError(_friendly(str(error), named)) from error

    def _cover(self, wanted: set[str]) -> None:
        fresh = wanted - self._covered
        if fresh:
            self._covered |= fresh
            marks = ", ".join("?" * (len(all_layouts()["coverage"].columns) + 1))
            self._db.executemany(f"INSERT INTO {_RAW}coverage VALUES ({marks})", self.coverage(fresh))

    @abstractmethod
    def coverage(self, wanted: set[str]) -> Iterable[Row]:
        """Rows of the table `coverage` for these kinds."""

    @abstractmethod
    def rows_of(self, name: str) -> Iterable[Row]:
        """Rows of one table, each led by its place's number."""

    def _ensure(self, name: str) -> None:
        if name not in self._ready:
            self._db.execute("BEGIN")
            self._create(all_layouts()[name], self.rows_of(name))
            self._db.execute("COMMIT")
            self._ready.add(name)

    def _create(self, layout: Layout, rows: Iterable[Row]) -> None:
        strict = " STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""
        columns = ", ".join(f'"{column.name}" {column.type}' for column in layout.columns)
        shown = ", ".join(f'"{column.name}"' for column in layout.columns)
        raw = f"{_RAW}{layout.name}"
        self._db.execute(f"CREATE TABLE {raw} ({_RAW}place INTEGER, {columns}){strict}")
        marks = ", ".join("?" * (len(layout.columns) + 1))
        self._db.executemany(f"INSERT INTO {raw} VALUES ({marks})", rows)
        where = ""
        if layout.level != "cluster":
            where = f" WHERE {_RAW}place IN (SELECT place FROM {_RAW}scope)"
            self._db.execute(f"CREATE INDEX {raw}_place ON {raw} ({_RAW}place)")
        self._db.execute(f"CREATE VIEW {layout.name} AS SELECT {shown} FROM {raw}{where}")


def _friendly(message: str, tables: Iterable[str]) -> str:
    """SQLite's message with what was probably meant."""
    table = re.search(r"no such table: (\S+)", message)
    if table:
        return f"no table {table[1]}{did_you_mean(table[1], all_layouts())}"
    column = re.search(r"no such column: (?:\w+\.)?(\S+)", message)
    if column:
        names = {c.name for name in tables for c in all_layouts()[name].columns}
        return f"no column {column[0].split(': ')[1]}{did_you_mean(column[1], names)}"
    return f"the query is wrong: {message}"


class SnapshotStore(Store):
    """The facts of a snapshot and the walk of the given flows. Reads only the evidence that it is asked for."""

    def __init__(self, snapshot: Snapshot, flows: Sequence[Any] = ()) -> None:
        super().__init__(places(snapshot))
        self._snapshot = snapshot
        self._flows = flows
        levels = ("netns", "node", "cluster")
        self._attributes = {kind: name for level in levels for kind, name in kinds(level)}
        self._owners = {(level, n): owner for level in levels for _, n, owner in owners(snapshot, level)}

    def state(self, kind: str, place: int) -> str:
        return evidence_state(self._owners[kind_levels()[kind], place], self._attributes[kind])[0]

    def coverage(self, wanted: set[str]) -> Iterable[Row]:
        return coverage_rows(self._snapshot, self.sources, wanted)

    def rows_of(self, name: str) -> Iterable[Row]:
        if name == "coverage":
            return ()
        if name in WALK_TABLES:
            return walk_rows(self._flows, name, self.sources)
        if name in DERIVED:
            return derived_rows(self._snapshot, name, self.sources)
        return table_rows(self._snapshot, name, self.sources)


class LiteralStore(Store):
    """Facts written by hand, as in the tests of a rule file: table -> rows of column: value.

    `node` is "node1" and `netns` "host" where a row does not say; `id` counts from 1; the keys of addresses and
    prefixes are computed; `src` gets a number of its own. Every kind is complete except those in `absent`, written as
    in `needs`: `routes` means everywhere, `pod.routes` only in pods.
    """

    def __init__(self, facts: Mapping[str, Sequence[Mapping[str, Any]]], absent: Sequence[str] = ()) -> None:
        self._facts = facts
        where: list[Place] = []
        for name, rows in facts.items():
            if all_layouts()[name].level == "cluster":
                continue
            for row in rows:
                node = str(row.get("node", "node1"))
                where += [(node, "host"), (node, str(row.get("netns", "host")))]
        ordered = tuple(dict.fromkeys(where or [("node1", "host")]))
        super().__init__(ordered)
        self._absent = frozenset(absent)

    def state(self, kind: str, place: int) -> str:
        in_pod = place >= 0 and self.places[place][1] != "host"
        gone = kind in self._absent or (in_pod and f"pod.{kind}" in self._absent)
        return "absent" if gone else "complete"

    def coverage(self, wanted: set[str]) -> Iterable[Row]:
        for kind in sorted(wanted):
            for number in (-1,) if kind_levels()[kind] == "cluster" else range(len(self.places)):
                where = self.places[number] if number >= 0 else ("", "")
                yield -1, *where, kind, self.state(kind, number), "", self.sources.number(SourceRef(kind, 0))

    def rows_of(self, name: str) -> Iterable[Row]:
        given = self._literal(name)
        if given or name == "coverage":
            return given
        if name == "netns":
            return [(n, *place, *_split(place[1]), None) for n, place in enumerate(self.places)]
        if name == "nodes":
            hosts = ((n, node) for n, (node, netns) in enumerate(self.places) if netns == "host")
            return [(n, node, None, None, None, None) for n, node in hosts]
        return given

    def _literal(self, name: str) -> list[Row]:
        layout = all_layouts()[name]
        made: list[Row] = []
        for number, given in enumerate(self._facts.get(name, ()), 1):
            row = dict(given)
            for column in layout.columns:
                if column.name.endswith("src") and column.type == "INTEGER":
                    row.setdefault(column.name, self.sources.number(SourceRef(name, number, str(dict(given)))))
            row.setdefault("id", number)
            place = -1
            if layout.level != "cluster":
                row.setdefault("node", "node1")
                row.setdefault("netns", "host")
                place = self.places.index((str(row["node"]), str(row["netns"])))
            for column in layout.columns:
                _keys(row, column)
            made.append((place, *(row.get(column.name) for column in layout.columns)))
        return made


def _split(netns: str) -> tuple[str, str | None, str | None]:
    kind, _, rest = netns.partition(":")
    namespace, _, pod = rest.partition("/")
    return kind, namespace or None, pod or None


def _keys(row: dict[str, Any], column: Column) -> None:
    if column.of and row.get(column.name) is not None:
        keys = range_keys(str(row[column.name]))
        if keys:
            row[f"{column.name}_lo"], row[f"{column.name}_hi"] = keys
            if column.of == "prefix":
                row.setdefault(f"{column.name}_len", int(str(row[column.name]).partition("/")[2] or 32))
