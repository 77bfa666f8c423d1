"""How figures are drawn and stored: one look, deterministic bytes, small files.

A figure function returns a matplotlib ``Figure``; ``svg`` and ``png`` turn it into text for the page or bytes for the UI.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from crossattn_core.grid import Grid

__all__ = [
    "DARK",
    "LOSS",
    "MAX_POINTS",
    "MUTED",
    "PALE",
    "PALETTE",
    "PROFIT",
    "SUBJECT",
    "date_axis",
    "dates",
    "drawing",
    "drawn_rows",
    "frame",
    "legend_above",
    "legend_right",
    "line_colour",
    "percent_axis",
    "png",
    "svg",
]

SUBJECT = "#0b5cad"
DARK, MUTED, PALE = "#20242a", "#6b7480", "#b8bec6"
PROFIT, LOSS = "#16796f", "#c0501a"
PALETTE = ("#d9822b", "#7a4fb5", "#2a9d8f", "#a3576b", "#7f8c3a", "#5b86b5", "#8c8c8c")
"""Lines without a colour of their own; a strategy has one (colours.py)."""
MAX_POINTS = 2000
"""Points of a curve over bars under an hour: as many as the page is wide."""

_STYLE: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": PALE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": DARK,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "path.simplify": True,
    "path.simplify_threshold": 0.6,
    # Text stays text: the page can be searched and copied, and the file is a third of its size.
    "svg.fonttype": "none",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Decorator: one look for the length of a figure function, whatever the caller's matplotlib settings are."""
    with style.context(["default", _STYLE]):
        yield


def frame(width: float = 9.0, height: float = 3.2, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Figure, list[Axes]]:
    """A figure (inches) and its axes, row by row; no global state, no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    return figure, [axis for line in axes for axis in line]


def svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element; ``name`` keeps its ids apart from other figures' on one page."""
    with style.context("default"), mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "path.simplify": True}):
        stream = io.StringIO()
        # Straight to the canvas: `savefig` lays the figure out in a drawing of its own first, and takes twice as long.
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", text)
    return _shrunk(text)


def _shrunk(text: str) -> str:
    """The markup without what nobody sees: half of a page otherwise. What is read keeps its digits."""
    # Coordinates to a hundredth of a point, lines to a tenth.
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag.group()), text)
    text = re.sub(r' d="([^"]+)"', lambda path: f' d="{_short(path[1])}"', text)
    # Ids that nothing refers to (two colour bars of one scale would share one), turns by nothing, a list of fonts in each label.
    referred = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', text))
    text = re.sub(r'\sid="([^"]+)"', lambda own: own.group() if own[1] in referred else "", text)
    text = re.sub(r'\stransform="rotate\(-?0 [^)]*\)"', "", text)
    text = re.sub(r"'DejaVu Sans', [^;\"]*sans-serif", "sans-serif", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'base64,[^"]*', lambda image: re.sub(r"\s", "", image.group()), text)
    return re.sub(r"\s+", " ", text).replace("> <", "><").strip()


def _short(path: str) -> str:
    """Path data to a tenth of a point, without what a reader of it implies: lines after a move or a line need no letter."""
    path = re.sub(r"(\d+\.\d)\d+", r"\1", path)
    path = re.sub(r"\s*([A-Za-z])\s*", r"\1", path).replace("z", "Z").strip()
    return path if set(re.findall("[A-Za-z]", path)) - {"M", "L", "Z"} else path.replace("L", " ")


def png(figure: Figure, dots_per_inch: int = 80) -> bytes:
    """The figure as a palette PNG under 60 KB, the same bytes for the same figure."""
    from PIL import Image

    small = io.BytesIO()
    for resolution in (dots_per_inch, 64, 50, 36):
        figure.set_dpi(resolution)
        canvas = FigureCanvasAgg(figure)
        with style.context("default"):  # ticks are made while they are drawn
            canvas.draw()
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        # Two-sided colour scales need the larger palette; fewer colours come before fewer dots.
        for colours in (256, 64):
            small = io.BytesIO()
            drawn.quantize(colours, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
            if small.tell() < 60_000:
                return small.getvalue()
    return small.getvalue()


def line_colour(place: int) -> str:
    """The colour of the line at ``place`` among lines of one rank."""
    return (SUBJECT, *PALETTE)[place % (1 + len(PALETTE))]


def dates(instants: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Instants as matplotlib counts them."""
    return mdates.date2num(instants)


def drawn_rows(rows: int, grid: Grid) -> NDArray[np.int64]:
    """Rows of a curve that are drawn: one in six hours, and under an hour the newest of each of ``MAX_POINTS`` bins."""
    if grid.hours_per_bar >= 1:
        return np.arange(0, rows, grid.bars(6))
    return np.arange(rows - 1, -1, -max(1, -(-rows // MAX_POINTS)))[::-1]


def date_axis(axis: Axes) -> None:
    """Dates along the bottom, few and short."""
    locator = mdates.AutoDateLocator(minticks=4, maxticks=9)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axis.margins(x=0.01)


def percent_axis(axis: Axes, label: str) -> None:
    """Whole percents up the side, with lines across."""
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_ylabel(label)
    axis.grid(axis="y")


def legend_above(axis: Axes) -> None:
    """A legend on top that covers no line."""
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=4, fontsize=8, borderpad=0, handlelength=1.6)


def legend_right(axis: Axes, **options: Any) -> None:
    """A legend beside the axes."""
    axis.legend(**({"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": 7} | options))
