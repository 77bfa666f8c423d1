"""Column lineage: read from the SQL, or unresolved, never guessed."""

import pytest
import sqlglot

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.docs import lineage_path, lineage_text
from crossattn_core.warehouse.lineage import UNRESOLVED, Lineage, column_lineage, tables_read
from crossattn_core.warehouse.models import load_project

KNOWN = {"raw.t": ("k", "a", "b"), "raw.u": ("k", "a", "c")}


def traced(sql: str, *columns: str) -> dict[str, Lineage]:
    return column_lineage(sqlglot.parse_one(sql, dialect="duckdb"), columns, KNOWN)


T_A, T_B, T_K = ("raw.t", "a"), ("raw.t", "b"), ("raw.t", "k")
U_A, U_C = ("raw.u", "a"), ("raw.u", "c")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select a, b as other from raw.t", {"a": (T_A,), "other": (T_B,)}),
        ("select a + b as total, 1 as one from raw.t", {"total": (T_A, T_B), "one": ()}),
        ("with x as (select * from raw.t) select * from x", {"k": (T_K,), "a": (T_A,), "b": (T_B,)}),
        ("with x as (select * exclude (b) from raw.t) select * from x", {"k": (T_K,), "a": (T_A,)}),
        ("select t.a, u.c from raw.t as t join raw.u as u using (k)", {"a": (T_A,), "c": (U_C,)}),
        ("select a as x, x * 2 as y from raw.t", {"x": (T_A,), "y": (T_A,)}),
        ("select sum(a) over w as s from raw.t window w as (order by b)", {"s": (T_A, T_B)}),
        ("select a, b from raw.t union all select a, c from raw.u", {"a": (T_A, U_A), "b": (T_B, U_C)}),
        ("select a, b from raw.t union all by name select c as b, a from raw.u", {"a": (T_A, U_A), "b": (T_B, U_C)}),
        ("select q.s from (select a as s from raw.t) as q", {"s": (T_A,)}),
        ("select t.* from raw.t as t asof join raw.u as u on t.k = u.k and t.a >= u.a", {"k": (T_K,), "a": (T_A,), "b": (T_B,)}),
        ("select count(*) as n from raw.t", {"n": ()}),
    ],
)
def test_lineage_is_read_from_the_sql(sql: str, expected: dict[str, Lineage]) -> None:
    assert traced(sql, *expected) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "select columns('a|b') from raw.t",
        "select a, (select max(c) from raw.u) as b from raw.t",
        "select a, b from raw.t, unnest([1]) as x(b)",
        "with recursive r as (select 1 as a, 2 as b union all select a + 1, b from r where a < 3) select a, b from r",
        "select * from raw.t natural join raw.u",
        "select a, s.b from raw.t, (select {'b': 1} as s)",
        "select a, s.* from (select a, {'b': b} as s from raw.t)",
        "select a, b from (pivot raw.t on k using sum(b) group by a)",
        "select columns(*) from raw.t",
        "select k as a, b from read_parquet('x.parquet')",
    ],
)
def test_what_the_sql_does_not_show_is_unresolved(sql: str) -> None:
    assert traced(sql, "a", "b")["b"] == UNRESOLVED


def test_nothing_is_believed_where_duckdb_names_other_columns() -> None:
    assert traced("select a, b from raw.t", "a", "z") == {"a": UNRESOLVED, "z": UNRESOLVED}


def test_cte_names_are_no_tables() -> None:
    select = sqlglot.parse_one(
        "with t as (select * from raw.t), v as (select * from t) select * from v join raw.u using (k)", dialect="duckdb"
    )
    assert {f"{table.db}.{table.name}" for table in tables_read(select)} == {"raw.t", "raw.u"}


def test_every_column_of_the_project_is_resolved() -> None:
    unresolved = [
        f"{model.name}.{name}"
        for model in load_project()
        for name, origin in model.column_lineage.items()
        if origin == UNRESOLVED
    ]
    assert unresolved == []


def test_a_path_leads_down_to_candle_columns() -> None:
    steps = lineage_path(load_project(), "features.rsi_14")
    assert (steps[0].table, steps[0].column, steps[0].depth) == ("features.panel_rows", "rsi_14", 0)
    assert ("raw.candles", "close") in {(step.table, step.column) for step in steps}
    assert "raw.candles.close" in lineage_text(load_project(), "features.trailing.rsi_14")


def test_a_python_models_declared_lineage_is_followed() -> None:
    steps = lineage_path(load_project(), "features.macd_histogram")
    assert ("features.trailing", "macd_histogram") in {(step.table, step.column) for step in steps}
    assert ("raw.candles", "close") in {(step.table, step.column) for step in steps}


def test_an_unknown_column_is_refused_with_the_nearest() -> None:
    with pytest.raises(WarehouseError, match=r"no column 'features\.rsi_41'; did you mean 'features\.rsi_14'"):
        lineage_path(load_project(), "features.rsi_41")
