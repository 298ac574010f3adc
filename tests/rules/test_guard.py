"""What a query may not do."""

from __future__ import annotations

import sqlite3
import time

import pytest

from lasthop.errors import QueryRefused
from lasthop.rules.guard import FUNCTIONS, MAX_ROWS, Guard
from lasthop.rules.store import LiteralStore


@pytest.fixture()
def guard() -> Guard:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE facts (a INTEGER)")
    db.executemany("INSERT INTO facts VALUES (?)", ((n,) for n in range(100)))
    db.execute("CREATE TABLE hidden (a INTEGER)")
    return Guard(db, lambda name: name == "facts")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE facts",
        "DELETE FROM facts",
        "INSERT INTO facts VALUES (1)",
        "UPDATE facts SET a = 1",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "ATTACH ':memory:' AS other",
        "ATTACH '/tmp/other.db' AS other",
        "PRAGMA table_info(facts)",
        "PRAGMA query_only = 0",
        "SELECT * FROM pragma_table_info('facts')",
        "SELECT * FROM sqlite_master",
        "SELECT a FROM hidden",
        "SELECT 1; DROP TABLE facts",
        "SELECT a FROM facts; SELECT a FROM facts",
        "SELECT load_extension('x')",
        "SELECT randomblob(10)",
        "SELECT zeroblob(1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT fts3_tokenizer('x')",
        "SELECT value FROM json_each('[1]')",
        "VACUUM",
        "BEGIN",
        "EXPLAIN DELETE FROM facts",
        "WITH x AS (SELECT 1) DELETE FROM facts",
        "",
    ],
)
def test_refused(guard: Guard, sql: str) -> None:
    with pytest.raises((QueryRefused, sqlite3.OperationalError)):
        guard.select(sql)
    assert guard.select("SELECT count(*) FROM facts").rows == ((100,),)


def test_an_endless_query_is_stopped(guard: Guard) -> None:
    started = time.monotonic()
    with pytest.raises(QueryRefused, match="ran longer than"):
        guard.select("WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n) SELECT max(a) FROM n", 0.2)
    assert time.monotonic() - started < 3


def test_a_cross_join_is_stopped(guard: Guard) -> None:
    with pytest.raises(QueryRefused, match="ran longer than"):
        guard.select("SELECT count(*) FROM facts a, facts b, facts c, facts d, facts e", 0.2)


def test_text_cannot_grow_without_end(guard: Guard) -> None:
    double = "SELECT 'aaaaaaaa', 1 UNION ALL SELECT t || t, i + 1 FROM n WHERE i < 60"
    sql = f"WITH RECURSIVE n(t, i) AS ({double}) SELECT t FROM n"
    with pytest.raises((QueryRefused, sqlite3.DatabaseError)):
        guard.select(sql, 5)


def test_rows_are_capped_and_the_rest_counted(guard: Guard) -> None:
    answer = guard.select("SELECT a FROM facts ORDER BY a")
    assert len(answer.rows) == MAX_ROWS
    assert answer.more == 100 - MAX_ROWS
    assert guard.select("SELECT a FROM facts WHERE a < 3").more == 0


def test_every_allowed_function_exists() -> None:
    """A name on the list that SQLite does not know would be a promise that nobody keeps."""
    known = {row[0] for row in sqlite3.connect(":memory:").execute("SELECT name FROM pragma_function_list")}
    assert known | {"iif"} >= FUNCTIONS


def test_useful_sql_is_allowed() -> None:
    store = LiteralStore({"routes": [{"dst": "10.0.0.0/8", "metric": 5}, {"dst": "10.0.0.0/8", "metric": 3}]})
    answer = store.select(
        """
        WITH best AS (SELECT dst, metric, row_number() OVER (PARTITION BY dst ORDER BY metric) AS rank_no FROM routes)
        SELECT b.dst, b.metric, (SELECT count(*) FROM routes) AS n FROM best b WHERE b.rank_no = 1
        """,
        (0,),
    )
    assert answer.rows == (("10.0.0.0/8", 3, 2),)


def test_the_tables_behind_the_gate_cannot_be_named() -> None:
    store = LiteralStore({"routes": [{"dst": "10.0.0.0/8"}]})
    store.select("SELECT dst FROM routes", (0,))
    for sql in ("SELECT dst FROM raw__routes", "WITH routes AS (SELECT * FROM raw__routes) SELECT dst FROM routes"):
        with pytest.raises(QueryRefused):
            store.select(sql, (0,))
