"""Planted markets: returns whose leaders and lags are known, as panels that every model can read.

Axes: T bars, N assets, F features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted.realistic import COMMON, realistic_returns
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.experiment.bar_defaults import BAR_DEFAULTS
from crossattn_core.panel.panel import Panel

__all__ = [
    "LEADS_OF_ONE",
    "MARKETS",
    "PLANTED_FEATURES",
    "PlantedEdge",
    "PlantedMarket",
    "panel_of_returns",
    "planted_experiment",
    "planted_market",
    "planted_suite_market",
    "wide_market",
]

PLANTED_FEATURES = ("log_return", "intraday_return", "range_share", "relative_volume", "volatility", "momentum")


@dataclass(frozen=True)
class PlantedEdge:
    """The follower's return repeats part of the leader's (an asset's, or ``realistic.COMMON``), ``lag`` bars later."""

    leader: int
    follower: int
    lag: int
    share: float = 0.05
    """Share of the follower's variance."""
    shape: Literal["linear", "squared"] = "linear"


LEADS_OF_ONE = tuple(PlantedEdge(0, follower, lag) for follower, lag in ((1, 1), (2, 3), (3, 6), (4, 12)))


@dataclass(frozen=True)
class PlantedMarket:
    """A panel and its truth."""

    name: str
    panel: Panel
    edges: tuple[PlantedEdge, ...]
    """Edges in force at the end of the panel."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """What an experiment on such candles has by default, by section, where it is not the hourly default."""


LEADS_OF_TWO = tuple(PlantedEdge(*edge) for edge in ((0, 1, 1), (0, 2, 3), (5, 3, 6), (5, 4, 12), (5, 1, 8)))
_VOLATILITY = 0.005
"""Standard deviation of an hourly log return."""
_KNOBS_OF_A_MINUTE = {"model": {"lag_prior": BAR_DEFAULTS["1m"]["model"]["lag_prior"]}}
_WILDER = 1.6
"""Volatility after the switch of regimes, in multiples of that before it: what a detector can see of the switch."""


def planted_market(bars: int = 8000, assets: int = 6, edges: tuple[PlantedEdge, ...] = LEADS_OF_ONE, *, seed: int = 0) -> Panel:
    """Independent normal returns with ``edges`` planted; each follower keeps its variance."""
    rng = np.random.default_rng(seed)
    return panel_of_returns(_VOLATILITY * _moves(rng.standard_normal((bars, assets)), edges), rng)


def wide_market(bars: int, assets: int, *, share: float = 0.05, seed: int = 0) -> PlantedMarket:
    """Many assets, few leaders each: every fifth asset leads the four after it, at the lags of ``LEADS_OF_ONE``."""
    lags = [edge.lag for edge in LEADS_OF_ONE]
    edges = tuple(PlantedEdge(n - n % 5, n, lags[n % 5 - 1], share) for n in range(assets) if n % 5)
    return PlantedMarket("wide", planted_market(bars, assets, edges, seed=seed), edges)


def planted_suite_market(name: str, seed: int, *, bars: int | None = None, assets: int = 6) -> PlantedMarket:
    """One market of the suite; ``name`` is a key of ``MARKETS``. By default 8,000 bars, 40,000 of a real-like one."""
    bars = bars or (40_000 if name in REAL_LIKE else 8000)
    rng = np.random.default_rng([seed, list(MARKETS).index(name)])
    panel, edges = MARKETS[name](rng, bars, assets)
    return PlantedMarket(name, panel, edges, _KNOBS_OF_A_MINUTE if name in REAL_LIKE else {})


def _with(share: float, shape: Literal["linear", "squared"]) -> tuple[PlantedEdge, ...]:
    return tuple(replace(edge, share=share, shape=shape) for edge in LEADS_OF_ONE)


def _plain(edges: tuple[PlantedEdge, ...]) -> "_Builder":
    def build(rng: np.random.Generator, bars: int, assets: int) -> tuple[Panel, tuple[PlantedEdge, ...]]:
        return panel_of_returns(_VOLATILITY * _moves(rng.standard_normal((bars, assets)), edges), rng), edges

    return build


def _switching(rng: np.random.Generator, bars: int, assets: int) -> tuple[Panel, tuple[PlantedEdge, ...]]:
    """Asset 0 leads for the calm first half, asset 5 afterwards, at the same lags: the leader switches as the regime does."""
    before = _with(0.05, "linear")
    after = tuple(replace(edge, leader=assets - 1) for edge in before)
    half = bars // 2
    shock_TN = rng.standard_normal((bars, assets))
    move_TN = np.concatenate([_moves(shock_TN, before)[:half], _WILDER * _moves(shock_TN, after)[half:]])
    return panel_of_returns(_VOLATILITY * move_TN, rng), after


def _driven(rng: np.random.Generator, bars: int, assets: int) -> tuple[Panel, tuple[PlantedEdge, ...]]:
    """A driver that nobody sees moves asset 0 at once and the followers later: asset 0 is the best proxy there is."""
    edges = _with(0.05, "linear")
    proxy_share = 0.5
    hidden_edges = tuple(replace(edge, leader=assets, share=edge.share / proxy_share) for edge in edges)
    shock_TN = rng.standard_normal((bars, assets + 1))
    move_TN = _moves(shock_TN, hidden_edges)
    move_TN[:, 0] = np.sqrt(proxy_share) * move_TN[:, assets] + np.sqrt(1 - proxy_share) * shock_TN[:, 0]
    return panel_of_returns(_VOLATILITY * move_TN[:, :assets], rng), edges


def _with_sessions(rng: np.random.Generator, bars: int, assets: int) -> tuple[Panel, tuple[PlantedEdge, ...]]:
    """The last three assets trade seven hours on weekdays; asset 0 leads two of them and two that never close."""
    edges = (PlantedEdge(0, 1, 1), PlantedEdge(0, 2, 3), PlantedEdge(0, 3, 1), PlantedEdge(0, 4, 3))
    panel = panel_of_returns(_VOLATILITY * _moves(rng.standard_normal((bars, assets)), edges), rng)
    hour_T = np.arange(bars)
    open_T = (hour_T % 24 >= 14) & (hour_T % 24 <= 20) & (hour_T // 24 % 7 < 5)
    open_TN = np.ones((bars, assets), dtype=bool)
    open_TN[:, -3:] = open_T[:, None]
    newest_TN = np.maximum.accumulate(np.where(open_TN, hour_T[:, None], -1), axis=0)
    seen_TN = newest_TN >= 0
    mark_TN = np.where(seen_TN, np.take_along_axis(panel.mark_price_TN, np.maximum(newest_TN, 0), axis=0), np.nan)
    age_TN = np.where(seen_TN, hour_T[:, None] - newest_TN, np.nan).astype(np.float32)
    closed = replace(
        panel,
        feature_TNF=np.where(open_TN[..., None], panel.feature_TNF, np.float32(np.nan)),
        trade_price_TN=np.where(open_TN, panel.trade_price_TN, np.nan),
        mark_price_TN=mark_TN,
        is_fresh_TN=open_TN,
        age_hours_TN=age_TN,
    )
    return closed, edges


def _leaked(rng: np.random.Generator, bars: int, assets: int) -> tuple[Panel, tuple[PlantedEdge, ...]]:
    """A feature holds the next bar's return: a pipeline that cannot find this could not find a leak."""
    panel = panel_of_returns(_VOLATILITY * rng.standard_normal((bars, assets)), rng)
    feature_TNF = panel.feature_TNF.copy()
    feature_TNF[:-1, :, PLANTED_FEATURES.index("momentum")] = feature_TNF[1:, :, PLANTED_FEATURES.index("log_return")]
    return replace(panel, feature_TNF=feature_TNF), ()


_Builder = Callable[[np.random.Generator, int, int], tuple[Panel, tuple[PlantedEdge, ...]]]


def _real_like(edges: tuple[PlantedEdge, ...]) -> "_Builder":
    def build(rng: np.random.Generator, bars: int, assets: int) -> tuple[Panel, tuple[PlantedEdge, ...]]:
        plain = [(edge.leader, edge.follower, edge.lag, edge.share) for edge in edges]
        return panel_of_returns(realistic_returns(rng, bars, assets, plain, _VOLATILITY), rng), edges

    return build


LEADS_OF_THE_MARKET = (
    PlantedEdge(COMMON, 1, 1, 0.006),
    PlantedEdge(COMMON, 2, 1, 0.003),
    PlantedEdge(COMMON, 3, 1, 0.0015),
    PlantedEdge(0, 4, 2, 0.004),
)
"""Of the size of those on real candles."""

MARKETS: dict[str, _Builder] = {
    "hidden driver": _driven,
    "leaked label": _leaked,
    "linear 1%": _plain(_with(0.01, "linear")),
    "linear 5%": _plain(_with(0.05, "linear")),
    "null": _plain(()),
    "sessions": _with_sessions,
    "squared 1%": _plain(_with(0.01, "squared")),
    "squared 5%": _plain(_with(0.05, "squared")),
    "switching leader": _switching,
    "two leaders": _plain(LEADS_OF_TWO),
    "real-like": _real_like(LEADS_OF_THE_MARKET),
    "real-like null": _real_like(()),
}
REAL_LIKE = ("real-like", "real-like null")
"""Of the markets, those made for the gate that names leads; forecasts of them say little."""
"""The suite: name -> how the market is built. A market's place is part of its seed: new ones go to the end."""


def _moves(shock_TN: NDArray[np.float64], edges: tuple[PlantedEdge, ...]) -> NDArray[np.float64]:
    """(T, N) unit-variance moves; leaders may follow others themselves, so assets are built leaders first."""
    bars, assets = shock_TN.shape
    move_TN = np.zeros_like(shock_TN)
    for n in _leaders_first(assets, edges):
        incoming = [edge for edge in edges if edge.follower == n]
        move_TN[:, n] = np.sqrt(1 - sum(edge.share for edge in incoming)) * shock_TN[:, n]
        for edge in incoming:
            past_T = move_TN[: bars - edge.lag, edge.leader]
            if edge.shape == "squared":
                past_T = (past_T**2 - 1) / np.sqrt(2)
            move_TN[edge.lag :, n] += np.sqrt(edge.share) * past_T
    return move_TN


def panel_of_returns(return_TN: NDArray[np.float64], rng: np.random.Generator) -> Panel:
    """A panel on a 24/7 grid whose close-to-close log returns are ``return_TN``, with four features of noise or past."""
    bars, assets = return_TN.shape
    price_TN = 100 * np.exp(np.cumsum(return_TN, axis=0))
    noise_TN = rng.standard_normal((bars, assets))
    deviation = return_TN.std() + 1e-12
    momentum_TN, variance_TN = _day_sums(return_TN), _day_sums(return_TN**2)
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


def _day_sums(value_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    summed_TN = np.cumsum(value_TN, axis=0)
    return np.concatenate([summed_TN[:24], summed_TN[24:] - summed_TN[:-24]])


def planted_experiment(panel: Panel, *overrides: Mapping[str, Any] | None) -> Experiment:
    """The experiment that reads a planted panel: its assets and features, every other knob at its default.

    Args:
        overrides: knobs by section; later ones win.
    """
    assets = [{"venue": "bybit", "symbol": asset_id.rsplit(":", 1)[1]} for asset_id in panel.asset_ids]
    sections: dict[str, Any] = {"name": "planted", "assets": assets, "features": {"names": list(panel.features)}}
    for one in overrides:
        for section, knobs in (one or {}).items():
            sections[section] = {**sections.get(section, {}), **knobs}
    return load_experiment(None, sections)


def _leaders_first(assets: int, edges: tuple[PlantedEdge, ...]) -> list[int]:
    ordered: list[int] = []
    while len(ordered) < assets:
        ready = [n for n in range(assets) if n not in ordered and all(e.leader in ordered for e in edges if e.follower == n)]
        if not ready:
            raise ValueError("planted edges form a circle; each leader must be buildable before its followers")
        ordered.extend(ready)
    return ordered
