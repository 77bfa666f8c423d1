"""Three views of what a forecast rests on, side by side, and how far they agree.

    attention      the weights that were used
    gradient       |gradient x input| of the next-bar forecast, summed over a source's features, by lag
    occlusion      how far the forecast moves when a source's recent history is replaced by that of other weeks

Attention shows where a model looks, the gradient what a small change would do, occlusion what the source is worth to the
forecast. None of them is evidence of cause. Each view is a share: over the sources other than itself a target's values sum to
one.

Axes: R decision rows, N targets, M sources, L lags, U distinct bars, C channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from crossattn_core.analysis.snapshot import snapshot_of_rows
from crossattn_core.errors import HistoryError
from crossattn_core.families.ensemble import FittedEnsemble
from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.rank_correlation import rank_correlation
from crossattn_core.stats.returns import log_returns
from crossattn_core.training.device import own_settings

__all__ = [
    "Attribution",
    "agreement",
    "attention_view",
    "attribution",
    "gradient_view",
    "occlusion_view",
    "shares",
    "with_other_history",
]

_MAX_BACKWARD = 600
"""Backward passes of a gradient view, about: all of two dozen rows for 25 assets, two of them for 300."""


@dataclass(frozen=True)
class Attribution:
    """The views of one model at some rows."""

    share_by_view_NM: dict[str, NDArray[np.float64]]
    """View -> (N, M) share of target n's reliance that falls on source m; 0 on the diagonal, NaN rows where nothing is known."""
    attention_NML: NDArray[np.float64]
    """(N, M, L) the attention view by lag; lag index l is the bar l bars before as_of."""
    gradient_NML: NDArray[np.float64]
    """(N, M, L) the gradient view by lag; (N, M, 1) of NaN for a family without a network."""


def attribution(
    model: FittedModel, panel: Panel, rows: NDArray[np.integer], *, seasons: tuple[int, ...] = (4, 5)
) -> Attribution | None:
    """All views at ``rows`` (panel rows, each with enough history behind it); none for a model without cross-attention.

    Cost: one backward pass a target and one pass of the cross part a source and season; some dozens of rows spread over weeks
    show as much as a whole day of neighbours.

    Args:
        seasons: see ``occlusion_view``; none leaves occlusion unknown.
    """
    attention_NML = attention_view(model, panel, rows)
    if attention_NML is None:
        return None
    unknown_NM = np.full(attention_NML.shape[:2], np.nan)
    gradient_NML = gradient_view(model, panel, rows) if isinstance(model, FittedNetwork) else unknown_NM[:, :, None]
    value_by_view_NM = {
        "attention": attention_NML.sum(axis=2),
        "gradient": gradient_NML.sum(axis=2),
        "occlusion": occlusion_view(model, panel, rows, seasons=seasons) if seasons else unknown_NM,
    }
    share_by_view_NM = {view: shares(value_NM) for view, value_NM in value_by_view_NM.items()}
    return Attribution(share_by_view_NM, attention_NML, gradient_NML)


def attention_view(model: FittedModel, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float64] | None:
    """(N, M, L) mean over rows and heads of the weights that the next-bar forecast uses; none for a family without."""
    day = panel.as_of_T[rows[-1]].astype("datetime64[D]").item()
    snapshot = snapshot_of_rows(model, panel, np.asarray(rows, dtype=np.int64), day)
    return None if snapshot is None else snapshot.weight_NML.astype(np.float64)


def gradient_view(model: FittedNetwork, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float64]:
    """(N, M, L) mean over rows of |sum over channels of gradient x input| of target n's next-bar cross part.

    In scaled units, before calibration (which multiplies a target's whole cross part by one number). A backward pass a target and
    row: of a large universe every few rows are enough.
    """
    rows = np.asarray(rows, dtype=np.int64)
    rows = rows[:: -(-len(rows) * len(panel.asset_ids) // _MAX_BACKWARD)]
    network, windows = model.network, model.windows(panel, rows)
    assets = len(panel.asset_ids)
    total_NML = np.zeros((assets, assets, network.max_lag))
    with own_settings(model.experiment.training.threads):
        for row in rows:
            recent = windows.gather_recent(torch.tensor([int(row)]), network.max_lag)
            bar_UNC = recent.bar_UNC.clone().requires_grad_()
            next_bar_N = network.cross_part(replace(recent, bar_UNC=bar_UNC))[0, :, 0]
            if not next_bar_N.requires_grad:
                continue
            for n, value in enumerate(next_bar_N):
                (slope_UMC,) = torch.autograd.grad(value, bar_UNC, retain_graph=True)
                # In a row of its own each lag is one distinct bar, the one in place_BL.
                total_NML[n] += (slope_UMC * bar_UNC).sum(dim=-1).abs()[recent.place_BL[0]].T.detach().numpy()
    return total_NML / len(rows)


def occlusion_view(
    model: FittedModel, panel: Panel, rows: NDArray[np.integer], *, seasons: tuple[int, ...] = (4, 5)
) -> NDArray[np.float64]:
    """(N, M) root mean square move of target n's next-bar forecast, over its usual size, when source m lives in another season.

    Args:
        seasons: how many ``Grid.season_bars`` back the other history lies; the mean over them is returned. Whole seasons keep
            open hours open.

    Raises:
        HistoryError: the panel has too little history before the rows for the farthest season.
    """
    rows = np.asarray(rows, dtype=np.int64)
    known = panel.until(int(rows.max()) + 1)
    plain_RN = model.forecast_next_bar(known, rows).astype(np.float64)
    with np.errstate(invalid="ignore"):
        usual_N = np.sqrt(np.nanmean(plain_RN**2, axis=0))
    moved_NM = np.zeros((len(panel.asset_ids),) * 2)
    for season in seasons:
        for m, other_RN in enumerate(_without_each(model, known, rows, season * panel.grid.season_bars)):
            with np.errstate(invalid="ignore", divide="ignore"):
                moved_NM[:, m] += np.sqrt(np.nanmean((other_RN - plain_RN) ** 2, axis=0)) / usual_N / len(seasons)
    np.fill_diagonal(moved_NM, 0.0)
    return moved_NM


def _without_each(model: FittedModel, panel: Panel, rows: NDArray[np.int64], shift: int) -> Iterator[NDArray[np.float64]]:
    """(R, N) next-bar forecasts with source 0, 1, ... ``shift`` bars in the past; those of the source itself mean nothing."""
    if isinstance(model, FittedEnsemble):
        members = zip(*(_without_each(member, panel, rows, shift) for member in model.members), strict=True)
        yield from (np.mean(np.stack(of_members), axis=0).astype(np.float32).astype(np.float64) for of_members in members)
        return
    reach = model.experiment.model.lookback if isinstance(model, FittedNetwork) else 0
    if isinstance(model, FittedNetwork) and model.adds_up and rows.min() - reach + 1 >= shift:
        yield from model.next_bar_without_each(panel, rows, shift)
        return
    for m in range(len(panel.asset_ids)):
        yield model.forecast_next_bar(with_other_history(panel, m, shift), rows).astype(np.float64)


def with_other_history(panel: Panel, asset: int, shift: int) -> Panel:
    """``panel`` in which one asset lives ``shift`` bars in the past: its features, freshness and returns are those of then.

    Its prices are carried on from the first row by the returns of then. The first ``shift`` rows stay as they are.

    Raises:
        HistoryError: the panel is not longer than ``shift``.
    """
    if shift >= len(panel.as_of_T):
        raise HistoryError(
            f"another season's history lies {shift} bars back, the panel has {len(panel.as_of_T)}; take fewer seasons"
        )

    def moved(value_TX: NDArray) -> NDArray:
        changed_TX = np.array(value_TX)
        changed_TX[shift:, asset] = value_TX[:-shift, asset]
        return changed_TX

    move_T = log_returns(panel.mark_price_TN[:, asset])
    then_T = np.where(np.isfinite(move_T), move_T, 0.0)[: len(move_T) - shift]
    mark_TN = np.array(panel.mark_price_TN)
    mark_TN[shift:, asset] = mark_TN[shift - 1, asset] * np.exp(np.cumsum(then_T))
    is_fresh_TN = moved(panel.is_fresh_TN)
    trade_TN = np.array(panel.trade_price_TN)
    trade_TN[shift:, asset] = np.where(is_fresh_TN[shift:, asset], mark_TN[shift:, asset], np.nan)
    return replace(
        panel,
        feature_TNF=moved(panel.feature_TNF),
        trade_price_TN=trade_TN,
        mark_price_TN=mark_TN,
        is_fresh_TN=is_fresh_TN,
        age_hours_TN=moved(panel.age_hours_TN),
        quote_volume_TN=moved(panel.quote_volume_TN),
        funding_rate_TN=moved(panel.funding_rate_TN),
        dividend_TN=None if panel.dividend_TN is None else moved(panel.dividend_TN),
        content_hash=f"{panel.content_hash}, asset {asset} {shift} bars back",
    )


def agreement(value_by_view_NM: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Spearman rank correlation between views over all ordered pairs, and within each target averaged over targets.

    Returns:
        first, second, rank_correlation, within_target: one row a pair of views; NaN where a view does not vary.
    """
    names = list(value_by_view_NM)
    assets = len(next(iter(value_by_view_NM.values())))
    off_NM = ~np.eye(assets, dtype=bool)
    rows = []
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            x_NM, y_NM = value_by_view_NM[first], value_by_view_NM[second]
            within_N = [rank_correlation(x_NM[n, off_NM[n]], y_NM[n, off_NM[n]]) for n in range(assets)]
            known = [value for value in within_N if np.isfinite(value)]
            mean = float(np.mean(known)) if known else float("nan")
            rows.append((first, second, rank_correlation(x_NM[off_NM], y_NM[off_NM]), mean))
    return pd.DataFrame(rows, columns=["first", "second", "rank_correlation", "within_target"])


def shares(value_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) each target's values over their sum, 0 on the diagonal; NaN where they sum to nothing."""
    others_NM = np.where(np.eye(len(value_NM), dtype=bool), 0.0, value_NM)
    total_N1 = others_NM.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total_N1 > 0, others_NM / total_N1, np.nan)
