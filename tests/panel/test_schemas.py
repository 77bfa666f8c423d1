"""Schemas refuse what breaks a contract, with every failing value; sound rows pass."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.errors import ContractError, LookaheadError
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.schemas import (
    BrokenContractError,
    TableName,
    check_cut_off,
    check_panel,
    check_table,
    check_windows,
    failures,
)
from crossattn_core.panel.store import export_days, open_panel
from crossattn_core.warehouse.models import load_project
from tests.warehouse.lakes import build_all, random_lake, small_experiment, warehouse_of

FIRST, LAST = date(2025, 3, 3), date(2025, 3, 6)
EXPERIMENT = small_experiment(FIRST, LAST)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pd.DataFrame], Panel]:
    home = Home(Path(tmp_path_factory.mktemp("home")))
    with warehouse_of(EXPERIMENT, random_lake(EXPERIMENT, FIRST, LAST), FIRST, LAST) as connection:
        build_all(connection, load_project(), FIRST, LAST)
        export_days(connection, home, EXPERIMENT, FIRST, LAST)
        tables = {
            "candles": "raw.candles",
            "aligned": "aligned.bars",
            "features": "features.bar",
            "trailing": "features.trailing",
            "panel_rows": "features.panel_rows",
        }
        rows = {name: connection.execute(f"select * from {table}").df() for name, table in tables.items()}
    return rows, open_panel(home, EXPERIMENT)


@pytest.mark.parametrize("name", ["candles", "aligned", "features", "trailing", "panel_rows"])
def test_what_the_warehouse_makes_passes(made: tuple[dict[str, pd.DataFrame], Panel], name: str) -> None:
    schema: TableName = "features" if name == "trailing" else name  # type: ignore[assignment]
    check_table(schema, made[0][name])
    assert failures(schema, made[0][name]).empty


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("features", "range_share", -0.1), ("trailing", "rsi_14_wilder", 101.0), ("trailing", "macd", np.inf)],
)
def test_a_feature_out_of_its_range_is_refused(
    made: tuple[dict[str, pd.DataFrame], Panel], table: str, column: str, value: float
) -> None:
    rows = made[0][table].copy()
    rows.loc[7, column] = np.float32(value)
    found = failures("features", rows)
    assert {(column, 7)} == set(zip(found["column"], found["row"], strict=True))


def test_every_fault_is_reported_at_once(made: tuple[dict[str, pd.DataFrame], Panel]) -> None:
    rows = made[0]["candles"].copy()
    rows.loc[3, "close"] = -1.0
    rows.loc[5, "volume"] = np.nan
    rows.loc[7, "closed_at"] = rows.loc[7, "opened_at"]
    with pytest.raises(BrokenContractError, match=r"candles: \d+ values break the contract") as caught:
        check_table("candles", rows)
    assert "opens before it closes" in str(caught.value)
    found = caught.value.failures
    assert {("close", 3), ("volume", 5)} <= set(zip(found["column"], found["row"], strict=True))


def test_instants_of_another_unit_are_refused(made: tuple[dict[str, pd.DataFrame], Panel]) -> None:
    rows = made[0]["aligned"].assign(as_of=lambda table: table["as_of"].astype("datetime64[ns]"))
    with pytest.raises(BrokenContractError, match=r"as_of: naive UTC datetime64\[us\]"):
        check_table("aligned", rows)


def test_a_mask_that_disagrees_with_prices_is_refused(made: tuple[dict[str, pd.DataFrame], Panel]) -> None:
    rows = made[0]["aligned"].copy()
    rows["is_tradable"] = ~rows["is_tradable"]
    with pytest.raises(BrokenContractError, match="is_tradable where there is a trade price"):
        check_table("aligned", rows)


def test_a_doubled_row_is_refused(made: tuple[dict[str, pd.DataFrame], Panel]) -> None:
    rows = made[0]["panel_rows"]
    with pytest.raises(BrokenContractError, match="panel_rows"):
        check_table("panel_rows", pd.concat([rows, rows.iloc[:1]], ignore_index=True))


def test_a_forecast_that_is_no_return_is_refused() -> None:
    rows = pd.DataFrame(
        {
            "as_of": np.array(["2025-03-03T01:00", "2025-03-03T02:00"], "datetime64[us]"),
            "asset_id": ["bybit:linear:BTCUSDT"] * 2,
            "family": ["attention"] * 2,
            "kind": ["return"] * 2,
            "horizon": np.array([24, 24], np.int32),
            "value": np.array([0.01, 3.0], np.float32),
            "model_id": ["m", "m"],
        }
    )
    check_table("predictions", rows.iloc[:1])
    with pytest.raises(BrokenContractError, match="a log return within 1"):
        check_table("predictions", rows)


def test_a_weight_may_be_larger_than_a_return_and_each_row_says_which_it_is() -> None:
    rows = pd.DataFrame(
        {
            "as_of": np.array(["2025-03-03T01:00"], "datetime64[us]"),
            "asset_id": ["bybit:linear:BTCUSDT"],
            "family": ["portfolio_transformer"],
            "kind": ["weight"],
            "horizon": np.array([24], np.int32),
            "value": np.array([1.5], np.float32),
            "model_id": ["m"],
        }
    )
    check_table("predictions", rows)
    with pytest.raises(BrokenContractError, match="within 10"):
        check_table("predictions", rows.assign(value=np.float32(11)))
    with pytest.raises(BrokenContractError, match="kind"):
        check_table("predictions", rows.assign(kind="wish"))


@pytest.mark.parametrize("asset_id", ["yahoo:equity:M&M.NS", "yahoo:currency:EURUSD=X", "exchange_2:linear:BTCUSDT"])
def test_a_key_may_be_of_any_symbol_and_venue_that_an_asset_may_have(asset_id: str) -> None:
    rows = pd.DataFrame(
        {
            "as_of": np.array(["2025-03-03T15:00"], "datetime64[us]"),
            "asset_id": [asset_id],
            "strategy": ["cash"],
            "target_weight": [0.5],
        }
    )
    check_table("weights", rows)
    with pytest.raises(BrokenContractError, match="venue:category:symbol"):
        check_table("weights", rows.assign(asset_id=asset_id.lower()))


def test_a_weight_beyond_reason_is_refused_and_a_missing_one_is_not() -> None:
    rows = pd.DataFrame(
        {
            "as_of": np.array(["2025-03-03T15:00", "2025-03-04T15:00"], "datetime64[us]"),
            "asset_id": ["yahoo:equity:AAPL"] * 2,
            "strategy": ["cash"] * 2,
            "target_weight": [np.nan, 0.1],
        }
    )
    check_table("weights", rows)
    with pytest.raises(BrokenContractError, match="within 10"):
        check_table("weights", rows.assign(target_weight=[11.0, 0.1]))


def test_the_exported_panel_passes_whole_and_in_part(made: tuple[dict[str, pd.DataFrame], Panel]) -> None:
    check_panel(made[1])
    check_panel(made[1], first_row=48)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("age_hours_TN", lambda values: values - 5, "closed after as_of"),
        ("trade_price_TN", lambda values: -values, "trade price that is not positive"),
        ("is_fresh_TN", lambda values: ~values, "disagrees with is_fresh|fresh and has no mark|changed although"),
        ("mark_price_TN", lambda values: values * np.linspace(1, 2, len(values))[:, None], "changed although nothing was fresh"),
        ("feature_TNF", lambda values: np.nan_to_num(values), "where nothing was fresh"),
        ("feature_TNF", lambda values: np.where(np.isnan(values), values, np.inf).astype(np.float32), "has an infinite"),
        ("quote_volume_TN", lambda values: values[1:], "has shape"),
        (
            "as_of_T",
            lambda values: values + np.r_[[0] * 30, [3600_000_000] * (len(values) - 30)].astype("timedelta64[us]"),
            "not by the next row, 1 hour later",
        ),
    ],
)
def test_a_panel_that_breaks_its_contract_is_refused(
    made: tuple[dict[str, pd.DataFrame], Panel], name: str, change, message: str
) -> None:
    broken = replace(made[1], **{name: change(np.array(getattr(made[1], name)))})
    with pytest.raises(ContractError, match=message):
        check_panel(broken)


def test_windows_lie_in_the_panel_and_never_behind_the_last_row(made: tuple[dict[str, pd.DataFrame], Panel]) -> None:
    panel = made[1]
    check_windows(panel, np.array([23, 40, 95]), 24)
    with pytest.raises(ContractError, match="row 22 has 23 bars behind it, where 24 are read"):
        check_windows(panel, np.array([22]), 24)
    with pytest.raises(LookaheadError, match="row 50 lies behind the last row that may be read, 40"):
        check_windows(panel, np.array([30, 50]), 24, last_row=40)
    with pytest.raises(ContractError, match="not ascending"):
        check_windows(panel, np.array([30, 30]), 24)


def test_a_scaler_that_saw_rows_behind_the_cut_off_is_refused() -> None:
    cut_off = np.datetime64("2025-03-03T00:00", "us")
    check_cut_off(cut_off, cut_off)
    with pytest.raises(LookaheadError, match=r"scaler: fitted on rows up to .* 5 h behind the cut-off"):
        check_cut_off(cut_off + np.timedelta64(5, "h"), cut_off)
