"""What a metric is: a function of a track, with a unit and a definition; and the registry of all metrics.

    @metric("fraction", better="higher")
    def net_return(track: Track) -> float:
        \"\"\"Final equity / capital - 1.\"\"\"

A quantity that a track cannot give (zero volatility, no loss, no trade) is NaN, never zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from crossattn_core.backtest.costs.registry import account_lines
from crossattn_core.backtest.metrics.track import Track, track_of
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.registry import Registry

__all__ = ["METRICS", "Metric", "Metrics", "Unit", "metric", "metrics_of", "metrics_of_track", "unit_of"]

Unit = Literal["fraction", "ratio", "days", "hours", "count", "flag"]
"""``fraction``: a share, shown in percent; ``ratio``: a pure number; ``flag``: yes or no."""


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    unit: Unit
    better: Literal["higher", "lower"] | None
    """Which of two values a strategy would rather have; None where neither."""
    definition: str
    value_of: Callable[[Track], float]
    place: int
    """Where it is listed: in order of registration."""

    def __call__(self, track: Track) -> float:
        """Its value for one track."""
        return self.value_of(track)


METRICS: Registry[Metric] = Registry("metric", "crossattn_core.backtest.metrics")
"""Every metric, by name."""

_place = count()


def metric(unit: Unit, *, better: Literal["higher", "lower"] | None = None) -> Callable[[Callable[[Track], float]], Metric]:
    """Decorator that registers a function of a track under its own name; its docstring is the definition."""

    def add(value_of: Callable[[Track], float]) -> Metric:
        definition = " ".join((value_of.__doc__ or "").split())
        name = value_of.__name__
        return METRICS.add(name, Metric(name, unit, better, definition, value_of, next(_place)))

    return add


class Metrics(dict[str, float | int | bool]):
    """One account in numbers: every metric by name, then each line of its account as ``<line>_share`` of capital.

    A name can be read as an attribute: ``metrics.sharpe``.
    """

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"no metric is called {name!r}; known: {', '.join(self)}")


def metrics_of(simulation: Simulation) -> Metrics:
    """Every metric of one simulation."""
    return metrics_of_track(track_of(simulation))


def metrics_of_track(track: Track) -> Metrics:
    """Every metric of one track."""
    metrics = sorted((each for _, each in METRICS.items()), key=lambda each: each.place)
    lines = {f"{line}_share": share for line, share in {**track.paid, **track.received}.items()}
    return Metrics({each.name: each(track) for each in metrics} | lines)


def unit_of(name: str) -> Unit:
    """The unit of a metric or of a line of the account; a ratio for any other number."""
    if name in METRICS.names():
        return METRICS.get(name).unit
    return "fraction" if name.removesuffix("_share") in account_lines() else "ratio"
