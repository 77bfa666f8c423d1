"""The followed portfolio holds what the champion of the day holds, and keeps the limits when it changes hands."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.selection.choose import choose_champions
from crossattn_core.selection.follow import CHAMPION, follow
from crossattn_core.selection.handover import HANDOVER_COLUMNS, check_handover, handover_of, read_handover, save_handover
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


def _followed(targets, champion_D):
    return follow(targets, champion_D, PANEL, ROWS_D, EXPERIMENT)


def _equity(decided):
    market = market_of(PANEL, EXPERIMENT.assets, EXPERIMENT.costs, EXPERIMENT.backtest)
    return simulate(market, decided, execution_lag=EXPERIMENT.labels.execution_lag, capital=1.0)


def test_a_family_that_leads_throughout_is_followed_exactly(targets) -> None:
    followed = _followed(targets, ["attention"] * len(ROWS_D))
    family_DN, own_DN = targets["attention"].target_DN, followed.targets.target_DN
    assert np.array_equal(np.isnan(family_DN), np.isnan(own_DN))
    np.testing.assert_allclose(_equity(followed.targets).equity_T, _equity(targets["attention"]).equity_T, rtol=1e-3)


def test_after_a_change_the_followed_weights_become_those_of_the_new_champion(targets) -> None:
    changed = 12
    champion_D = ["equal_weight"] * changed + ["attention"] * (len(ROWS_D) - changed)
    followed = _followed(targets, champion_D)
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
    champion_D = (["equal_weight", "attention", "momentum"] * len(ROWS_D))[: len(ROWS_D)]
    other = synthetic_panel(DAYS, seed=77)
    mixed = {
        name: np.concatenate([getattr(PANEL, name)[: row + 1], getattr(other, name)[row + 1 :]])
        for name in ("trade_price_TN", "mark_price_TN", "is_fresh_TN", "age_hours_TN")
    }
    rewritten = follow(targets, champion_D, dataclasses.replace(PANEL, **mixed), ROWS_D, EXPERIMENT)
    kept, again = _followed(targets, champion_D).targets.target_DN[:21], rewritten.targets.target_DN[:21]
    assert np.array_equal(kept, again, equal_nan=True)


@pytest.fixture(scope="module")
def followed(targets):
    champion_D = (["equal_weight"] * 5 + ["attention"] * 4 + ["momentum"] * 3) * len(ROWS_D)
    return _followed(targets, champion_D[: len(ROWS_D)])


def _handover(followed):
    import pandas as pd

    nothing = pd.DataFrame({name: [] for name in ("as_of", "asset_id", "family", "horizon", "forecast", "model_id")})
    nothing = nothing.astype({"as_of": "datetime64[us]", "asset_id": "str", "family": "object"})
    return handover_of(followed, nothing, EXPERIMENT)


def test_the_handover_keeps_every_limit_whoever_is_champion(followed) -> None:
    handover = _handover(followed)
    assert list(handover.columns) == list(HANDOVER_COLUMNS)
    assert len(handover) == len(ROWS_D) * 4
    assert check_handover(handover, EXPERIMENT).empty


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("weight", 0.9, "beyond the asset's limit"),
        ("weight", np.inf, "not finite"),
        ("forecast", np.inf, "not finite"),
        ("tradable", False, "closed at the fill"),
        ("asset_id", "bybit:linear:XUSDT", "not in the universe"),
    ],
)
def test_a_weight_that_must_not_be_traded_is_named(followed, column, value, fault) -> None:
    handover = _handover(followed).astype({"tradable": object})
    place = handover.index[(handover["champion"] == "attention") & handover["weight"].notna()][0]
    handover.loc[place, column] = value
    faults = check_handover(handover, EXPERIMENT)
    assert fault in " ".join(faults["fault"])
    assert set(faults["as_of"]) == {handover.loc[place, "as_of"]}


def test_too_much_in_all_is_a_fault_though_each_asset_keeps_its_limit(followed) -> None:
    handover = _handover(followed)
    decision = handover["as_of"] == handover.loc[handover["champion"] == "attention", "as_of"].iloc[0]
    handover.loc[decision, "weight"] = 0.3
    assert check_handover(handover, EXPERIMENT)["fault"].str.contains("gross exposure").sum() == 4


def test_parquet_csv_and_json_hold_the_same_weights(followed, tmp_path: Path) -> None:
    import json

    import pandas as pd

    handover = _handover(followed)
    champions = choose_champions(_returns(), FAMILIES, SETTINGS, seed=1)
    save_handover(tmp_path, handover, champions, "0123456789abcdef")
    pd.testing.assert_frame_equal(read_handover(tmp_path), handover, check_dtype=False)
    csv = pd.read_csv(tmp_path / "target_weights.csv")
    read = pd.DataFrame(json.loads((tmp_path / "target_weights.json").read_text()))
    for other in (csv["weight"], read["weight"].astype(float)):
        np.testing.assert_allclose(other, handover["weight"], rtol=1e-12)
    newest = json.loads((tmp_path / "newest.json").read_text())
    assert pd.Timestamp(newest["as_of"]).tz_localize(None) == followed.targets.as_of_D[-1]
    assert [row["asset_id"] for row in newest["weights"]] == list(PANEL.asset_ids)
    assert not list(tmp_path.glob(".*"))


def test_the_followed_strategy_has_a_name_of_its_own(followed) -> None:
    assert followed.targets.strategy == CHAMPION
