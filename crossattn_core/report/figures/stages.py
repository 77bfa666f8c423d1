"""Small pictures of single stages, for the web UI: prices by regime, loss curves."""

from collections.abc import Mapping, Sequence

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from crossattn_core.panel.panel import Panel
from crossattn_core.report.figures.colours import strategy_colour
from crossattn_core.report.figures.models import shade_regimes
from crossattn_core.report.figures.style import MUTED, SUBJECT, drawing, frame, legend_right, line_colour
from crossattn_core.training.epochs import EpochReport

__all__ = ["loss_figure", "monitor_figure", "regime_figure"]

_MAX_LINES = 30
"""Assets up to which each has a line of its own."""


@drawing()
def regime_figure(panel: Panel, windows: pd.DataFrame, symbols: Sequence[str]) -> Figure:
    """Log price of every asset since its first candle, over the regime windows (from each one's confirmation day).

    Of more assets than have room for a line each, the median and the ranges of half and nine tenths of them.
    """
    figure, (axis,) = frame(height=3.0)
    as_of_D = panel.as_of_T[:: panel.grid.bars_per_day].astype("datetime64[s]")
    log_DN = np.log(panel.mark_price_TN[:: panel.grid.bars_per_day])
    known_DN = np.isfinite(log_DN)
    since_DN = log_DN - log_DN[known_DN.argmax(axis=0), np.arange(log_DN.shape[1])]
    if len(symbols) <= _MAX_LINES:
        for n, symbol in enumerate(symbols):
            if known_DN[:, n].any():
                axis.plot(as_of_D, since_DN[:, n], lw=0.9, color=line_colour(n), label=symbol)
    else:
        there_D = known_DN.any(axis=1)
        low_D, lower_D, middle_D, upper_D, high_D = np.nanquantile(since_DN[there_D], (0.05, 0.25, 0.5, 0.75, 0.95), axis=1)
        axis.fill_between(as_of_D[there_D], low_D, high_D, color=SUBJECT, alpha=0.15, lw=0, label="nine tenths")
        axis.fill_between(as_of_D[there_D], lower_D, upper_D, color=SUBJECT, alpha=0.3, lw=0, label=f"half of {len(symbols)}")
        axis.plot(as_of_D[there_D], middle_D, color=SUBJECT, lw=1.4, label="median")
    shade_regimes(axis, windows, panel.as_of_T[0], panel.as_of_T[-1], legend=False)
    axis.set_ylabel("log price since start")
    axis.axhline(0, color=MUTED, lw=0.6)
    legend_right(axis)
    return figure


@drawing()
def loss_figure(epochs_by_fit: Mapping[str, Sequence[EpochReport]]) -> Figure:
    """Validation loss by epoch, one line a fit; the mark is the epoch whose weights were kept."""
    figure, (axis,) = frame(height=2.6)
    for n, (name, epochs) in enumerate(epochs_by_fit.items()):
        if not epochs:
            continue
        colour = line_colour(n)
        loss = [epoch.validation_loss for epoch in epochs]
        axis.plot([epoch.epoch for epoch in epochs], loss, color=colour, lw=1.2, label=name)
        best = int(np.nanargmin(loss)) if np.isfinite(loss).any() else 0
        axis.plot([epochs[best].epoch], [loss[best]], marker="o", ms=4, color=colour)
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation loss")
    axis.grid(axis="y")
    if 0 < len(epochs_by_fit) <= 14:
        legend_right(axis)
    return figure


@drawing()
def monitor_figure(rolling_ic: pd.DataFrame, plan: pd.DataFrame, windows: pd.DataFrame) -> Figure:
    """Rolling IC of each family and of the baseline, and drift, by day; lines mark retrains, tints the regimes.

    Args:
        rolling_ic: one row a day, a column a family; index naive UTC midnight.
        plan: grain (day, family), with ``action`` and ``drift``.
        windows: regime windows.
    """
    figure, (above, below) = frame(height=4.2, rows=2, sharex=True)
    for name in rolling_ic.columns:
        above.plot(rolling_ic.index.to_numpy(), rolling_ic[name], lw=1.1, color=strategy_colour(name), label=name)
    by_day = plan.drop_duplicates("day")
    below.plot(by_day["day"].to_numpy(), by_day["drift"], lw=1.1, color=SUBJECT, label="drift")
    for axis in (above, below):
        for day in by_day.loc[by_day["action"] == "retrain", "day"]:
            axis.axvline(float(mdates.date2num(day.to_pydatetime())), color=MUTED, lw=0.5)
        axis.axhline(0, color=MUTED, lw=0.6)
        if len(rolling_ic) and len(windows):
            first, last = rolling_ic.index[[0, -1]].to_numpy("datetime64[us]")
            shade_regimes(axis, windows, first, last, legend=False)
    above.set_ylabel("rolling IC")
    below.set_ylabel("stability index")
    legend_right(above)
    return figure
