"""The families of networks: 'attention' and its baselines, fitted and asked.

Axes: T bars, R rows asked for, N assets, O outputs (the next bar, then each horizon), H heads, L lags.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from crossattn_core.experiment import Experiment
from crossattn_core.families.calibration import Parts, calibrate, combine
from crossattn_core.families.checkpoint import model_id_of, stamp, write_checkpoint
from crossattn_core.families.fitted import AttentionWeights, EpochReport, FitRequest, FittedModel, silent
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels, output_names
from crossattn_core.model.heads import expected_move, portfolio_weights
from crossattn_core.model.network import CrossAssetNetwork, NetworkShape, build_network
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.schemas import check_cut_off, check_windows
from crossattn_core.panel.splits import training_rows
from crossattn_core.panel.windows import Scaler, Windows, fit_scaler
from crossattn_core.receipts import combined_hash
from crossattn_core.storage import sha256_of
from crossattn_core.training.device import threads
from crossattn_core.training.loop import ROWS_AT_ONCE, Answer, Examples, Resumable, as_tensor, train
from crossattn_core.training.objective import ClassFacts, Objective, class_facts

__all__ = ["FittedAttention", "fit_attention"]


class FittedAttention(FittedModel):
    """A trained cross-asset network with its scalers."""

    def __init__(
        self,
        family: str,
        network: CrossAssetNetwork,
        scaler: Scaler,
        target_scaler: TargetScaler,
        classes: ClassFacts,
        gain_PO: NDArray[np.float32],
        experiment: Experiment,
        manifest: dict[str, Any],
    ) -> None:
        self.family = family
        self.network = network.eval()
        self.scaler = scaler
        self.target_scaler = target_scaler
        self.classes = classes
        self.gain_PO = gain_PO
        self.experiment = experiment
        self.manifest = manifest
        self.model_id = manifest.setdefault("model_id", model_id_of(self.arrays(), manifest))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint holds, by name."""
        weights = {f"network.{name}": value.detach().cpu().numpy() for name, value in self.network.state_dict().items()}
        told = {"gain_PO": self.gain_PO}
        if self.experiment.model.head == "direction":
            told |= {"classes.prior_OC": self.classes.prior_OC.numpy(), "classes.mean_OC": self.classes.mean_OC.numpy()}
        return {**weights, **self.scaler.arrays(), **self.target_scaler.arrays(), **told}

    @classmethod
    def from_checkpoint(
        cls, arrays: dict[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedAttention":
        """Rebuild from what ``save`` wrote."""
        network = build_network(_shape(experiment), experiment.model, torch.Generator().manual_seed(0))
        prefix = "network."
        network.load_state_dict({k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)})
        scaler, target_scaler = Scaler.from_arrays(arrays), TargetScaler.from_arrays(arrays)
        nothing = np.zeros((0, 0), dtype=np.float32)
        classes = ClassFacts(*(torch.from_numpy(arrays.get(f"classes.{name}", nothing)) for name in ("prior_OC", "mean_OC")))
        return cls(manifest["family"], network, scaler, target_scaler, classes, arrays["gain_PO"], experiment, manifest)

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows, others=True)[:, :, 1:]

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows, others=True)[:, :, 0]

    def forecast_without_others(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows, others=False)[:, :, 0]

    def weights(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        if self.experiment.model.head != "weights":
            return None
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            return np.zeros((0, len(panel.asset_ids)), dtype=np.float32)
        windows, given = self._windows(panel, rows), []
        with threads(self.experiment.training.threads), torch.inference_mode():
            for row_B in torch.from_numpy(rows).split(ROWS_AT_ONCE):
                score_BN1 = self.network(windows.gather(row_B), windows.gather_recent(row_B, self.network.max_lag)).forecast_BNO
                readable_BN = windows.readable(row_B)
                weight_BN = portfolio_weights(score_BN1[..., 0], readable_BN, self.experiment.model.weight_shape)
                given.append(torch.where(readable_BN, weight_BN, torch.nan))
        return torch.cat(given).numpy()

    def attention(self, panel: Panel, rows: NDArray[np.integer]) -> AttentionWeights | None:
        if self.experiment.model.cross_attention == "off":
            return None
        rows = np.asarray(rows, dtype=np.int64)
        weights = []
        if len(rows):
            windows = self._windows(panel, rows)
            with threads(self.experiment.training.threads), torch.inference_mode():
                for row_B in torch.from_numpy(rows).split(ROWS_AT_ONCE):
                    recent = windows.gather_recent(row_B, self.network.max_lag)
                    weights.append(self.network.cross_part(recent)[1].numpy())
        names, heads = output_names(self.experiment.labels), self.experiment.model.heads
        dealt = heads >= len(names) and self.experiment.model.head != "weights"
        serves = tuple(names[h % len(names)] if dealt else "all" for h in range(heads))
        weight_RHNML = np.concatenate(weights) if weights else np.zeros((0, heads, *self._pair_shape()), dtype=np.float32)
        return AttentionWeights(rows, weight_RHNML, panel.asset_ids, serves, np.arange(1, weight_RHNML.shape[-1] + 1))

    def save(self, folder: Path) -> Path:
        return write_checkpoint(folder, self.arrays(), self.manifest)

    def _pair_shape(self) -> tuple[int, int, int]:
        assets = len(self.scaler.mean_NF)
        return assets, assets, self.experiment.model.max_lag

    def _returns(self, panel: Panel, rows: NDArray[np.integer], *, others: bool) -> NDArray[np.float32]:
        rows = np.asarray(rows, dtype=np.int64)
        unit_RNO = self.target_scaler.unit_RNO(panel, rows)
        if not len(rows) or self.experiment.model.head == "weights":
            return np.full_like(unit_RNO, np.nan)
        windows = self._windows(panel, rows)
        with threads(self.experiment.training.threads):
            parts = _parts(self.network, windows, self.target_scaler, self.classes, self.experiment, rows)
        readable_RN = windows.readable(torch.from_numpy(rows)).numpy()
        return np.where(readable_RN[..., None], combine(parts, self.gain_PO, others=others) * unit_RNO, np.float32(np.nan))

    def _windows(self, panel: Panel, rows: NDArray[np.int64]) -> Windows:
        return Windows(
            panel,
            self.scaler,
            lookback=self.experiment.model.lookback,
            max_age_hours=self.experiment.features.max_age_hours,
            first=int(rows.min()),
            last=int(rows.max()),
        )


def fit_attention(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None] = silent
) -> FittedAttention:
    """Fit scalers and network on what is known at the cut-off; see ``fitting.fit_model``."""
    model, training = experiment.model, experiment.training
    panel = request.panel.until(request.cut_off + 1)
    labels = output_labels(panel, experiment.labels)
    weight_T = np.asarray(request.row_weight_T[: request.cut_off + 1], dtype=np.float32)
    weighed_R = np.flatnonzero(weight_T > 0)
    split = training_rows(
        labels,
        request.cut_off,
        # A row without weight costs as much as any other and teaches nothing.
        first=max(model.lookback - 1, int(weighed_R.min(initial=len(weight_T)))),
        validation_share=training.validation_share,
        embargo=training.embargo,
        stride=training.stride,
    )
    check_windows(panel, split.train_R, model.lookback, last_row=split.train_end)
    check_windows(panel, split.validation_R, model.lookback, last_row=request.cut_off)
    check_cut_off(panel.as_of_T[split.train_end], panel.as_of_T[request.cut_off])
    first_bar = int(split.train_R[0]) - model.lookback + 1
    scaler = fit_scaler(panel, first_bar, split.train_end)
    train_known_TNO = labels.known_at(split.train_end)
    target_scaler = fit_target_scaler(panel, train_known_TNO, split.train_R)
    train_TNO, validation_TNO = (
        as_tensor(target_scaler.scaled(panel, known_TNO)) for known_TNO in (train_known_TNO, labels.value_TNH)
    )
    classes = class_facts(train_TNO[split.train_R], model.neutral_band)
    if model.head == "weights":
        # Weights earn simple returns, unscaled.
        traded = 1 + experiment.labels.horizons.index(experiment.labels.trade_horizon)
        train_TNO, validation_TNO = (
            as_tensor(np.expm1(known_TNO[..., traded : traded + 1])) for known_TNO in (train_known_TNO, labels.value_TNH)
        )
    examples = Examples(
        Windows(
            panel,
            scaler,
            lookback=model.lookback,
            max_age_hours=experiment.features.max_age_hours,
            first=int(split.train_R[0]),
        ),
        train_TNO,
        validation_TNO,
        as_tensor(weight_T),
        Objective(training, model, experiment.labels, _output_weights(experiment), classes),
        np.array([1, *experiment.labels.horizons]),
        split,
    )
    generator = torch.Generator().manual_seed(request.seed)
    network = build_network(_shape(experiment), model, generator)
    epochs = training.epochs
    if isinstance(request.warm_from, FittedAttention) and request.warm_from.family == family:
        network.load_state_dict(request.warm_from.network.state_dict())
        epochs = training.warm_epochs
    resumable = None
    if request.resume_folder is not None:
        told = json.dumps(stamp(family, experiment), sort_keys=True)
        parent_id = request.warm_from.model_id if request.warm_from is not None else ""
        weights_hash = sha256_of(np.ascontiguousarray(weight_T).data)
        where = (panel.content_hash, str(request.cut_off), str(request.seed), str(epochs))
        resumable = Resumable(request.resume_folder, combined_hash(told, parent_id, weights_hash, *where))
    with threads(training.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        history, answer = train(
            network, examples, training, epochs=epochs, generator=generator, report=report, resumable=resumable
        )
        row_R = split.validation_R
        gain_PO = np.ones((3, len(target_scaler.deviation_NO[0])), dtype=np.float32)
        if model.head != "weights":
            # Moving to a device and back leaves the resident arrays where the fit was.
            gain_PO = calibrate(
                _parts(network, examples.windows.to(torch.device("cpu")), target_scaler, classes, experiment, row_R, answer),
                validation_TNO[row_R].numpy(),
                weight_T[row_R],
                examples.overlap_O,
                most=np.inf if training.loss == "rank_ic" else 1.0,
            )
    parent = request.warm_from
    manifest = {
        **stamp(family, experiment),
        "seed": request.seed,
        "panel_hash": panel.content_hash,
        "cut_off": str(panel.as_of_T[request.cut_off]),
        "train_start": str(panel.as_of_T[split.train_R[0]]),
        "train_rows": len(split.train_R),
        "validation_rows": len(split.validation_R),
        "validation_loss": min(history.validation_loss),
        "best_epoch": history.best_epoch,
        "training_losses": history.training_loss,
        "validation_losses": history.validation_loss,
        "parent_id": parent.model_id if parent is not None else None,
    }
    return FittedAttention(family, network, scaler, target_scaler, classes, gain_PO, experiment, manifest)


def _parts(
    network: CrossAssetNetwork,
    windows: Windows,
    target_scaler: TargetScaler,
    classes: ClassFacts,
    experiment: Experiment,
    rows: NDArray[np.int64],
    answer: Answer | None = None,
) -> Parts:
    """The parts of the forecasts at ``rows``, in eval mode; ``answer``: what the network said to these rows already."""
    labels = experiment.labels
    if experiment.model.head == "direction":
        return _direction_parts(network, windows, classes, rows)
    spans = tuple((labels.execution_lag, labels.execution_lag + horizon - 1) for horizon in labels.horizons)
    own, cross, ahead = [], [], []
    with torch.inference_mode():
        for row_B in torch.from_numpy(rows).split(ROWS_AT_ONCE):
            recent = windows.gather_recent(row_B, network.max_lag)
            if answer is None:
                own.append(network.own_part(windows.gather(row_B)))
                cross.append(network.cross_answer(recent))
            ahead.append(functional.pad(network.ahead_part(recent, spans), (1, 0)))
    # Sums of next-bar returns come in next-bar units; each horizon is measured in its own.
    per_unit_NO = target_scaler.deviation_NO[:, :1] / target_scaler.deviation_NO
    said = Answer(torch.cat(own), torch.cat(cross)) if answer is None else answer
    return Parts(said.own_RNO.numpy(), said.cross_RNO.numpy(), torch.cat(ahead).numpy() * per_unit_NO)


def _direction_parts(network: CrossAssetNetwork, windows: Windows, classes: ClassFacts, rows: NDArray[np.int64]) -> Parts:
    """Expected moves: of the own logits alone, and what the others' logits add to them."""
    own, whole = [], []
    with torch.inference_mode():
        for row_B in torch.from_numpy(rows).split(ROWS_AT_ONCE):
            own_BNR = network.own_part(windows.gather(row_B))
            cross_BNR = network.cross_answer(windows.gather_recent(row_B, network.max_lag))
            own.append(expected_move(own_BNR, classes.prior_OC, classes.mean_OC))
            whole.append(expected_move(own_BNR + cross_BNR, classes.prior_OC, classes.mean_OC))
    own_RNO, whole_RNO = torch.cat(own).numpy(), torch.cat(whole).numpy()
    return Parts(own_RNO, whole_RNO - own_RNO, np.zeros_like(own_RNO))


def _shape(experiment: Experiment) -> NetworkShape:
    assets = experiment.assets
    sectors = sorted({(asset.market, asset.sector) for asset in assets})
    markets = sorted({asset.market for asset in assets})
    return NetworkShape(
        len(assets),
        len(experiment.features.names) + 1,
        len(output_names(experiment.labels)),
        tuple(sectors.index((asset.market, asset.sector)) for asset in assets),
        tuple(markets.index(asset.market) for asset in assets),
    )


def _output_weights(experiment: Experiment) -> Tensor:
    # Labels of overlapping horizons repeat each other: h bars ahead hold about 1 / h as many independent outcomes.
    return torch.tensor([1.0, *(1.0 / np.sqrt(horizon) for horizon in experiment.labels.horizons)], dtype=torch.float32)
