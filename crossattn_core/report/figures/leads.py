"""Figures of predictive leads: the graph of edges that survive, an edge's profile over lags, correlation in stress.

Axes: N targets or assets, M sources, L lags.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.leaders import why_no_lead
from crossattn_core.experiment import PlantedLead
from crossattn_core.report.figures.attention import LINES, by_sector, label_cells, tick_symbols
from crossattn_core.report.figures.strongest import say_how_many
from crossattn_core.report.figures.style import DARK, MUTED, drawing, frame

__all__ = ["edge_graph_figure", "lag_profile_figure", "stress_figure"]

_NAMED, _NOT_NAMED, _MISSED = LINES[0][0], "#9aa2ab", "#a3449c"
_MAX_SMALL = 20
_MAX_PROFILES = 6
_MAX_UNNAMED = 12
_MAX_NAMED = 120
_Z_95 = 1.96


@drawing()
def edge_graph_figure(
    story: AttentionOverview,
    *,
    false_discovery_rate: float,
    missed: Sequence[PlantedLead] = (),
    size: tuple[float, float] | None = None,
) -> Figure:
    """Arrows from leader to follower: named leads solid with their lag, links that only the returns show dashed.

    Args:
        missed: planted leads that are not named, dotted.
        size: inches; a figure of a size of its own is a summary: named and missed leads alone, among few assets, without a title.
    """
    place_N = by_sector(story) if size is None else by_sector(story, limit=_MAX_SMALL)
    assets, symbols = len(place_N), [story.symbols[n] for n in place_N]
    angle_N = np.pi / 2 - 2 * np.pi * np.arange(assets) / assets
    width, height = size or (8.2, 6.4 if assets <= 20 else 7.6)
    figure, (axis,) = frame(width, height)
    at = dict(zip(symbols, np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1), strict=True))
    # A group stands inside the circle, on the side of its members.
    groups = _groups(story)
    for name, members in groups.items():
        centre = np.mean([at[symbol] for symbol in members if symbol in at] or [np.zeros(2)], axis=0)
        at[name] = 0.45 * centre
    every = story.leaders[story.leaders["named"].astype(bool)]
    named = every[every["leader"].isin(list(at)) & every["follower"].isin(list(at))].head(_MAX_NAMED)
    only_returns = story.leaders[~story.leaders["named"].astype(bool) & (story.leaders["q_value"] <= false_discovery_rate)]
    only_returns = only_returns[only_returns["leader"].isin(symbols) & only_returns["follower"].isin(symbols)]
    drawn = set(named["leader"]) | set(named["follower"])
    missed_here = [lead for lead in missed if lead.leader in at and lead.follower in at]
    for lead in missed_here:
        lag = story.grid.label(lead.lag)
        _arrow(axis, at[lead.leader], at[lead.follower], _MISSED, 1.4, (0, (1.2, 1.6)), f"missed, {lag}")
    for row in only_returns.head(_MAX_UNNAMED if size is None else 0).to_dict("records"):
        _arrow(axis, at[row["leader"]], at[row["follower"]], _NOT_NAMED, 0.9, (0, (4, 2)), story.grid.label(row["lag"]))
    largest = float(named["z"].abs().max()) if len(named) else 1.0
    for row in named.to_dict("records"):
        colour, width = _NAMED if row["z"] > 0 else LINES[1][0], 1.2 + 2.2 * abs(row["z"]) / largest
        _arrow(axis, at[row["leader"]], at[row["follower"]], colour, width, "-", story.grid.label(row["lag"]))
    net_N = story.net_N[place_N]
    size_N = 60 + 340 * np.maximum(net_N, 0.0) / max(float(np.abs(net_N).max(initial=0.0)), 1e-9)
    size_N = size_N if assets <= 20 else size_N / 3
    edges = [_NAMED if symbol in drawn else _NOT_NAMED for symbol in symbols]
    # One call for all: each call is a collection of its own, and ids of many collections collide in the SVG.
    axis.scatter(np.cos(angle_N), np.sin(angle_N), s=size_N, color="white", edgecolor=edges, lw=1.4, zorder=3)
    for symbol in symbols:
        x, y = at[symbol]
        turn = np.degrees(np.arctan2(y, x))
        left = abs(turn) > 90
        style: dict[str, Any] = {"fontsize": 8 if assets <= 20 else 6.5, "color": DARK if symbol in drawn else MUTED}
        style |= {"fontweight": "bold"} if symbol in drawn else {}
        style |= {"rotation": turn + 180 * left} if assets > 20 else {}
        side = "right" if left else "left"
        axis.text(1.09 * x, 1.09 * y, symbol, ha=side, va="center", rotation_mode="anchor", **style)
    for name in groups:
        shape: dict[str, Any] = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": _NAMED, "lw": 1.4}
        text = textwrap.fill(name, 24)
        axis.text(
            float(at[name][0]),
            float(at[name][1]),
            text,
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=DARK,
            bbox=shape,
            zorder=5,
        )
    axis.set_aspect("equal")
    axis.set_xlim(-1.55, 1.55)
    axis.set_ylim(-1.25 if size is None else -1.5, 1.3)
    axis.axis("off")
    no_lead = textwrap.fill(why_no_lead(story.leaders, false_discovery_rate), 93, break_long_words=False, break_on_hyphens=False)
    left_out = f": {len(named)} of {len(every)} named" if len(named) < len(every) else ""
    if size is None:
        axis.set_title(f"Predictive leads{left_out}" if len(every) else no_lead, loc="left")
    say_how_many(figure, assets, len(story.symbols))
    dash, dots = (0, (4, 2)), (0, (1.2, 1.6))
    handles = [Line2D([], [], color=_NAMED, lw=2.2, label="named lead: label = lag, width = |z|")]
    if size is None or (named["z"] <= 0).any():
        handles.append(Line2D([], [], color=LINES[1][0], lw=2.2, label="named, of opposite sign"))
    if size is None:
        handles.append(Line2D([], [], color=_NOT_NAMED, lw=0.9, ls=dash, label="in returns only, not named"))
    if missed_here:
        handles.append(Line2D([], [], color=_MISSED, lw=1.4, ls=dots, label="planted, not named"))
    circle: dict[str, Any] = {"color": "white", "marker": "o", "mec": _NOT_NAMED, "mew": 1.4, "ms": 7}
    handles.append(Line2D([], [], **circle, label="size = net attention received"))
    axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, -0.06), fontsize=7.5, ncols=2)
    return figure


@drawing()
def lag_profile_figure(story: AttentionOverview) -> Figure:
    """For the leading edges: attention by lag above, the lagged correlation's z below; one scale along each row."""
    edges = story.leaders.head(_MAX_PROFILES).to_dict("records")
    count = max(len(edges), 1)
    figure, axes = frame(width=max(1.55 * count + 0.6, 3.6), height=3.5, rows=2, columns=count, sharex=True, sharey="row")
    upper, lower = axes[:count], axes[count:]
    place = {symbol: n for n, symbol in enumerate(story.symbols)}
    bars_L = np.arange(1, max(story.profile_NML.shape[2], len(story.z_LMN)) + 1)
    tested = {name: m for m, name in enumerate(story.leaders_tested)}
    for k, edge in enumerate(edges):
        follower, members = place[edge["follower"]], [place[symbol] for symbol in edge["members"]]
        attention_L = story.profile_NML[follower, members].sum(axis=0)
        # A cluster is no leader of its own in the test: its first member stands for it.
        z_L = story.z_LMN[:, tested.get(edge["leader"], members[0]), follower]
        colour = _NAMED if edge["named"] else _NOT_NAMED
        upper[k].bar(bars_L[: len(attention_L)], attention_L, color=colour, width=0.8)
        lower[k].bar(bars_L[: len(z_L)], np.nan_to_num(z_L), color=colour, width=0.8)
        lower[k].axhspan(-_Z_95, _Z_95, color="#e6e9ed", lw=0, zorder=0)
        lower[k].set_xlabel("lag, bars")
        upper[k].set_title(f"{textwrap.shorten(edge['leader'], 22)} to\n{edge['follower']}", fontsize=8)
        if not edge["named"]:
            upper[k].text(0.98, 0.95, "not named", transform=upper[k].transAxes, ha="right", va="top", fontsize=7, color=MUTED)
    upper[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if upper[0].get_ylim()[1] > 0.05 else 1))
    upper[0].set_ylabel("attention")
    lower[0].set_ylabel("z of returns")
    return figure


@drawing()
def stress_figure(story: AttentionOverview) -> Figure:
    """Correlation of bars' returns by regime (one at least), calm first, and what stress adds; one scale for all panels."""
    regimes, place_N = story.regime_correlations, by_sector(story)
    assets = len(place_N)
    symbols = [story.symbols[n] for n in place_N]
    panels = [(f"{regime.name}: mean {regime.mean:+.2f}, {regime.bars:,} bars", regime.correlation_NN) for regime in regimes[:3]]
    if len(regimes) > 1:
        change_NN = regimes[-1].correlation_NN - regimes[0].correlation_NN
        pairs = change_NN[~np.eye(len(change_NN), dtype=bool)]
        known = pairs[np.isfinite(pairs)]
        mean = float(known.mean()) if len(known) else float("nan")
        panels.append((f"{regimes[-1].name} less {regimes[0].name}: {mean:+.2f}", change_NN))
    size = min(max(0.3 * assets, 2.2), 4.6)
    figure, axes = frame(width=size * len(panels) + 1.4, height=size + 1.1, columns=len(panels))
    for axis, (title, value_NN) in zip(axes, panels, strict=True):
        shown_NN = np.array(value_NN[np.ix_(place_N, place_N)])
        np.fill_diagonal(shown_NN, np.nan)
        axis.imshow(shown_NN, cmap="PuOr_r", vmin=-1, vmax=1, aspect="equal")
        tick_symbols(axis, symbols, symbols if axis is axes[0] else [])
        axis.set_title(title, fontsize=8.5)
        if assets <= 16:
            label_cells(axis, 100 * shown_NN, "{:.0f}", dark_from=70)
    figure.colorbar(axes[-1].images[0], ax=axes, shrink=0.8, pad=0.01, label="correlation (cells: hundredths)")
    say_how_many(figure, assets, len(story.symbols))
    return figure


def _groups(story: AttentionOverview) -> dict[str, tuple[str, ...]]:
    """Named leader that is a group -> its members."""
    named = story.leaders[story.leaders["named"].astype(bool)]
    return {row["leader"]: row["members"] for row in named.to_dict("records") if row["leader"] not in story.symbols}


def _arrow(
    axis: Axes, start: NDArray[np.float64], end: NDArray[np.float64], colour: str, width: float, dash: object, label: str
) -> None:
    ends = ((float(start[0]), float(start[1])), (float(end[0]), float(end[1])))
    shape: dict[str, Any] = {"connectionstyle": "arc3,rad=0.12", "arrowstyle": "-|>", "mutation_scale": 11}
    axis.add_patch(FancyArrowPatch(*ends, **shape, shrinkA=9, shrinkB=9, color=colour, lw=width, linestyle=dash, zorder=2))
    # Two fifths from the follower on, pushed to the side to which the arrow bends.
    along = 0.42 * start + 0.58 * end
    side = np.array([end[1] - start[1], start[0] - end[0]])
    x, y = along + 0.055 * side
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    axis.text(x, y, label, fontsize=7, color=colour, ha="center", va="center", bbox=box, zorder=4)
