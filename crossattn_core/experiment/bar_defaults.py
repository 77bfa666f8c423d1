"""Defaults that follow the grid's bar: what differs from the hourly defaults where an experiment names another bar.

Knobs that mean a time (hours, days) keep their value; knobs that count bars are set to what suits the bar. What a file names
itself is never touched.
"""

from collections.abc import Mapping
from typing import Any

from crossattn_core.grid import Grid, bar_names

__all__ = ["BAR_DEFAULTS", "with_bar_defaults"]

_UNDER_AN_HOUR: dict[str, dict[str, Any]] = {
    # A lead of minutes is over within a few bars: near lags first.
    "model": {"lag_prior": 2.0},
    "features": {"max_age_hours": 24},
}
_MINUTES: dict[str, dict[str, Any]] = {
    "labels": {"horizons": (1, 60), "trade_horizon": 60},
    "model": {"lag_prior": 2.0, "max_lag": 12, "lookback": 120, "patch": 12},
    "training": {"embargo": 60},
    "baselines": {"ridge_lags": 12, "momentum_hours": 24, "volatility_hours": 48},
    "portfolio": {"volatility_hours": 48},
    "retrain": {"minimum_days": 10, "history_days": 30, "every_days": 7, "cooldown_days": 5},
    "selection": {"minimum_days": 10, "every_days": 7},
    "analysis": {"max_lag": 12, "window_days": 30},
}
BAR_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "1m": {**_UNDER_AN_HOUR, **_MINUTES},
    "3m": {**_UNDER_AN_HOUR, **_MINUTES, "labels": {"horizons": (1, 20), "trade_horizon": 20}},
    "5m": {**_UNDER_AN_HOUR, **_MINUTES, "labels": {"horizons": (1, 12), "trade_horizon": 12}},
    "15m": {**_UNDER_AN_HOUR, "labels": {"horizons": (1, 16), "trade_horizon": 16}},
    "30m": {**_UNDER_AN_HOUR, "labels": {"horizons": (1, 16), "trade_horizon": 16}},
    "1h": {},
    "4h": {
        "labels": {"horizons": (1, 6), "trade_horizon": 6},
        "model": {"lookback": 84, "patch": 12, "max_lag": 12},
        "training": {"embargo": 6},
        "baselines": {"ridge_lags": 12},
        "portfolio": {"decision_hour": 16},
        "analysis": {"max_lag": 12, "window_days": 360},
    },
    "1d": {
        "features": {"max_age_hours": 120},
        "labels": {"horizons": (1, 7), "trade_horizon": 7},
        "model": {"lookback": 64, "patch": 8, "max_lag": 10},
        "training": {"embargo": 7},
        "baselines": {
            "ridge_lags": 10,
            "momentum_hours": 24 * 28,
            "volatility_hours": 24 * 91,
            "characteristic_bars": (1, 7, 28, 91, 182, 364),
        },
        "regimes": {"volatility_days": 30, "correlation_days": 60, "minimum_days": 180},
        "retrain": {"minimum_days": 730, "history_days": 2190, "every_days": 91, "cooldown_days": 28},
        "selection": {"every_days": 91, "window_days": 730, "minimum_days": 182},
        "portfolio": {"decision_hour": 0, "volatility_hours": 24 * 91, "rebalance_every": 24},
        "analysis": {"max_lag": 10, "window_days": 1460},
    },
}
"""Bar -> section -> knob -> its default at that bar."""

assert BAR_DEFAULTS.keys() == set(bar_names())


def with_bar_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with the bar's defaults laid under each section that is there or not; nothing that is named is changed."""
    named = settings.get("grid")
    bar = named.bar if isinstance(named, Grid) else named.get("bar", "1h") if isinstance(named, Mapping) else "1h"
    result = dict(settings)
    for section, knobs in BAR_DEFAULTS.get(bar, {}).items():
        given = result.get(section)
        if given is None or isinstance(given, Mapping):
            result[section] = {**knobs, **(given or {})}
    return result
