"""Lagged cross-correlation with a permutation null: the classical test of who moves first.

For each ordered pair and lag the statistic is z = sum(x[t] y[t + lag]) / sqrt(sum(x[t]^2 y[t + lag]^2)) over hours in
which both have a fresh return: near N(0, 1) without a lead, whatever the volatility does. ``x`` is the leader's return or
its square (centred), ``y`` the follower's return. A pair's score is the largest |z| over lags and both shapes. Its null
comes from the leader's history shifted in time by far more than the lags (circularly), which keeps each series' own
autocorrelation and the pattern of open hours, and destroys what links the two. Every circular shift is had from one FFT.

Axes: T bars, N assets (leader x follower), L lags 1..L, S shifts, K shapes (linear, squared).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.days import HOURS_PER_WEEK
from crossattn_core.experiment import AnalysisSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import BARS_A_DAY, fresh_returns
from crossattn_core.stats.multiple_testing import benjamini_hochberg
from crossattn_core.stats.returns import centred

__all__ = ["PAIR_COLUMNS", "SHAPES", "LeadLag", "first_clean_lags", "lead_lag", "lead_lag_of", "pooled_p_values"]

SHAPES = ("linear", "squared")

PAIR_COLUMNS = ("leader", "follower", "lag", "shape", "correlation", "z", "pairs", "p_value", "q_value")
"""Grain: ordered pair. ``lag`` hours of the strongest link, ``correlation`` there, ``pairs`` of hours that it rests on;
``p_value`` of the largest |z| over all lags and shapes, ``q_value`` after Benjamini-Hochberg over all pairs."""

_MIN_PAIRS = 100


@dataclass(frozen=True)
class LeadLag:
    """Scores at every lag, and the table of pairs."""

    return_TN: NDArray[np.float64]
    """(T, N) the hourly log returns tested."""
    z_KLNN: NDArray[np.float64]
    """(K, L, leader, follower) test statistic; NaN with too few common hours or leader = follower."""
    correlation_KLNN: NDArray[np.float64]
    """(K, L, leader, follower) correlation."""
    pairs: pd.DataFrame
    """``PAIR_COLUMNS``, strongest first."""


def lead_lag(
    return_TN: NDArray[np.float64],
    asset_ids: tuple[str, ...],
    *,
    max_lag: int,
    permutations: int,
    first_lag_NN: NDArray[np.integer] | None = None,
) -> LeadLag:
    """Test every ordered pair for a lead of 1..max_lag hours.

    Args:
        return_TN: hourly log returns, NaN where an asset has none.
        permutations: shifts in each pair's null; spread evenly, so nothing is drawn at random. Shifts are whole weeks, which
            keeps open hours against open hours, where the sample is long enough for that many; whole hours otherwise.
        first_lag_NN: (leader, follower) smallest lag that is tested; none for 1. See ``first_clean_lags``.
    """
    bars, assets = return_TN.shape
    centred_TN, known_TN = centred(return_TN)
    square_TN = np.where(known_TN, centred_TN**2, 0.0)
    # Squares are cut at a high quantile: one crash must not be the whole test.
    cap_N = np.array([np.quantile(square_TN[known, n], 0.99) if known.any() else 0.0 for n, known in enumerate(known_TN.T)])
    square_TN, _ = centred(np.where(known_TN, np.minimum(square_TN, cap_N), np.nan))
    shift_S = _shifts(bars, max_lag, permutations)

    shape = (len(SHAPES), max_lag, assets, assets)
    z_KLNN, correlation_KLNN = np.full(shape, np.nan), np.full(shape, np.nan)
    pairs_LNN = np.zeros(shape[1:])
    null_SNN = np.zeros((len(shift_S), assets, assets))
    size = 2 ** int(np.ceil(np.log2(bars + max_lag + 1)))
    for k, leader_TN in enumerate((centred_TN, square_TN)):
        for n in range(assets):
            z_XN = _circular(leader_TN[:, n], known_TN[:, n], centred_TN, known_TN)
            null_LSN = z_XN[(shift_S[None, :] + np.arange(1, max_lag + 1)[:, None]) % bars]
            null_SNN[:, n] = np.fmax(null_SNN[:, n], np.nanmax(np.abs(null_LSN), axis=0, initial=0.0, where=~np.isnan(null_LSN)))
            z_LN, correlation_LN, pairs_LN = _linear(leader_TN[:, n], known_TN[:, n], centred_TN, known_TN, max_lag, size)
            z_LN[:, n] = correlation_LN[:, n] = np.nan
            z_KLNN[k, :, n], correlation_KLNN[k, :, n], pairs_LNN[:, n] = z_LN, correlation_LN, pairs_LN
    if first_lag_NN is not None:
        too_early_LNN = np.arange(1, max_lag + 1)[:, None, None] < first_lag_NN
        z_KLNN[:, too_early_LNN] = correlation_KLNN[:, too_early_LNN] = np.nan
    return LeadLag(return_TN, z_KLNN, correlation_KLNN, _table(z_KLNN, correlation_KLNN, pairs_LNN, null_SNN, asset_ids))


def lead_lag_of(panel: Panel, settings: AnalysisSettings) -> LeadLag:
    """``lead_lag`` of the newest ``analysis.window_days`` days of a panel, at the lags at which bars do not overlap."""
    return lead_lag(
        fresh_returns(panel)[-settings.window_days * BARS_A_DAY :],
        panel.asset_ids,
        max_lag=settings.max_lag,
        permutations=settings.permutations,
        first_lag_NN=first_clean_lags(panel),
    )


def first_clean_lags(panel: Panel) -> NDArray[np.int64]:
    """(leader, follower) smallest lag in hours at which the follower's bar opens no earlier than the leader's bar closed.

    Bars of two venues that share a grid row need not end together: an hour of a stock that closes at :30 began before
    the hour of a coin that closed at :00. At a shorter lag the two bars overlap, and what moves them at one moment would
    pass for a lead.
    """
    fresh_TN = np.asarray(panel.is_fresh_TN)
    age_N = np.array([np.median(panel.age_hours_TN[fresh, n]) if fresh.any() else 0.0 for n, fresh in enumerate(fresh_TN.T)])
    return np.maximum(np.ceil(1 + age_N[None, :] - age_N[:, None] - 1e-6), 1).astype(np.int64)


def _shifts(bars: int, max_lag: int, permutations: int) -> NDArray[np.int64]:
    """Shifts that stay clear of the tested lags on both sides of the circle."""
    margin = 2 * max_lag + 1
    weeks = np.arange(HOURS_PER_WEEK * -(-margin // HOURS_PER_WEEK), bars - margin, HOURS_PER_WEEK)
    hours = np.arange(margin, bars - margin, max_lag + 1)
    chosen = weeks if len(weeks) >= permutations else hours
    if len(chosen) > permutations:
        chosen = chosen[np.linspace(0, len(chosen) - 1, permutations).round().astype(int)]
    return chosen.astype(np.int64)


def _circular(
    x_T: NDArray[np.float64], known_T: NDArray[np.bool_], y_TN: NDArray[np.float64], known_TN: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(T, N) z at every circular lag."""
    product_XN, square_XN, count_XN = (
        np.fft.irfft(np.conj(np.fft.rfft(a_T))[:, None] * np.fft.rfft(b_TN, axis=0), n=len(x_T), axis=0)
        for a_T, b_TN in ((x_T, y_TN), (x_T**2, y_TN**2), (known_T.astype(float), known_TN.astype(float)))
    )
    return _z(product_XN, square_XN, count_XN)


def _linear(
    x_T: NDArray[np.float64],
    known_T: NDArray[np.bool_],
    y_TN: NDArray[np.float64],
    known_TN: NDArray[np.bool_],
    max_lag: int,
    size: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(L, N) z, correlation and count at lags 1..L, without wrapping around."""

    def crossed(a_T: NDArray[np.float64], b_TN: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = np.conj(np.fft.rfft(a_T, n=size))[:, None] * np.fft.rfft(b_TN, n=size, axis=0)
        return np.fft.irfft(spectrum, n=size, axis=0)[1 : max_lag + 1]

    both = known_T.astype(float), known_TN.astype(float)
    product_LN, count_LN = crossed(x_T, y_TN), crossed(*both)
    z_LN = _z(product_LN, crossed(x_T**2, y_TN**2), count_LN)
    scale_LN = np.sqrt(np.maximum(crossed(x_T**2, both[1]) * crossed(both[0], y_TN**2), 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return z_LN, np.where(count_LN >= _MIN_PAIRS, product_LN / scale_LN, np.nan), count_LN.round()


def _z(product: NDArray[np.float64], square: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        z = product / np.sqrt(np.maximum(square, 0.0))
    return np.where((count >= _MIN_PAIRS - 0.5) & np.isfinite(z), z, np.nan)


def _table(
    z_KLNN: NDArray[np.float64],
    correlation_KLNN: NDArray[np.float64],
    pairs_LNN: NDArray[np.float64],
    null_SNN: NDArray[np.float64],
    asset_ids: tuple[str, ...],
) -> pd.DataFrame:
    size_KLNN = np.nan_to_num(np.abs(z_KLNN), nan=-1.0)
    lags = size_KLNN.shape[1]
    flat_XNN = size_KLNN.reshape(-1, *size_KLNN.shape[2:])
    best_NN, score_NN = flat_XNN.argmax(axis=0), flat_XNN.max(axis=0)
    leader_P, follower_P = np.nonzero(score_NN > 0)
    p_P = pooled_p_values(score_NN, null_SNN, leader_P, follower_P)
    shape_P, lag_P = best_NN[leader_P, follower_P] // lags, best_NN[leader_P, follower_P] % lags
    table = pd.DataFrame(
        {
            "leader": np.array(asset_ids)[leader_P],
            "follower": np.array(asset_ids)[follower_P],
            "lag": lag_P + 1,
            "shape": np.array(SHAPES)[shape_P],
            "correlation": correlation_KLNN[shape_P, lag_P, leader_P, follower_P],
            "z": z_KLNN[shape_P, lag_P, leader_P, follower_P],
            "pairs": pairs_LNN[lag_P, leader_P, follower_P].astype(np.int64),
            "p_value": p_P,
            "q_value": benjamini_hochberg(p_P),
        },
        columns=list(PAIR_COLUMNS),
    )
    return table.sort_values(["p_value", "z"], key=lambda value: -value.abs() if value.name == "z" else value, ignore_index=True)


def pooled_p_values(
    score_NN: NDArray[np.float64], null_SNN: NDArray[np.float64], leader_P: NDArray[np.int64], follower_P: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(P,) share of shifted scores at or above the pair's own; score (leader, follower), null (S, leader, follower).

    Each pair's null gives its own location and scale; the tail is read from all pairs' standardised nulls together, since
    a pair's few hundred shifts alone could never pass a false-discovery test over many pairs.
    """
    null_SP = null_SNN[:, leader_P, follower_P]
    if not len(null_SP):
        return np.ones(len(leader_P))
    mean_P, deviation_P = null_SP.mean(axis=0), np.maximum(null_SP.std(axis=0), 1e-12)
    pooled = np.sort(((null_SP - mean_P) / deviation_P).ravel())
    own_P = (score_NN[leader_P, follower_P] - mean_P) / deviation_P
    above_P = len(pooled) - np.searchsorted(pooled, own_P, side="left")
    return (above_P + 1) / (len(pooled) + 1)
