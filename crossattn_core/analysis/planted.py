"""Planted markets: returns whose leaders and lags are known, as a panel that every model can read.

Axes: T bars, N assets, F features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.panel.panel import Panel

__all__ = ["PLANTED_FEATURES", "PlantedEdge", "panel_of_returns", "planted_experiment", "planted_market"]

PLANTED_FEATURES = ("log_return", "intraday_return", "range_share", "relative_volume", "volatility", "momentum")


@dataclass(frozen=True)
class PlantedEdge:
    """The follower's return repeats part of the leader's, ``lag`` bars later."""

    leader: int
    follower: int
    lag: int
    share: float = 0.05
    """Share of the follower's variance."""
    shape: Literal["linear", "squared"] = "linear"


LEADS_OF_ONE = tuple(PlantedEdge(0, follower, lag) for follower, lag in ((1, 1), (2, 3), (3, 6), (4, 12)))


def planted_market(
    bars: int = 8000,
    assets: int = 6,
    edges: tuple[PlantedEdge, ...] = LEADS_OF_ONE,
    *,
    seed: int = 0,
    volatility: float = 0.005,
) -> Panel:
    """Independent normal returns with ``edges`` planted; each follower keeps its variance."""
    rng = np.random.default_rng(seed)
    shock_TN = rng.standard_normal((bars, assets))
    move_TN = np.zeros_like(shock_TN)
    # Leaders may follow others themselves: build assets in an order in which leaders come first.
    for n in _leaders_first(assets, edges):
        incoming = [edge for edge in edges if edge.follower == n]
        move_TN[:, n] = np.sqrt(1 - sum(edge.share for edge in incoming)) * shock_TN[:, n]
        for edge in incoming:
            past_T = move_TN[: bars - edge.lag, edge.leader]
            if edge.shape == "squared":
                past_T = (past_T**2 - 1) / np.sqrt(2)
            move_TN[edge.lag :, n] += np.sqrt(edge.share) * past_T
    return panel_of_returns(volatility * move_TN, rng)


def panel_of_returns(return_TN: NDArray[np.float64], rng: np.random.Generator) -> Panel:
    """A panel on a 24/7 grid whose close-to-close log returns are ``return_TN``."""
    bars, assets = return_TN.shape
    price_TN = 100 * np.exp(np.cumsum(return_TN, axis=0))
    noise_TN = rng.standard_normal((bars, assets))
    deviation = return_TN.std() + 1e-12
    summed_TN = np.cumsum(return_TN, axis=0)
    squared_TN = np.cumsum(return_TN**2, axis=0)
    momentum_TN, variance_TN = summed_TN.copy(), squared_TN.copy()
    momentum_TN[24:] -= summed_TN[:-24]
    variance_TN[24:] -= squared_TN[:-24]
    feature_TNF = np.stack(
        [
            return_TN,
            return_TN + 0.3 * deviation * noise_TN,
            np.abs(return_TN) + deviation * np.abs(rng.standard_normal((bars, assets))),
            rng.standard_normal((bars, assets)),
            np.sqrt(np.maximum(variance_TN, 0) / 24),
            momentum_TN,
        ],
        axis=-1,
    ).astype(np.float32)
    start = np.datetime64("2024-01-01T01:00:00", "us")
    return Panel(
        as_of_T=start + np.arange(bars) * np.timedelta64(1, "h"),
        asset_ids=tuple(f"bybit:linear:A{n}USDT" for n in range(assets)),
        features=PLANTED_FEATURES,
        feature_TNF=feature_TNF,
        trade_price_TN=price_TN,
        mark_price_TN=price_TN,
        is_fresh_TN=np.ones((bars, assets), dtype=bool),
        age_hours_TN=np.zeros((bars, assets), dtype=np.float32),
        quote_volume_TN=np.full((bars, assets), 1e6),
        funding_rate_TN=np.full((bars, assets), np.nan),
        content_hash="planted",
    )


def planted_experiment(panel: Panel, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment that reads a planted panel: its assets and features, every other knob at its default."""
    assets = [{"venue": "bybit", "symbol": asset_id.rsplit(":", 1)[1]} for asset_id in panel.asset_ids]
    sections: dict[str, Any] = {"name": "planted", "assets": assets, "features": {"names": list(panel.features)}}
    for section, knobs in (overrides or {}).items():
        sections[section] = {**sections.get(section, {}), **knobs}
    return load_experiment(None, sections)


def _leaders_first(assets: int, edges: tuple[PlantedEdge, ...]) -> list[int]:
    ordered: list[int] = []
    while len(ordered) < assets:
        ready = [
            n for n in range(assets) if n not in ordered and all(e.leader in ordered for e in edges if e.follower == n)
        ]
        if not ready:
            raise ValueError("planted edges form a circle; each leader must be buildable before its followers")
        ordered.extend(ready)
    return ordered
