"""The champion of each day: the family that is followed, chosen from realised walk-forward results and nothing else.

A family takes over only when its net returns beat the fallback's, and those of the family followed so far, in a paired
block bootstrap over the newest days; where nothing beats the fallback, the fallback is followed. The choice of a day
reads returns of the days before it. How well each family forecast over the same days is recorded beside that and
decides nothing: a better IC that costs eat is not worth following.

Axes: D days, S strategies, N assets, K sums (see champion.py), B bootstrap draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import ContractError
from crossattn_core.experiment import SelectionSettings
from crossattn_core.stats.bootstrap import circular_block_sums, rows_drawn
from crossattn_core.stats.ic import mean_ic_of_sums

__all__ = [
    "CHAMPION_COLUMNS",
    "PAIRED_TEST_COLUMNS",
    "Champions",
    "PairedTest",
    "choose_champions",
    "paired_ic_gain",
    "paired_return_test",
]

CHAMPION_COLUMNS = ("day", "champion", "chosen_on", "why")
"""Grain: day. ``champion`` is followed on the day; ``chosen_on`` is the day whose 00:00 it was chosen at."""

PAIRED_TEST_COLUMNS = ("chosen_on", "family", "against", "advantage", "low", "days", "ic", "ic_gain", "ic_gain_low")
"""Grain: (chosen_on, family, against). ``advantage``: mean net return a day over ``against``, as a fraction, with its lower
bound ``low``; ``ic``: realised IC at the traded horizon; ``ic_gain``: that IC less the IC of ``against`` (0 for a strategy
that forecasts nothing), with its lower bound. NaN with too few days."""


class Champions(NamedTuple):
    """The strategy followed by day, and the paired tests that decided."""

    by_day: pd.DataFrame
    """``CHAMPION_COLUMNS``."""
    paired_tests: pd.DataFrame
    """``PAIRED_TEST_COLUMNS``."""


@dataclass(frozen=True)
class PairedTest:
    """One strategy's daily net return minus another's, on the same days."""

    mean: float
    """Mean difference, fraction a day; NaN with too few common days."""
    low: float
    """Lower one-sided bound at ``selection.confidence``; NaN with too few common days."""
    days: int


def paired_return_test(
    challenger_D: NDArray[np.float64], holder_D: NDArray[np.float64], settings: SelectionSettings, *, seed: int, samples: int
) -> PairedTest:
    """How much a challenger's net return exceeds the holder's, with a circular-block bootstrap bound.

    Days on which either has no return (NaN) do not count. Blocks keep runs of days together; both are drawn alike.
    """
    difference_D = challenger_D - holder_D
    difference_D = difference_D[np.isfinite(difference_D)]
    days = len(difference_D)
    if days < settings.minimum_days:
        return PairedTest(float("nan"), float("nan"), days)
    sum_B = circular_block_sums(difference_D[:, None], block=settings.block_days, samples=samples, seed=seed)[:, 0]
    mean_B = sum_B / rows_drawn(days, settings.block_days)
    return PairedTest(float(difference_D.mean()), float(np.quantile(mean_B, 1 - settings.confidence)), days)


def paired_ic_gain(
    challenger_DNK: NDArray[np.float64],
    holder_DNK: NDArray[np.float64] | None,
    settings: SelectionSettings,
    *,
    seed: int,
    samples: int,
) -> tuple[float, float, float]:
    """(IC of the challenger, its IC less the holder's, lower bound of that), over the days of the daily sums.

    A holder without forecasts (None) has IC 0. Days are drawn in the same blocks for both. NaN under ``minimum_days`` days.
    """
    days, assets, sums = challenger_DNK.shape
    ic = mean_ic_of_sums(challenger_DNK.sum(axis=0))
    if days < settings.minimum_days:
        return float(ic), float("nan"), float("nan")

    def drawn(sums_DNK: NDArray[np.float64]) -> NDArray[np.float64]:
        flat_DX = sums_DNK.reshape(days, assets * sums)
        flat = circular_block_sums(flat_DX, block=settings.block_days, samples=samples, seed=seed)
        return mean_ic_of_sums(flat.reshape(samples, assets, sums))

    gain, gain_B = float(ic), drawn(challenger_DNK)
    if holder_DNK is not None:
        gain, gain_B = gain - float(mean_ic_of_sums(holder_DNK.sum(axis=0))), gain_B - drawn(holder_DNK)
    known_B = gain_B[np.isfinite(gain_B)]
    low = float(np.quantile(known_B, 1 - settings.confidence)) if len(known_B) else float("nan")
    return float(ic), gain, low


def choose_champions(
    net_return_DS: pd.DataFrame,
    families: Sequence[str],
    settings: SelectionSettings,
    *,
    seed: int,
    ic_sums: Mapping[str, NDArray[np.float64]] | None = None,
    samples: int = 500,
) -> Champions:
    """The champion of each day of ``net_return_DS`` and of the day after it, and the paired tests that decided.

    Args:
        net_return_DS: realised daily returns net of all costs, one column a strategy (the fallback among them), one row a
            day, index naive UTC midnight; NaN where a strategy was not running or its models were not healthy.
        families: columns that may be chosen beside the fallback.
        seed: of the bootstrap; the same for every day, so a day's choice does not depend on how many came before.
        ic_sums: family -> (D, N, K) sums over the forecasts whose outcome was realised on each of the same days.

    Raises:
        ContractError: a column is missing, or the days have holes.
    """
    missing = [name for name in (settings.fallback, *families) if name not in net_return_DS.columns]
    if missing:
        raise ContractError(f"net returns lack {', '.join(missing)}; simulate those strategies first")
    day_D = pd.DatetimeIndex(net_return_DS.index)
    if len(day_D) > 1 and not (np.diff(day_D.to_numpy()) == np.timedelta64(1, "D")).all():
        raise ContractError("net returns have holes between days; give every day, NaN where nothing ran")
    every_day = day_D.append(day_D[-1:] + pd.Timedelta(1, "D"))
    rows: list[tuple] = []
    tests: list[tuple] = []

    def test(d: int, family: str, against: str) -> PairedTest:
        """Test ``family`` against another strategy on the newest days before day ``d``; kept in ``tests``, with the IC's gain."""
        newest = slice(max(d - settings.window_days, 0), d)
        family_D, against_D = (net_return_DS[name].to_numpy(dtype=float)[newest] for name in (family, against))
        result = paired_return_test(family_D, against_D, settings, seed=seed, samples=samples)
        ic = (float("nan"),) * 3
        if ic_sums and family in ic_sums:
            other = ic_sums[against][newest] if against in ic_sums else None
            ic = paired_ic_gain(ic_sums[family][newest], other, settings, seed=seed, samples=samples)
        tests.append((every_day[d], family, against, result.mean, result.low, result.days, *ic))
        return result

    candidates = [family for family in families if family != settings.fallback]
    holder, chosen_on, why = settings.fallback, None, "nothing realised yet"
    for d, day in enumerate(every_day):
        if d % settings.every_days == 0:
            holder, why = _choose(partial(test, d), holder, candidates, settings)
            chosen_on = day
        rows.append((day, holder, chosen_on, why))
    by_day = pd.DataFrame(rows, columns=list(CHAMPION_COLUMNS)).astype({"day": "datetime64[us]", "chosen_on": "datetime64[us]"})
    paired_tests = pd.DataFrame(tests, columns=list(PAIRED_TEST_COLUMNS)).astype({"chosen_on": "datetime64[us]"})
    return Champions(by_day, paired_tests)


def _choose(
    test: Callable[[str, str], PairedTest], holder: str, families: Sequence[str], settings: SelectionSettings
) -> tuple[str, str]:
    """The strategy to follow after ``holder``, and why."""
    fallback = settings.fallback
    against_fallback = {family: test(family, fallback) for family in families}
    better = {family: result for family, result in against_fallback.items() if result.low > 0}
    if not better:
        results = "; ".join(f"{family} {_described(result)}" for family, result in against_fallback.items())
        return fallback, f"nothing beats {fallback} at {settings.confidence:.0%}: {results or 'no family is trained'}"
    best = max(better, key=lambda family: better[family].mean)
    if holder in better and holder != best:
        against_holder = test(best, holder)
        if not against_holder.low > 0:
            return holder, f"stays: {best} is not shown to beat it, {_described(against_holder)}"
    return best, f"beats {fallback}: {_described(better[best])}"


def _described(test: PairedTest) -> str:
    if np.isnan(test.mean):
        return f"too few days ({test.days})"
    return f"{test.mean * 1e4:+.1f} bps a day, at least {test.low * 1e4:+.1f} over {test.days} days"
