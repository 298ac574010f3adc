"""Runs one SELECT of a rule and nothing else: no writing, no files, no foreign functions, no endless run."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lasthop.errors import QueryRefused

MAX_ROWS = 50
MAX_COUNTED = 10_000
MAX_SECONDS = 5.0
_MAX_TEXT = 1_000_000
_MAX_SQL = 20_000

FUNCTIONS = frozenset(
    (
        *("abs", "avg", "coalesce", "count", "dense_rank", "first_value", "glob", "group_concat", "ifnull", "iif"),
        *("instr", "json_extract", "lag", "last_value", "lead", "length", "like", "lower", "ltrim", "max", "min"),
        *("nullif", "rank", "replace", "round", "row_number", "rtrim", "substr", "substring", "sum", "total", "trim"),
        "upper",
    )
)
"""What a query may call. Everything else, `load_extension` and `randomblob` among it, is refused."""


@dataclass(frozen=True, slots=True)
class Rows:
    """At most MAX_ROWS rows; `more` counts those that were left out (up to MAX_COUNTED)."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: int = 0


class Guard:
    """Wraps a connection. `readable` says which tables and views a query may name."""

    def __init__(self, connection: sqlite3.Connection, readable: Callable[[str], bool]) -> None:
        self._connection = connection
        self._readable = readable
        self._closed = False
        self._denied = ""
        self._deadline = 0.0
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_TEXT)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, max(_MAX_SQL, 100_000))
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_authorizer(self._authorize)
        connection.set_progress_handler(self._over_time, 5_000)

    def select(self, sql: str, seconds: float | None = None) -> Rows:
        """The rows of one SELECT, given MAX_SECONDS by default. Raises QueryRefused for anything that is not one,
        or that runs over its time; sqlite3.OperationalError for a wrong one."""
        if len(sql) > _MAX_SQL:
            raise QueryRefused(f"the query is longer than {_MAX_SQL} characters")
        self._closed, self._denied = True, ""
        limit = MAX_SECONDS if seconds is None else seconds
        self._deadline = time.monotonic() + limit
        try:
            cursor = self._connection.execute(sql)
            if cursor.description is None:
                raise QueryRefused("the query is not a SELECT")
            rows = cursor.fetchmany(MAX_ROWS)
            more = len(cursor.fetchmany(MAX_COUNTED)) if len(rows) == MAX_ROWS else 0
        except (sqlite3.DatabaseError, sqlite3.Warning) as error:
            if self._denied:
                raise QueryRefused(f"the query {self._denied}; a rule may only SELECT from the fact tables") from error
            if "interrupted" in str(error):
                raise QueryRefused(f"the query ran longer than {limit:g} s") from error
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise QueryRefused(f"the query was refused: {error}") from error
        finally:
            self._closed, self._deadline = False, 0.0
        return Rows(tuple(column[0] for column in cursor.description), tuple(rows), more)

    def _over_time(self) -> int:
        return int(self._deadline > 0 and time.monotonic() > self._deadline)

    def _authorize(
        self, action: int, first: str | None, second: str | None, _db: str | None, inside: str | None
    ) -> int:
        if not self._closed or action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            if self._readable(first or ""):
                return sqlite3.SQLITE_OK
            self._denied = f"reads {first}"
        elif action == sqlite3.SQLITE_FUNCTION:
            if (second or "").lower() in FUNCTIONS:
                return sqlite3.SQLITE_OK
            self._denied = f"calls {second}()"
        else:
            self._denied = "does more than SELECT"
        return sqlite3.SQLITE_DENY
