"""Classical tests of who moves first, beside the lagged correlation: Granger's F-test and Hayashi and Yoshida's estimator.

Both count lags in rows of the grid: between venues whose bars end at different minutes a lag of one row can be an overlap,
which ``lead_lag.first_clean_lags`` keeps out.

Axes: T bars, N assets, L lags, E regressors, Z shifts in both directions, F frequencies, S far blocks, P pairs.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.analysis.pair_scores import pooled_p_values
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
_MIN_PIVOT = 1e-9
"""Smallest pivot over the largest of moments that are solved as they are."""
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
    past_TNL = np.zeros((bars, assets, lags))
    for lag in range(1, lags + 1):
        past_TNL[lag:, :, lag - 1] = filled_TN[:-lag]
    moments = _Moments(past_TNL[lags:], filled_TN[lags:])
    table: list[tuple[str, str, float, float, int]] = []
    for n in range(assets):
        count = int(known_TN[lags:, n].sum())
        if count < _MIN_ROWS_PER_REGRESSOR * 2 * lags:
            continue
        follower = moments.of(n, known_TN[lags:, n])
        of_others = np.array([m for m in range(assets) if m != n and known_TN[:, m].any()], dtype=np.int64)
        first_M = np.ones(len(of_others), dtype=np.int64) if first_lag_NN is None else np.asarray(first_lag_NN)[of_others, n]
        own_left = follower.energy - _explained(follower.own_LL, follower.own_L)
        for first in np.unique(first_M[first_M <= lags]):
            m_K = of_others[first_M == first]
            others = lags - int(first) + 1
            free = count - lags - others
            left_K = follower.energy - follower.explained(m_K, int(first))
            f_K = ((own_left - left_K) / others) / (left_K / free)
            p_K = stats.f.sf(f_K, others, free)
            table += [(asset_ids[m], asset_ids[n], float(f), float(p), count) for m, f, p in zip(m_K, f_K, p_K, strict=True)]
    tests = pd.DataFrame(table, columns=["leader", "follower", "f", "p_value", "rows"])
    tests["q_value"] = benjamini_hochberg(tests["p_value"].to_numpy(dtype=float))
    return tests.sort_values("p_value", ignore_index=True)[list(GRANGER_COLUMNS)]


def shifted_correlations(price_TN: NDArray[np.float64], *, max_lag: int) -> NDArray[np.float64]:
    """(Z, leader, follower) Hayashi-Yoshida correlation with the follower's clock moved back by -max_lag..max_lag bars."""
    return np.stack(list(_by_leader(price_TN, max_lag)), axis=1)


def _by_leader(price_TN: NDArray[np.float64], max_lag: int) -> Iterator[NDArray[np.float64]]:
    """(Z, follower) of ``shifted_correlations``, leader by leader: all shifts of all pairs at once do not fit.

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
    for m in range(assets):
        spectrum_FN = np.conj(end_F[:, m, None]) * next_F - np.conj(start_F[:, m, None]) * newest_F
        product_ZN = np.fft.irfft(spectrum_FN, n=size, axis=0)[: 2 * max_lag + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            yield product_ZN / np.sqrt(energy_N[m] * energy_N)


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
    first_NN = np.ones((assets, assets), dtype=np.int64) if first_lag_NN is None else first_lag_NN
    lag_S1 = np.arange(1, reach + 1)[:, None]
    ahead_LNN, excess_LNN = (np.zeros((max_lag, assets, assets)) for _ in range(2))
    ratio_NN, same_bar_NN, null_SNN = (
        np.zeros((assets, assets)),
        np.zeros((assets, assets)),
        np.zeros((2 * blocks, assets, assets)),
    )
    for m, correlation_ZN in enumerate(_by_leader(price_TN, reach)):
        # Ahead and behind by the same lag, and only where the two bars do not overlap by their clocks.
        clean_SN = lag_S1 >= np.maximum(first_NN[m], first_NN[:, m])
        ahead_SN = np.where(clean_SN, correlation_ZN[reach + 1 :], 0.0)
        behind_SN = np.where(clean_SN, correlation_ZN[:reach][::-1], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio_NN[m] = (ahead_SN[:max_lag] ** 2).sum(axis=0) / (behind_SN[:max_lag] ** 2).sum(axis=0)
        same_bar_NN[m], ahead_LNN[:, m] = correlation_ZN[reach], ahead_SN[:max_lag]
        excess_SN = np.abs(ahead_SN) - np.abs(behind_SN)
        excess_LNN[:, m] = excess_SN[:max_lag]
        if blocks:
            # A shift leaves that many bars without a partner: each is measured by what it has left.
            far_BLN = (excess_SN / np.sqrt(1 - lag_S1 / bars))[-blocks * max_lag :].reshape(blocks, max_lag, assets)
            null_SNN[:, m] = np.nan_to_num(np.concatenate([far_BLN.max(axis=1), (-far_BLN).max(axis=1)]))
    known_NN = np.isfinite(ratio_NN) & np.isfinite(same_bar_NN) & ~np.eye(assets, dtype=bool)
    leader_P, follower_P = np.nonzero(known_NN)
    best_P = excess_LNN[:, leader_P, follower_P].argmax(axis=0) if len(leader_P) else np.zeros(0, dtype=int)
    p_P = np.full(len(leader_P), np.nan)
    if blocks and len(leader_P):
        p_P = pooled_p_values(np.nan_to_num(excess_LNN.max(axis=0)), null_SNN, leader_P, follower_P)
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


class _Moments:
    """Second moments of all lagged returns, once: a regression of one pair looks at three blocks of them."""

    def __init__(self, past_RNL: NDArray[np.float64], value_RN: NDArray[np.float64]) -> None:
        rows, assets, lags = past_RNL.shape
        self._past_RNL, self._value_RN = past_RNL, value_RN
        flat_RE = past_RNL.reshape(rows, -1)
        self._all_NLNL = (flat_RE.T @ flat_RE).reshape(assets, lags, assets, lags)
        self._cross_NLN = (flat_RE.T @ value_RN).reshape(assets, lags, assets)
        self._own = np.arange(assets)

    def of(self, n: int, known_R: NDArray[np.bool_]) -> "_FollowerMoments":
        """Over the rows in which follower ``n`` has a return."""
        seen = 2 * known_R.sum() <= len(known_R)
        # Add up the few rows that are there, or take off the few that are missing: whichever is less work.
        some_KNL = self._past_RNL[known_R if seen else ~known_R]
        some_NKL = some_KNL.transpose(1, 0, 2)
        block_NLL, beside_NLL = some_NKL.transpose(0, 2, 1) @ some_NKL, some_NKL.transpose(0, 2, 1) @ some_KNL[:, n]
        if not seen:
            block_NLL = self._all_NLNL[self._own, :, self._own, :] - block_NLL
            beside_NLL = self._all_NLNL[:, :, n] - beside_NLL
        # A missing return is 0: it adds nothing.
        value_R = self._value_RN[:, n]
        return _FollowerMoments(n, block_NLL, beside_NLL, self._cross_NLN[:, :, n], float(value_R @ value_R))


class _FollowerMoments:
    """Moments of the regressions of follower ``n``: of each asset's lags, with the follower's own, and with its return."""

    def __init__(
        self,
        n: int,
        block_NLL: NDArray[np.float64],
        beside_NLL: NDArray[np.float64],
        cross_NL: NDArray[np.float64],
        energy: float,
    ) -> None:
        self.own_LL, self.own_L, self.energy = block_NLL[n], cross_NL[n], energy
        self._block_NLL, self._beside_NLL, self._cross_NL = block_NLL, beside_NLL, cross_NL

    def explained(self, m_K: NDArray[np.int64], first: int) -> NDArray[np.float64]:
        """(K,) sum of squares that own lags and each leader's from ``first`` on explain together."""
        own_LL, own_L = self.own_LL, self.own_L
        other_KEE, beside_KEL = self._block_NLL[m_K][:, first - 1 :, first - 1 :], self._beside_NLL[m_K][:, first - 1 :]
        cross_KE = self._cross_NL[m_K][:, first - 1 :]
        found_K = np.full(len(m_K), np.nan)
        with contextlib.suppress(np.linalg.LinAlgError):
            # What the leader adds: its block and its moments with y, less what own lags explain of both (Schur's complement).
            beta_KEL = np.linalg.solve(own_LL, beside_KEL.reshape(-1, len(own_L)).T).T.reshape(beside_KEL.shape)
            left_KEE = other_KEE - beta_KEL @ beside_KEL.transpose(0, 2, 1)
            left_KE = cross_KE - beta_KEL @ own_L
            size_KE = np.diagonal(np.linalg.cholesky(left_KEE), axis1=1, axis2=2) ** 2
            pivots_KE = np.concatenate([size_KE, np.broadcast_to(_pivots(own_LL), (len(m_K), len(own_L)))], axis=1)
            added_K = (left_KE * np.linalg.solve(left_KEE, left_KE[..., None])[..., 0]).sum(axis=1)
            own = float(own_L @ np.linalg.solve(own_LL, own_L))
            found_K = np.where(pivots_KE.min(axis=1) > _MIN_PIVOT * pivots_KE.max(axis=1), own + added_K, np.nan)
        # Regressors that repeat each other, or that are all zero: the shortest of the solutions, one pair at a time.
        for k in np.flatnonzero(np.isnan(found_K)):
            moment_EE = np.block([[own_LL, beside_KEL[k].T], [beside_KEL[k], other_KEE[k]]])
            found_K[k] = _explained(moment_EE, np.concatenate([own_L, cross_KE[k]]))
        return found_K


def _pivots(moment_EE: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.diagonal(np.linalg.cholesky(moment_EE)) ** 2, dtype=np.float64)


def _explained(moment_EE: NDArray[np.float64], cross_E: NDArray[np.float64]) -> float:
    return float(cross_E @ np.linalg.lstsq(moment_EE, cross_E, rcond=None)[0])
