"""Classical tests of who moves first, beside the lagged correlation: Granger's F-test and Hayashi and Yoshida's estimator.

Both count lags in rows of the grid: between venues whose bars end at different minutes a lag of one row can be an overlap,
which ``lead_lag.first_clean_lags`` keeps out.

Axes: T bars, N assets, L lags, E regressors, Z shifts in both directions, F frequencies, S far blocks, P pairs.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.analysis.lead_lag import pooled_p_values
from crossattn_core.stats.multiple_testing import benjamini_hochberg
from crossattn_core.stats.returns import centred

__all__ = ["GRANGER_COLUMNS", "SHIFT_COLUMNS", "granger", "hayashi_yoshida", "shifted_correlations"]

GRANGER_COLUMNS = ("leader", "follower", "f", "p_value", "q_value", "rows")
"""Grain: ordered pair. ``q_value`` after Benjamini-Hochberg over all pairs; ``rows`` bars in the regression."""

SHIFT_COLUMNS = ("leader", "follower", "lag", "correlation", "lead_ratio", "p_value", "q_value")
"""Grain: ordered pair. ``lag`` bars of the largest excess over the same lag behind, ``correlation`` there; ``lead_ratio``:
squared correlations summed over leads, over those summed over lags; above 1 the leader leads (Huth and Abergel, 2014);
``p_value`` of that excess against shifts far from the tested ones, ``q_value`` after Benjamini-Hochberg over all pairs."""

_FAR_BARS = 168
"""Shifts under this are near: a week of hours."""
_CLIP = 6.0
"""Deviations at which a return is cut: one crash must not be the whole regression."""
_MIN_ROWS_PER_REGRESSOR = 5
_NULL_BLOCKS = 80
"""Blocks of far shifts on either side."""


def granger(
    return_TN: NDArray[np.float64], asset_ids: tuple[str, ...], *, lags: int, first_lag_NN: NDArray[np.integer] | None = None
) -> pd.DataFrame:
    """F-tests of each leader's last ``lags`` returns beside the follower's own (``GRANGER_COLUMNS``), smallest p first.

    Rows are the bars in which the follower has a return; a lagged return that is missing counts as zero. The test is
    the plain one (Granger, 1969): it assumes one error variance, so clustered volatility makes it too bold; read it beside the
    permutation test. A pair with under 5 rows a regressor is left out.

    Args:
        first_lag_NN: (leader, follower) smallest lag of the leader in the regression; none for 1. See
            ``lead_lag.first_clean_lags``: at a shorter one the two bars overlap and what moves them together passes for a lead.
    """
    bars, assets = return_TN.shape
    filled_TN, known_TN = centred(return_TN)
    deviation_N = np.sqrt((filled_TN**2).sum(axis=0) / np.maximum(known_TN.sum(axis=0), 1))
    filled_TN = np.clip(filled_TN / np.where(deviation_N > 0, deviation_N, 1.0), -_CLIP, _CLIP)
    design_TE = np.zeros((bars, assets * lags))
    for lag in range(1, lags + 1):
        design_TE[lag:, lag - 1 :: lags] = filled_TN[:-lag]
    table: list[tuple[str, str, float, float, int]] = []
    for n in range(assets):
        rows_T = known_TN[:, n].copy()
        rows_T[:lags] = False
        count = int(rows_T.sum())
        if count < _MIN_ROWS_PER_REGRESSOR * 2 * lags:
            continue
        x_RE, y_R = design_TE[rows_T], filled_TN[rows_T, n]
        moment_EE, cross_E, energy = x_RE.T @ x_RE, x_RE.T @ y_R, float(y_R @ y_R)
        own = np.arange(n * lags, (n + 1) * lags)
        own_left = energy - _explained(moment_EE, cross_E, own)
        for m in range(assets):
            if m == n or not known_TN[:, m].any():
                continue
            first = 1 if first_lag_NN is None else int(first_lag_NN[m, n])
            others = np.arange(m * lags + first - 1, (m + 1) * lags)
            if not len(others):
                continue
            left = energy - _explained(moment_EE, cross_E, np.concatenate([own, others]))
            free = count - len(own) - len(others)
            f = ((own_left - left) / len(others)) / (left / free)
            table.append((asset_ids[m], asset_ids[n], float(f), float(stats.f.sf(f, len(others), free)), count))
    tests = pd.DataFrame(table, columns=["leader", "follower", "f", "p_value", "rows"])
    tests["q_value"] = benjamini_hochberg(tests["p_value"].to_numpy(dtype=float))
    return tests.sort_values("p_value", ignore_index=True)[list(GRANGER_COLUMNS)]


def shifted_correlations(price_TN: NDArray[np.float64], *, max_lag: int) -> NDArray[np.float64]:
    """(Z, leader, follower) Hayashi-Yoshida correlation with the follower's clock moved back by -max_lag..max_lag bars.

    Every return between two trades of the leader meets all returns of the follower whose time it overlaps, so a night
    or a weekend is one return and no price is filled in. Hayashi and Yoshida, "On covariance estimation of
    non-synchronously observed diffusion processes", 2005; with shifts: Hoffmann, Rosenbaum and Yoshida, 2013.

    The follower's returns that overlap (start, end] add up to its next trade's price from ``end`` on less its newest up to
    ``start``, so all shifts come from two cross-correlations, each by one FFT.

    Args:
        price_TN: trade prices, NaN where there is none.
    """
    bars, assets = price_TN.shape
    traded_TN = np.isfinite(price_TN)
    row_T1 = np.arange(bars)[:, None]
    first_N, last_N = traded_TN.argmax(axis=0), bars - 1 - traded_TN[::-1].argmax(axis=0)
    # Before its first and after its last trade an asset keeps its price: what lies outside the data moves nothing.
    before_TN = np.maximum(np.maximum.accumulate(np.where(traded_TN, row_T1, -1), axis=0), first_N)
    after_TN = np.minimum(np.minimum.accumulate(np.where(traded_TN, row_T1, bars)[::-1], axis=0)[::-1], last_N)
    log_TN = np.log(np.where(traded_TN, price_TN, 1.0))
    log_TN -= np.where(traded_TN, log_TN, 0.0).sum(axis=0) / np.maximum(traded_TN.sum(axis=0), 1)
    start_TN, end_TN, energy_N = np.zeros((bars, assets)), np.zeros((bars, assets)), np.full(assets, np.nan)
    for n in range(assets):
        row_R = np.flatnonzero(traded_TN[:, n])
        if len(row_R) > 2:
            move_R = np.diff(log_TN[row_R, n])
            start_TN[row_R[:-1], n], end_TN[row_R[1:], n] = move_R, move_R
            energy_N[n] = float(move_R @ move_R)
    size = 2 ** int(np.ceil(np.log2(bars + 2 * max_lag)))
    columns = np.arange(assets)
    pad = ((max_lag, max_lag), (0, 0))
    next_F, newest_F = (
        np.fft.rfft(np.pad(log_TN[of_TN, columns], pad, mode="edge"), n=size, axis=0) for of_TN in (after_TN, before_TN)
    )
    end_F, start_F = (np.fft.rfft(move_TN, n=size, axis=0) for move_TN in (end_TN, start_TN))
    correlation_ZNN = np.empty((2 * max_lag + 1, assets, assets))
    for m in range(assets):
        spectrum_FN = np.conj(end_F[:, m, None]) * next_F - np.conj(start_F[:, m, None]) * newest_F
        product_ZN = np.fft.irfft(spectrum_FN, n=size, axis=0)[: 2 * max_lag + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation_ZNN[:, m] = product_ZN / np.sqrt(energy_N[m] * energy_N)
    return correlation_ZNN


def hayashi_yoshida(
    price_TN: NDArray[np.float64], asset_ids: tuple[str, ...], *, max_lag: int, first_lag_NN: NDArray[np.integer] | None = None
) -> pd.DataFrame:
    """Lead-lag by shifted correlations (``SHIFT_COLUMNS``), largest lead ratio first; for bars that are not synchronous.

    What is tested is asymmetry: the largest excess of |correlation| at a lead over that at the same lag behind. A night's return
    meets itself at small shifts both ways, and that is no lead. The null is that of blocks of ``max_lag`` shifts in a row, far
    from the tested ones; they run through all hours of a day. Needs some weeks of bars: with less, p-values are NaN.
    Far shifts know neither strong same-bar correlation nor crashes: on recorded stocks the p-values are far too bold.

    Args:
        first_lag_NN: (leader, follower) smallest lag that is looked at; none for 1. See ``lead_lag.first_clean_lags``.
    """
    bars, assets = price_TN.shape
    blocks = max(0, min(_NULL_BLOCKS, (bars // 3 - _FAR_BARS) // max_lag))
    reach = _FAR_BARS + blocks * max_lag if blocks else max_lag
    correlation_ZNN = shifted_correlations(price_TN, max_lag=reach)
    first_NN = np.ones((assets, assets), dtype=np.int64) if first_lag_NN is None else first_lag_NN
    lag_S11 = np.arange(1, reach + 1)[:, None, None]
    # Ahead and behind by the same lag, and only where the two bars do not overlap by their clocks.
    clean_SNN = lag_S11 >= np.maximum(first_NN, first_NN.T)
    ahead_SNN = np.where(clean_SNN, correlation_ZNN[reach + 1 :], 0.0)
    behind_SNN = np.where(clean_SNN, correlation_ZNN[:reach][::-1], 0.0)
    ahead_LNN, behind_LNN = ahead_SNN[:max_lag], behind_SNN[:max_lag]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio_NN = (ahead_LNN**2).sum(axis=0) / (behind_LNN**2).sum(axis=0)
    known_NN = np.isfinite(ratio_NN) & np.isfinite(correlation_ZNN[reach]) & ~np.eye(assets, dtype=bool)
    leader_P, follower_P = np.nonzero(known_NN)
    excess_SNN = np.abs(ahead_SNN) - np.abs(behind_SNN)
    best_P = excess_SNN[:max_lag, leader_P, follower_P].argmax(axis=0) if len(leader_P) else np.zeros(0, dtype=int)
    p_P = np.full(len(leader_P), np.nan)
    if blocks and len(leader_P):
        # A shift leaves that many bars without a partner: each is measured by what it has left.
        far_SNN = (excess_SNN / np.sqrt(1 - lag_S11 / bars))[-blocks * max_lag :]
        null_SNN = np.concatenate([side.reshape(blocks, max_lag, assets, assets).max(axis=1) for side in (far_SNN, -far_SNN)])
        score_NN = np.nan_to_num(excess_SNN[:max_lag].max(axis=0))
        null_SNN = np.nan_to_num(null_SNN)
        p_P = pooled_p_values(score_NN, null_SNN, leader_P, follower_P)
    table = pd.DataFrame(
        {
            "leader": np.array(asset_ids)[leader_P],
            "follower": np.array(asset_ids)[follower_P],
            "lag": best_P + 1,
            "correlation": ahead_LNN[best_P, leader_P, follower_P],
            "lead_ratio": ratio_NN[leader_P, follower_P],
            "p_value": p_P,
            "q_value": benjamini_hochberg(p_P) if blocks else p_P,
        },
        columns=list(SHIFT_COLUMNS),
    )
    return table.sort_values("lead_ratio", ascending=False, ignore_index=True)


def _explained(moment_EE: NDArray[np.float64], cross_E: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    cross = cross_E[chosen]
    return float(cross @ np.linalg.lstsq(moment_EE[np.ix_(chosen, chosen)], cross, rcond=None)[0])
