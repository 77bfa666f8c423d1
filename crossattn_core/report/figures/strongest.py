"""Which assets a picture shows where there is no room for all: those in named leads, then those that attention sets apart.

Axes: N targets, M sources.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.report.figures.style import MUTED

__all__ = ["MAX_ASSETS", "say_how_many", "strongest", "strongest_of"]

MAX_ASSETS = 50
"""Assets that a picture names one by one."""


def strongest(weight_NM: NDArray[np.floating], first: Sequence[int] = (), *, limit: int = MAX_ASSETS) -> NDArray[np.int64]:
    """Places of the assets that are shown, ascending: ``first``, then those that receive most attention; all where they fit.

    >>> strongest(np.eye(3)).tolist()
    [0, 1, 2]
    """
    assets = len(weight_NM)
    if assets <= limit:
        return np.arange(assets)
    by_received = np.argsort(-np.asarray(weight_NM, dtype=np.float64).sum(axis=0), kind="stable")
    chosen = list(dict.fromkeys([*first, *by_received.tolist()]))[:limit]
    return np.array(sorted(chosen), dtype=np.int64)


def strongest_of(story: AttentionOverview, *, limit: int = MAX_ASSETS) -> NDArray[np.int64]:
    """``strongest``, assets in the largest named leads first."""
    place = {symbol: n for n, symbol in enumerate(story.symbols)}
    named = story.leaders[story.leaders["named"].astype(bool)] if len(story.leaders) else story.leaders
    ends = [end for row in named.to_dict("records") for end in (row["leader"], row["follower"])]
    return strongest(story.weight_NM, [place[end] for end in ends if end in place], limit=limit)


def say_how_many(figure: Figure, shown: int, assets: int) -> None:
    """One line over a picture that leaves assets out."""
    if shown < assets:
        text = f"{shown} of {assets} assets: those in named leads, then those that receive most attention"
        figure.suptitle(text, fontsize=8.5, color=MUTED, x=0.01, ha="left")
