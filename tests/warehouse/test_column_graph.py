"""Column lineage across the graph: from every mart down to candles, over what stages store; and the columns that are declared."""

from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from crossattn_core.errors import WarehouseError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.line import Line
from crossattn_core.panel.cache import panel_columns
from crossattn_core.sql_stages import RESULTS
from crossattn_core.stages import stage_table
from crossattn_core.walk_forward.store import PLAN_COLUMNS
from crossattn_core.warehouse.column_graph import ColumnGraph
from crossattn_core.warehouse.lineage_page import lineage_page
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.project import MODELS_FOLDER
from crossattn_core.warehouse.stored import SETTINGS, stored_tables
from crossattn_core.warehouse.traced import as_text

KEYS = {"asset_id", "symbol", "strategy", "family", "horizon", "day", "as_of", "target", "source", "leader", "follower"}
"""Columns that say what a row is: the universe, the calendars and the knobs name them, no candle does."""
VIEWS = {"first_view", "second_view"}
COUNTS_OF_KEYS = {"marts.forecast_quality.forecasts"}


@pytest.fixture(scope="module")
def graph() -> ColumnGraph:
    return ColumnGraph(stage_table(load_experiment(), load_project()))


def is_candle_column(graph: ColumnGraph, table: str) -> bool:
    return table in graph.stored and graph.stored[table].asset.startswith("candles/")


def test_every_column_of_every_mart_leads_to_candle_columns_or_settings(graph: ColumnGraph) -> None:
    marts = [table for table in graph.tables if table.startswith("marts.")]
    assert len(marts) >= 10
    for table in marts:
        for column in graph.columns_of(table):
            name, ends = f"{table}.{column.name}", graph.ends(table, column.name)
            assert ends, name
            assert all(end == SETTINGS or is_candle_column(graph, end) for end, _ in ends), name
            reaches_candles = any(is_candle_column(graph, end) for end, _ in ends)
            is_key = column.name in KEYS | VIEWS and name != "marts.attention_leadership.leader"
            assert reaches_candles or is_key or name in COUNTS_OF_KEYS, name


def test_every_column_of_every_table_is_resolved_and_its_origins_exist(graph: ColumnGraph) -> None:
    for table in graph.tables:
        for column in graph.columns_of(table):
            origins = graph.origins(table, column.name)
            assert not isinstance(origins, str), f"{table}.{column.name}"
            for upstream, name in origins:
                assert name in {entry.name for entry in graph.columns_of(upstream)}, f"{table}.{column.name} <- {upstream}.{name}"


def test_a_weight_in_a_mart_leads_over_forecast_panel_and_feature_to_the_close_of_candles(graph: ColumnGraph) -> None:
    way = ["marts.positions.target_weight", "weights.target_weight", "predictions.value", "panel.volatility"]
    way += ["features.panel_rows.volatility", "features.trailing.volatility", "aligned.fresh_bars.close", "candles.close"]
    for column, upstream in pairwise(way):
        assert upstream in {f"{step.table}.{step.column}" for step in graph.path(column)}, (column, upstream)
    assert "candles.close: last price [quote currency]" in as_text(graph.path(way[0]))


def test_equity_leads_to_funding_and_dividends(graph: ColumnGraph) -> None:
    ends = graph.ends("marts.daily_performance", "equity")
    assert {("funding", "rate"), ("dividends", "amount"), ("candles", "close"), (SETTINGS, "costs")} <= ends


def test_forecasts_are_made_from_the_features_that_the_experiment_names() -> None:
    chosen = Experiment.model_validate({"features": {"names": ["log_return", "rsi_14"]}})
    origins = ColumnGraph(stage_table(chosen, load_project())).origins("predictions", "value")
    assert {("panel", "log_return"), ("panel", "rsi_14")} <= set(origins)
    assert ("panel", "macd") not in origins


def test_what_is_declared_of_a_stage_is_made_from_what_the_stage_reads(graph: ColumnGraph) -> None:
    stages = graph.stages
    for name, table in stored_tables(stages.project).items():
        if "<venue>" in table.asset:
            assert not any(table.origins.values()), f"{name} comes from outside"
            continue
        stage = next(stage for stage in stages if table.asset in stage.keys)
        allowed = set(stage.keys).union(*(parent.keys for parent in stages.parents(stage)), stage.reads)
        for column in table.columns:
            for upstream, origin in graph.origins(name, column.name):
                read = set(graph.keys_of(upstream))
                assert upstream == SETTINGS or read <= allowed, f"{name}.{column.name} <- {upstream}.{origin}"


def test_only_columns_that_the_panel_is_opened_with_are_read_of_it(graph: ColumnGraph) -> None:
    opened = set(panel_columns(graph.stages.experiment))
    read = {
        origin
        for name in graph.stored
        for column in graph.stored[name].columns
        for upstream, origin in graph.origins(name, column.name)
        if upstream == "panel"
    }
    assert read <= opened


def test_stored_tables_are_in_the_files_of_a_run_column_by_column(ready_folder: Path) -> None:
    home, checked = Home(ready_folder / "home"), 0
    for table in stored_tables(load_project()).values():
        for pattern in (table.files.replace("<venue>", venue) for venue in ("bybit", "yahoo")):
            files = [str(path) for path in sorted(home.root.glob(pattern))] if pattern else []
            if files:
                described = duckdb.sql(f"describe select * from read_parquet({files[:1]})").fetchall()
                held = {row[0]: row[1].lower() for row in described}
                assert held == {column.name: column.type for column in table.columns}, table.name
                checked += 1
    assert checked >= 12


def test_tables_without_files_of_their_own_have_the_columns_that_their_readers_get(ready_folder: Path) -> None:
    tables, line = stored_tables(load_project()), None
    experiment = load_experiment(ready_folder / "small.yaml")
    line = Line(experiment, Home(ready_folder / "home"))
    first, last = experiment.period.start, line.last_day
    for kind in ("dividends", "revisions", "quarantine", "coverage"):
        held = getattr(line.lake, f"read_{kind}")(first, last)
        assert held.column_names == [column.name for column in tables[kind].columns], kind
    assert tuple(column.name for column in tables["plan"].columns) == PLAN_COLUMNS


def test_result_tables_are_the_stored_ones(graph: ColumnGraph) -> None:
    patterns = {table.files for table in graph.stored.values()}
    assert {result.pattern for tables in RESULTS.values() for result in tables} <= patterns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("create table t (\n    a double, -- no unit\n);", r"stored\.sql:2: write"),
        ("create table t (\n    a double, -- what [unit]\n);", "has no '-- asset"),
        ("select 1", "stands outside a table"),
    ],
)
def test_a_line_that_declares_nothing_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "stored.sql").write_text(text)
    with pytest.raises(WarehouseError, match=message):
        stored_tables(load_project(), tmp_path)


def test_an_unknown_column_is_refused_with_the_nearest(graph: ColumnGraph) -> None:
    with pytest.raises(WarehouseError, match=r"did you mean 'marts\.positions\.target_weight'"):
        graph.path("marts.positions.target_wight")


def test_a_column_is_found_by_its_table_and_by_its_asset(graph: ColumnGraph) -> None:
    for spelling in ("predictions.value", "forecasts.value"):
        assert (graph.path(spelling)[0].table, graph.path(spelling)[0].column) == ("predictions", "value")
    assert graph.path("candles/bybit.close")[0].table == "candles"


def test_the_page_holds_every_column_needs_no_network_and_is_the_same_each_time(graph: ColumnGraph) -> None:
    page = lineage_page(graph)
    assert page == lineage_page(graph)
    assert "http" not in page
    for table in graph.tables:
        assert f'"name": "{table}"' in page
    assert MODELS_FOLDER.as_posix() not in page


def test_what_was_found_is_not_looked_for_again(graph: ColumnGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {(name, column.name): graph.origins(name, column.name) for name in graph.tables for column in graph.columns_of(name)}
    monkeypatch.setattr("crossattn_core.warehouse.column_graph.sqlglot.parse_one", None)
    assert {pair: graph.origins(*pair) for pair in found} == found
