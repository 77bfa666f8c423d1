"""Marts tell what the stages stored: compared with the stages' own arithmetic."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from crossattn_core.backtest.costs.registry import cost_lines
from crossattn_core.errors import WarehouseError
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.store import export_days, open_panel
from crossattn_core.storage import write_bytes, write_parquet
from crossattn_core.warehouse.checks import run_tests
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.results import result_tables, sync_results
from crossattn_core.warehouse.run import build
from tests.warehouse.lakes import APPLE, BITCOIN, build_all, random_lake, small_experiment, warehouse_of

FIRST, LAST = date(2025, 3, 3), date(2025, 3, 16)
EXPERIMENT = small_experiment(FIRST, LAST)
PROJECT = load_project()
MARTS = tuple(model.name for model in PROJECT if model.schema == "marts")


def store_forecasts(home: Home, panel: Panel) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        (as_of, asset, "ridge_var", horizon, np.float32(rng.normal(0, 0.01)), "m1")
        for as_of in panel.as_of_T
        for asset in panel.asset_ids
        for horizon in (1, 24)
    ]
    table = pd.DataFrame(rows, columns=["as_of", "asset_id", "family", "horizon", "forecast", "model_id"]).astype(
        {"horizon": "int32"}
    )
    for day, part in table.groupby((table["as_of"] - pd.Timedelta("1us")).dt.date):
        stored = part.rename(columns={"forecast": "value"}).assign(kind="return")
        stored = pd.concat([stored, stored.iloc[:1].assign(kind="weight", value=np.float32(0.5), family="weigher")])
        write_parquet(home.walk_forward / "predictions" / f"{day}.parquet", pa.Table.from_pandas(stored, preserve_index=False))
    return table


def store_results(home: Home, panel: Panel) -> None:
    hours, rng = panel.as_of_T, np.random.default_rng(2)
    equity = 100_000 * np.exp(np.cumsum(rng.normal(0, 0.002, len(hours))))
    hourly = pd.DataFrame({"as_of": hours, "strategy": "ridge_var", "equity": equity})
    hourly["net_return"] = hourly["equity"].pct_change().fillna(0.0)
    for name in (
        "gross_exposure",
        "net_exposure",
        "turnover",
        "fee_paid",
        "spread_paid",
        "slippage_paid",
        "funding_paid",
        "borrow_paid",
        "impact_paid",
        "delisting_paid",
        "interest_paid",
        "dividend_received",
    ):
        hourly[name] = 0.25
    write_parquet(home.reports / "2025-03-16" / "returns.parquet", pa.Table.from_pandas(hourly, preserve_index=False))
    decisions = hours[14::24]
    weights = pd.DataFrame(
        {
            "as_of": np.repeat(decisions, 2),
            "asset_id": [BITCOIN, APPLE] * len(decisions),
            "strategy": "ridge_var",
            "target_weight": np.where(np.arange(2 * len(decisions)) == 3, np.nan, rng.uniform(-0.3, 0.3, 2 * len(decisions))),
            "belief": 1.0,
        }
    )
    write_parquet(home.weights / "ridge_var.parquet", pa.Table.from_pandas(weights, preserve_index=False))
    for n in range(14):
        day = FIRST + timedelta(n)
        edges = pd.DataFrame(
            {
                "day": pd.Timestamp(day).as_unit("us"),
                "model_id": "m1",
                "quantity": ["edge", "edge", "entropy"],
                "target": [APPLE, BITCOIN, ""],
                "source": [BITCOIN, APPLE, ""],
                "lag": np.array([3, 1, -1], np.int32),
                "head": np.array([-1, -1, 0], np.int32),
                "value": np.array([n / 20, 0.5, 0.9], np.float32),
            }
        )
        write_parquet(home.attention / f"{day}.parquet", pa.Table.from_pandas(edges, preserve_index=False))
    windows = pd.DataFrame(
        {
            "window_id": [0, 1],
            "regime": [0, 2],
            "name": ["calm", "stress"],
            "confirmed": pd.to_datetime(["2025-03-05", "2025-03-10"]).astype("datetime64[us]"),
            "end": pd.to_datetime(["2025-03-10", None]).astype("datetime64[us]"),
        }
    )
    write_parquet(home.walk_forward / "regime_windows.parquet", pa.Table.from_pandas(windows, preserve_index=False))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home]]:
    home = Home(Path(tmp_path_factory.mktemp("home")))
    with warehouse_of(EXPERIMENT, random_lake(EXPERIMENT, FIRST, LAST), FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        export_days(connection, home, EXPERIMENT, FIRST, LAST)
        panel = open_panel(home, EXPERIMENT)
        forecasts = store_forecasts(home, panel)
        store_results(home, panel)
        sync_results(connection, home, EXPERIMENT)
        for mart in MARTS:
            build(connection, PROJECT, mart, FIRST, LAST)
        yield connection, panel, forecasts, home


def test_every_test_of_every_mart_passes(made: tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home]) -> None:
    assert [result.test for result in run_tests(made[0], PROJECT, MARTS) if not result.passed] == []


def test_marts_of_a_home_without_results_are_empty_and_pass() -> None:
    with warehouse_of(EXPERIMENT, random_lake(EXPERIMENT, FIRST, LAST), FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        for mart in MARTS:
            rows = build(connection, PROJECT, mart, FIRST, LAST).rows
            assert rows == (len(EXPERIMENT.assets) if mart == "marts.data_quality" else 0)
        assert all(result.passed for result in run_tests(connection, PROJECT, MARTS))


def test_forecast_quality_judges_by_the_labels_own_outcomes(
    made: tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home],
) -> None:
    connection, panel, forecasts, _ = made
    quality = connection.execute("select * from marts.forecast_quality").df().set_index(["asset_id", "horizon"])
    labels = compute_labels(panel, EXPERIMENT.labels)
    for n, asset in enumerate(panel.asset_ids):
        for h, horizon in enumerate(EXPERIMENT.labels.horizons):
            own = forecasts[(forecasts["asset_id"] == asset) & (forecasts["horizon"] == horizon)]["forecast"].to_numpy()
            outcome = labels.value_TNH[:, n, h]
            come = np.isfinite(outcome)
            row = quality.loc[(asset, horizon)]
            assert row["outcomes"] == come.sum()
            assert row["ic"] == pytest.approx(np.corrcoef(own[come], outcome[come])[0, 1], abs=1e-6)
            assert row["hit_share"] == pytest.approx((np.sign(own[come]) == np.sign(outcome[come])).mean(), abs=1e-9)


def test_daily_performance_compounds_hours_and_measures_drawdown(
    made: tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home],
) -> None:
    connection, panel, _, home = made
    days = connection.execute("select * from marts.daily_performance order by day").df()
    hourly = pd.read_parquet(next(home.reports.glob("*/returns.parquet")))
    closing = hourly["equity"].to_numpy()[23::24]
    assert len(days) == len(panel.as_of_T) // 24
    assert days["equity"].to_numpy() == pytest.approx(closing)
    assert days["net_return"].to_numpy()[1:] == pytest.approx(closing[1:] / closing[:-1] - 1)
    assert days["drawdown"].to_numpy() == pytest.approx(closing / np.maximum.accumulate(closing) - 1)
    assert days["costs_paid"].to_numpy() == pytest.approx(np.full(len(days), 24 * len(cost_lines()) * 0.25))


def test_positions_carry_the_last_weight_that_was_decided(
    made: tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home],
) -> None:
    rows = made[0].execute("select * from marts.positions where asset_id = ? order by as_of", [APPLE]).df()
    assert rows["previous_weight"][0] == 0
    assert np.isnan(rows["target_weight"][1])
    assert rows["weight_change"][1] == 0
    assert rows["previous_weight"][2] == rows["target_weight"][0]
    # 03-05 15:00 lies behind the confirmation on 03-05 00:00, 03-04 15:00 before it.
    assert rows["regime"].isna().tolist()[:3] == [True, True, False]
    assert (rows["regime"].dropna() == ["calm"] * 5 + ["stress"] * 7).all()


def test_attention_by_regime_averages_the_days_of_each(made: tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home]) -> None:
    rows = made[0].execute("select * from marts.attention_by_regime where target = 'AAPL'").df().set_index("regime")
    assert rows["days"].to_dict() == {"unknown": 2, "calm": 5, "stress": 7}
    assert rows.loc["calm", "mean_share"] == pytest.approx(np.mean(np.arange(2, 7)) / 20)
    assert rows.loc["stress", "typical_lag"] == 3


def test_data_quality_counts_what_is_missing() -> None:
    first, last = date(2025, 3, 3), date(2025, 3, 9)
    lake = random_lake(EXPERIMENT, first, last, missing_share=0.2)
    with warehouse_of(EXPERIMENT, lake, first, last) as connection:
        build(connection, PROJECT, "marts.data_quality", first, last)
        rows = connection.execute("select * from marts.data_quality").df().set_index("asset_id")
    stored = lake.candles.to_pandas()
    bitcoin = stored[stored["asset_id"] == BITCOIN]
    hours = (bitcoin["closed_at"].max() - bitcoin["closed_at"].min()) / pd.Timedelta("1h") + 1
    assert rows.loc[BITCOIN, "candles"] == len(bitcoin)
    assert rows.loc[BITCOIN, "missing_share"] == pytest.approx(1 - len(bitcoin) / hours)
    assert rows.loc[APPLE, "longest_pause_hours"] >= 17.5  # a night
    assert pd.isna(rows.loc[APPLE, "funding_settlements"])


def test_a_damaged_result_file_changes_nothing(
    made: tuple[duckdb.DuckDBPyConnection, Panel, pd.DataFrame, Home], tmp_path: Path
) -> None:
    broken = Home(tmp_path)
    write_bytes(broken.weights / "torn.parquet", b"PAR1 no")
    before = made[0].execute("select count(*) from results.weights").fetchall()
    with pytest.raises(WarehouseError, match=r"results\.weights: the files under .* cannot be read"):
        sync_results(made[0], broken, EXPERIMENT)
    assert made[0].execute("select count(*) from results.weights").fetchall() == before


def test_which_models_read_results_is_known() -> None:
    assert {name for name in PROJECT.models if result_tables(PROJECT, name)} == {*MARTS, "staging.attention_left_out"} - {
        "marts.data_quality"
    }
