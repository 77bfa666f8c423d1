"""When an asset is gone: the row at which a position in it is settled, known then and not before.

A candle that does not come may be a pause or the end; only time shows which. An asset is taken for delisted at the first row at
which its newest candle is ``after_hours`` old. A position in it is then closed at the last price, at the usual cost of a
trade, less the share of its value that is lost (see ``costs.holding.WriteOff``). Should candles come again, the asset
trades again like one that was just listed.

Axes: T rows of the grid, N assets.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["delisted_rows"]


def delisted_rows(past_age_hours_TN: NDArray[np.floating], after_hours: int) -> NDArray[np.bool_]:
    """(T, N) True at the one row of each pause at which the newest candle's age reaches ``after_hours``; 0: nowhere.

    Row t depends on the ages up to t alone. NaN, an asset without a candle yet, is never delisted.

    >>> delisted_rows(np.array([[0.0], [1.0], [2.0], [3.0], [0.0], [1.0]]), 2).ravel().tolist()
    [False, False, True, False, False, False]
    """
    gone_TN = past_age_hours_TN >= after_hours if after_hours > 0 else np.zeros(past_age_hours_TN.shape, dtype=bool)
    first_TN = gone_TN.copy()
    first_TN[1:] &= ~gone_TN[:-1]
    return first_TN
