"""What a walk-forward day is made from, as hashes.

Axes: T bars of the panel, N assets, F features.
"""

import hashlib
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from crossattn_core import __version__
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import FORMAT
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.market_days import BARS_A_DAY

__all__ = ["history_of_fit", "known_panel", "panel_chain", "settings_hash"]

_FORMAT = "walk-forward 3"
"""Raise it when a stored day means something else than before."""

_WEEK = 168

_ROW_ARRAYS = (
    "as_of_T",
    "feature_TNF",
    "trade_price_TN",
    "mark_price_TN",
    "is_fresh_TN",
    "age_hours_TN",
    "quote_volume_TN",
    "funding_rate_TN",
)


def panel_chain(panel: Panel) -> dict[date, str]:
    """Day -> hash of every value of the panel up to and including that day's rows.

    Made from the values themselves: two panels that agree up to a day have equal hashes up to that day, whatever
    follows. A last day that is not complete has a hash too; it changes when the day does.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\n".join((*panel.asset_ids, "", *panel.features)).encode())
    chain: dict[date, str] = {}
    for start in range(0, len(panel.as_of_T), BARS_A_DAY):
        rows = slice(start, start + BARS_A_DAY)
        for name in _ROW_ARRAYS:
            digest.update(np.ascontiguousarray(getattr(panel, name)[rows]).tobytes())
        chain[panel.as_of_T[start].astype("datetime64[D]").item()] = digest.hexdigest()
    return chain


def settings_hash(experiment: Experiment) -> str:
    """Hash of the knobs and the version that decide what a walk-forward day gives."""
    sections = (
        experiment.features,
        experiment.labels,
        experiment.model,
        experiment.training,
        experiment.regimes,
        experiment.retrain,
        experiment.baselines,
    )
    return combined_hash(
        _FORMAT, str(FORMAT), __version__, *experiment.asset_ids, *(section.content_hash() for section in sections)
    )


def known_panel(panel: Panel, stop: int, content_hash: str) -> Panel:
    """The first ``stop`` rows under a name that does not depend on what follows them."""
    return replace(panel.until(stop), content_hash=content_hash)


def history_of_fit(panel: Panel, weight_T: NDArray[np.float32], experiment: Experiment) -> tuple[Panel, NDArray[np.float32]]:
    """The part of ``panel`` that a fit needs, and its rows' weights: the rows that count and the windows behind them.

    Bars before that would be scaled, gathered and multiplied by a weight of zero. The cut is on a whole week, like the
    blocks of trailing sums.
    """
    behind = max(experiment.model.lookback, experiment.baselines.ridge_lags) + 2 * _WEEK
    start = max(int(np.argmax(weight_T > 0)) - behind, 0) // _WEEK * _WEEK
    if not start:
        return panel, weight_T
    arrays = {name: getattr(panel, name)[start:] for name in _ROW_ARRAYS}
    return replace(panel, **arrays, content_hash=f"{panel.content_hash}[{start}:]"), weight_T[start:]
