"""A leader is named only when returns, the model and its attention agree."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis.lead_gate import LEADER_COLUMNS
from crossattn_core.analysis.leaders import Trading, find_leads
from crossattn_core.analysis.snapshot_store import read_attention
from crossattn_core.home import Home
from crossattn_core.panel.labels import next_bar_labels
from tests.walk_forward.fakes import FIRST_DAY, rolling_experiment, synthetic_panel

DAYS, ASSETS = 60, 5
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
LEADS = ((0, 1, 2, 0.5), (0, 2, 5, 0.4), (1, 3, 3, 0.5))
TRUTH = {(f"A{leader}USDT", f"A{follower}USDT"): lag for leader, follower, lag, _ in LEADS}


def _store(home: Home, panel, *, skill: float, looks_at_leader: bool = True, days: int = DAYS) -> None:
    """Snapshots and next-bar forecasts of a model that knows the outcome by ``skill`` and looks where the leads are."""
    generator = np.random.default_rng(0)
    outcome_TN = np.nan_to_num(next_bar_labels(panel).value_TNH[:, :, 0]) / 0.005
    for d in range(days):
        day = FIRST_DAY + timedelta(days=d)
        edge_NM = np.full((ASSETS, ASSETS), 0.2)
        for leader, follower, _, _ in LEADS:
            edge_NM[follower, leader] = 1.0 if looks_at_leader else 0.05
        np.fill_diagonal(edge_NM, 0.0)
        edge_NM /= edge_NM.sum(axis=1, keepdims=True)
        n_P, m_P = np.nonzero(edge_NM)
        names = np.array(panel.asset_ids)
        edges = pd.DataFrame(
            {
                "day": pd.Timestamp(day).as_unit("us"),
                "model_id": "m",
                "quantity": "edge",
                "target": names[n_P],
                "source": names[m_P],
                "lag": np.int32(3),
                "head": np.int32(-1),
                "value": edge_NM[n_P, m_P].astype(np.float32),
            }
        )
        (home.attention / "next_bar").mkdir(parents=True, exist_ok=True)
        edges.to_parquet(home.attention / f"{day}.parquet", index=False)
        rows = slice(d * 24, (d + 1) * 24)
        noise_RN = generator.standard_normal((24, ASSETS))
        forecast_RN = skill * outcome_TN[rows] + noise_RN
        next_bar = pd.DataFrame(
            {
                "as_of": np.repeat(panel.as_of_T[rows], ASSETS),
                "asset_id": np.tile(names, 24),
                "forecast": forecast_RN.ravel().astype(np.float32),
                "alone": generator.standard_normal(24 * ASSETS).astype(np.float32),
                "model_id": "m",
            }
        )
        next_bar.to_parquet(home.attention / "next_bar" / f"{day}.parquet", index=False)


def _found(tmp_path: Path, leads=LEADS, trading=None, **stored):
    home, panel = Home(tmp_path), synthetic_panel(DAYS, ASSETS, leads=leads)
    if stored:
        _store(home, panel, **stored)
    return _leaders(home, panel, LAST, trading)


def _leaders(home: Home, panel, last, trading=None) -> pd.DataFrame:
    experiment = rolling_experiment(ASSETS)
    stored = read_attention(home.attention, last, experiment.analysis.window_days, panel.asset_ids)
    return find_leads(panel, stored, experiment.assets, experiment.analysis, experiment.backtest, trading).table


def test_planted_leaders_are_named_with_their_lags_and_nothing_else_is(tmp_path: Path) -> None:
    table = _found(tmp_path, skill=0.2)
    assert tuple(table.columns) == LEADER_COLUMNS
    experiment = rolling_experiment(ASSETS)
    symbol = dict(zip(experiment.asset_ids, experiment.symbols, strict=True))
    named = table[table["named"]]
    assert {
        (symbol[leader], symbol[follower]): lag
        for leader, follower, lag in zip(named["leader"], named["follower"], named["lag"], strict=True)
    } == TRUTH


@pytest.mark.parametrize(("one_way_bps", "tradable"), [(1.0, True), (1e3, False)])
def test_a_lead_is_tradable_where_the_whole_interval_lies_above_a_round_trip(
    tmp_path: Path, one_way_bps: float, tradable: bool
) -> None:
    table = _found(tmp_path, trading=Trading(cost_bps_N=np.full(ASSETS, one_way_bps)), skill=0.2)
    named = table[table["named"]]
    assert (named["cost_bps"] == 2 * one_way_bps).all()
    assert ((named["strongest_low"] > named["cost_bps"]) == tradable).all()
    assert (named["tradable"] == tradable).all()
    assert named["why"].str.contains("proven, tradable" if tradable else "proven, not tradable").all()


def test_a_mean_above_the_costs_alone_does_not_make_a_lead_tradable(tmp_path: Path) -> None:
    named = _found(tmp_path, trading=Trading(cost_bps_N=np.ones(ASSETS)), skill=0.2).query("named")
    for lead in named.to_dict("records"):
        between = (lead["strongest_low"] + lead["strongest_bps"]) / 4  # one way: a round trip lies between bound and mean
        again = _found(tmp_path, trading=Trading(cost_bps_N=np.full(ASSETS, between)), skill=0.2).query("named")
        same = again[(again["leader"] == lead["leader"]) & (again["follower"] == lead["follower"])].iloc[0]
        assert same["strongest_bps"] > same["cost_bps"]
        assert not same["tradable"]


def test_a_chain_of_leads_is_not_mistaken_for_a_direct_one(tmp_path: Path) -> None:
    table = _found(tmp_path, skill=0.2).set_index(["leader", "follower"])
    ids = rolling_experiment(ASSETS).asset_ids
    indirect = table.loc[(ids[0], ids[3])]  # A0 leads A1 by 2, A1 leads A3 by 3
    assert indirect["q_value"] < 0.05
    assert indirect["lag"] == 5
    assert not indirect["named"]
    assert "explained by A1USDT" in indirect["why"]


def test_no_leader_is_named_when_the_model_gains_nothing_from_the_others(tmp_path: Path) -> None:
    table = _found(tmp_path, skill=0.0)
    assert not table["named"].any()
    assert table["why"].str.contains("beside the same model without cross-attention: not above 0").sum() == 3


def test_no_leader_is_named_where_attention_does_not_look(tmp_path: Path) -> None:
    table = _found(tmp_path, skill=0.2, looks_at_leader=False)
    assert not table["named"].any()
    assert table["why"].str.contains("of its fair share").sum() == 3


def test_no_leader_is_named_on_independent_markets_whatever_the_model_says(tmp_path: Path) -> None:
    table = _found(tmp_path, leads=(), skill=0.2)
    assert not table["named"].any()
    assert table["why"].str.startswith("no lead in returns").all()


def test_without_forecasts_the_table_says_so(tmp_path: Path) -> None:
    table = _found(tmp_path)
    assert not table["named"].any()
    assert table["why"].str.contains("no out-of-sample forecasts").sum() == 3


def test_the_table_reads_nothing_after_its_day(tmp_path: Path) -> None:
    home, panel = Home(tmp_path), synthetic_panel(DAYS, ASSETS, leads=LEADS)
    _store(home, panel, skill=0.2)
    day = FIRST_DAY + timedelta(days=49)
    before = _leaders(home, panel.until(50 * 24), day)
    pd.testing.assert_frame_equal(before, _leaders(home, panel, day))
