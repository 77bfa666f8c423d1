"""Lagged correlation with a permutation null: the classical test of who moves first, with and beside the follower's own lags.

Everything here looks at returns in units of the volatility known before them (``scaled_returns``). For each leader, follower and
lag the statistic is z = sum(x[t] y[t + lag]) / sqrt(sum(x[t]^2 y[t + lag]^2)) over bars in which both have a fresh return: near
N(0, 1) without a lead. ``x`` is the leader's return or its square (centred). It is taken twice:

    plain              y is the follower's return
    beside own lags    y is what the follower's own last ``max_lag`` returns and the leader's return of the same bar leave, and x
                       what the follower's return of its bar leaves: a partial correlation, as in Granger's test

A lead must show in both, in the same direction, so the smaller one counts. A schedule of its own, the leader's or the follower's,
gives plain correlation to all that move with it; bid-ask bounce and coarse ticks give partial correlation, since any asset that
moves with the follower tells where its price will snap back to. Neither gives both.

A pair's score is the largest log prior of a lag + z^2 / 2 over lags and shapes; the prior falls as 1 / lag, since most leads are
short (weighted tests: Genovese, Roeder and Wasserman, 2006). Its null comes from the leader's history shifted in time by
far more than the lags (circularly), which keeps each series' own autocorrelation and the pattern of open hours, and destroys
what links the two; the p-value is the larger of those under the plain and the partial statistic's null. Every circular shift
is had from one FFT; no p-value falls below the normal one. In a large universe most pairs need no null
(``plain_lag_statistics``). Groups
(``leader_groups``) are leaders like any asset, each without the follower.

Axes: T bars, N assets (followers), M leaders (assets, then groups), L lags 1..L, S shifts, K shapes (linear, squared), G groups.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from crossattn_core.analysis.leader_groups import LeaderGroup, group_returns, members_beside
from crossattn_core.analysis.pair_scores import SHAPES, Nulls, pair_score, pair_table
from crossattn_core.analysis.plain_lag_statistics import MIN_PAIRS, plain_statistics, smallest_normal_p, z_statistic
from crossattn_core.analysis.scaled_returns import scaled_returns
from crossattn_core.experiment import AnalysisSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.returns import centred
from crossattn_core.stats.scaled_returns import beside_own_lags

__all__ = [
    "LeadLag",
    "first_clean_lags",
    "lag_prior",
    "lead_lag",
    "lead_lag_of",
    "shaped",
]

_ALL_SHIFTED = 50
"""Leaders up to which every pair is shifted."""
_NEWEST: dict[str, "LeadLag"] = {}
"""The newest test, by what it was asked: evidence, pictures and page of one day share it."""


@dataclass(frozen=True)
class LeadLag:
    """Scores at every lag, and the table of pairs."""

    return_TN: NDArray[np.float64]
    """(T, N) the scaled returns tested."""
    leaders: tuple[str, ...]
    """M asset ids and names of groups."""
    groups: tuple[LeaderGroup, ...]
    """The last M - N leaders."""
    z_KLMN: NDArray[np.float64]
    """(K, L, leader, follower) plain statistic; NaN with too few common bars or leader = follower."""
    correlation_KLMN: NDArray[np.float64]
    """(K, L, leader, follower) plain correlation."""
    pairs: pd.DataFrame
    """``PAIR_COLUMNS``, strongest first."""
    asset_pairs: pd.DataFrame
    """The same as if no group were tested: nulls and false-discovery rates are those of the assets alone."""


def lead_lag(
    return_TN: NDArray[np.float64],
    asset_ids: tuple[str, ...],
    *,
    max_lag: int,
    permutations: int,
    first_lag_NN: NDArray[np.integer] | None = None,
    groups: Sequence[LeaderGroup] = (),
    bars_per_day: int = 24,
    screen_p: float = 0.1,
) -> LeadLag:
    """Test every ordered pair, and every group before each follower, for a lead of 1..max_lag bars.

    Args:
        return_TN: ``scaled_returns``, NaN where an asset has none.
        permutations: shifts in each pair's null; spread evenly, so nothing is drawn at random. Shifts are whole weeks, which
            keeps open hours against open hours, where the sample is long enough for that many; else whole days, else whole
            hours (bars, where a bar is no shorter), which keeps a schedule within the hour.
        first_lag_NN: (leader, follower) smallest lag that is tested; none for 1. See ``first_clean_lags``.
        screen_p: over 50 leaders only pairs whose plain statistic alone has at most this p-value are shifted and taken beside own
            lags. That statistic bounds the pair's from above, so no other pair can pass at a rate up to this; its ``z`` is the
            plain one, its p-value a lower bound.
    """
    bars, assets = return_TN.shape
    leaders = assets + len(groups)
    centred_TN, known_TN = centred(return_TN)
    own_TN = beside_own_lags(centred_TN, known_TN, max_lag)
    # A gap of max_lag empty rows closes the circle: short lags never wrap around.
    circle = int(next_fast_len(bars + max_lag, real=True) or 0)
    shift_S = _shifts(circle, max_lag, permutations, bars_per_day)
    prior_LMN = lag_prior(_first_lags(first_lag_NN, assets, groups), max_lag)

    shape = (len(SHAPES), max_lag, leaders, assets)
    z_KLMN, partial_KLMN, correlation_KLMN = (np.full(shape, np.nan) for _ in range(3))
    pairs_LMN = np.zeros(shape[1:])
    null_SMN, partial_null_SMN = (np.full((len(shift_S), leaders, assets), -1.0, dtype=np.float32) for _ in range(2))
    near_L = np.arange(1, max_lag + 1)
    shifted_MN = np.ones((leaders, assets), dtype=bool)
    square_TN = shaped(centred_TN, known_TN, "squared") if leaders > _ALL_SHIFTED else None
    for n in range(assets):
        leader_TM, has_TM = _leaders_of(centred_TN, known_TN, groups, n)
        y_T, own_T, known_T = centred_TN[:, n], own_TN[:, n], known_TN[:, n]
        chosen: slice | NDArray[np.int64] = slice(None)
        if square_TN is not None:
            squares_TM = np.concatenate([square_TN, shaped(leader_TM[:, assets:], has_TM[:, assets:], "squared")], axis=1)
            for k, x_TM in enumerate((leader_TM, squares_TM)):
                z_KLMN[k, :, :, n], correlation_KLMN[k, :, :, n], pairs_LMN[:, :, n] = plain_statistics(
                    x_TM, has_TM, y_T, known_T, max_lag
                )
            partial_KLMN[..., n] = z_KLMN[..., n]
            shifted_MN[:, n] = smallest_normal_p(z_KLMN[..., n], prior_LMN[..., n]) <= screen_p
            shifted_MN[n, n] = False
            chosen = np.flatnonzero(shifted_MN[:, n])
            leader_TM, has_TM = leader_TM[:, chosen], has_TM[:, chosen]
        if not leader_TM.shape[1]:
            continue
        count_XM = _crossed(has_TM.astype(float), known_TN[:, [n]].astype(float), circle)
        pairs_LMN[:, chosen, n] = count_XM[near_L].round()
        same_bar_M = leader_TM.T @ own_T / np.maximum((known_T[:, None] * leader_TM**2).sum(axis=0), 1e-12)
        left_TM = np.where(known_T[:, None], own_T[:, None] - same_bar_M * leader_TM, 0.0)
        for k in range(len(SHAPES)):
            x_TM = shaped(leader_TM, has_TM, SHAPES[k])
            beta_M = x_TM.T @ y_T / np.maximum((has_TM * (y_T**2)[:, None]).sum(axis=0), 1e-12)
            rest_TM = np.where(has_TM, x_TM - beta_M * y_T[:, None], 0.0)
            for value_TM, of_TX, null, z in (
                (x_TM, y_T[:, None], null_SMN, z_KLMN),
                (rest_TM, left_TM, partial_null_SMN, partial_KLMN),
            ):
                product_XM = _crossed(value_TM, of_TX, circle)
                z_XM = z_statistic(product_XM, _crossed(value_TM**2, of_TX**2, circle), count_XM)
                z[k][:, chosen, n] = z_XM[near_L]
                null_LSM = z_XM[(shift_S[None, :] + near_L[:, None]) % circle]
                null[:, chosen, n] = np.maximum(null[:, chosen, n], pair_score(null_LSM, prior_LMN[:, None, chosen, n]))
                if value_TM is x_TM:
                    correlation_KLMN[k][:, chosen, n] = _correlation(
                        product_XM[near_L], x_TM, y_T[:, None], has_TM, known_T[:, None], circle, near_L
                    )
    untested_LMN, own_N = prior_LMN == 0, np.arange(assets)
    untested_LMN[:, own_N, own_N] = True
    for of_KLMN in (z_KLMN, partial_KLMN, correlation_KLMN):
        of_KLMN[:, untested_LMN] = np.nan
    ids = (*asset_ids, *(group.name for group in groups))
    nulls = Nulls(shifted_MN, (null_SMN, partial_null_SMN))

    def table_of(first: int) -> pd.DataFrame:
        """Of the first leaders alone."""
        z, partial, correlation = (of_KLMN[:, :, :first] for of_KLMN in (z_KLMN, partial_KLMN, correlation_KLMN))
        pairs, prior = pairs_LMN[:, :first], prior_LMN[:, :first]
        return pair_table(z, partial, correlation, pairs, prior, nulls.of_first(first), ids[:first], asset_ids)

    table = table_of(leaders)
    of_assets = table_of(assets) if groups else table
    return LeadLag(return_TN, ids, tuple(groups), z_KLMN, correlation_KLMN, table, of_assets)


def lead_lag_of(panel: Panel, settings: AnalysisSettings, groups: Sequence[LeaderGroup] = ()) -> LeadLag:
    """``lead_lag`` of the newest ``analysis.window_days`` days of a panel, at the lags at which bars do not overlap.

    The newest result is remembered: evidence, pictures and page of one day ask for the same test.
    """
    return_TN = scaled_returns(panel)[-settings.window_days * panel.grid.bars_per_day :]
    first_lag_NN = first_clean_lags(panel)
    asked: dict[str, Any] = {
        "max_lag": settings.max_lag,
        "permutations": settings.permutations,
        "groups": tuple(groups),
        "bars_per_day": panel.grid.bars_per_day,
        "screen_p": max(0.1, settings.false_discovery_rate),
    }
    arrays = hashlib.sha256(np.ascontiguousarray(return_TN).tobytes() + first_lag_NN.tobytes()).hexdigest()
    key = repr((arrays, return_TN.shape, panel.asset_ids, sorted(asked.items())))
    if key not in _NEWEST:
        _NEWEST.clear()
        _NEWEST[key] = lead_lag(return_TN, panel.asset_ids, first_lag_NN=first_lag_NN, **asked)
    return _NEWEST[key]


def lag_prior(first_lag_XX: NDArray[np.integer], max_lag: int) -> NDArray[np.float64]:
    """(L, ...) prior share of each lag 1..max_lag, falling as 1 / lag; 0 under the first one that is tested, sums to 1.

    >>> lag_prior(np.array([1, 2]), 3).round(3).tolist()
    [[0.545, 0.0], [0.273, 0.6], [0.182, 0.4]]
    """
    lag_L = np.arange(1, max_lag + 1).reshape(-1, *(1,) * first_lag_XX.ndim)
    weight_LXX = np.where(lag_L >= first_lag_XX, 1.0 / lag_L, 0.0)
    return weight_LXX / np.maximum(weight_LXX.sum(axis=0), 1e-12)


def shaped(value_TM: NDArray[np.float64], known_TM: NDArray[np.bool_], shape: str) -> NDArray[np.float64]:
    """(T, M) or (T,) a leader's returns as a shape of ``SHAPES`` looks at them: centred, 0 where unknown."""
    if shape == "linear":
        return value_TM
    # Squares are cut at a high quantile: one crash must not be the whole test.
    square_TM = np.where(known_TM, value_TM**2, np.nan)
    one_column = square_TM.ndim == 1
    square_TM = square_TM[:, None] if one_column else square_TM
    cap_M = np.array([np.nanquantile(of_T, 0.99) if np.isfinite(of_T).any() else 0.0 for of_T in square_TM.T])
    square_TM, _ = centred(np.minimum(square_TM, cap_M))
    return square_TM[:, 0] if one_column else square_TM


def _leaders_of(
    filled_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], groups: Sequence[LeaderGroup], follower: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(T, M) returns of the assets and of the groups without the follower, and where they are known."""
    value_TG, known_TG = np.zeros((len(filled_TN), len(groups))), np.zeros((len(filled_TN), len(groups)), dtype=bool)
    for g, members in members_beside(groups, follower).items():
        value_TG[:, g], known_TG[:, g] = group_returns(filled_TN, known_TN, members)
    return np.concatenate([filled_TN, value_TG], axis=1), np.concatenate([known_TN, known_TG], axis=1)


def _first_lags(first_lag_NN: NDArray[np.integer] | None, assets: int, groups: Sequence[LeaderGroup]) -> NDArray[np.int64]:
    """(leader, follower) smallest clean lag; a group's is the largest of its members'."""
    first_NN = np.ones((assets, assets), dtype=np.int64) if first_lag_NN is None else np.asarray(first_lag_NN, dtype=np.int64)
    of_groups = [first_NN[list(group.members)].max(axis=0) for group in groups]
    return np.concatenate([first_NN, *(first_N[None] for first_N in of_groups)])


def first_clean_lags(panel: Panel) -> NDArray[np.int64]:
    """(leader, follower) smallest lag in bars at which the follower's bar opens no earlier than the leader's bar closed.

    Bars of two venues that share a grid row need not end together: an hour of a stock that closes at :30 began before
    the hour of a coin that closed at :00. At a shorter lag the two bars overlap, and what moves them at one moment would
    pass for a lead.
    """
    fresh_TN = np.asarray(panel.is_fresh_TN)
    age_hours_N = [np.median(panel.age_hours_TN[fresh, n]) if fresh.any() else 0.0 for n, fresh in enumerate(fresh_TN.T)]
    age_N = np.array(age_hours_N) / panel.grid.hours_per_bar
    return np.maximum(np.ceil(1 + age_N[None, :] - age_N[:, None] - 1e-6), 1).astype(np.int64)


def _shifts(circle: int, max_lag: int, permutations: int, bars_per_day: int) -> NDArray[np.int64]:
    """Shifts that stay clear of the tested lags on both sides of the circle."""
    margin = 2 * max_lag + 1
    hour = max(1, bars_per_day // 24)
    for step in (7 * bars_per_day, bars_per_day, hour * -(-(max_lag + 1) // hour)):
        chosen = np.arange(step * -(-margin // step), circle - margin, step)
        if len(chosen) >= permutations:
            chosen = chosen[np.linspace(0, len(chosen) - 1, permutations).round().astype(int)]
            break
    return chosen.astype(np.int64)


def _crossed(x_TM: NDArray[np.float64], y_TX: NDArray[np.float64], circle: int) -> NDArray[np.float64]:
    """(X, M) sum over t of x[t] y[t + lag] at every circular lag; ``y_TX`` has one column or M."""
    spectrum = np.conj(np.asarray(rfft(x_TM, n=circle, axis=0))) * np.asarray(rfft(y_TX, n=circle, axis=0))
    return np.asarray(irfft(spectrum, n=circle, axis=0))


def _correlation(
    product_LM: NDArray[np.float64],
    x_TM: NDArray[np.float64],
    y_T1: NDArray[np.float64],
    has_TM: NDArray[np.bool_],
    known_T1: NDArray[np.bool_],
    circle: int,
    near_L: NDArray[np.int64],
) -> NDArray[np.float64]:
    count_LM = _crossed(has_TM.astype(float), known_T1.astype(float), circle)[near_L]
    leader_LM, follower_LM = _crossed(x_TM**2, known_T1.astype(float), circle), _crossed(has_TM.astype(float), y_T1**2, circle)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation_LM = product_LM / np.sqrt(np.maximum(leader_LM[near_L] * follower_LM[near_L], 0.0))
    return np.where(count_LM >= MIN_PAIRS - 0.5, correlation_LM, np.nan)
