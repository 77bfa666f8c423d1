"""A network that was fitted: what its forecasts, weights and attention are at any row.

Axes: T bars of the panel, R rows, N assets, O outputs (the next bar, then each horizon), H heads, L lags.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import AttentionWeights, CandidateWeights, FittedModel
from crossattn_core.families.targets import TargetScaler, output_names
from crossattn_core.model.attention.base import AssetTokens
from crossattn_core.model.attention.candidate_pairs import CandidatePairAttention
from crossattn_core.model.heads import expected_move, portfolio_weights
from crossattn_core.model.network import CrossAssetNetwork, Network, build_network, own_part_at
from crossattn_core.model.shape import NetworkShape
from crossattn_core.model.stacked import StackedNetwork
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import RecentBars, Scaler, Windows
from crossattn_core.training.calibration import Parts, combine
from crossattn_core.training.device import own_settings
from crossattn_core.training.loop import INFERENCE_BATCH, ValidationOutput
from crossattn_core.training.objective import ClassFacts

__all__ = ["FittedNetwork", "forecast_parts", "network_shape"]


_WHOLE_PASSES = 64
"""Assets up to which the whole cross part is made anew for each source: a pass costs as much as assets squared. Beyond, a source
moves the context by what it said itself, where weights do not rest on tokens: equal but for rounding."""


class FittedNetwork(FittedModel):
    """A trained cross-asset network with its scalers."""

    def __init__(
        self,
        network: Network,
        scaler: Scaler,
        target_scaler: TargetScaler,
        classes: ClassFacts,
        gain_PO: NDArray[np.float32],
        experiment: Experiment,
        manifest: dict[str, Any],
    ) -> None:
        self.network, self.experiment = network.eval(), experiment
        self.scaler, self.target_scaler, self.classes, self.gain_PO = scaler, target_scaler, classes, gain_PO
        self.identify(manifest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        weights = {f"network.{name}": value.detach().cpu().numpy() for name, value in self.network.state_dict().items()}
        sizes = {"gain_PO": self.gain_PO}
        if self.experiment.model.head == "direction":
            sizes |= {"classes.prior_OC": self.classes.prior_OC.numpy(), "classes.mean_OC": self.classes.mean_OC.numpy()}
        return {**weights, **self.scaler.arrays(), **self.target_scaler.arrays(), **sizes}

    @classmethod
    def from_checkpoint(
        cls, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedNetwork":
        """Rebuild from what ``save`` wrote."""
        with own_settings(experiment.training.threads):
            network = build_network(network_shape(experiment), experiment.model, torch.Generator().manual_seed(0))
        prefix = "network."
        network.load_state_dict({k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)})
        scaler, target_scaler = Scaler.from_arrays(arrays), TargetScaler.from_arrays(arrays)
        none = np.zeros((0, 0), dtype=np.float32)
        classes = ClassFacts(*(torch.from_numpy(arrays.get(f"classes.{name}", none)) for name in ("prior_OC", "mean_OC")))
        return cls(network, scaler, target_scaler, classes, arrays["gain_PO"], experiment, manifest)

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows, others=True)[:, :, 1:]

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows, others=True, ahead=False)[:, :, 0]

    def forecast_without_others(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows, others=False, ahead=False)[:, :, 0]

    def weights(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        if self.experiment.model.head != "weights":
            return None
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            return np.zeros((0, len(panel.asset_ids)), dtype=np.float32)
        windows, weights = self.windows(panel, rows), []
        with own_settings(self.experiment.training.threads), torch.inference_mode():
            for row_B in torch.from_numpy(rows).split(INFERENCE_BATCH):
                score_BN1 = self.network(windows.gather(row_B), windows.gather_recent(row_B, self.network.max_lag)).forecast_BNO
                readable_BN = windows.readable(row_B)
                weight_BN = portfolio_weights(score_BN1[..., 0], readable_BN, self.experiment.model.weight_shape)
                weights.append(torch.where(readable_BN, weight_BN, torch.nan))
        return torch.cat(weights).numpy()

    def attention(self, panel: Panel, rows: NDArray[np.integer]) -> AttentionWeights | None:
        if not self.network.cross.reads_others:
            return None
        rows = np.asarray(rows, dtype=np.int64)
        settings, assets = self.experiment.model, len(self.scaler.mean_NF)
        weights = [np.zeros((0, len(self._serves_H), assets, assets, settings.max_lag), dtype=np.float32)]
        if len(rows):
            windows = self.windows(panel, rows)
            with own_settings(self.experiment.training.threads), torch.inference_mode():
                for row_B in torch.from_numpy(rows).split(INFERENCE_BATCH):
                    recent = windows.gather_recent(row_B, self.network.max_lag)
                    weights.append(self.network.cross_part_and_weights(recent)[1].numpy())
        # Of one batch as it is: rows that read alike share their weights, and copies of them would be most of the memory.
        weight_RHNML = weights[1] if len(weights) == 2 else np.concatenate(weights)
        return AttentionWeights(rows, weight_RHNML, panel.asset_ids, self._serves_H, np.arange(1, settings.max_lag + 1))

    def candidate_attention(self, panel: Panel, rows: NDArray[np.integer]) -> CandidateWeights | None:
        network = self.network
        if not isinstance(network, CrossAssetNetwork) or not isinstance(cross := network.cross, CandidatePairAttention):
            return None
        rows = np.asarray(rows, dtype=np.int64)
        weights = [cross.logit_HNK.new_zeros(0, *cross.logit_HNK.shape)]
        if len(rows):
            windows = self.windows(panel, rows)
            with own_settings(self.experiment.training.threads), torch.inference_mode():
                for row_B in torch.from_numpy(rows).split(INFERENCE_BATCH):
                    recent = windows.gather_recent(row_B, network.max_lag)
                    weight_ZHNK, masks = cross.pair_weights(AssetTokens(network.bar_token(recent.bar_UNC), recent))
                    by_row_BHNK = weight_ZHNK if masks is None else weight_ZHNK[masks.place_B]
                    weights.append(by_row_BHNK.expand(len(row_B), -1, -1, -1))
        weight_RHNK = weights[1] if len(weights) == 2 else torch.cat(weights)
        source_NK, lag_NK = (index_NK.numpy() for index_NK in (cross.pair_NK // cross.lags, cross.pair_NK % cross.lags))
        lead_bars_L = np.arange(1, cross.lags + 1)
        return CandidateWeights(rows, source_NK, lag_NK, weight_RHNK.numpy(), panel.asset_ids, self._serves_H, lead_bars_L)

    @property
    def _serves_H(self) -> tuple[str, ...]:
        """The output that each head feeds; of a stack the heads of every layer, each of which feeds every output."""
        settings, names = self.experiment.model, output_names(self.experiment.labels)
        is_stacked = isinstance(self.network, StackedNetwork)
        heads = settings.heads * (settings.layers if is_stacked else 1)
        dealt = heads >= len(names) and settings.head != "weights" and not is_stacked
        return tuple(names[h % len(names)] if dealt else "all" for h in range(heads))

    def _returns(self, panel: Panel, rows: NDArray[np.integer], *, others: bool, ahead: bool = True) -> NDArray[np.float32]:
        rows = np.asarray(rows, dtype=np.int64)
        unit_RNO = self.target_scaler.unit_RNO(panel, rows)
        if not len(rows) or self.experiment.model.head == "weights":
            return np.full_like(unit_RNO, np.nan)
        windows = self.windows(panel, rows)
        with own_settings(self.experiment.training.threads):
            parts = forecast_parts(self.network, windows, self.target_scaler, self.classes, self.experiment, rows, ahead=ahead)
        readable_RN = windows.readable(torch.from_numpy(rows)).numpy()
        return np.where(readable_RN[..., None], combine(parts, self.gain_PO, others=others) * unit_RNO, np.float32(np.nan))

    @property
    def adds_up(self) -> bool:
        """Whether a forecast is the sum of a part from each asset's own window and one that the others' tokens alone decide."""
        network = self.network
        return (
            isinstance(network, CrossAssetNetwork)
            and not network.temporal.reads_others
            and self.experiment.model.head == "returns"
        )

    def next_bar_without_each(self, panel: Panel, rows: NDArray[np.int64], shift: int) -> Iterator[NDArray[np.float64]]:
        """(R, N) next-bar forecasts with source 0, 1, ... ``shift`` bars in the past, as if its features and ages were those of
        then; what it would forecast of itself is not looked at. Only where ``adds_up``; the lookback lies behind ``shift``.

        A source's history moves nothing but the others' cross part: own parts are made once, and no panel is copied.
        """
        network, gain_PO = self.network, self.gain_PO[:, :1]
        if not isinstance(network, CrossAssetNetwork):
            raise TypeError("only a network whose parts add up can have one source replaced in its cross part")
        max_lag = network.max_lag
        windows, then = self.windows(panel, rows), self.windows(panel, rows - shift)
        unit_RN = self.target_scaler.unit_RNO(panel, rows)[..., 0]
        readable_RN = windows.readable(torch.from_numpy(rows)).numpy()
        batches: list[tuple[AssetTokens, AssetTokens]] = []
        own: list[Tensor] = []
        with own_settings(self.experiment.training.threads), torch.inference_mode():
            for row_B in torch.from_numpy(rows).split(INFERENCE_BATCH):
                recents = windows.gather_recent(row_B, max_lag), then.gather_recent(row_B - shift, max_lag)
                now, past = (AssetTokens(network.bar_token(recent.bar_UNC), recent) for recent in recents)
                batches.append((now, past))
                own.append(own_part_at(network, windows, row_B)[..., :1])
        own_RN1 = torch.cat(own).numpy()
        parts = [_cross_without_each(network, *batch) for batch in batches]
        for _ in panel.asset_ids:
            with own_settings(self.experiment.training.threads), torch.inference_mode():
                cross_RN1 = torch.cat([next(part)[..., :1] for part in parts]).numpy()
            forecast_RN = combine(Parts(own_RN1, cross_RN1, np.zeros_like(own_RN1)), gain_PO)[..., 0] * unit_RN
            yield np.where(readable_RN, forecast_RN, np.float32(np.nan)).astype(np.float64)

    def windows(self, panel: Panel, rows: NDArray[np.int64]) -> Windows:
        """The bars that the network reads at ``rows``, scaled."""
        return Windows(
            panel,
            self.scaler,
            lookback=self.experiment.model.lookback,
            max_age_hours=self.experiment.features.max_age_hours,
            first=int(rows.min()),
            last=int(rows.max()),
        )


def _cross_without_each(network: CrossAssetNetwork, now: AssetTokens, past: AssetTokens) -> Iterator[Tensor]:
    """(B, N, O) cross part with the tokens and readability of source 0, 1, ... from ``past``: equally many rows, as far apart."""
    assets = now.bars.readable_BN.shape[1]
    moves = network.cross_moved_by_source(now, past) if assets > _WHOLE_PASSES else None
    plain_BNO = network.cross_part_of(now)
    alike_M = (now.bars.readable_BN == past.bars.readable_BN).all(dim=0).tolist()
    for m in range(assets):
        # Where a row reads a source and its other history does not, or the other way round, the others' weights change too.
        move_BNO = next(moves) if moves is not None else None
        yield (
            plain_BNO + move_BNO if move_BNO is not None and alike_M[m] else network.cross_part_of(_with_source_of(now, past, m))
        )


def _with_source_of(now: AssetTokens, past: AssetTokens, source: int) -> AssetTokens:
    """``now`` with one asset's bars and readability taken from ``past``, of equally many rows as far apart."""
    token_UMD, bar_UNC, readable_BN = (of.clone() for of in (now.token_UMD, now.bars.bar_UNC, now.bars.readable_BN))
    token_UMD[:, source], bar_UNC[:, source] = past.token_UMD[:, source], past.bars.bar_UNC[:, source]
    readable_BN[:, source] = past.bars.readable_BN[:, source]
    return AssetTokens(token_UMD, RecentBars(bar_UNC, now.bars.place_BL, readable_BN))


def forecast_parts(
    network: Network,
    windows: Windows,
    target_scaler: TargetScaler,
    classes: ClassFacts,
    experiment: Experiment,
    rows: NDArray[np.int64],
    output: ValidationOutput | None = None,
    *,
    ahead: bool = True,
) -> Parts:
    """The parts of the forecasts at ``rows``, in eval mode.

    Args:
        output: the network's on these rows, where there is one.
        ahead: off leaves 0 what later bars are known to bring, which the next bar itself does not need.
    """
    labels = experiment.labels
    if experiment.model.head == "direction":
        return _direction_parts(network, windows, classes, rows)
    spans = tuple((labels.execution_lag, labels.execution_lag + horizon - 1) for horizon in labels.horizons)
    own, cross, later = [], [], []
    with torch.inference_mode():
        for row_B in torch.from_numpy(rows).split(INFERENCE_BATCH):
            recent = windows.gather_recent(row_B, network.max_lag)
            if output is None:
                own.append(own_part_at(network, windows, row_B))
                cross.append(network.cross_part(recent))
            none_BNO = recent.bar_UNC.new_zeros(len(row_B), recent.bar_UNC.shape[1], len(spans))
            later.append(functional.pad(network.ahead_part(recent, spans) if ahead else none_BNO, (1, 0)))
    # Sums of next-bar returns come in next-bar units; each horizon is measured in its own.
    per_unit_NO = target_scaler.deviation_NO[:, :1] / target_scaler.deviation_NO
    output = ValidationOutput(torch.cat(own), torch.cat(cross)) if output is None else output
    return Parts(output.own_RNO.numpy(), output.cross_RNO.numpy(), torch.cat(later).numpy() * per_unit_NO)


def _direction_parts(network: Network, windows: Windows, classes: ClassFacts, rows: NDArray[np.int64]) -> Parts:
    """Expected moves: of the own logits alone, and what the others' logits add."""
    own, whole = [], []
    with torch.inference_mode():
        for row_B in torch.from_numpy(rows).split(INFERENCE_BATCH):
            own_BNR = own_part_at(network, windows, row_B)
            cross_BNR = network.cross_part(windows.gather_recent(row_B, network.max_lag))
            own.append(expected_move(own_BNR, classes.prior_OC, classes.mean_OC))
            whole.append(expected_move(own_BNR + cross_BNR, classes.prior_OC, classes.mean_OC))
    own_RNO, whole_RNO = torch.cat(own).numpy(), torch.cat(whole).numpy()
    return Parts(own_RNO, whole_RNO - own_RNO, np.zeros_like(own_RNO))


def network_shape(experiment: Experiment) -> NetworkShape:
    """Sizes that the universe, the features and the labels fix."""
    assets = experiment.assets
    sectors = sorted({(asset.market, asset.sector) for asset in assets})
    markets = sorted({asset.market for asset in assets})
    return NetworkShape(
        len(assets),
        len(experiment.features.names) + 1,
        len(output_names(experiment.labels)),
        tuple(sectors.index((asset.market, asset.sector)) for asset in assets),
        tuple(markets.index(asset.market) for asset in assets),
        names.index("log_return") if "log_return" in (names := experiment.features.names) else None,
    )
