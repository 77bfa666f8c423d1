"""The result in plain words: what the intervals allow, and no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossattn_core.backtest.comparison import Interval, SharpeIntervals
from crossattn_core.backtest.metrics.registry import Metrics
from crossattn_core.experiment import Experiment
from crossattn_core.report.html import words

__all__ = ["MAX_PLAUSIBLE_IC", "MAX_PLAUSIBLE_SHARPE", "MIN_DIFFERENCE", "Verdict", "verdict_of"]

MIN_DIFFERENCE = 0.01
"""Return a year, as a fraction, below which a difference does not matter however sure it is. Sharpe ratios are compared at the
benchmark's volatility: difference * volatility is M2 (Modigliani and Modigliani, 1997) less the benchmark's return."""

MAX_PLAUSIBLE_SHARPE = 3.0
MAX_PLAUSIBLE_IC = 0.1
"""On real candles, a higher annual Sharpe ratio or IC is a leak until proven otherwise."""
_SHOWN_RETURN = 0.0005
"""Smaller returns are written as 0.0%."""


@dataclass(frozen=True)
class Verdict:
    """``stance`` is 'better', 'worse' or 'open' (no difference to the benchmark that is both sure and large enough)."""

    stance: str
    headline: str
    sentences: Sequence[str]


def verdict_of(
    subject: str,
    benchmark: str,
    metrics: Mapping[str, Metrics],
    intervals: SharpeIntervals,
    ic: Mapping[str, float | None],
    experiment: Experiment,
    *,
    benchmark_days: tuple[int, int] | None = None,
) -> Verdict:
    """Compare ``subject`` with ``benchmark`` by the interval of the difference of their Sharpe ratios, and by its own.

    Where the subject is no family itself, every trained family is compared in a sentence of its own.

    Args:
        ic: of each strategy that forecasts, at the traded horizon.
        benchmark_days: on how many decision days the subject followed the benchmark, of how many; none: it follows nobody.
    """
    own, name = intervals.sharpe[subject], _name(subject)
    compared = [family for family in (subject, *experiment.retrain.families) if family in metrics]
    difference = intervals.difference.get(benchmark if subject == benchmark else subject)
    on_benchmark, decision_days = benchmark_days or (0, 0)
    stance, sentences = "open", []
    if metrics[subject].trades == 0:
        headline = f"{name} made no trade: no forecast promised more than it costs to act on."
    elif difference is None:
        headline = f"{name} has nothing to be compared with."
    elif on_benchmark and on_benchmark == decision_days:
        headline = f"{name} followed {words(benchmark)} on all {decision_days} decision days: no family was shown to beat it."
        apart = metrics[subject].net_return - metrics[benchmark].net_return
        if abs(apart) >= _SHOWN_RETURN:
            sentences.append(
                f"Their net returns differ by {apart:+.1%} of capital all the same: the champion's orders keep the limits beside "
                "positions that drifted or could not be traded."
            )
    else:
        stance, relation, reason = _compare(difference, benchmark, metrics[benchmark])
        verb = "is" if stance == "open" else "did"
        headline = f"{name} {verb} {relation} {words(benchmark)} over these {metrics[subject].days:.0f} days."
        level = f"{intervals.confidence:.0%}"
        sentences.append(f"The Sharpe ratios differ by {_shown(difference)} ({level} interval), which {reason}.")
        if on_benchmark:
            sentences.append(f"It followed {words(benchmark)} on {on_benchmark} of {decision_days} decision days.")
    if metrics[subject].trades:
        kind = "a profit of this size may be luck" if own.estimate >= 0 else "a loss of this size may be bad luck"
        tells = f"which spans zero: {kind}" if own.spans_zero else "which excludes zero"
        sentences.append(f"Its own annual Sharpe ratio, net of costs, is {_shown(own)}, {tells}.")
        gross, paid = metrics[subject].gross_return, metrics[subject].cost_share
        sentences.append(
            f"Before costs it made {gross:+.1%} of capital; costs took {paid:.1%}; {metrics[subject].net_return:+.1%} is left."
        )
    for family in experiment.retrain.families:
        if family != subject and family in metrics:
            sentences.append(_of_family(family, benchmark, metrics, intervals))
    if metrics[subject].ruined:
        sentences.append("It was ruined: equity reached zero inside the period.")
    if experiment.feed.kind == "simulated":
        sentences.append(
            "The candles are simulated and the leaders planted: the page shows whether the machinery finds what was put "
            "there, and says nothing about a real market."
        )
    elif any(
        intervals.sharpe[each].estimate > MAX_PLAUSIBLE_SHARPE or (ic.get(each) or 0.0) > MAX_PLAUSIBLE_IC for each in compared
    ):
        sentences.append(
            f"A Sharpe ratio above {MAX_PLAUSIBLE_SHARPE:g} or an IC above {MAX_PLAUSIBLE_IC:g} on real candles is a leak until "
            "proven otherwise: look for one before trusting this page."
        )
    sentences.append("The universe is a list chosen today, which is hindsight: assets that failed in the period are not on it.")
    return Verdict(stance, headline, tuple(sentences))


def _of_family(family: str, benchmark: str, metrics: Mapping[str, Metrics], intervals: SharpeIntervals) -> str:
    """One trained family beside the benchmark."""
    if not metrics[family].trades:
        return f"{_name(family)} made no trade."
    made = f"{_name(family)}, followed or not, made {metrics[family].net_return:+.1%} net"
    made += f" at a Sharpe ratio of {_shown(intervals.sharpe[family])}"
    difference = intervals.difference.get(family)
    if difference is None:
        return f"{made}."
    return f"{made}: {_compare(difference, benchmark, metrics[benchmark])[1]} {words(benchmark)}."


def _compare(difference: Interval, benchmark: str, metrics: Metrics) -> tuple[str, str, str]:
    """Stance, how the two relate, and what the interval of the difference does; ``metrics`` are the benchmark's."""
    if difference.spans_zero:
        return "open", "not distinguishable from", "spans zero"
    a_year = difference.estimate * metrics.annual_volatility
    if abs(a_year) < MIN_DIFFERENCE:
        return (
            "open",
            "about as good as",
            f"excludes zero, but at the volatility of {words(benchmark)} that is {a_year:+.2%} a year, and less than "
            f"{MIN_DIFFERENCE:.0%} is no difference that matters",
        )
    stance = "better" if difference.estimate > 0 else "worse"
    return stance, f"{stance} than", "excludes zero"


def _name(strategy: str) -> str:
    return words(strategy)[:1].upper() + words(strategy)[1:]


def _shown(interval: Interval) -> str:
    return f"{interval.estimate:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
