"""What assets earned by bucket of their forecast, and what the top less the bottom bucket would have made."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from crossattn_core.analysis.forecast_buckets import BucketReturns, mean_and_error
from crossattn_core.report.figures.colours import strategy_colour
from crossattn_core.report.figures.style import (
    MAX_POINTS,
    MUTED,
    PALE,
    date_axis,
    dates,
    drawing,
    legend_right,
    percent_axis,
)
from crossattn_core.report.html import words

__all__ = ["bucket_figure"]

_MAX_PANELS = 8


@drawing()
def bucket_figure(buckets: Mapping[str, BucketReturns]) -> Figure:
    """Mean return by bucket with twice its error, a panel a forecast, on one scale; below, top less bottom added up.

    Added up over decisions, each at the share of the money that its overlapping horizons leave it.
    """
    shown = dict(list(buckets.items())[:_MAX_PANELS])
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, len(shown), height_ratios=[1, 1.15])
    below = figure.add_subplot(grid[1, :])
    first = None
    for place, (name, found) in enumerate(shown.items()):
        axis = figure.add_subplot(grid[0, place], sharey=first)
        mean_2Q = 1e4 * np.array([mean_and_error(return_D, found.overlap) for return_D in found.return_DQ.T]).T
        number_Q = np.arange(1, mean_2Q.shape[1] + 1)
        axis.bar(number_Q, mean_2Q[0], color=strategy_colour(name), width=0.8)
        axis.errorbar(number_Q, mean_2Q[0], yerr=2 * mean_2Q[1], fmt="none", ecolor=MUTED, elinewidth=0.7)
        axis.axhline(0, color=PALE, lw=0.8)
        axis.set_title(words(name))
        axis.set_xticks(number_Q[[0, -1]], ["low", "high"])
        if first is None:
            axis.set_ylabel("mean return, bps")
        else:
            axis.tick_params(labelleft=False)
        first = first or axis
        drawn = np.unique(np.linspace(0, len(found.as_of_D) - 1, MAX_POINTS).astype(int))
        when_D = dates(found.as_of_D[drawn])
        for made_D, dash, label in ((found.net_D, "-", words(name)), (found.gross_D, ":", None)):
            made_D = np.cumsum(np.nan_to_num(made_D)) / found.overlap
            below.plot(when_D, made_D[drawn], color=strategy_colour(name), lw=1.3 if label else 0.8, ls=dash, label=label)
    below.axhline(0, color=PALE, lw=0.8)
    percent_axis(below, "top less bottom, net (dots: gross)")
    legend_right(below)
    date_axis(below)
    return figure
