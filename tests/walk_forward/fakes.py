"""A small synthetic panel and a family that fits in microseconds, for tests of the rolling parts."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import PrunedModelError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import has_weights, weights_path
from crossattn_core.families.fitted import AttentionWeights, FitRequest, FittedModel
from crossattn_core.grid import HOURLY
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.storage import write_text
from crossattn_core.training.epochs import EpochReport

FIRST_DAY = date(2025, 1, 1)


def synthetic_panel(
    days: int,
    assets: int = 4,
    *,
    seed: int = 3,
    volatility_T: NDArray[np.float64] | None = None,
    leads: tuple[tuple[int, int, int, float], ...] = (),
    closed_share: float = 0.01,
    features: tuple[str, ...] = ("log_return", "volatility"),
) -> Panel:
    """Random walks on the hourly grid, with (leader, follower, lag, coefficient) leads, applied in order, and missing candles."""
    generator = np.random.default_rng(seed)
    bars = days * 24
    volatility_T = np.full(bars, 0.005) if volatility_T is None else volatility_T
    shock_TN = generator.standard_normal((bars, assets))
    for leader, follower, lag, coefficient in leads:
        shock_TN[lag:, follower] += coefficient * shock_TN[:-lag, leader]
    return_TN = shock_TN * volatility_T[:, None]
    mark_TN = 100 * np.exp(np.cumsum(return_TN, axis=0))
    fresh_TN = generator.random((bars, assets)) >= closed_share
    fresh_TN[0] = True
    last_TN = np.maximum.accumulate(np.where(fresh_TN, np.arange(bars)[:, None], 0), axis=0)
    mark_TN = np.take_along_axis(mark_TN, last_TN, axis=0)
    feature_TNF = generator.standard_normal((bars, assets, len(features))).astype(np.float32)
    feature_TNF[:, :, 0] = return_TN
    feature_TNF[~fresh_TN] = np.nan
    return Panel(
        as_of_T=HOURLY.rows(FIRST_DAY, FIRST_DAY + timedelta(days=days - 1)),
        asset_ids=tuple(f"bybit:linear:A{n}USDT" for n in range(assets)),
        features=features,
        feature_TNF=feature_TNF,
        trade_price_TN=np.where(fresh_TN, mark_TN, np.nan),
        mark_price_TN=mark_TN,
        is_fresh_TN=fresh_TN,
        age_hours_TN=(np.arange(bars)[:, None] - last_TN).astype(np.float32),
        quote_volume_TN=np.where(fresh_TN, 1e6, np.nan),
        funding_rate_TN=np.full((bars, assets), np.nan),
        content_hash=f"synthetic-{days}-{assets}-{seed}",
    )


def rolling_experiment(assets: int = 4, **retrain: Any) -> Experiment:
    """An experiment on the synthetic panel's assets, with short cadences."""
    return Experiment.model_validate(
        {
            "name": "rolling",
            "assets": [{"venue": "bybit", "symbol": f"A{n}USDT"} for n in range(assets)],
            "features": {"names": ("log_return", "volatility")},
            "model": {"lookback": 16, "patch": 8, "max_lag": 8, "width": 8, "heads": 2},
            "regimes": {"minimum_days": 10, "volatility_days": 5, "confirm_days": 2, "max_window_days": 30},
            "retrain": {"minimum_days": 20, "every_days": 7, "cooldown_days": 3, "degraded_days": 14, "drift_days": 7, **retrain},
        }
    )


class FakeModel(FittedModel):
    """Forecasts a multiple of the last return; the multiple is a regression over the rows it was given."""

    def __init__(self, family: str, manifest: dict[str, Any]) -> None:
        self.family, self.manifest = family, manifest
        self.model_id = combined_hash(json.dumps(manifest, sort_keys=True))

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        past_RN = np.asarray(panel.feature_TNF)[rows, :, 0]
        return (past_RN[:, :, None] * np.array(self.manifest["slope_H"], dtype=np.float32)).astype(np.float32)

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self.forecast(panel, rows)[:, :, 0]

    def forecast_without_others(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        return self.forecast_next_bar(panel, rows) if self.family == "attention" else None

    def attention(self, panel: Panel, rows: NDArray[np.integer]) -> AttentionWeights | None:
        if self.family != "attention":
            return None
        assets = len(panel.asset_ids)
        weight_RHNML = np.abs(np.sin(np.arange(len(rows) * 2 * assets * assets * 8, dtype=np.float32))).reshape(
            len(rows), 2, assets, assets, 8
        )
        weight_RHNML[:, :, np.arange(assets), np.arange(assets)] = 0
        weight_RHNML /= weight_RHNML.sum(axis=(3, 4), keepdims=True)
        return AttentionWeights(np.asarray(rows), weight_RHNML, panel.asset_ids, ("next_bar", "24"), np.arange(1, 9))

    def save(self, folder: Path) -> Path:
        write_text(weights_path(folder), "")
        write_text(folder / "manifest.json", json.dumps({"family": self.family, "manifest": self.manifest}))
        return folder


def fake_load(folder: Path, experiment: Experiment) -> FakeModel:
    if not has_weights(folder):
        raise PrunedModelError(f"{folder}: its weights are no longer kept")
    stored = json.loads((folder / "manifest.json").read_text())
    return FakeModel(stored["family"], stored["manifest"])


class FakeFit:
    """Counts its calls; fits a slope per horizon on known labels."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, FitRequest]] = []

    def __call__(self, family: str, request: FitRequest, experiment: Experiment, *, report: Any) -> FakeModel:
        self.requests.append((family, request))
        assert len(request.panel.as_of_T) == request.cut_off + 1 == len(request.row_weight_T)
        outcome_TNH = compute_labels(request.panel, experiment.labels).known_at(request.cut_off)
        past_TN1 = np.nan_to_num(np.asarray(request.panel.feature_TNF)[:, :, :1]) * request.row_weight_T[:, None, None]
        slope_H = np.nansum(past_TN1 * outcome_TNH, axis=(0, 1)) / ((past_TN1**2).sum() + 1e-12)
        start_H = np.array(request.warm_from.manifest["slope_H"]) if request.warm_from else slope_H
        slope_H = 0.8 * slope_H + 0.2 * start_H + (1e-3 if family == "attention" else 2e-3)
        report(EpochReport(1, 1, 1.0, 0.5, 1e-3, len(request.row_weight_T)))
        manifest = {
            "slope_H": [float(value) for value in slope_H],
            "cut_off": str(request.panel.as_of_T[request.cut_off]),
            "seed": request.seed,
            "panel": request.panel.content_hash,
            "validation_loss": 0.5,
        }
        return FakeModel(family, manifest)
