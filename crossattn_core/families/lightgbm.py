"""The family 'lightgbm': gradient-boosted trees on lagged returns, for what ridge cannot bend to.

G. Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree" (2017). One booster an asset and output, on
the same lagged returns of every asset as ridge_var; the number of trees is chosen on held-out rows, purged as for networks.
Needs the extra 'lightgbm'.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), E regressors.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import BaselineSettings, Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.lagged_returns import LaggedReturnModel, lagged_design, return_deviation, scaled_returns
from crossattn_core.families.registry import FAMILIES
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels
from crossattn_core.training.epochs import EpochReport

__all__ = ["BOOSTING_KNOBS", "FittedBoosted", "boosting_parameters", "fit_boosted", "grown_trees", "lightgbm_package"]

BOOSTING_KNOBS = (
    "baselines.boosted_trees",
    "baselines.boosted_leaves",
    "baselines.boosted_learning_rate",
    "baselines.boosted_min_rows",
    "baselines.boosted_patience",
    "training.validation_share",
    "training.embargo",
    "training.stride",
)
"""What a boosted family depends on, whatever its regressors are."""
KNOBS = ("baselines.ridge_lags", *BOOSTING_KNOBS)


class FittedBoosted(LaggedReturnModel):
    """One text of trees an asset and output; an empty text forecasts 0."""

    def __init__(
        self,
        trees_NO: list[list[str]],
        deviation_N: NDArray[np.float64],
        target_scaler: TargetScaler,
        experiment: Experiment,
        manifest: dict[str, Any],
    ) -> None:
        self.trees_NO = trees_NO
        self._boosters = [[lightgbm_package().Booster(model_str=text) if text else None for text in trees] for trees in trees_NO]
        super().__init__(deviation_N, target_scaler, experiment, manifest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        # Trees are the bytes of LightGBM's own text.
        trees = {
            f"trees.{n}.{o}": np.frombuffer(text.encode(), dtype=np.uint8)
            for n, row in enumerate(self.trees_NO)
            for o, text in enumerate(row)
        }
        return {**super().arrays(), **trees}

    @classmethod
    def from_checkpoint(
        cls, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedBoosted":
        """Rebuild from what ``save`` wrote."""
        scaler = TargetScaler.from_arrays(arrays)
        assets, outputs = scaler.deviation_NO.shape
        trees_NO = [[arrays[f"trees.{n}.{o}"].tobytes().decode() for o in range(outputs)] for n in range(assets)]
        return cls(trees_NO, arrays["deviation_N"], scaler, experiment, manifest)

    def scaled_outputs(self, design_RE: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled_RNO = np.zeros((len(design_RE), len(self.trees_NO), len(self.trees_NO[0])))
        for n, boosters in enumerate(self._boosters):
            for o, booster in enumerate(boosters):
                if booster is not None:
                    scaled_RNO[:, n, o] = booster.predict(design_RE, num_threads=1)
        return scaled_RNO


def fit_boosted(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedBoosted:
    """Fit on what is known at the cut-off: trees on the training rows, their number on the held-out ones.

    Raises:
        TrainingError: LightGBM is not installed, or too few rows.
    """
    settings = experiment.baselines
    panel = request.known_panel
    labels, weight_T = output_labels(panel, experiment.labels), request.known_weight_T
    split = request.split(labels, experiment.training, first=settings.ridge_lags)
    known_TNO = labels.known_at(split.train_end)
    deviation_N = return_deviation(panel.until(split.train_end + 1))
    target_scaler = fit_target_scaler(panel, known_TNO, split.train_R)
    sides = [(split.train_R, known_TNO), (split.validation_R, labels.value_TNH)]
    design_TN = scaled_returns(panel, deviation_N)
    designs = [lagged_design(design_TN, row_R, settings.ridge_lags) for row_R, _ in sides]
    targets = [target_scaler.scaled(panel, value_TNO)[row_R] for row_R, value_TNO in sides]
    knobs = boosting_parameters(experiment, request.seed)
    trees_NO: list[list[str]] = []
    losses: list[float] = []
    for n in range(len(panel.asset_ids)):
        trees_NO.append([])
        for o in range(targets[0].shape[2]):
            seen = [np.isfinite(target_RNO[:, n, o]) for target_RNO in targets]
            if not all(seen_R.any() for seen_R in seen):
                trees_NO[-1].append("")
                continue
            text, found = grown_trees(
                knobs,
                *(
                    (design_RE[seen_R], target_RNO[seen_R, n, o], weight_T[row_R][seen_R])
                    for design_RE, target_RNO, seen_R, (row_R, _) in zip(designs, targets, seen, sides, strict=True)
                ),
                settings=settings,
            )
            trees_NO[-1].append(text)
            losses.append(found)
    loss = float(np.mean(losses)) if losses else None
    record = request.record(split.train_R, validation_rows=len(split.validation_R), loss=loss)
    manifest = {**stamp(family, experiment, KNOBS), **record, "seed": request.seed}
    return FittedBoosted(trees_NO, deviation_N, target_scaler, experiment, manifest)


def boosting_parameters(experiment: Experiment, seed: int) -> dict[str, Any]:
    """LightGBM's parameters by ``baselines.boosted_*``; one thread and a fixed seed give the same trees everywhere."""
    settings = experiment.baselines
    return {
        "objective": "regression",
        "num_leaves": settings.boosted_leaves,
        "learning_rate": settings.boosted_learning_rate,
        "min_data_in_leaf": settings.boosted_min_rows,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed % 2**31,
        "verbosity": -1,
    }


Examples = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]
"""(X, E) regressors, (X,) targets, (X,) weights."""


def grown_trees(knobs: dict[str, Any], fitted: Examples, held_out: Examples, *, settings: BaselineSettings) -> tuple[str, float]:
    """(LightGBM's text of the trees, mean squared error on ``held_out``), as many trees as the held-out examples ask for.

    The text is empty where no number of trees beats a forecast of 0 there.

    Raises:
        TrainingError: LightGBM is not installed.
    """
    lightgbm = lightgbm_package()
    train, test = (
        lightgbm.Dataset(regressor_XE, target_X, weight=weight_X, params=knobs, free_raw_data=False)
        for regressor_XE, target_X, weight_X in (fitted, held_out)
    )
    stop = lightgbm.early_stopping(settings.boosted_patience, verbose=False)
    booster = lightgbm.train(knobs, train, settings.boosted_trees, valid_sets=[test], callbacks=[stop])
    found = float(booster.best_score["valid_0"]["l2"])
    loss_of_zero = float(np.average(held_out[1] ** 2, weights=held_out[2]))
    return booster.model_to_string(num_iteration=booster.best_iteration) if found < loss_of_zero else "", found


def lightgbm_package() -> Any:
    """The package, imported where a boosted family is used.

    Raises:
        TrainingError: it is not installed, or its system library is missing.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise TrainingError(f"LightGBM cannot be used: {error}; install crossattn[lightgbm], and the system's libgomp") from error
    return lightgbm


FAMILIES.add("lightgbm", Family(fit_boosted, FittedBoosted.from_checkpoint, KNOBS))
