"""What a strategy holds when it decides."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.delisting import delisted_rows
from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel

__all__ = ["Positions"]


class Positions:
    """Weights held at a decision: drifted with the marks since the last fill that is already past; gone when delisted.

    Costs and funding move weights by a thousandth of themselves; a no-trade band needs no more, so they are left out.
    """

    def __init__(self, past_panel: Panel, experiment: Experiment) -> None:
        self._mark_TN = past_panel.mark_price_TN
        self._tradable_TN = past_panel.is_tradable_TN
        self._delisted_TN = delisted_rows(past_panel.age_hours_TN, experiment.backtest.delisted_after_hours)
        self._delisting_value = experiment.backtest.delisting_value
        self._lag = experiment.labels.execution_lag
        self._weight_N = np.zeros(self._mark_TN.shape[1])
        self._row = 0
        self._pending: list[tuple[int, NDArray[np.float64]]] = []
        self.filled_N = np.zeros(self._mark_TN.shape[1], dtype=bool)
        """(N,) whether an order in the asset was ever filled."""

    def weights_at(self, row: int) -> NDArray[np.float64]:
        """Weights at ``row``; orders still to be filled count as filled, so that none is sent twice."""
        while self._pending and self._pending[0][0] <= row:
            fill_row, target_N = self._pending.pop(0)
            self._drift_to(fill_row)
            now_N = np.isfinite(target_N) & self._tradable_TN[fill_row]
            self._weight_N = np.where(now_N, target_N, self._weight_N)
            self.filled_N = self.filled_N | now_N
        self._drift_to(row)
        held_N = self._weight_N
        for _, target_N in self._pending:
            held_N = np.where(np.isfinite(target_N), target_N, held_N)
        return held_N

    def order(self, row: int, target_N: NDArray[np.float64]) -> None:
        """Record the targets decided at ``row``, to be filled ``execution_lag`` rows later; NaN orders nothing."""
        if np.isfinite(target_N).any():
            self._pending.append((row + self._lag, target_N))

    def _drift_to(self, row: int) -> None:
        held_N = self._weight_N != 0
        if row > self._row and held_N.any():
            grown_N = np.zeros_like(self._weight_N)
            grown_N[held_N] = self._weight_N[held_N] * self._mark_TN[row, held_N] / self._mark_TN[self._row, held_N]
            gone_N = held_N & self._delisted_TN[self._row + 1 : row + 1].any(axis=0)
            lost = (1.0 - self._delisting_value) * float(grown_N[gone_N].sum())
            equity = 1.0 + grown_N.sum() - self._weight_N.sum() - lost
            grown_N[gone_N] = 0.0
            self._weight_N = grown_N / equity if equity > 0 else np.zeros_like(grown_N)
        self._row = row
