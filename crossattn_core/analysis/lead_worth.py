"""What a proven lead is worth: how much of it survives honest prices, and basis points a trade beside what a trade costs.

A price that nobody traded at is stale: the follower's next return then catches up with what the leader did long since, and
nobody could have traded on it. Two shares say how much of the lagged covariance is left without that, each over the plain one:

    next_trade_share    the follower's return starts at the first trade of its next bar (the bar's open), not at its last close
    moving_share        bars before which the follower's price stood still (no change in its last bar) are left out

``gross_bps`` is what following the leader makes a trade, before costs: into the follower at the first trade after the signal
(at the last close, where no opens are known) and out at that bar's close, in every bar. ``strongest_bps`` is the same for a rule
that could have been followed: trades in the tenth of bars with the largest signals alone, where which signals are large and which
way the follower goes are read from the days before, each day anew; ``strongest_low`` and ``strongest_high`` hold its mean by a
bootstrap of whole days. Every trade pays for going in and out, also where the next one goes the same way.

Nothing here decides whether a lead is proven. Axes: T bars, N assets, D days, B draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.analysis.lead_selection import leader_series
from crossattn_core.experiment import BacktestSettings
from crossattn_core.stats.bootstrap import block_counts, percentile_interval
from crossattn_core.stats.returns import centred
from crossattn_core.stats.scaled_returns import MAX_DEVIATIONS, trailing_deviation

__all__ = ["WORTH_COLUMNS", "FollowerPrices", "follower_prices", "lead_worth"]

WORTH_COLUMNS = ("next_trade_share", "moving_share", "gross_bps", "strongest_bps", "strongest_low", "strongest_high")

_STRONGEST_SHARE = 0.1
_LEARNING_SHARE = 0.25
"""Of the rows: days before the first trade of the strongest signals, from which the first rule is read."""
_MIN_DAYS = 10
"""With trades; fewer give no interval."""
_BPS = 1e4


@dataclass(frozen=True)
class FollowerPrices:
    """Returns that a follower could be measured by, log, NaN where there is none."""

    return_TN: NDArray[np.float64]
    """(T, N) from close to close."""
    from_open_TN: NDArray[np.float64] | None
    """(T, N) from the first trade of the bar to its close; none where opens are unknown."""
    deviation_TN: NDArray[np.float64]
    """(T, N) volatility known before the row."""


def follower_prices(
    return_TN: NDArray[np.float64], price_TN: NDArray[np.float64], open_TN: NDArray[np.float64] | None, rows: slice
) -> FollowerPrices:
    """The last ``rows`` of it all.

    Args:
        return_TN: ``fresh_returns``.
        price_TN: closes, NaN where there is no fresh candle.
        open_TN: first trade of each bar.
    """
    before_TN = np.full(return_TN.shape, np.nan)
    before_TN[1:] = trailing_deviation(return_TN)[:-1]
    from_open_TN = None
    if open_TN is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            from_open_TN = np.log(price_TN / open_TN)[rows]
    return FollowerPrices(return_TN[rows], from_open_TN, before_TN[rows])


def lead_worth(
    scaled_TN: NDArray[np.float64],
    prices: FollowerPrices,
    members: Sequence[int],
    follower: int,
    *,
    lag: int,
    shape: str,
    sign: float,
    bars_per_day: int,
    bootstrap: BacktestSettings,
) -> dict[str, float]:
    """``WORTH_COLUMNS`` of one lead; NaN where it cannot be told.

    Args:
        scaled_TN: ``scaled_returns``, the same rows as ``prices``.
        members: places of the leader's assets.
        sign: of the lead's correlation: below 0 the follower is traded against the leader, in ``gross_bps`` alone.
        bootstrap: samples, confidence and seed of the interval.
    """
    filled_TN, known_TN = centred(scaled_TN)
    signal_T, has_T = leader_series(filled_TN, known_TN, members, shape)
    signal_T, has_T = (np.concatenate([np.zeros(lag, of_T.dtype), of_T[:-lag]]) for of_T in (signal_T, has_T))
    signal_T = sign * signal_T
    plain_T, deviation_T = prices.return_TN[:, follower], prices.deviation_TN[:, follower]
    open_T = None if prices.from_open_TN is None else prices.from_open_TN[:, follower]
    usable_T = has_T & np.isfinite(plain_T) & (deviation_T > 0)
    usable_T &= np.isfinite(open_T) if open_T is not None else True
    # A bar before which the price stood still; without a return of its own it cannot be told, and counts as such.
    moving_T = np.concatenate([[False], np.nan_to_num(plain_T[:-1]) != 0.0])

    def covariance(return_T: NDArray[np.float64], rows_T: NDArray[np.bool_]) -> float:
        value_R = np.clip(return_T[rows_T] / deviation_T[rows_T], -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return float(((value_R - value_R.mean()) * (signal_T[rows_T] - signal_T[rows_T].mean())).sum())

    traded_T = plain_T if open_T is None else open_T
    unknown: dict[str, float] = {name: float("nan") for name in WORTH_COLUMNS}
    if usable_T.sum() < 2:
        return unknown
    whole = covariance(plain_T, usable_T)
    size_T = np.abs(signal_T)
    signals_T, moving_T = usable_T & (size_T > 0), usable_T & moving_T
    gain_T = np.where(signals_T, _BPS * np.sign(signal_T) * np.expm1(traded_T), 0.0)
    strongest, strongest_low, strongest_high = _strongest(gain_T, np.where(signals_T, size_T, np.nan), bars_per_day, bootstrap)
    return unknown | {
        "next_trade_share": covariance(open_T, usable_T) / whole if open_T is not None and whole else float("nan"),
        "moving_share": covariance(plain_T, usable_T & moving_T) / whole
        if whole and (usable_T & moving_T).any()
        else float("nan"),
        "gross_bps": float(gain_T[signals_T].mean()) if signals_T.any() else float("nan"),
        "strongest_bps": strongest,
        "strongest_low": strongest_low,
        "strongest_high": strongest_high,
    }


def _strongest(
    gain_T: NDArray[np.float64], size_T: NDArray[np.float64], bars_per_day: int, bootstrap: BacktestSettings
) -> tuple[float, float, float]:
    """Mean gain of a trade on the strongest signals and its interval, by rules that know the days before alone.

    Args:
        gain_T: of a trade along the signal, bps.
        size_T: of the signal, NaN where there is none.
    """
    learning = -(-int(_LEARNING_SHARE * len(gain_T)) // bars_per_day) * bars_per_day
    sums, counts = [], []
    for start in range(max(learning, bars_per_day), len(gain_T), bars_per_day):
        day, known_T = slice(start, start + bars_per_day), np.isfinite(size_T[:start])
        if not known_T.any():
            continue
        least = float(np.quantile(size_T[:start][known_T], 1 - _STRONGEST_SHARE))
        way = np.sign(gain_T[:start][known_T & (np.nan_to_num(size_T[:start]) >= least)].sum())
        trades_T = np.nan_to_num(size_T[day]) >= least
        if way and trades_T.any():
            sums.append(way * float(gain_T[day][trades_T].sum()))
            counts.append(int(trades_T.sum()))
    if not counts:
        return float("nan"), float("nan"), float("nan")
    mean = float(np.sum(sums) / np.sum(counts))
    if len(counts) < _MIN_DAYS:
        return mean, float("nan"), float("nan")
    draw_BD = block_counts(len(counts), samples=bootstrap.bootstrap_samples, seed=bootstrap.seed)
    return mean, *percentile_interval((draw_BD @ np.array(sums)) / (draw_BD @ np.array(counts)), bootstrap.confidence)
