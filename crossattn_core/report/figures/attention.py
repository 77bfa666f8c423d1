"""Figures of attention itself: heatmaps, three views beside three statistics, attention through time.

Readable from 5 to 50 assets: figures grow with the universe, and where not every cell has room for its value the largest
of each row has. Of more assets the strongest are shown, and the picture says so. Colours hold for colour-blind readers: one hue
by lightness, blue against orange where signs matter, and lines that differ in dash as well. Panels that are compared share one
scale.

Axes: D days, N targets, M sources, L lags.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.evidence import STATISTICS, VIEWS
from crossattn_core.report.figures.models import shade_regimes
from crossattn_core.report.figures.strongest import MAX_ASSETS, say_how_many, strongest, strongest_of
from crossattn_core.report.figures.style import DARK, MUTED, date_axis, dates, drawing, frame, legend_right
from crossattn_core.report.html import bars_in_words
from crossattn_core.report.inputs import AttentionSummary

__all__ = [
    "HEAT",
    "LINES",
    "Order",
    "attention_figure",
    "by_sector",
    "label_cells",
    "order_by",
    "tick_symbols",
    "time_figure",
    "views_figure",
]

HEAT = LinearSegmentedColormap.from_list("heat", ["#f7f9fb", "#9dc3e6", "#0b5cad", "#062a52"])
LINES = (
    ("#0072b2", "-"),
    ("#d55e00", (0, (5, 1.5))),
    ("#009e73", (0, (1.2, 1.2))),
    ("#a3449c", (0, (6, 1.5, 1.2, 1.5))),
    ("#8a6d00", (0, (3, 1, 1, 1, 1, 1))),
    ("#444b54", (0, (9, 2))),
)
"""Colour and dash of a line: distinct without colour, and for colour-blind readers (Okabe and Ito)."""

Order = Literal["panel", "sector", "leadership"]

_ALL_VALUES = 16
"""Assets up to which every cell of a heatmap carries its value."""
_MAX_LINES = len(LINES)
_STATISTIC_Q = {"correlation": "correlation_q", "granger_f": "granger_q", "hy_ratio": "hy_q"}
_TITLES = {
    "attention": "Attention",
    "gradient": "Gradient x input",
    "occlusion": "Permutation occlusion",
    "correlation": "Lagged correlation",
    "granger_f": "Granger F-test",
    "hy_ratio": "Hayashi-Yoshida",
}
_FLOOR_Q = 1e-4


def order_by(order: Order, sectors: Sequence[str], net_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places of the assets in an order: by sector (leadership within), by net leadership, or as in the panel."""
    by_leadership_N = np.argsort(-net_N, kind="stable")
    match order:
        case "leadership":
            return by_leadership_N
        case "sector":
            return np.array(sorted(by_leadership_N.tolist(), key=lambda n: str(sectors[n])), dtype=np.int64)
        case "panel":
            return np.arange(len(net_N))


def by_sector(story: AttentionOverview, *, limit: int = MAX_ASSETS) -> NDArray[np.int64]:
    """Places of the assets that a picture shows (``strongest_of``), by sector, net leaders first within."""
    shown_N = strongest_of(story, limit=limit)
    return shown_N[order_by("sector", [story.sectors[n] for n in shown_N], story.net_N[shown_N])]


@drawing()
def attention_figure(
    attention: AttentionSummary, *, order: Order = "panel", sectors: Sequence[str] = (), net_N: NDArray[np.float64] | None = None
) -> Figure:
    """Who reads whom, and how far back: target x source, and source x lag."""
    shown_N = strongest(attention.weight_NM)
    assets, net_N = len(shown_N), np.zeros(len(attention.symbols)) if net_N is None else net_N
    place_N = shown_N[order_by(order, [str(sectors[n]) for n in shown_N] if len(sectors) else [], net_N[shown_N])]
    symbols = [attention.symbols[n] for n in place_N]
    size = _cell(assets) * assets
    figure, (pairs, lags) = frame(width=size + 5.2, height=size + 1.2, columns=2, width_ratios=[size, 3.2])
    weight_NM = np.asarray(attention.weight_NM, dtype=np.float64)[np.ix_(place_N, place_N)]
    image = pairs.imshow(weight_NM, cmap=HEAT, vmin=0, aspect="auto")
    tick_symbols(pairs, symbols, symbols)
    pairs.set_xlabel("source (is read)")
    # The order is named beside the rows: in a title it would run into the next panel where assets are few.
    ordered = {"panel": "", "sector": ",\nby sector", "leadership": ",\nnet leaders first"}[order]
    pairs.set_ylabel(f"target (reads){ordered}")
    pairs.set_title("Attention, %")
    label_cells(pairs, 100 * weight_NM, "{:.0f}", dark_from=55 * weight_NM.max(initial=1e-9))
    if order == "sector":
        _divide(pairs, [str(sectors[n]) for n in place_N])
    figure.colorbar(image, ax=pairs, format=PercentFormatter(1.0, decimals=0), shrink=0.8, pad=0.02)
    weight_ML = np.asarray(attention.weight_ML, dtype=np.float64)[place_N]
    image = lags.imshow(weight_ML, cmap=HEAT, vmin=0, aspect="auto", interpolation="nearest")
    every = max(1, len(attention.lags) // 6)
    lags.set_xticks(range(0, len(attention.lags), every), [str(lag) for lag in attention.lags[::every]])
    lags.set_yticks(range(assets), symbols, fontsize=_font(assets))
    lags.set_xlabel(f"{bars_in_words(attention.grid)} before the decision")
    lags.set_title("By source and lag")
    figure.colorbar(image, ax=lags, format=PercentFormatter(1.0, decimals=1), shrink=0.8, pad=0.02)
    _bare(lags)
    say_how_many(figure, assets, len(attention.symbols))
    return figure


@drawing()
def views_figure(story: AttentionOverview) -> Figure:
    """Three views of the model in the upper row on one scale, three statistics in the lower on one, and their agreement."""
    place_N = by_sector(story)
    assets, symbols = len(place_N), [story.symbols[n] for n in place_N]
    size = min(max(0.2 * assets, 2.1), 4.6)
    figure = Figure(figsize=(3 * size + 4.6, 2 * size + 1.5), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=[1, 1, 1, 1.15])
    matrices = {name: _matrix(story.evidence, name, symbols) for name in VIEWS}
    matrices |= {name: _strength(_matrix(story.evidence, _STATISTIC_Q[name], symbols)) for name in STATISTICS}
    for line, names in enumerate((VIEWS, STATISTICS)):
        # One scale a row: shares are compared with shares, false-discovery rates with their like.
        largest = max([float(np.nanmax(matrices[name], initial=0.0)) for name in names] + [1e-9])
        top, label, scale, form = -np.log10(_FLOOR_Q), "-log10 q", 1, "{:.1f}"
        if names is VIEWS:
            top, label, scale, form = largest, "share of the follower's reliance", 100, "{:.0f}"
        panels = [figure.add_subplot(grid[line, column]) for column in range(len(names))]
        images = [
            panel.imshow(matrices[name], cmap=HEAT, vmin=0, vmax=top, aspect="equal")
            for panel, name in zip(panels, names, strict=True)
        ]
        for panel, name in zip(panels, names, strict=True):
            tick_symbols(panel, symbols if line else [], symbols if panel is panels[0] else [])
            panel.set_title(_TITLES[name])
            if assets <= 8:
                label_cells(panel, scale * matrices[name], form, dark_from=0.55 * scale * top)
        bar = figure.colorbar(images[-1], ax=panels, shrink=0.75, pad=0.01, label=label)
        if names is VIEWS:
            bar.formatter = PercentFormatter(1.0, decimals=0)
    _agreement(figure.add_subplot(grid[:, 3]), story.agreement)
    say_how_many(figure, assets, len(story.symbols))
    return figure


@drawing()
def time_figure(story: AttentionOverview) -> Figure:
    """Attention received by the sources that received most, and how spread out it was, over the regimes in force."""
    figure, (received, spread) = frame(width=9.0, height=4.4, rows=2, height_ratios=[2.2, 1], sharex=True)
    day_D = dates(story.day_D)
    first, last = story.day_D[0], story.day_D[-1] + np.timedelta64(1, "D")
    shade_regimes(received, story.windows, first, last)
    shade_regimes(spread, story.windows, first, last, legend=False)
    mean_M = np.nanmean(story.received_DM, axis=0)
    for place, m in enumerate(np.argsort(-np.nan_to_num(mean_M), kind="stable")[:_MAX_LINES]):
        colour, dash = LINES[place]
        received.plot(
            day_D, story.received_DM[:, m], color=colour, ls=dash, lw=1.5, label=story.symbols[m], drawstyle="steps-post"
        )
    received.axhline(1.0, color=MUTED, lw=0.8)
    received.set_ylabel("received / fair share")
    regimes = received.get_legend()
    legend_right(received, fontsize=8, handlelength=3.2)
    if regimes is not None:
        received.add_artist(regimes)
    (line,) = spread.plot(day_D, story.entropy_D, color=LINES[0][0], lw=1.4, drawstyle="steps-post", label="entropy")
    jumps = spread.vlines(day_D, 0, np.nan_to_num(story.moved_D), color=LINES[1][0], lw=1.6, label="moved in a day")
    spread.set_ylim(0, 1.02)
    spread.set_ylabel("share")
    legend_right(spread, handles=[line, jumps], fontsize=8)
    date_axis(spread)
    return figure


def tick_symbols(axis: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Names along a heatmap; an empty list leaves the side bare."""
    font = _font(max(len(columns), len(rows)))
    slanted: dict[str, Any] = (
        {"rotation": 90} if len(columns) > 20 else {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    )
    axis.set_xticks(range(len(columns)), columns, fontsize=font, **slanted)
    axis.set_yticks(range(len(rows)), rows, fontsize=font)
    _bare(axis)


def label_cells(axis: Axes, value_NM: NDArray[np.float64], form: str, *, dark_from: float) -> None:
    """Write values into the cells: all of them, or each row's largest where there is no room for all."""
    rows, columns = value_NM.shape
    every = max(rows, columns) <= _ALL_VALUES
    for n in range(rows):
        known_M = np.isfinite(value_NM[n])
        if not known_M.any():
            continue
        chosen = np.flatnonzero(known_M) if every else [int(np.nanargmax(value_NM[n]))]
        for m in chosen:
            colour = "white" if abs(value_NM[n, m]) > dark_from else DARK
            text = axis.text(int(m), n, form.format(value_NM[n, m]), fontsize=6.5 if every else 5.0, color=colour)
            # Inside its cell it takes no room, and measuring hundreds of them takes longer than drawing them.
            text.set(ha="center", va="center", in_layout=False)


def _matrix(evidence: pd.DataFrame, column: str, symbols: Sequence[str]) -> NDArray[np.float64]:
    """(N, M) values by follower and leader; NaN on the diagonal and where there is none."""
    wide = evidence.pivot(index="follower", columns="leader", values=column) if len(evidence) else pd.DataFrame()
    return wide.reindex(index=list(symbols), columns=list(symbols)).to_numpy(dtype=np.float64, na_value=np.nan)


def _strength(q_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log10(np.clip(q_NM, _FLOOR_Q, 1.0))


def _agreement(axis: Axes, agreement: pd.DataFrame) -> None:
    """Spearman's rank correlation between every two, as a triangle of numbers."""
    names = (*VIEWS, *STATISTICS)
    value_KK = np.full((len(names), len(names)), np.nan)
    for row in agreement.to_dict("records"):
        i, j = names.index(str(row["first_view"])), names.index(str(row["second_view"]))
        value_KK[max(i, j), min(i, j)] = row["rank_correlation"]
    axis.imshow(value_KK[1:, :-1], cmap="PuOr_r", vmin=-1, vmax=1, aspect="equal")
    labels = [_TITLES[name] for name in names]
    tick_symbols(axis, labels[:-1], labels[1:])
    label_cells(axis, value_KK[1:, :-1], "{:+.2f}", dark_from=0.7)
    axis.set_title("Rank correlation over pairs")


def _divide(axis: Axes, sectors: Sequence[str]) -> None:
    """Thin lines between sectors."""
    for n in range(1, len(sectors)):
        if sectors[n] != sectors[n - 1]:
            axis.axhline(n - 0.5, color="white", lw=1.6)
            axis.axvline(n - 0.5, color="white", lw=1.6)


def _cell(assets: int) -> float:
    """Inches a cell's side takes."""
    return 0.42 if assets <= 8 else 0.32 if assets <= _ALL_VALUES else 0.2


def _font(assets: int) -> float:
    return 7.5 if assets <= 20 else 6.0


def _bare(axis: Axes) -> None:
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
