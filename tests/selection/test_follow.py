"""The followed portfolio is what the strategy in charge of the day wants, and keeps the limits when it changes hands."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate
from crossattn_core.home import Home
from crossattn_core.portfolio.decide import decision_rows, target_weights
from crossattn_core.selection.choose import choose_champions
from crossattn_core.selection.follow import CHAMPION, follow
from crossattn_core.selection.handover import ORDER_COLUMNS, check_orders, orders_of, read_orders, save_orders
from tests.selection.test_choose import FAMILIES, SETTINGS, _returns
from tests.walk_forward.fakes import rolling_experiment, synthetic_panel

DAYS = 40
EXPERIMENT = rolling_experiment().model_copy(
    update={"portfolio": rolling_experiment().portfolio.model_copy(update={"volatility_hours": 96})}
)
PANEL = synthetic_panel(DAYS)
ROWS_D = decision_rows(PANEL.as_of_T, EXPERIMENT.portfolio)[8:]


@pytest.fixture(scope="module")
def targets():
    generator = np.random.default_rng(0)
    forecast_TN = 0.02 * generator.standard_normal(PANEL.mark_price_TN.shape)
    return {
        name: target_weights(name, PANEL, forecast_TN, ROWS_D, EXPERIMENT) for name in ("attention", "equal_weight", "momentum")
    }


def _followed(targets, leader_D):
    return follow(targets, leader_D, PANEL, ROWS_D, EXPERIMENT)


def _equity(wanted):
    market = market_of(PANEL, EXPERIMENT.assets, EXPERIMENT.costs, EXPERIMENT.backtest)
    return simulate(market, wanted, execution_lag=EXPERIMENT.labels.execution_lag, capital=1.0)


def test_a_family_that_leads_throughout_is_followed_exactly(targets) -> None:
    followed = _followed(targets, ["attention"] * len(ROWS_D))
    wanted_DN, own_DN = targets["attention"].target_DN, followed.targets.target_DN
    assert np.array_equal(np.isnan(wanted_DN), np.isnan(own_DN))
    np.testing.assert_allclose(_equity(followed.targets).equity_T, _equity(targets["attention"]).equity_T, rtol=1e-3)


def test_after_a_change_the_followed_weights_become_those_of_the_new_champion(targets) -> None:
    changed = 12
    leader_D = ["equal_weight"] * changed + ["attention"] * (len(ROWS_D) - changed)
    followed = _followed(targets, leader_D)
    own, champions = _equity(followed.targets), _equity(targets["attention"])
    settled = ROWS_D[changed + 4] - ROWS_D[0] + 5
    np.testing.assert_allclose(own.weight_TN[settled], champions.weight_TN[settled], atol=0.03)
    before = ROWS_D[changed - 1] - ROWS_D[0] + 5
    assert np.abs(own.weight_TN[before] - champions.weight_TN[before]).max() > 0.1


def test_a_leave_alone_of_the_new_champion_is_read_as_its_own_position(targets) -> None:
    changed = 12
    silent = dataclasses.replace(targets["attention"], target_DN=targets["attention"].target_DN.copy())
    silent.target_DN[changed] = np.nan
    followed = _followed(targets | {"attention": silent}, ["equal_weight"] * changed + ["attention"] * (len(ROWS_D) - changed))
    ordered_N = followed.targets.target_DN[changed]
    assert np.isfinite(ordered_N).all()
    row = ROWS_D[changed] - ROWS_D[0]
    champions_N = _equity(silent).weight_TN[row]
    np.testing.assert_allclose(ordered_N, champions_N, atol=0.01)


def test_a_decision_reads_nothing_after_its_own_row(targets) -> None:
    row = int(ROWS_D[20])
    leader_D = (["equal_weight", "attention", "momentum"] * len(ROWS_D))[: len(ROWS_D)]
    other = synthetic_panel(DAYS, seed=77)
    mixed = {
        name: np.concatenate([getattr(PANEL, name)[: row + 1], getattr(other, name)[row + 1 :]])
        for name in ("trade_price_TN", "mark_price_TN", "is_fresh_TN", "age_hours_TN")
    }
    rewritten = follow(targets, leader_D, dataclasses.replace(PANEL, **mixed), ROWS_D, EXPERIMENT)
    kept, again = _followed(targets, leader_D).targets.target_DN[:21], rewritten.targets.target_DN[:21]
    assert np.array_equal(kept, again, equal_nan=True)


@pytest.fixture(scope="module")
def followed(targets):
    leader_D = (["equal_weight"] * 5 + ["attention"] * 4 + ["momentum"] * 3) * len(ROWS_D)
    return _followed(targets, leader_D[: len(ROWS_D)])


def _orders(followed):
    import pandas as pd

    nothing = pd.DataFrame({name: [] for name in ("as_of", "asset_id", "family", "horizon", "forecast", "model_id")})
    return orders_of(followed, nothing.astype({"as_of": "datetime64[us]", "asset_id": "str", "family": "object"}), EXPERIMENT)


def test_orders_keep_every_limit_whoever_leads(followed) -> None:
    orders = _orders(followed)
    assert list(orders.columns) == list(ORDER_COLUMNS)
    assert len(orders) == len(ROWS_D) * 4
    assert check_orders(orders, EXPERIMENT).empty


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("weight", 0.9, "beyond the asset's limit"),
        ("weight", np.inf, "not finite"),
        ("forecast", np.inf, "not finite"),
        ("tradable", False, "closed at the fill"),
        ("asset_id", "bybit:linear:XUSDT", "not in the universe"),
    ],
)
def test_an_order_that_must_not_be_sent_is_named(followed, column, value, says) -> None:
    orders = _orders(followed).astype({"tradable": object})
    place = orders.index[(orders["champion"] == "attention") & orders["weight"].notna()][0]
    orders.loc[place, column] = value
    faults = check_orders(orders, EXPERIMENT)
    assert says in " ".join(faults["fault"])
    assert set(faults["as_of"]) == {orders.loc[place, "as_of"]}


def test_too_much_in_all_is_a_fault_though_each_asset_keeps_its_limit(followed) -> None:
    orders = _orders(followed)
    decision = orders["as_of"] == orders.loc[orders["champion"] == "attention", "as_of"].iloc[0]
    orders.loc[decision, "weight"] = 0.3
    assert check_orders(orders, EXPERIMENT)["fault"].str.contains("gross exposure").sum() == 4


def test_parquet_csv_and_json_hold_the_same_weights(followed, tmp_path: Path) -> None:
    import json

    import pandas as pd

    orders = _orders(followed)
    champions = choose_champions(_returns(), FAMILIES, SETTINGS, seed=1)
    folder = save_orders(Home(tmp_path), orders, champions, EXPERIMENT)
    pd.testing.assert_frame_equal(read_orders(Home(tmp_path)), orders, check_dtype=False)
    csv = pd.read_csv(folder / "target_weights.csv")
    read = pd.DataFrame(json.loads((folder / "target_weights.json").read_text()))
    for other in (csv["weight"], read["weight"].astype(float)):
        np.testing.assert_allclose(other, orders["weight"], rtol=1e-12)
    newest = json.loads((folder / "newest.json").read_text())
    assert pd.Timestamp(newest["as_of"]).tz_localize(None) == followed.targets.as_of_D[-1]
    assert [row["asset_id"] for row in newest["weights"]] == list(PANEL.asset_ids)
    assert not list(folder.glob(".*"))


def test_the_followed_strategy_has_a_name_of_its_own(followed) -> None:
    assert followed.targets.strategy == CHAMPION
