"""From a position back to the candles it came from: every number that made one asset's weight on one day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.tree import Tree

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate
from crossattn_core.days import bounds
from crossattn_core.errors import BacktestError, UniverseError
from crossattn_core.experiment import Experiment
from crossattn_core.panel.align import forecast_array
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decisions import short_forecast_array
from crossattn_core.portfolio.sizing import COST_AWARE_RULES, no_trade_zone, size_forecasts, trade_cost
from crossattn_core.portfolio.strategies.registry import is_baseline
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.selection.choose import Champions
from crossattn_core.selection.follow import CHAMPION

__all__ = ["Step", "StoredDecisions", "explain", "trace_records", "trace_tree"]


@dataclass(frozen=True)
class Step:
    """One stage of the way back, with its facts by name, written out."""

    title: str
    facts: dict[str, str]


@dataclass(frozen=True)
class StoredDecisions:
    """What the stages stored about decisions, loaded once."""

    experiment: Experiment
    panel: Panel
    targets: Mapping[str, Targets]
    """Strategy -> target weights: of the strategy that is explained and, for the champion, of all that it may have followed."""
    champions: Champions | None
    """Who was followed by day; none before the first hand-over."""
    forecasts: pd.DataFrame
    """``walk_forward.store.FORECAST_COLUMNS``."""
    weights: Mapping[str, NDArray[np.float32]]
    """Family -> (T, N) weights that it gave in place of forecasts; only families that do."""
    plan: pd.DataFrame
    """``walk_forward.store.PLAN_COLUMNS`` of the day that is explained."""


def explain(stored: StoredDecisions, day: date, symbol: str, strategy: str = "attention") -> tuple[Step, ...]:
    """Walk from the position in ``symbol`` after the last decision of ``day`` back to its candle.

    Steps: position, target, decision, forecast, model, features, candle; a baseline has no decision, forecast or model. The
    champion's way goes on with that of the strategy it followed on that day.

    Raises:
        UniverseError: the symbol is not in the universe.
        BacktestError: no champion is stored, or nothing was decided on ``day``.
    """
    experiment, panel = stored.experiment, stored.panel
    if symbol not in experiment.symbols:
        raise UniverseError(f"{symbol} is not in experiment {experiment.name!r} ({', '.join(experiment.symbols)})")
    asset = experiment.symbols.index(symbol)
    targets = stored.targets[strategy]
    start, end = (np.datetime64(edge, "us") for edge in bounds(day))
    today = np.flatnonzero((targets.as_of_D > start) & (targets.as_of_D <= end))
    if not len(today):
        raise BacktestError(
            f"{strategy} decided nothing on {day}; it decided from {targets.as_of_D[0]} to {targets.as_of_D[-1]}, "
            f"every {experiment.portfolio.rebalance_every} h"
        )
    decision = int(today[-1])
    row = int(targets.rows(panel.as_of_T)[decision])
    steps = [_position(targets, panel, experiment, decision, asset), _target(targets, panel, experiment, decision, asset)]
    if strategy == CHAMPION:
        strategy, followed = _followed(stored.champions, day)
        steps.append(followed)
        targets = stored.targets[strategy]
        decision = int(np.searchsorted(targets.as_of_D, panel.as_of_T[row]))
    if not is_baseline(strategy):
        if strategy in stored.weights:
            weight = float(stored.weights[strategy][row, asset])
            steps.append(Step("weight from the model", {"weight": f"{weight:+.2%} of equity, before limits"}))
        else:
            forecasts = stored.forecasts[stored.forecasts["family"] == strategy]
            steps.append(_decision(targets, forecasts, panel, experiment, decision, asset))
            steps.append(_forecast(forecasts, panel, experiment, row, asset))
        steps.append(_model(stored.plan, strategy))
    steps += [_features(panel, row, asset), _candle(panel, row, asset)]
    return tuple(steps)


def trace_records(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The steps for machines: title and facts by name, in order."""
    return [{"step": step.title, "facts": step.facts} for step in steps]


def trace_tree(steps: tuple[Step, ...], title: str) -> Tree:
    """The steps as the terminal shows them, each below the one it led to."""
    root = Tree(f"[bold]{title}")
    branch = root
    for step in steps:
        branch = branch.add(f"[bold]{step.title}")
        for name, value in step.facts.items():
            branch.add(f"{name}: {value}")
    return root


def _followed(champions: Champions | None, day: date) -> tuple[str, Step]:
    chosen = None if champions is None else champions.by_day[pd.to_datetime(champions.by_day["day"]) == pd.Timestamp(day)]
    if chosen is None or chosen.empty:
        raise BacktestError(f"no champion is stored for {day}; make the target weights first")
    line = chosen.iloc[-1]
    return str(line["champion"]), Step("followed", {"strategy": str(line["champion"]), "why": str(line["why"])})


def _position(targets: Targets, panel: Panel, experiment: Experiment, decision: int, asset: int) -> Step:
    lag = experiment.labels.execution_lag
    market = market_of(panel, experiment.assets, experiment.costs, experiment.backtest)
    done = simulate(market, targets, execution_lag=lag, capital=experiment.backtest.capital)
    row = int(targets.rows(panel.as_of_T)[decision]) - done.start + lag
    if row >= len(done.equity_T):
        return Step("position", {"filled": f"not yet: the order of {_when(targets.as_of_D[decision])} waits for its fill row"})
    execution = int(np.searchsorted(done.fill_K, row))
    traded, price = float(done.trade_KN[execution, asset]), float(done.market.price_TN[done.start + row, asset])
    paid = float(done.paid_KN[execution, asset])
    facts = {
        "after the fill at": _when(done.as_of_T[row]),
        "weight": f"{done.weight_TN[row, asset]:+.2%} of equity {done.equity_T[row]:,.2f}",
        "units": f"{done.units_KN[execution, asset]:+.6g} at {price:.6g}",
        "traded": f"{traded:+,.2f}, costing {paid:,.2f}" if traded else "nothing",
    }
    return Step("position", facts)


def _target(targets: Targets, panel: Panel, experiment: Experiment, decision: int, asset: int) -> Step:
    weight = float(targets.target_DN[decision, asset])
    fill = int(targets.rows(panel.as_of_T)[decision]) + experiment.labels.execution_lag
    if np.isnan(weight):
        target = "left alone"
    elif fill < len(panel.as_of_T) and not panel.is_tradable_TN[fill, asset]:
        target = f"{weight:+.2%}, but the asset did not trade at the fill row"
    else:
        target = f"{weight:+.2%}"
    return Step("target", {"decided at": _when(targets.as_of_D[decision]), "weight": target})


def _decision(targets: Targets, forecasts: pd.DataFrame, panel: Panel, experiment: Experiment, decision: int, asset: int) -> Step:
    settings = experiment.portfolio
    forecast_TN = forecast_array(forecasts, panel, targets.strategy, experiment.labels.trade_horizon)
    rows_D = targets.rows(panel.as_of_T)[: decision + 1]
    short_TN = short_forecast_array(forecasts, panel, targets.strategy, experiment)
    made = size_forecasts(panel, forecast_TN, rows_D, experiment, past_short_TN=short_TN)
    cost = float(trade_cost(panel.asset_ids, experiment.costs)[asset])
    facts = {
        "rule": settings.rule,
        "held before": f"{made.held_DN[decision, asset]:+.2%}",
        "shrinkage": f"{made.shrinkage_DN[decision, asset]:.0%} of the forecast kept",
        "expected carry": f"{1e4 * made.carry_DN[decision, asset]:+.1f} bps paid by a long",
        "edge": f"{1e4 * made.edge_DN[decision, asset]:+.1f} bps against {1e4 * cost:.1f} bps a trade",
        "risk": f"{np.sqrt(made.variance_DN[decision, asset]):.2%} over {experiment.grid.label(experiment.labels.trade_horizon)}",
    }
    if not made.usable_DN[decision, asset]:
        facts["not decided"] = "no forecast or no risk estimate, a candle too old, or a venue closed at the fill"
    elif settings.rule == "long_short" and made.shrinkage_DN[decision, asset] == 0:
        facts["closed"] = "realised forecasts show no skill here: nothing is opened, what is held is closed"
    elif settings.rule in COST_AWARE_RULES:
        pick = np.array([asset])
        low, high = no_trade_zone(made.edge_DN[decision, pick], made.variance_DN[decision, pick], np.array([cost]), settings)
        facts["stays between"] = f"{float(low[0]):+.2%} and {float(high[0]):+.2%} from the anchor, before limits"
    return Step("decision", facts)


def _forecast(forecasts: pd.DataFrame, panel: Panel, experiment: Experiment, row: int, asset: int) -> Step:
    chosen = forecasts[
        (forecasts["as_of"].to_numpy("datetime64[us]") == panel.as_of_T[row]) & (forecasts["asset_id"] == panel.asset_ids[asset])
    ]
    facts = {
        f"{experiment.grid.label(line['horizon'])} ahead": f"{1e4 * line['forecast']:+.2f} bps by model {line['model_id']}"
        for line in chosen.to_dict("records")
    }
    return Step("forecast", facts or {"none": f"no forecast is stored for {_when(panel.as_of_T[row])}"})


def _model(plan: pd.DataFrame, family: str) -> Step:
    rows = plan[plan["family"] == family].to_dict("records")
    if not rows:
        return Step("model", {"none": "the plan has no row for this day"})
    line = rows[-1]
    facts = {
        "in force": str(line["model_id"]) or "none",
        "this day": f"{line['action']}: {line['reason']}",
        "trained on": f"{line['train_start']} .. {line['cut_off']} ({line['rows']} rows)",
        "validation loss": f"{line['validation_loss']:.4f}",
        "regime": str(line["regime"]),
    }
    return Step("model", facts)


def _features(panel: Panel, row: int, asset: int) -> Step:
    values = zip(panel.features, panel.feature_TNF[row, asset], strict=True)
    facts = {name: "none" if np.isnan(value) else f"{value:+.5g}" for name, value in values}
    return Step(f"features at {_when(panel.as_of_T[row])}", facts)


def _candle(panel: Panel, row: int, asset: int) -> Step:
    age = float(panel.age_hours_TN[row, asset])
    if np.isnan(age):
        return Step("candle", {"none": "the asset has no candle yet"})
    facts = {"close": f"{panel.mark_price_TN[row, asset]:.6g}", "age": f"{age:g} h"}
    volume = float(panel.quote_volume_TN[row, asset])
    if not np.isnan(volume):
        facts["traded value"] = f"{volume:,.0f}"
    return Step(f"candle of {panel.asset_ids[asset]}", facts)


def _when(instant: np.datetime64) -> str:
    return f"{str(instant)[:16].replace('T', ' ')}Z"
