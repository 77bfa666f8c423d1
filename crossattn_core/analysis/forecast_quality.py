"""How good forecasts were, out of sample: information coefficients with intervals.

IC = time-series correlation of forecast and outcome per asset, averaged over assets; cross-sectional IC = correlation over
assets at one as_of, averaged over time; rank IC = the cross-sectional one on ranks. Intervals come from a block bootstrap: whole
weeks are drawn with replacement, all assets and families together, so overlapping labels and common shocks stay inside
a block and two families are compared on the same draws.

Axes: T bars, N assets, W weeks, B bootstrap draws, S sums (n, x, y, xx, yy, xy).
"""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.errors import ContractError
from crossattn_core.experiment import BacktestSettings
from crossattn_core.panel.labels import Labels
from crossattn_core.stats.bootstrap import block_counts, percentile_interval
from crossattn_core.stats.ic import ic_of_sums, mean_over_assets

__all__ = ["ALL_ASSETS", "QUALITY_COLUMNS", "forecast_arrays", "forecast_quality", "ic_beside", "ic_table"]

ALL_ASSETS = "all"
"""asset_id of the rows that average over assets."""

QUALITY_COLUMNS = ("family", "horizon", "asset_id", "measure", "value", "low", "high", "pairs", "blocks")
"""Grain: (family, horizon, asset_id, measure). ``measure``: IC, cross-sectional IC or rank IC (the last two for 'all' only).
``low``, ``high``: bootstrap interval, NaN with fewer than 4 blocks. ``pairs`` of forecast and outcome, in ``blocks`` weeks."""

_MIN_BLOCKS = 4
_MIN_SPREAD = 1e-12
"""Of the scaled sums, see ``stats.ic.ic_of_sums``."""


def forecast_arrays(
    forecasts: pd.DataFrame, as_of_T: NDArray[np.datetime64], asset_ids: tuple[str, ...], horizons: tuple[int, ...]
) -> dict[str, NDArray[np.float32]]:
    """Stored forecasts as (T, N, H) by family; NaN where there is none.

    Raises:
        ContractError: a forecast lies outside the panel's rows or assets.
    """
    row_K = np.searchsorted(as_of_T, forecasts["as_of"].to_numpy())
    asset_K = forecasts["asset_id"].map({asset_id: n for n, asset_id in enumerate(asset_ids)}).to_numpy(dtype=float)
    horizon_K = forecasts["horizon"].map({horizon: h for h, horizon in enumerate(horizons)}).to_numpy(dtype=float)
    strange = int((row_K >= len(as_of_T)).sum() + np.isnan(asset_K).sum() + np.isnan(horizon_K).sum())
    if strange:
        raise ContractError(f"{strange} forecasts lie outside the panel's rows, assets or horizons; step those days again")
    arrays: dict[str, NDArray[np.float32]] = {}
    family_K, value_K = forecasts["family"].to_numpy(), forecasts["forecast"].to_numpy()
    for family in sorted(set(family_K)):
        chosen_K = family_K == family
        array_TNH = np.full((len(as_of_T), len(asset_ids), len(horizons)), np.nan, dtype=np.float32)
        array_TNH[row_K[chosen_K], asset_K[chosen_K].astype(int), horizon_K[chosen_K].astype(int)] = value_K[chosen_K]
        arrays[family] = array_TNH
    return arrays


def forecast_quality(
    forecast_by_family_TNH: Mapping[str, NDArray[np.floating]],
    labels: Labels,
    asset_ids: tuple[str, ...],
    horizons: tuple[int, ...],
    settings: BacktestSettings,
    *,
    block_bars: int,
) -> pd.DataFrame:
    """Quality of out-of-sample forecasts (``forecast_arrays``) at every horizon of the labels (``QUALITY_COLUMNS``); blocks
    of ``block_bars`` rows are drawn in the bootstrap."""
    tables = []
    for h, horizon in enumerate(horizons):
        by_family_TN = {family: array_TNH[:, :, h] for family, array_TNH in forecast_by_family_TNH.items()}
        tables.append(ic_table(by_family_TN, labels.value_TNH[:, :, h], asset_ids, horizon, settings, block_bars=block_bars))
    return pd.concat(tables, ignore_index=True) if forecast_by_family_TNH else pd.DataFrame(columns=list(QUALITY_COLUMNS))


def ic_table(
    forecast_by_family_TN: Mapping[str, NDArray[np.floating]],
    outcome_TN: NDArray[np.floating],
    asset_ids: tuple[str, ...],
    horizon: int,
    settings: BacktestSettings,
    *,
    block_bars: int,
) -> pd.DataFrame:
    """Quality of several families at one horizon, on the same bootstrap draws."""
    rows: list[tuple] = []
    sums_by_family_WNS = {
        family: _block_sums(forecast_TN, outcome_TN, block_bars) for family, forecast_TN in forecast_by_family_TN.items()
    }
    # Blocks without any forecast are no draw; all families are drawn from the same ones.
    filled_W = np.any([sums_WNS[:, :, 0].any(axis=1) for sums_WNS in sums_by_family_WNS.values()], axis=0)
    draw_BW = block_counts(int(filled_W.sum()), samples=settings.bootstrap_samples, seed=settings.seed)
    for family, forecast_TN in forecast_by_family_TN.items():
        sums_WNS = sums_by_family_WNS[family][filled_W]
        cross_WK = _cross_sections(forecast_TN, outcome_TN, block_bars)[filled_W]
        ic_BN = _ic(np.einsum("bw,wns->bns", draw_BW, sums_WNS))
        ic_N, pairs_N = _ic(sums_WNS.sum(axis=0)), sums_WNS[:, :, 0].sum(axis=0)
        blocks_N = (sums_WNS[:, :, 0] > 0).sum(axis=0)
        blocks = int((sums_WNS[:, :, 0].sum(axis=1) > 0).sum())
        for n, asset_id in enumerate(asset_ids):
            interval = _interval(ic_BN[:, n], int(blocks_N[n]), settings)
            rows.append((family, horizon, asset_id, "IC", ic_N[n], *interval, int(pairs_N[n]), int(blocks_N[n])))
        everything = (int(pairs_N.sum()), blocks)
        interval = _interval(mean_over_assets(ic_BN), blocks, settings)
        rows.append((family, horizon, ALL_ASSETS, "IC", mean_over_assets(ic_N), *interval, *everything))
        for k, measure in enumerate(("cross-sectional IC", "rank IC")):
            total_W, count_W = cross_WK[:, k], cross_WK[:, 2]
            with np.errstate(invalid="ignore", divide="ignore"):
                value, value_B = total_W.sum() / count_W.sum(), (draw_BW @ total_W) / (draw_BW @ count_W)
            rows.append((family, horizon, ALL_ASSETS, measure, value, *_interval(value_B, blocks, settings), *everything))
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def ic_beside(
    first_TN: NDArray[np.floating],
    second_TN: NDArray[np.floating],
    outcome_TN: NDArray[np.floating],
    settings: BacktestSettings,
    *,
    block_bars: int,
) -> tuple[float, float, float]:
    """IC of what the first forecast knows beside the second, with its interval: (IC, low, high), over pairs that both forecast.

    The first forecast less its least-squares part on the second, asset by asset: forecast encompassing (Chong and Hendry, 1986).
    A difference of two ICs would carry the noise of both. 0 where the second holds all of the first; blocks of ``block_bars``
    rows are drawn.
    """
    both_TN = np.isfinite(first_TN) & np.isfinite(second_TN) & np.isfinite(outcome_TN)
    x_TN, y_TN = (np.where(both_TN, value_TN, np.nan).astype(np.float64) for value_TN in (first_TN, second_TN))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an asset without a forecast has no mean
        x_TN, y_TN = (value_TN - np.nanmean(value_TN, axis=0) for value_TN in (x_TN, y_TN))
    slope_N = np.nansum(x_TN * y_TN, axis=0) / np.maximum(np.nansum(y_TN**2, axis=0), 1e-300)
    left_TN = x_TN - slope_N * y_TN
    known_N = both_TN.any(axis=0)
    nothing_N = np.nansum(left_TN**2, axis=0) <= _MIN_SPREAD * np.nansum(x_TN**2, axis=0)
    sums_WNS = _block_sums(np.where(nothing_N, np.nan, left_TN), outcome_TN, block_bars)
    filled_W = _block_sums(np.where(both_TN, 0.0, np.nan), outcome_TN, block_bars)[:, :, 0].any(axis=1)
    draw_BW = block_counts(int(filled_W.sum()), samples=settings.bootstrap_samples, seed=settings.seed)

    def mean_ic(of_XNS: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(mean_over_assets(np.where(known_N & nothing_N, 0.0, _ic(of_XNS))))

    ic_B = mean_ic(np.einsum("bw,wns->bns", draw_BW, sums_WNS[filled_W]))
    return float(mean_ic(sums_WNS.sum(axis=0))), *_interval(ic_B, int(filled_W.sum()), settings)


def _block_sums(forecast_TN: NDArray[np.floating], outcome_TN: NDArray[np.floating], block_bars: int) -> NDArray[np.float64]:
    """(W, N, S) sums of the pairs of each block."""
    known_TN = np.isfinite(forecast_TN) & np.isfinite(outcome_TN)
    # Scaled to the order of one: sums of squared returns would lose digits against their means.
    x_TN, y_TN = (
        np.where(known_TN, value_TN, 0.0) / max(float(np.std(value_TN[known_TN])) if known_TN.any() else 1.0, 1e-12)
        for value_TN in (np.asarray(forecast_TN, dtype=np.float64), np.asarray(outcome_TN, dtype=np.float64))
    )
    sums_STN = np.stack([known_TN.astype(np.float64), x_TN, y_TN, x_TN**2, y_TN**2, x_TN * y_TN])
    starts = np.arange(0, len(known_TN), block_bars)
    return np.moveaxis(np.add.reduceat(sums_STN, starts, axis=1), 0, 2) if len(starts) else np.zeros((0, known_TN.shape[1], 6))


def _cross_sections(forecast_TN: NDArray[np.floating], outcome_TN: NDArray[np.floating], block_bars: int) -> NDArray[np.float64]:
    """(W, 3): sums of cross-sectional and rank correlations, and how many rows gave one (at least 3 assets)."""
    known_TN = np.isfinite(forecast_TN) & np.isfinite(outcome_TN)
    sums_TK = np.zeros((len(known_TN), 3))
    usable_T = known_TN.sum(axis=1) >= 3
    if usable_T.any():
        known_RN = known_TN[usable_T]
        x_RN, y_RN = (np.where(known_RN, np.asarray(value_TN, float)[usable_T], np.nan) for value_TN in (forecast_TN, outcome_TN))
        plain_R = _row_correlation(x_RN, y_RN)
        rank_R = _row_correlation(*(stats.rankdata(value_RN, axis=1, nan_policy="omit") for value_RN in (x_RN, y_RN)))
        good_R = np.isfinite(plain_R) & np.isfinite(rank_R)
        sums_TK[usable_T] = np.stack([np.where(good_R, plain_R, 0), np.where(good_R, rank_R, 0), good_R], axis=1)
    starts = np.arange(0, len(known_TN), block_bars)
    return np.add.reduceat(sums_TK, starts, axis=0) if len(starts) else np.zeros((0, 3))


def _row_correlation(x_RN: NDArray[np.float64], y_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    x_RN, y_RN = (value_RN - np.nanmean(value_RN, axis=1, keepdims=True) for value_RN in (x_RN, y_RN))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(x_RN * y_RN, axis=1) / np.sqrt(np.nansum(x_RN**2, axis=1) * np.nansum(y_RN**2, axis=1))


def _ic(sums_XNS: NDArray[np.float64]) -> NDArray[np.float64]:
    return ic_of_sums(sums_XNS, min_spread=_MIN_SPREAD)


def _interval(value_B: NDArray[np.float64], blocks: int, settings: BacktestSettings) -> tuple[float, float]:
    value_B = value_B[np.isfinite(value_B)]
    if blocks < _MIN_BLOCKS or len(value_B) < 20:
        return float("nan"), float("nan")
    return percentile_interval(value_B, settings.confidence)
