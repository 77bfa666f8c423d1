"""Figures about models: what they attend to, when they were retrained, how far they were believed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from crossattn_core.backtest.simulation import Simulation
from crossattn_core.backtest.slices import regime_names
from crossattn_core.report.ink import INK, PALETTE, SUBJECT, date_axis, dates, drawing, frame, words
from crossattn_core.report.inputs import AttentionSummary

__all__ = ["attention_figure", "belief_figure", "retrain_figure"]

_HEAT = LinearSegmentedColormap.from_list("heat", ["#f7f9fb", "#9dc3e6", "#0b5cad", "#062a52"])
_REGIME_TINTS = ("#eaf3ea", "#fdf3dd", "#fae3df", "#ece6f5")


def attention_figure(attention: AttentionSummary) -> Figure:
    """Who reads whom, and how far back: target x source, and source x lag."""
    with drawing():
        symbols, assets = attention.symbols, len(attention.symbols)
        height = max(3.0, 0.26 * assets + 1.3)
        figure, (pairs, lags) = frame(width=9.0, height=height, columns=2, width_ratios=[1, 1.15])
        weight_NM = np.asarray(attention.weight_NM, dtype=np.float64)
        image = pairs.imshow(weight_NM, cmap=_HEAT, vmin=0, aspect="auto")
        pairs.set_xticks(range(assets), symbols, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
        pairs.set_yticks(range(assets), symbols, fontsize=7.5)
        pairs.set_xlabel("source (is read)")
        pairs.set_ylabel("target (reads)")
        pairs.set_title("Attention by source")
        if assets <= 14:
            for target in range(assets):
                for source in range(assets):
                    share = weight_NM[target, source]
                    dark = share > 0.55 * weight_NM.max()
                    pairs.text(
                        source,
                        target,
                        f"{100 * share:.0f}",
                        ha="center",
                        va="center",
                        fontsize=6.5,
                        color="white" if dark else INK,
                    )
        figure.colorbar(image, ax=pairs, format=PercentFormatter(1.0, decimals=0), shrink=0.8, pad=0.02)
        weight_ML = np.asarray(attention.weight_ML, dtype=np.float64)
        image = lags.imshow(weight_ML, cmap=_HEAT, vmin=0, aspect="auto", interpolation="nearest")
        every = max(1, len(attention.lags) // 8)
        lags.set_xticks(range(0, len(attention.lags), every), [str(lag) for lag in attention.lags[::every]])
        lags.set_yticks(range(assets), symbols, fontsize=7.5)
        lags.set_xlabel("hours before the decision")
        lags.set_title("Attention by source and lag")
        figure.colorbar(image, ax=lags, format=PercentFormatter(1.0, decimals=1), shrink=0.8, pad=0.02)
        for axis in (pairs, lags):
            axis.tick_params(length=0)
            for spine in axis.spines.values():
                spine.set_visible(False)
        return figure


def retrain_figure(plan: pd.DataFrame, regime_windows: pd.DataFrame | None, first: np.datetime64, last: np.datetime64) -> Figure:
    """Every retrain at its day, one line a reason, over the regime windows."""
    with drawing():
        retrains = plan[plan["action"] == "retrain"]
        families = list(dict.fromkeys(retrains["family"])) if "family" in retrains else []
        if families:
            # Families retrain on one plan; the first one's marks stand for all.
            retrains = retrains[retrains["family"] == families[0]]
        reasons = list(dict.fromkeys(retrains["reason"].astype(str)))
        figure, (axis,) = frame(height=1.1 + 0.26 * max(len(reasons), 1))
        if regime_windows is not None and len(regime_windows):
            _shade_regimes(axis, regime_windows, first, last)
        for line, reason in enumerate(reasons):
            days = retrains.loc[retrains["reason"].astype(str) == reason, "day"]
            axis.plot(
                dates(pd.to_datetime(days).to_numpy("datetime64[us]")),
                np.full(len(days), line),
                ls="none",
                marker="o",
                ms=5.5,
                color=(SUBJECT, *PALETTE)[line % 8],
            )
        axis.set_yticks(range(len(reasons)), [words(reason) for reason in reasons])
        axis.set_ylim(-0.6, max(len(reasons), 1) - 0.4)
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        date_axis(axis)
        earliest = np.append(pd.to_datetime(retrains["day"]).to_numpy("datetime64[us]"), first).min()
        left, right = dates(np.array([earliest, last]))
        axis.set_xlim(left - 0.01 * (right - left), right)
        return figure


def belief_figure(simulation: Simulation, belief_D: NDArray[np.float64]) -> Figure:
    """The share of the forecasts that the rule believed, decision by decision."""
    with drawing():
        figure, (axis,) = frame(height=1.7)
        axis.plot(dates(simulation.targets.as_of_D), belief_D, color=SUBJECT, drawstyle="steps-post")
        axis.set_ylim(-0.03, 1.03)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_ylabel("believed share")
        axis.grid(axis="y")
        date_axis(axis)
        return figure


def _shade_regimes(axis: Axes, regime_windows: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> None:
    named: list[str] = []
    begin_W = pd.to_datetime(regime_windows["confirmed"]).to_numpy("datetime64[us]")
    end_W = pd.to_datetime(regime_windows["end"]).fillna(pd.Timestamp(last)).to_numpy("datetime64[us]")
    order = sorted(set(regime_windows["regime"]), key=str)
    for window, (begin, end) in enumerate(zip(begin_W, end_W, strict=True)):
        if end <= first or begin >= last:
            continue
        name = regime_names(regime_windows)[window]
        tint = _REGIME_TINTS[order.index(regime_windows["regime"].iloc[window]) % len(_REGIME_TINTS)]
        left, right = dates(np.array([max(begin, first), min(end, last)]))
        axis.axvspan(left, right, color=tint, lw=0, zorder=0, label=None if name in named else name)
        named.append(name)
    if named:
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, fontsize=8, handlelength=1.2, borderpad=0)
