"""Every number of the report, computed once: the page, the terminal and ``report.json`` show these."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from crossattn_core.backtest.breakdown import by_month, metrics_by_part, worst_days
from crossattn_core.backtest.comparison import benchmark_relative, sharpe_intervals
from crossattn_core.backtest.metrics.registry import Metrics, metrics_of
from crossattn_core.backtest.overfitting import (
    deflated_sharpe,
    expected_best_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    probability_of_overfitting,
    superior_ability,
)
from crossattn_core.backtest.performance import daily_returns, periods_per_day, returns_by_period, sharpe
from crossattn_core.backtest.sensitivity import sensitivity
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.errors import BacktestError
from crossattn_core.report.inputs import ReportInputs
from crossattn_core.report.lead_verdict import lead_verdict
from crossattn_core.report.verdict import verdict_of

__all__ = ["plain", "report_numbers"]


def report_numbers(inputs: ReportInputs) -> dict[str, Any]:
    """The content of ``report.json``: plain types, None where a number does not exist.

    Raises:
        BacktestError: no simulations, the subject is not among them, or they cover different rows.
    """
    simulations = _ordered(inputs)
    subject, benchmark = inputs.subject, inputs.benchmark
    experiment, own = inputs.experiment, simulations[subject]
    metrics = {name: metrics_of(simulation) for name, simulation in simulations.items()}
    returns = {name: returns_by_period(simulation) for name, simulation in simulations.items()}
    per_day = periods_per_day(own.market.grid)
    intervals = sharpe_intervals(
        returns,
        benchmark,
        samples=experiment.backtest.bootstrap_samples,
        confidence=experiment.backtest.confidence,
        seed=experiment.backtest.seed,
        periods_per_day=per_day,
    )
    quality = {name: _quality(inputs.forecast_quality, name, experiment.labels.trade_horizon) for name in simulations}
    verdict = verdict_of(
        subject,
        benchmark,
        metrics,
        intervals,
        {name: quality[name]["ic"] for name in simulations},
        experiment,
        benchmark_days=_benchmark_days(inputs),
    )
    strategies = {}
    for name, numbers in metrics.items():
        interval, difference = intervals.sharpe[name], intervals.difference.get(name)
        strategies[name] = {
            **numbers,
            **quality[name],
            "sharpe_low": interval.low,
            "sharpe_high": interval.high,
            "sharpe_less_benchmark": None if difference is None else asdict(difference),
        }
    months = pd.DataFrame({name: by_month(simulation) for name, simulation in simulations.items()})
    parts = metrics_by_part(
        own,
        simulations.get(benchmark),
        regime_windows=inputs.regime_windows,
        groups={"venue": [asset.venue for asset in experiment.assets], "asset": experiment.symbols},
    )
    return plain(
        {
            "experiment": experiment.name,
            "experiment_hash": experiment.content_hash(),
            "feed": experiment.feed.kind,
            "subject": subject,
            "benchmark": benchmark,
            "first": str(own.as_of_T[0])[:10],
            "last": str(own.as_of_T[-1] - np.timedelta64(1, "us"))[:10],
            "days": metrics[subject].days,
            "capital": own.capital,
            "verdict": asdict(verdict),
            "leads": _leads(inputs),
            "confidence": intervals.confidence,
            "bootstrap_samples": intervals.samples,
            "bootstrap_block_hours": intervals.block_length * 24 // per_day,
            "order": list(strategies),
            "strategies": strategies,
            "significance": _significance(simulations, inputs, metrics),
            "beside": {
                name: asdict(benchmark_relative(returns[subject], return_P, periods_per_day=per_day))
                for name, return_P in returns.items()
                if name != subject
            },
            "accuracy_tests": [] if inputs.accuracy_tests is None else inputs.accuracy_tests.to_dict("records"),
            "decay": [] if inputs.decay is None else inputs.decay.to_dict("records"),
            "buckets": [{"forecast": name, **found.summary()} for name, found in inputs.buckets.items()],
            "parts": parts.to_dict("records"),
            "months": months.rename_axis("month").reset_index().to_dict("records"),
            "sensitivity": sensitivity(own).to_dict("records"),
            "worst_days": worst_days(own, experiment.symbols).to_dict("records"),
            "missing_funding_settlements": own.market.missing_funding,
            "notes": list(inputs.notes),
            "hashes": dict(inputs.hashes),
        }
    )


def _significance(
    simulations: Mapping[str, Simulation], inputs: ReportInputs, metrics: Mapping[str, Metrics]
) -> dict[str, float | int | None]:
    """The subject's Sharpe ratio after luck, shape and choice; on daily returns, where the formulas' assumptions fit better."""
    settings, own = inputs.experiment.backtest, metrics[inputs.subject]
    daily = {name: daily_returns(simulation)[1] for name, simulation in simulations.items()}
    moving = {name: series for name, series in daily.items() if np.std(series) > 1e-14}
    days = len(daily[inputs.subject])
    trials = max(inputs.trials or settings.trials, len(moving))
    ratios = [sharpe(series, 1.0) for series in moving.values()]
    variance = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    ratio, shape = sharpe(daily[inputs.subject], 1.0), {"skew": own.skew, "kurtosis": own.kurtosis}
    overfitting = None
    if len(moving) >= 4 and days >= 80:
        overfitting = probability_of_overfitting(np.column_stack(list(moving.values())))
    return {
        "trials": trials,
        "probabilistic_sharpe": probabilistic_sharpe(ratio, days, **shape),
        "deflated_sharpe": deflated_sharpe(ratio, days, trials=trials, variance_of_trials=variance, **shape),
        "best_by_luck_annual": expected_best_sharpe(trials, variance) * 365**0.5,
        "minimum_track_record_days": minimum_track_record(ratio, confidence=settings.confidence, **shape),
        "days": days,
        "superior_ability_p": superior_ability(daily, inputs.benchmark, samples=settings.bootstrap_samples, seed=settings.seed),
        "overfitting_probability": None if overfitting is None else overfitting.probability,
    }


def _leads(inputs: ReportInputs) -> dict[str, Any] | None:
    """``LeadVerdict``, the missed leads as pairs with their lags."""
    verdict = lead_verdict(inputs)
    if verdict is None:
        return None
    missed = [{"leader": lead.leader, "follower": lead.follower, "lag_bars": lead.lag} for lead in verdict.missed]
    return {**vars(verdict), "missed": missed}


def plain(value: Any) -> Any:
    """``value`` in JSON's own types; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return None if pd.isna(value) else str(value)


def _benchmark_days(inputs: ReportInputs) -> tuple[int, int] | None:
    """On how many days with a decision the subject followed the benchmark, of how many; none where it follows nobody."""
    if inputs.followed is None:
        return None
    as_of_D = inputs.simulations[inputs.subject].targets.as_of_D
    decided = pd.DatetimeIndex(as_of_D - np.timedelta64(1, "us")).normalize().unique()
    followed = inputs.followed[pd.to_datetime(inputs.followed["day"]).isin(decided)]
    return int((followed["champion"] == inputs.benchmark).sum()), len(decided)


def _ordered(inputs: ReportInputs) -> dict[str, Simulation]:
    """Simulations by strategy, the subject first, the benchmark second."""
    if inputs.subject not in inputs.simulations:
        known = ", ".join(inputs.simulations) or "none"
        raise BacktestError(f"the report is about {inputs.subject!r}, which was not simulated (simulated: {known})")
    spans = {name: (simulation.as_of_T[0], len(simulation.as_of_T)) for name, simulation in inputs.simulations.items()}
    if len(set(spans.values())) > 1:
        found = "; ".join(f"{name} from {first}, {rows} rows" for name, (first, rows) in spans.items())
        raise BacktestError(f"strategies cover different rows and cannot be compared: {found}; decide them on the same rows")
    first = [name for name in (inputs.subject, inputs.benchmark) if name in inputs.simulations]
    return {name: inputs.simulations[name] for name in dict.fromkeys([*first, *inputs.simulations])}


def _quality(forecast_quality: pd.DataFrame | None, family: str, horizon: int) -> dict[str, float | None]:
    """The family's IC at the traded horizon, averaged over assets, with its interval."""
    lines = [] if forecast_quality is None else forecast_quality.to_dict("records")
    of = {"family": family, "horizon": horizon, "asset_id": "all", "measure": "IC"}
    found = next((line for line in lines if all(line[key] == value for key, value in of.items())), {})
    return {"ic": found.get("value"), "ic_low": found.get("low"), "ic_high": found.get("high")}
