"""Figures about models: when they were retrained, how far their forecasts were shrunk. What they attend to: attention.py."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossattn_core.backtest.breakdown import regime_names
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.report.figures.style import SUBJECT, date_axis, dates, drawing, frame, line_colour, percent_axis
from crossattn_core.report.html import words

__all__ = ["retrain_figure", "shade_regimes", "shrinkage_figure"]

_REGIME_TINTS = ("#eaf3ea", "#fdf3dd", "#fae3df", "#ece6f5")


@drawing()
def retrain_figure(plan: pd.DataFrame, regime_windows: pd.DataFrame | None, first: np.datetime64, last: np.datetime64) -> Figure:
    """Every retrain at its day, one line a reason, over the regime windows."""
    retrains = plan[plan["action"] == "retrain"]
    families = list(dict.fromkeys(retrains["family"])) if "family" in retrains else []
    if families:
        # Families retrain on one plan: the first one's marks are those of all.
        retrains = retrains[retrains["family"] == families[0]]
    reasons = list(dict.fromkeys(retrains["reason"].astype(str)))
    figure, (axis,) = frame(height=1.1 + 0.26 * max(len(reasons), 1))
    if regime_windows is not None and len(regime_windows):
        shade_regimes(axis, regime_windows, first, last)
    for line, reason in enumerate(reasons):
        days = retrains.loc[retrains["reason"].astype(str) == reason, "day"]
        axis.plot(
            dates(pd.to_datetime(days).to_numpy("datetime64[us]")),
            np.full(len(days), line),
            ls="none",
            marker="o",
            ms=5.5,
            color=line_colour(line),
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


@drawing()
def shrinkage_figure(simulation: Simulation, shrinkage_D: NDArray[np.float64]) -> Figure:
    """The share of the forecasts that shrinkage left, decision by decision."""
    figure, (axis,) = frame(height=1.7)
    axis.plot(dates(simulation.targets.as_of_D), shrinkage_D, color=SUBJECT, drawstyle="steps-post")
    axis.set_ylim(-0.03, 1.03)
    percent_axis(axis, "share kept")
    date_axis(axis)
    return figure


def shade_regimes(
    axis: Axes, regime_windows: pd.DataFrame, first: np.datetime64, last: np.datetime64, *, legend: bool = True
) -> None:
    """Tint the background by the regime in force, between two instants."""
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
    if named and legend:
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, fontsize=8, handlelength=1.2, borderpad=0)
