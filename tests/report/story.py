"""A small made-up experiment with everything that a report can show; deterministic."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.grid import Grid
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.report.inputs import AttentionSummary, ReportInputs
from tests.report.attention_stories import attention_story

STRATEGIES = ("attention", "equal_weight", "cash", "buy_and_hold", "inverse_volatility", "momentum", "ridge_var")


def experiment(bar="1h", **portfolio) -> Experiment:
    return load_experiment(overrides={"grid": {"bar": bar}, "portfolio": portfolio, "backtest": {"bootstrap_samples": 100}})


def open_rows(as_of_T, on: Grid):
    """Rows in whose bar a stock's session lies: 14:30 .. 21:00 UTC on weekdays."""
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    opens_T, closes_T = (day_T + np.timedelta64(minutes, "m") for minutes in (14 * 60 + 30, 21 * 60))
    return (as_of_T > opens_T) & (as_of_T - on.step_us < closes_T) & ((day_T.astype(np.int64) + 3) % 7 < 5)


def settlements(as_of_T, on: Grid):
    """How many settlements of funding (00:00, 08:00, 16:00 UTC) lie in the bar of each row."""
    return sum((as_of_T - on.step_us < hour) & (hour <= as_of_T) for hour in _hours_of(as_of_T))


def _hours_of(as_of_T):
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    return [day_T + np.timedelta64(hours, "h") for hours in (8, 16, 24)]


def panel(of: Experiment, first=date(2025, 1, 1), last=date(2025, 6, 30), seed=1, drift=0.0) -> Panel:
    draw = np.random.default_rng(seed)
    as_of_T = of.grid.rows(first, last)
    rows, assets = len(as_of_T), len(of.assets)
    volatility = np.array([0.006 if asset.venue == "bybit" else 0.0025 for asset in of.assets]) * np.sqrt(of.grid.hours_per_bar)
    common_T1 = draw.standard_normal((rows, 1))
    log_TN = np.cumsum(drift + volatility * (0.4 * common_T1 + 0.9 * draw.standard_normal((rows, assets))), axis=0)
    candle_TN = np.ones((rows, assets), dtype=bool)
    for place, asset in enumerate(of.assets):
        if asset.venue == "yahoo":
            candle_TN[:, place] = open_rows(as_of_T, of.grid)
    trade_TN = np.where(candle_TN, 100.0 * np.exp(log_TN), np.nan)
    mark_TN = pd.DataFrame(trade_TN).ffill().to_numpy()
    newest_TN = np.maximum.accumulate(np.where(candle_TN, np.arange(rows)[:, None], -1), axis=0)
    age_TN = np.where(newest_TN >= 0, (np.arange(rows)[:, None] - newest_TN) * of.grid.hours_per_bar, np.nan)
    funding_TN = np.full((rows, assets), np.nan)
    due_T = settlements(as_of_T, of.grid) > 0
    crypto_N = np.array([asset.venue == "bybit" for asset in of.assets])
    funding_TN[np.ix_(due_T, crypto_N)] = 1e-4 * (1 + draw.standard_normal((int(due_T.sum()), int(crypto_N.sum()))))
    return Panel(
        as_of_T=as_of_T,
        asset_ids=of.asset_ids,
        features=of.features.names,
        feature_TNF=np.zeros((rows, assets, len(of.features.names)), dtype=np.float32),
        trade_price_TN=trade_TN,
        mark_price_TN=mark_TN,
        is_fresh_TN=candle_TN,
        age_hours_TN=age_TN.astype(np.float32),
        quote_volume_TN=np.where(candle_TN, 1e7, np.nan),
        funding_rate_TN=funding_TN,
        content_hash="made-up-panel",
        grid=of.grid,
    )


def outcome(of: Experiment, on: Panel):
    """(T, N) what the label would be, from marks; NaN near the end. Tests may look ahead, nothing else may."""
    lag, horizon = of.labels.execution_lag, of.labels.trade_horizon
    outcome_TN = np.full(on.mark_price_TN.shape, np.nan)
    outcome_TN[: -lag - horizon] = np.log(on.mark_price_TN[lag + horizon :] / on.mark_price_TN[lag:-horizon])
    return outcome_TN


def forecasts(of: Experiment, on: Panel, ic=0.15, seed=2):
    """(T, N) forecasts that correlate with the outcome by about ``ic`` and are scaled as an honest model's are."""
    draw = np.random.default_rng(seed)
    outcome_TN = outcome(of, on)
    scale_N = np.nanstd(outcome_TN, axis=0)
    noise_TN = draw.standard_normal(outcome_TN.shape) * scale_N
    return max(abs(ic), 0.15) * (ic * outcome_TN + np.sqrt(1 - ic**2) * noise_TN)


def inputs(of: Experiment | None = None, ic=0.15, seed=1, first=date(2025, 1, 1), last=date(2025, 6, 30)) -> ReportInputs:
    of = of or experiment()
    on = panel(of, first, last, seed=seed)
    market = market_of(on, of.assets, of.costs, of.backtest)
    rows_D = decision_rows(on.as_of_T, of.portfolio, first=np.datetime64(first + timedelta(45), "us"))
    forecast = {"attention": forecasts(of, on, ic), "ridge_var": forecasts(of, on, 0.6 * ic, seed=3)}
    targets = {name: target_weights(name, on, forecast.get(name), rows_D, of) for name in STRATEGIES}
    simulations = {
        name: simulate(market, weights, execution_lag=of.labels.execution_lag, capital=of.backtest.capital)
        for name, weights in targets.items()
    }
    draw = np.random.default_rng(9)
    assets, lags = len(of.assets), 24
    weight_NM = draw.dirichlet(np.full(assets, 0.6), size=assets)
    weight_ML = draw.dirichlet(np.full(lags, 0.3), size=assets) * weight_NM.mean(axis=0)[:, None]
    days = pd.date_range("2025-02-15", "2025-06-30", freq="D")
    retrain_days = {days[0]: "first", days[28]: "scheduled", days[47]: "regime_change", days[75]: "scheduled", days[103]: "drift"}
    plan = pd.DataFrame(
        [
            {
                "day": day,
                "family": family,
                "action": "retrain" if day in retrain_days else "carry",
                "reason": retrain_days.get(day, "in force"),
                "model_id": f"{family[:3]}-{number:04d}",
                "regime": number % 3,
                "train_start": pd.Timestamp("2025-01-01"),
                "cut_off": day,
                "rows": 1000 + 24 * number,
                "validation_loss": 0.98 - 0.0001 * number,
            }
            for number, day in enumerate(days)
            for family in ("attention", "ridge_var")
        ]
    )
    windows = pd.DataFrame(
        {
            "window_id": [0, 1, 2],
            "regime": [0, 2, 1],
            "name": ["calm", "stress", "normal"],
            "onset": pd.to_datetime(["2025-02-01", "2025-03-30", "2025-05-10"]),
            "confirmed": pd.to_datetime(["2025-02-04", "2025-04-03", "2025-05-14"]),
            "end": pd.to_datetime(["2025-04-03", "2025-05-14", None]),
            "days": [58, 41, 48],
            "volatility": [0.004, 0.009, 0.006],
        }
    )
    leads = of.feed.simulated.leads
    leaders = pd.DataFrame(
        [
            {
                "leader": lead.leader,
                "follower": lead.follower,
                "members": (lead.leader,),
                "lag": lead.lag,
                "weight": 0.2 - 0.02 * place,
                "correlation": 0.2,
                "p_value": 0.005,
                "q_value": 0.02,
                "named": place < 4,
                "why": "" if place < 4 else "permutation test: q 0.11",
            }
            for place, lead in enumerate(leads)
        ]
    )
    quality = pd.DataFrame(
        {
            "asset_id": of.asset_ids,
            "candles": 4344,
            "missing_candles": 7,
            "longest_gap_hours": 2.0,
            "revisions": 0,
            "quarantined": 0,
            "newest_candle": pd.Timestamp("2025-07-01"),
        }
    )
    ic_frame = pd.DataFrame(
        [
            {
                "family": family,
                "horizon": horizon,
                "asset_id": asset_id,
                "measure": "IC",
                "value": value / (1 + horizon % 5),
                "low": value - 0.06,
                "high": value + 0.06,
                "pairs": 3000,
            }
            for family, value in (("attention", 0.148), ("ridge_var", 0.09))
            for horizon in of.labels.horizons
            for asset_id in ("all", *of.asset_ids)
        ]
    )
    return ReportInputs(
        experiment=of,
        simulations=simulations,
        shrinkage={name: targets[name].shrinkage_D for name in forecast},
        forecast_quality=ic_frame,
        plan=plan,
        regime_windows=windows,
        attention=AttentionSummary(of.symbols, weight_NM, tuple(range(lags)), weight_ML, of.grid),
        overview=attention_story(len(of.assets)),
        leaders=leaders,
        planted=leads,
        data_quality=quality,
        hashes={"experiment": of.content_hash(), "panel": on.content_hash, "code": "0.0.0"},
    )
