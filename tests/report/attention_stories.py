"""A made-up story of attention for any number of assets; deterministic."""

from datetime import date

import numpy as np
import pandas as pd

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.evidence import STATISTICS, VIEWS
from crossattn_core.analysis.regime_correlation import RegimeCorrelation
from crossattn_core.report.inputs import AttentionSummary

LAGS, DAYS = 24, 120


def attention_story(assets: int, *, named: int | None = None) -> AttentionOverview:
    """``named`` leads (as many as assets by default) among random pairs, and a few that only the returns show."""
    rng = np.random.default_rng(assets)
    symbols = tuple(f"S{n:02d}USDT" if n % 2 else f"TICK{n}" for n in range(assets))
    weight_NM = rng.dirichlet(np.full(assets, 0.3), size=assets)
    np.fill_diagonal(weight_NM, 0)
    weight_NM /= weight_NM.sum(axis=1, keepdims=True)
    pairs = [(a, b) for a in range(assets) for b in range(assets) if a != b]
    count = assets if named is None else named
    leaders = pd.DataFrame(
        [
            {
                "leader": symbols[a],
                "follower": symbols[b],
                "members": (symbols[a],),
                "lag": int(rng.integers(1, LAGS)),
                "z": 8 * rng.standard_normal(),
                "q_value": 0.001 if place < count + 4 else 0.5,
                "conditional_p": 0.0001 if place < count + 4 else np.nan,
                "ic_gain": 0.1,
                "named": place < count,
                "why": "",
            }
            for place, (a, b) in enumerate(pairs[k] for k in rng.permutation(len(pairs)))
        ]
    )
    evidence = pd.DataFrame(
        [
            {
                "day": pd.Timestamp("2025-04-01"),
                "leader": symbols[a],
                "follower": symbols[b],
                "attention": weight_NM[b, a],
                "gradient": 0.7 * weight_NM[b, a] + 0.3 / assets,
                "occlusion": 0.5 * weight_NM[b, a] + 0.5 / assets,
                "correlation_q": rng.random(),
                "granger_q": rng.random() ** 3,
                "hy_q": rng.random(),
            }
            for a, b in pairs
        ]
    )
    names = (*VIEWS, *STATISTICS)
    agreement = pd.DataFrame(
        [
            {"day": 0, "model_id": "m", "first_view": a, "second_view": b, "rank_correlation": rng.uniform(-0.2, 1)}
            for k, a in enumerate(names)
            for b in names[k + 1 :]
        ]
    )
    windows = pd.DataFrame(
        {
            "window_id": [0, 1, 2],
            "regime": [0, 1, 0],
            "name": ["calm", "stress", "calm"],
            "confirmed": pd.to_datetime(["2025-01-01", "2025-02-10", "2025-03-20"]),
            "end": pd.to_datetime(["2025-02-10", "2025-03-20", None]),
        }
    )
    calm_NN = np.clip(0.3 + 0.2 * rng.standard_normal((assets, assets)), -1, 1)
    calm_NN = (calm_NN + calm_NN.T) / 2
    return AttentionOverview(
        last=date(2025, 4, 30),
        symbols=symbols,
        sectors=tuple(f"sector {n % 5}" for n in range(assets)),
        weight_NM=weight_NM,
        profile_NML=weight_NM[:, :, None] * rng.dirichlet(np.full(LAGS, 0.2), size=(assets, assets)),
        leaders_tested=symbols,
        z_LMN=rng.standard_normal((LAGS, assets, assets)),
        day_D=np.arange(np.datetime64("2025-01-01"), np.datetime64("2025-01-01") + DAYS),
        received_DM=np.abs(1 + 0.04 * rng.standard_normal((DAYS, assets)).cumsum(axis=0)),
        entropy_D=0.8 + 0.02 * rng.standard_normal(DAYS),
        moved_D=0.05 * np.abs(rng.standard_normal(DAYS)),
        windows=windows,
        regime_correlations=(
            RegimeCorrelation("calm", 2000, calm_NN, 0.004),
            RegimeCorrelation("stress", 900, np.clip(calm_NN + 0.3, -1, 1), 0.01),
        ),
        leaders=leaders,
        evidence=evidence,
        agreement=agreement,
    )


def summary(story: AttentionOverview) -> AttentionSummary:
    """The heatmap's part of a story."""
    by_lag_ML = story.profile_NML.sum(axis=0) / (len(story.symbols) - 1)
    return AttentionSummary(story.symbols, story.weight_NM, tuple(range(1, LAGS + 1)), by_lag_ML)
