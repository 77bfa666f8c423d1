"""The families that are networks: 'attention' and its baselines, one network under other knobs.

Axes: T bars of the panel, R rows, N assets, O outputs (the next bar, then each horizon).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.fitted_network import FittedNetwork, forecast_parts, network_shape
from crossattn_core.families.registry import FAMILIES
from crossattn_core.families.targets import fit_target_scaler, output_labels
from crossattn_core.model.attention.base import ATTENTION
from crossattn_core.model.attention.candidate_pairs import CandidatePairAttention, candidate_pairs
from crossattn_core.model.network import CrossAssetNetwork, build_network
from crossattn_core.panel.labels import Labels
from crossattn_core.panel.schemas import check_cut_off, check_windows
from crossattn_core.panel.splits import Split
from crossattn_core.panel.windows import Windows, bar_log_returns, fit_scaler
from crossattn_core.training.calibration import calibrate
from crossattn_core.training.device import Computing, explained_memory, own_settings
from crossattn_core.training.epochs import EpochReport
from crossattn_core.training.examples import Examples, as_tensor
from crossattn_core.training.loop import train
from crossattn_core.training.objective import Objective, class_facts
from crossattn_core.training.pair_screening import PairScreen
from crossattn_core.training.screening import LeadScreen

__all__ = ["fit_network"]

KNOBS = ("model", "training")

_ALONE = {"architecture": "parallel", "cross_attention": "off"}
_TRADED = {"head": "weights", "loss": "sharpe"}
_HELD_OUT_SINCE_CHANGE = 1 / 3
"""Of the rows since a target's leads changed, at most, are held out."""
_OWN_BRANCH_STRIDE = 4
"""Without a cross part the own branch is the model: it gets at least every so many rows, whatever drop-path would leave it."""


def fit_network(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedNetwork:
    """Fit scalers and network on what is known at the cut-off; see ``registry.fit_model``."""
    training = experiment.training
    with own_settings(training.threads), explained_memory(training.batch_size, len(experiment.assets)):
        return _fitted(family, request, experiment, report)


def _fitted(family: str, request: FitRequest, experiment: Experiment, report: Callable[[EpochReport], None]) -> FittedNetwork:
    model, training = experiment.model, experiment.training
    panel = request.known_panel
    labels, weight_T = output_labels(panel, experiment.labels), request.known_weight_T
    split = request.split(labels, training, first=model.lookback - 1)
    check_windows(panel, split.train_R, model.lookback, last_row=split.train_end)
    check_windows(panel, split.validation_R, model.lookback, last_row=request.cut_off)
    check_cut_off(panel.as_of_T[split.train_end], panel.as_of_T[request.cut_off])
    first = int(split.train_R[0])
    scaler = fit_scaler(panel, first - model.lookback + 1, split.train_end)
    windows = Windows(panel, scaler, lookback=model.lookback, max_age_hours=experiment.features.max_age_hours, first=first)
    warm = request.warm_from if isinstance(request.warm_from, FittedNetwork) and request.warm_from.family == family else None
    screened = None
    if ATTENTION.get(model.cross_attention).starts_from_pairs:
        screened = _screened(request, labels, split, windows, experiment, warm)
        labels, split = screened.labels, screened.split
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
        windows,
        train_TNO,
        validation_TNO,
        as_tensor(weight_T),
        Objective(training, model, experiment.labels, _output_weights(experiment), classes, experiment.grid.bars_per_year),
        np.array([1, *experiment.labels.horizons]),
        split,
    )
    generator = torch.Generator().manual_seed(request.seed)
    shape = network_shape(experiment)
    network = build_network(shape, model, generator)
    epochs = training.epochs
    if warm is not None:
        network.load_state_dict(warm.network.state_dict())
        epochs = training.warm_epochs
    if isinstance(network, CrossAssetNetwork):
        if screened is not None and screened.pair_NK is not None and isinstance(network.cross, CandidatePairAttention):
            network.cross.read_pairs(screened.pair_NK)
        network.temporal.fit_graph(bar_log_returns(panel, first=first, last=split.train_end))
    if screened is not None and screened.share_ONX is not None:
        traded = 1 + experiment.labels.horizons.index(experiment.labels.trade_horizon)
        share_ONX = screened.share_ONX[[traded]] if model.head == "weights" else screened.share_ONX
        network.start_from(share_ONX, learned=warm is not None)
    computing = Computing.of(training, shape.assets)
    with computing.seeded(request.seed):
        history, output = train(network, examples, training, epochs=epochs, generator=generator, report=report)
        row_R = split.validation_R
        gain_PO = np.ones((3, len(target_scaler.deviation_NO[0])), dtype=np.float32)
        if model.head != "weights":
            # Moving to a device and back leaves the resident arrays where the fit was.
            gain_PO = calibrate(
                forecast_parts(
                    network, examples.windows.to(torch.device("cpu")), target_scaler, classes, experiment, row_R, output
                ),
                validation_TNO[row_R].numpy(),
                weight_T[row_R],
                examples.overlap_O,
                most=np.inf if training.loss == "rank_ic" else 1.0,
            )
    parent = request.warm_from
    record = request.record(split.train_R, validation_rows=len(split.validation_R), loss=min(history.validation_loss))
    manifest = {
        **stamp(family, experiment, KNOBS),
        "trade_horizon": experiment.labels.trade_horizon if model.head == "weights" else None,
        "sectors": list(shape.sectors),
        "markets": list(shape.markets),
        **record,
        "seed": request.seed,
        "computed_on": computing.record,
        "best_epoch": history.best_epoch,
        "training_losses": history.training_loss,
        "validation_losses": history.validation_loss,
        "parent_id": parent.model_id if parent is not None else None,
    }
    return FittedNetwork(network, scaler, target_scaler, classes, gain_PO, experiment, manifest)


@dataclass(frozen=True)
class _Screened:
    """What screening says of a fit."""

    labels: Labels
    """Since the leads of their target are what they are."""
    split: Split
    """That they give."""
    share_ONX: Tensor | None = None
    """Share of a start's weight for each pair, X either (L, M) or the candidates; none: an even start."""
    pair_NK: Tensor | None = None
    """The candidates, where not every pair is one."""


def _screened(
    request: FitRequest, labels: Labels, split: Split, windows: Windows, experiment: Experiment, warm: FittedNetwork | None
) -> _Screened:
    training, panel = experiment.training, request.known_panel
    stacked = experiment.model.architecture == "stacked"
    pairs = None if stacked else candidate_pairs(experiment.model, len(panel.asset_ids))
    if not training.screening and pairs is None:
        return _Screened(labels, split)
    row_R = np.flatnonzero(np.isfinite(labels.value_TNH[:, :, 0]).any(axis=1) & (request.known_weight_T > 0))
    row_R = row_R[row_R >= split.train_R[0]]

    def target_RNO(labels: Labels, known_TNO: NDArray[np.float32]) -> Tensor:
        target_scaler = fit_target_scaler(panel, labels.known_at(split.train_end), split.train_R)
        return as_tensor(target_scaler.scaled(panel, known_TNO))[row_R]

    screen = LeadScreen(
        windows,
        torch.from_numpy(row_R),
        target_RNO(labels, labels.value_TNH),
        as_tensor(request.known_weight_T)[row_R],
        torch.tensor([1, *experiment.labels.horizons]),
        experiment.model.max_lag,
    )
    pair_NK = place_NK = None
    if pairs is not None:
        cross = None if warm is None else warm.network.cross
        kept_NK = cross.strongest_pairs() if isinstance(cross, CandidatePairAttention) else None
        screen = PairScreen.of(screen, target_RNO(labels, labels.known_at(split.train_end)), pairs, kept_NK)
        place_NK = screen.chosen(pairs)
        pair_NK = screen.pair_NX.gather(1, place_NK)
    if not training.screening:
        return _Screened(labels, split, pair_NK=pair_NK)

    def share_ONX() -> Tensor:
        if place_NK is None:
            return screen.start()
        share_ONX = screen.start_ONX()
        return share_ONX.gather(2, place_NK.expand(len(share_ONX), -1, -1))

    since_N = screen.changed_since().numpy()
    if not since_N.any():
        return _Screened(labels, split, share_ONX(), pair_NK)
    labels = labels.since(since_N)
    # Rows since the newest change are few: most of them have to be learned from.
    left = np.isfinite(labels.value_TNH[row_R, :, 0]).any(axis=1).sum()
    newest = _HELD_OUT_SINCE_CHANGE * (row_R >= since_N.max()).sum() / left
    shorter = training.model_copy(update={"validation_share": min(training.validation_share, float(newest))})
    split = request.split(labels, shorter, first=int(split.train_R[0]))
    screen = replace(screen, target_RNO=target_RNO(labels, labels.value_TNH))
    return _Screened(labels, split, share_ONX(), pair_NK)


def _output_weights(experiment: Experiment) -> Tensor:
    # Labels of overlapping horizons repeat each other: h bars ahead hold about 1 / h as many independent outcomes.
    return torch.tensor([1.0, *(1.0 / np.sqrt(horizon) for horizon in experiment.labels.horizons)], dtype=torch.float32)


def _adapt(preset: dict[str, str], experiment: Experiment) -> Experiment:
    """The experiment with the family's knobs laid over its own."""
    model = {name: knob for name, knob in preset.items() if name != "loss"}
    training: dict[str, Any] = {name: knob for name, knob in preset.items() if name == "loss"}
    if preset.get("cross_attention") == "off":
        training["own_branch_stride"] = min(experiment.training.own_branch_stride, _OWN_BRANCH_STRIDE)
    sections = {"model": experiment.model.model_copy(update=model), "training": experiment.training.model_copy(update=training)}
    return experiment.model_copy(update=sections)


def _network(**preset: str) -> Family:
    """The network with these knobs of the model section, and this loss."""
    gives_weights = preset.get("head") == "weights"
    adapted = partial(_adapt, preset)
    return Family(fit_network, FittedNetwork.from_checkpoint, KNOBS, adapted, averages_seeds=True, gives_weights=gives_weights)


FAMILIES.add("attention", _network())
FAMILIES.add("direction_attention", _network(head="direction", loss="cross_entropy"))
FAMILIES.add("sharpe_attention", _network(**_TRADED))
FAMILIES.add("uniform_attention", _network(cross_attention="uniform"))
FAMILIES.add("self_attention", _network(cross_attention="off"))
FAMILIES.add("stacked_attention", _network(architecture="stacked", own_branch="attention"))
FAMILIES.add("lstm", _network(**_ALONE, own_branch="lstm"))
FAMILIES.add("gru", _network(**_ALONE, own_branch="gru"))
FAMILIES.add("dlinear", _network(**_ALONE, own_branch="dlinear"))
FAMILIES.add("itransformer", _network(**_ALONE, own_branch="itransformer"))
FAMILIES.add("patchtst", _network(**_ALONE, own_branch="patchtst"))
FAMILIES.add("portfolio_transformer", _network(**_ALONE, **_TRADED, own_branch="portfolio_transformer"))
FAMILIES.add("masaat", _network(**_ALONE, **_TRADED, own_branch="multi_agent"))
FAMILIES.add("graph_attention_portfolio", _network(**_ALONE, **_TRADED, own_branch="graph_attention"))
