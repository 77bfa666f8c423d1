"""The family 'lightgbm_pooled': gradient-boosted trees on the cross-section, the bar that this field's daily work is held to.

S. Gu, B. Kelly, D. Xiu, "Empirical Asset Pricing via Machine Learning" (2020): one booster an output for all assets together, on
characteristics that are ranked across the assets of each row - past returns over several windows, volatility, turnover, and the
panel's own features. Targets are what an asset earned beyond the mean of all, so the forecasts say who does better than whom
and nothing about the market. Needs the extra 'lightgbm'.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), K characteristics, W windows.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.lightgbm import BOOSTING_KNOBS, boosting_parameters, grown_trees, lightgbm_package
from crossattn_core.families.registry import FAMILIES
from crossattn_core.families.scaled_outputs import ScaledOutputModel, readable_rows
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import bar_log_returns
from crossattn_core.training.epochs import EpochReport

__all__ = ["FittedPooled", "characteristics", "fit_pooled", "ranked"]

KNOBS = (*BOOSTING_KNOBS, "baselines.characteristic_bars")
_ROWS_AT_ONCE = 256


class FittedPooled(ScaledOutputModel):
    """One text of trees an output; an empty text forecasts 0."""

    def __init__(self, trees_O: list[str], target_scaler: TargetScaler, experiment: Experiment, manifest: dict[str, Any]) -> None:
        self.trees_O, self.target_scaler, self.experiment = trees_O, target_scaler, experiment
        self._boosters = [lightgbm_package().Booster(model_str=text) if text else None for text in trees_O]
        self.identify(manifest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        trees = {f"trees.{o}": np.frombuffer(text.encode(), dtype=np.uint8) for o, text in enumerate(self.trees_O)}
        return {**trees, **self.target_scaler.arrays()}

    @classmethod
    def from_checkpoint(
        cls, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedPooled":
        """Rebuild from what ``save`` wrote."""
        scaler = TargetScaler.from_arrays(arrays)
        trees_O = [arrays[f"trees.{o}"].tobytes().decode() for o in range(scaler.deviation_NO.shape[1])]
        return cls(trees_O, scaler, experiment, manifest)

    def scaled_at(self, panel: Panel, rows: NDArray[np.int64], readable_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
        rank_RNK = ranked(characteristics(panel, rows, self.experiment.baselines.characteristic_bars), readable_RN)
        scaled_RNO = np.zeros((*rank_RNK.shape[:2], len(self._boosters)))
        for o, booster in enumerate(self._boosters):
            if booster is not None:
                flat = booster.predict(rank_RNK.reshape(-1, rank_RNK.shape[2]), num_threads=1)
                scaled_RNO[:, :, o] = flat.reshape(rank_RNK.shape[:2])
        return scaled_RNO


def characteristics(panel: Panel, rows: NDArray[np.integer], windows: tuple[int, ...]) -> NDArray[np.float64]:
    """(R, N, K) what each asset looks like at each row, from bars up to the row; NaN where history is too short.

    In order: log return over each of ``windows`` (bars), over the longest without the second shortest of at least a week (what
    is called momentum 12-1 with daily bars), root mean square return over each window of ten bars or more, traded value over the
    second shortest such window against the longest, and the panel's features as they were last fresh.
    """
    rows = np.asarray(rows, dtype=np.int64)
    parts = [_characteristics(panel, rows[low : low + _ROWS_AT_ONCE], windows) for low in range(0, len(rows), _ROWS_AT_ONCE)]
    return np.concatenate(parts)


def _characteristics(panel: Panel, rows: NDArray[np.int64], windows: tuple[int, ...]) -> NDArray[np.float64]:
    # Every number is a sum over its own window, so a row has the same bits whatever panel it is read from.
    longest = max(windows)
    first = max(int(rows.min()) - longest, 0)
    log_mark_TN = np.log(panel.mark_price_TN[first : int(rows.max()) + 1])
    return_TN = bar_log_returns(panel, first=first, last=int(rows.max()))
    value_TN = np.nan_to_num(np.asarray(panel.quote_volume_TN[first : int(rows.max()) + 1], dtype=np.float64))
    at_R = rows - first

    def change(newest: int, oldest: int) -> NDArray[np.float64]:
        known_R = rows >= oldest
        moved_RN = log_mark_TN[at_R - newest] - log_mark_TN[np.maximum(at_R - oldest, 0)]
        return np.where(known_R[:, None], moved_RN, np.nan)

    def mean(bar_TN: NDArray[np.float64], window: int) -> NDArray[np.float64]:
        known_R = rows >= window - 1
        place_RW = np.maximum(at_R[:, None] - np.arange(window), 0)
        return np.where(known_R[:, None], bar_TN[place_RW].sum(axis=1) / window, np.nan)

    long = [window for window in windows if window >= 10]
    skipped = long[0] if long else min(windows)
    columns = [change(0, window) for window in windows]
    columns.append(change(skipped, longest))
    columns += [np.sqrt(mean(return_TN**2, window)) for window in long]
    with np.errstate(divide="ignore", invalid="ignore"):
        columns.append(np.log(mean(value_TN, skipped) / mean(value_TN, longest)))
    features_RNF = _last_fresh(panel, rows)
    return np.concatenate([np.stack(columns, axis=2), features_RNF], axis=2)


def _last_fresh(panel: Panel, rows: NDArray[np.int64], reach: int = 8) -> NDArray[np.float64]:
    """(R, N, F) each feature at the newest fresh bar of the last ``reach`` rows; NaN without one."""
    found_RNF = np.full((len(rows), *panel.feature_TNF.shape[1:]), np.nan)
    for back in range(reach):
        row_R = np.maximum(rows - back, 0)
        usable_RN = panel.is_fresh_TN[row_R] & (rows >= back)[:, None]
        feature_RNF = np.where(usable_RN[..., None], panel.feature_TNF[row_R], np.nan)
        found_RNF = np.where(np.isnan(found_RNF), feature_RNF, found_RNF)
    return found_RNF


def ranked(value_RNK: NDArray[np.float64], readable_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(R, N, K) the rank of each value among the readable assets of its row, from -0.5 to 0.5; 0 where unknown or alone.

    >>> value_RNK = np.array([[[3.0], [1.0], [2.0], [9.0], [np.nan]]])
    >>> ranked(value_RNK, np.array([[True, True, True, False, True]]))[0, :, 0].tolist()
    [0.5, -0.5, 0.0, 0.0, 0.0]
    """
    known_RNK = np.isfinite(value_RNK) & readable_RN[..., None]
    # Unknown values sort last; a stable sort keeps equal values in the order of the universe, then ties share their mean rank.
    sortable_RNK = np.where(known_RNK, value_RNK, np.inf)
    below_RNK = _ranks(sortable_RNK)
    count_RK = known_RNK.sum(axis=1)
    spread_RK = np.maximum(count_RK - 1, 1)
    return np.where(known_RNK & (count_RK > 1)[:, None, :], below_RNK / spread_RK[:, None, :] - 0.5, 0.0)


def _ranks(value_RNK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean rank from 0 along the asset axis, ties averaged."""
    from scipy.stats import rankdata

    return rankdata(value_RNK, axis=1) - 1.0


def _beyond_mean(target_RNO: NDArray[np.floating], readable_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Targets less the mean of their row's readable assets; NaN stays NaN."""
    known_RNO = np.isfinite(target_RNO) & readable_RN[..., None]
    count_RO = np.maximum(known_RNO.sum(axis=1), 1)
    mean_RO = np.where(known_RNO, target_RNO, 0.0).sum(axis=1) / count_RO
    return np.where(known_RNO, target_RNO - mean_RO[:, None, :], np.nan)


def fit_pooled(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedPooled:
    """Fit on what is known at the cut-off: trees on the training rows, their number on the held-out ones.

    Raises:
        TrainingError: LightGBM is not installed, or too few rows.
    """
    settings = experiment.baselines
    panel = request.known_panel
    if len(panel.asset_ids) < 2:
        raise TrainingError(f"{family}: ranks {len(panel.asset_ids)} asset against itself; name more assets")
    labels, weight_T = output_labels(panel, experiment.labels), request.known_weight_T
    split = request.split(labels, experiment.training, first=min(settings.characteristic_bars))
    known_TNO = labels.known_at(split.train_end)
    target_scaler = fit_target_scaler(panel, known_TNO, split.train_R)
    sides = []
    for row_R, value_TNO in ((split.train_R, known_TNO), (split.validation_R, labels.value_TNH)):
        readable_RN = readable_rows(panel, row_R, experiment)
        target_RNO = _beyond_mean(target_scaler.scaled(panel, value_TNO)[row_R], readable_RN)
        rank_RNK = ranked(characteristics(panel, row_R, settings.characteristic_bars), readable_RN)
        weight_RN = np.broadcast_to(weight_T[row_R][:, None], readable_RN.shape)
        sides.append((rank_RNK.reshape(-1, rank_RNK.shape[2]), target_RNO.reshape(-1, target_RNO.shape[2]), weight_RN.ravel()))
    knobs = boosting_parameters(experiment, request.seed)
    trees_O: list[str] = []
    losses: list[float] = []
    for o in range(known_TNO.shape[2]):
        seen = [np.isfinite(target_XO[:, o]) for _, target_XO, _ in sides]
        if not all(seen_X.any() for seen_X in seen):
            trees_O.append("")
            continue
        text, found = grown_trees(
            knobs,
            *(
                (rank_XK[seen_X], target_XO[seen_X, o], weight_X[seen_X])
                for (rank_XK, target_XO, weight_X), seen_X in zip(sides, seen, strict=True)
            ),
            settings=settings,
        )
        trees_O.append(text)
        losses.append(found)
    loss = float(np.mean(losses)) if losses else None
    record = request.record(split.train_R, validation_rows=len(split.validation_R), loss=loss)
    manifest = {**stamp(family, experiment, KNOBS), **record, "seed": request.seed}
    return FittedPooled(trees_O, target_scaler, experiment, manifest)


FAMILIES.add("lightgbm_pooled", Family(fit_pooled, FittedPooled.from_checkpoint, KNOBS))
