"""The true conditional mean of the simulated market: what the best possible forecaster knows at a row, and nothing after it.

A bar that follows a leader's bar repeats a part of it: known once the leader's bar is, and until then itself only expected, where
the leader follows somebody else. Volatility is that of the regime at the row; a regime to come is not foreseen.

Axes: T rows of the grid from the start on, N assets.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossattn_core.candles.feeds.simulated_market import Market, planted_truth
from crossattn_core.experiment import SimulatedMarket
from crossattn_core.grid import Grid
from crossattn_core.universe import Asset

__all__ = ["expected_returns"]


class _Source(NamedTuple):
    """One lead of an asset, row by row."""

    leader: int
    root_share: float
    is_linear: bool
    row_T: NDArray[np.int64]
    """(T,) row of the leader's bar that the follower's bar of each row repeats; -1: none."""


def expected_returns(
    settings: SimulatedMarket,
    assets: Sequence[Asset],
    start: datetime,
    rows: int,
    *,
    execution_lag: int,
    horizon: int,
    grid: Grid,
) -> NDArray[np.float64]:
    """(T, N) expected log return from the fill, ``execution_lag`` rows on, over ``horizon`` rows, given the bars up to each row.

    Args:
        start: where the market starts, naive UTC; row 0 ends one bar later.
        rows: T.
    """
    longest = execution_lag + horizon
    end = start + (rows + longest) * grid.step
    return _KnownMarket(settings, assets, planted_truth(settings, assets), start, end, grid).expected(
        rows, execution_lag, horizon
    )


class _KnownMarket(Market):
    """A market whose moves are looked up."""

    def expected(self, rows: int, execution_lag: int, horizon: int) -> NDArray[np.float64]:
        """As ``expected_returns``."""
        assets = list(dict.fromkeys(self._named.values()))
        names = [asset.asset_id for asset in assets]
        longest = execution_lag + horizon
        move_TN, hours_TN, is_bar_TN = (np.zeros((rows + longest, len(assets)), dtype=kind) for kind in (float, float, bool))
        sources: list[list[_Source]] = [[] for _ in assets]
        for n, asset in enumerate(assets):
            row_B, length_B = self._rows_of(asset, rows + longest)
            move_TN[row_B, n] = self.moves[asset.asset_id][1][: len(row_B)]
            hours_TN[row_B, n], is_bar_TN[row_B, n] = length_B, True
            for lead in self._leads:
                if self._named[lead.follower] != asset:
                    continue
                leader = self._named[lead.leader]
                source_B = self._leading_bar(lead.lag, asset.calendar, leader.calendar)[: len(row_B)]
                source_row_B = self._rows_of(leader, rows + longest)[0]
                row_T = np.full(rows + longest, -1, dtype=np.int64)
                row_T[row_B] = np.where(source_B >= 0, source_row_B[np.clip(source_B, 0, len(source_row_B) - 1)], -1)
                place = names.index(leader.asset_id)
                sources[n].append(_Source(place, float(np.sqrt(lead.share)), lead.shape == "linear", row_T))
        row_T = np.arange(rows)
        expected_KTN = np.zeros((longest + 1, rows, len(assets)))
        order = [names.index(asset_id) for asset_id in self.moves]  # leaders first
        for k in range(1, longest + 1):
            for n in order:
                for source in sources[n]:
                    source_T = source.row_T[row_T + k]
                    is_known_T = (source_T >= 0) & (source_T <= row_T)
                    known_T = move_TN[np.maximum(source_T, 0), source.leader]
                    if source.is_linear:
                        ahead_T = np.clip(source_T - row_T, 0, k)
                        to_come_T = np.where(source_T > row_T, expected_KTN[ahead_T, row_T, source.leader], 0.0)
                    else:
                        known_T, to_come_T = (known_T**2 - 1) / np.sqrt(2), np.zeros(rows)
                    expected_KTN[k, :, n] += source.root_share * np.where(is_known_T, known_T, to_come_T)
        volatility_TN = self._volatility_at(assets, rows)
        total_TN = np.zeros((rows, len(assets)))
        for k in range(execution_lag + 1, longest + 1):
            total_TN += np.sqrt(hours_TN[row_T + k]) * is_bar_TN[row_T + k] * expected_KTN[k]
        return volatility_TN * total_TN

    def _rows_of(self, asset: Asset, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(row, hours) of each of the asset's bars within the first ``rows`` rows."""
        bars = self._bars[asset.calendar]
        row_B = self._grid_row(bars) - 1
        inside_B = row_B < rows
        return row_B[inside_B], ((bars.closed_T - bars.opened_T) / np.timedelta64(1, "h"))[inside_B]

    def _volatility_at(self, assets: Sequence[Asset], rows: int) -> NDArray[np.float64]:
        """(T, N) standard deviation of an hour in the regime of each row."""
        hour_T = ((np.arange(rows) + 1) * self._grid.hours_per_bar - 1e-9).astype(np.int64)
        regime_T = np.where(self._is_stress_G[hour_T], self._settings.stress_multiple, 1.0)
        return regime_T[:, None] * np.array([self.calm_volatility(asset) for asset in assets])
