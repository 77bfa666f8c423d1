"""Figures of money: equity, falls, exposure, costs, contribution by asset."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from crossattn_core.backtest.performance import period_returns, periods_per_day, underwater
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.report.figures.colours import strategy_colour
from crossattn_core.report.figures.strongest import MAX_ASSETS
from crossattn_core.report.figures.style import (
    DARK,
    LOSS,
    MUTED,
    PALE,
    PALETTE,
    PROFIT,
    SUBJECT,
    date_axis,
    dates,
    drawing,
    drawn_rows,
    frame,
    legend_above,
    percent_axis,
)
from crossattn_core.report.html import words

__all__ = ["contribution_figure", "cost_figure", "equity_figure", "exposure_figure", "rolling_sharpe_figure", "underwater_figure"]

_NARROW, _NARROW_POINTS = 7.0, 180
"""Inches below which a figure is narrow, and the points of a curve that it has room for."""
_END_NAME = 0.2232
"""Inches of height that a name at the end of a line needs."""


@drawing()
def equity_figure(
    simulations: Mapping[str, Simulation], subject: str, benchmark: str, *, width: float = 9.0, height: float = 3.6
) -> Figure:
    """Equity of every strategy as a multiple of capital, log scale, named at its end.

    Args:
        width, height: inches; a narrow figure draws fewer points.
    """
    figure, (axis,) = frame(width, height)
    ends = []
    for name, simulation in simulations.items():
        look, drawn = _look(name, subject, benchmark), _drawn(simulation)
        if width < _NARROW:
            drawn = drawn[np.unique(np.linspace(0, len(drawn) - 1, _NARROW_POINTS).astype(int))]
        alive_T = np.where(simulation.equity_T > 0, simulation.equity_T / simulation.capital, np.nan)
        axis.plot(dates(simulation.as_of_T[drawn]), alive_T[drawn], **look)
        ends.append((float(alive_T[-1]), name, look["color"]))
    axis.axhline(1.0, color=PALE, lw=0.8, zorder=0)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    _few_log_ticks(axis)
    axis.grid(axis="y")
    axis.set_ylabel("equity / capital, log scale")
    _name_ends(axis, ends, gap=_END_NAME / height)
    date_axis(axis)
    return figure


@drawing()
def underwater_figure(simulations: Mapping[str, Simulation], subject: str, benchmark: str) -> Figure:
    """How far the subject is below its peak, the benchmark beside it."""
    figure, (axis,) = frame(height=2.1)
    for name in dict.fromkeys((subject, benchmark)):
        if name in simulations:
            drawn = _drawn(simulations[name])
            when_T, depth_T = dates(simulations[name].as_of_T[drawn]), underwater(simulations[name].equity_T)[drawn]
            if name == subject:
                axis.fill_between(when_T, depth_T, 0, color=strategy_colour(subject), alpha=0.25, lw=0)
            look = _look(name, subject, benchmark) | {"lw": 1.0 if name == subject else 0.9, "zorder": 2}
            axis.plot(when_T, depth_T, label=words(name), **look)
    percent_axis(axis, "below peak")
    legend_above(axis)
    date_axis(axis)
    return figure


@drawing()
def rolling_sharpe_figure(simulations: Mapping[str, Simulation], subject: str, benchmark: str, days: int = 90) -> Figure:
    """Annual Sharpe ratio of the trailing ``days`` (fewer where the series is short)."""
    figure, (axis,) = frame(height=2.1)
    for name in (benchmark, subject):
        if name not in simulations:
            continue
        simulation = simulations[name]
        grid = simulation.market.grid
        as_of_P, return_P = period_returns(simulation.as_of_T, simulation.return_T, grid)
        per_day = periods_per_day(grid)
        window = min(days * per_day, max(len(return_P) // 3, 2 * per_day))
        rolling = pd.Series(return_P).rolling(window)
        deviation = rolling.std()
        ratio = (rolling.mean() / deviation.where(deviation > 1e-12) * np.sqrt(365 * per_day)).to_numpy()
        look = _look(name, subject, benchmark)
        look["lw"] = min(look["lw"], 1.3)
        drawn = slice(None) if len(as_of_P) < len(simulation.as_of_T) else _drawn(simulation)
        axis.plot(dates(as_of_P[drawn]), ratio[drawn], label=words(name), **look)
        axis.set_ylabel(f"Sharpe, trailing {window // per_day} d")
    axis.axhline(0, color=PALE, lw=0.8)
    axis.grid(axis="y")
    legend_above(axis)
    date_axis(axis)
    return figure


@drawing()
def exposure_figure(simulation: Simulation) -> Figure:
    """Gross and net exposure above, turnover by day below."""
    figure, (above, below) = frame(height=3.2, rows=2, sharex=True, height_ratios=[3, 2])
    drawn = _drawn(simulation)
    when_T = dates(simulation.as_of_T[drawn])
    above.plot(when_T, simulation.gross_exposure_T[drawn], color=SUBJECT, label="gross")
    above.plot(when_T, simulation.net_exposure_T[drawn], color=PALETTE[0], label="net")
    above.axhline(0, color=PALE, lw=0.8)
    percent_axis(above, "exposure")
    legend_above(above)
    turned = simulation.turnover_T > 0
    below.vlines(dates(simulation.as_of_T[turned]), 0, simulation.turnover_T[turned], color=MUTED, lw=0.8)
    percent_axis(below, "turnover")
    below.set_ylim(bottom=0)
    date_axis(below)
    return figure


@drawing()
def cost_figure(simulation: Simulation) -> Figure:
    """From gross to net profit, cost by cost, as shares of capital."""
    figure, (axis,) = frame(width=5.6, height=2.7)
    every = {kind: float(paid_T.sum()) / simulation.capital for kind, paid_T in simulation.costs.items()}
    # What an experiment does not charge gets no empty bar.
    paid = {kind: share for kind, share in every.items() if share or kind in ("fee", "spread", "slippage")}
    net = float(simulation.equity_T[-1] / simulation.capital - 1.0)
    gross = net + sum(paid.values())
    level = gross
    labels, bars = ["gross"], [(0.0, gross, PROFIT if gross >= 0 else LOSS)]
    for kind, share in paid.items():
        labels.append(kind)
        bars.append((level - share, share, "#e2a98b" if share >= 0 else "#8cc5bf"))
        level -= share
    labels.append("net")
    bars.append((0.0, net, PROFIT if net >= 0 else LOSS))
    tops = [max(bottom, bottom + height) for bottom, height, _ in bars]
    lows = [min(bottom, bottom + height) for bottom, height, _ in bars]
    span = (max([0.0, *tops]) - min([0.0, *lows])) or 1.0
    for place, (bottom, height, colour) in enumerate(bars):
        axis.bar(place, height, bottom=bottom, color=colour, width=0.62)
        shown = height if place in (0, len(bars) - 1) else -height
        axis.text(
            place,
            tops[place] + 0.02 * span,
            f"{shown:+.1%}".replace("-0.0%", "0.0%").replace("+0.0%", "0.0%"),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    axis.set_xticks(range(len(labels)), labels)
    axis.set_ylim(min([0.0, *lows]) - 0.05 * span, max([0.0, *tops]) + 0.14 * span)
    axis.axhline(0, color=DARK, lw=0.8)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.tick_params(axis="x", length=0)
    axis.grid(axis="y")
    return figure


@drawing()
def contribution_figure(simulation: Simulation, symbols: tuple[str, ...]) -> Figure:
    """Net profit of each asset as a share of capital, largest first; of many assets the largest, and the sum of the others."""
    share_N, names = simulation.pnl_TN.sum(axis=0) / simulation.capital, list(symbols)
    if len(names) > MAX_ASSETS:
        left_out = np.argsort(-np.abs(share_N), kind="stable")[MAX_ASSETS - 1 :]
        names = [name for n, name in enumerate(names) if n not in set(left_out.tolist())] + [f"{len(left_out)} others"]
        share_N = np.append(np.delete(share_N, left_out), share_N[left_out].sum())
    figure, (axis,) = frame(width=5.6, height=max(2.0, 0.27 * len(names) + 0.6))
    order = np.argsort(share_N, kind="stable")
    axis.barh(range(len(names)), share_N[order], color=[PROFIT if share >= 0 else LOSS for share in share_N[order]], height=0.66)
    axis.set_yticks(range(len(names)), [names[place] for place in order], fontsize=8)
    axis.axvline(0, color=DARK, lw=0.8)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    return figure


def _drawn(simulation: Simulation) -> NDArray[np.int64]:
    return drawn_rows(len(simulation.as_of_T), simulation.market.grid)


def _look(name: str, subject: str, benchmark: str) -> dict[str, Any]:
    """Options of the line of strategy ``name``: its own colour, the subject thick, the benchmark dashed."""
    colour = strategy_colour(name)
    if name == subject:
        return {"color": colour, "lw": 2.0, "ls": "-", "zorder": 5}
    if name == benchmark:
        return {"color": colour, "lw": 1.4, "ls": (0, (4, 2)), "zorder": 4}
    return {"color": colour, "lw": 1.0, "ls": "-", "zorder": 3}


def _few_log_ticks(axis: Axes) -> None:
    """Round multiples of capital, about six of them, whatever the span."""
    low, high = axis.get_ylim()
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(ticks) <= 8:
            break
    axis.set_yticks(ticks[ticks > 0])
    axis.set_yticks([], minor=True)


def _name_ends(axis: Axes, ends: list[tuple[float, str, str]], *, gap: float) -> None:
    """Write each line's name at its right end, pushed apart to ``gap``, a share of the axis, where they would overlap."""
    low, high = np.log(axis.get_ylim())
    named = sorted((float(np.log(value)), name, colour) for value, name, colour in ends if np.isfinite(value))
    if not named:
        return
    gap *= high - low
    places = [value for value, _, _ in named]
    for _ in range(200):
        moved = False
        for index in range(1, len(places)):
            lack = gap - (places[index] - places[index - 1])
            if lack > 1e-9:
                places[index - 1] -= lack / 2
                places[index] += lack / 2
                moved = True
        if not moved:
            break
    for place, (value, name, colour) in zip(places, named, strict=True):
        axis.annotate(
            f"{words(name)}  {np.exp(value) - 1:+.1%}",
            xy=(1.01, (place - low) / (high - low)),
            xycoords="axes fraction",
            color=colour,
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
