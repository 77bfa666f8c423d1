"""The result in plain words: what the intervals allow to be said, and no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossattn_core.backtest.metrics.registry import Metrics
from crossattn_core.backtest.significance import Interval, SharpeIntervals
from crossattn_core.experiment import Experiment

__all__ = ["Verdict", "verdict_of"]

_IMPLAUSIBLE_SHARPE = 3.0
_IMPLAUSIBLE_IC = 0.1


@dataclass(frozen=True)
class Verdict:
    """``stance`` is 'better', 'worse' or 'open' (neither can be told from the benchmark)."""

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
    follows_benchmark: bool = False,
) -> Verdict:
    """Judge ``subject`` against ``benchmark`` by the interval of the difference of their Sharpe ratios, and by its own.

    ``ic`` of each strategy that forecasts; ``follows_benchmark``: the two held the same throughout. Where the subject is no
    family itself, every trained family is judged in a sentence of its own.
    """
    own, difference = intervals.sharpe[subject], intervals.difference.get(benchmark if subject == benchmark else subject)
    judged = [name for name in (subject, *experiment.retrain.families) if name in metrics]
    days, level = metrics[subject].days, f"{intervals.confidence:.0%}"
    sentences = []
    if difference is None or metrics[subject].trades == 0:
        stance, headline = "open", f"{_name(subject)} has nothing to be compared with."
        if metrics[subject].trades == 0:
            headline = f"{_name(subject)} made no trade: no forecast promised more than it costs to act on."
    elif follows_benchmark:
        stance = "open"
        headline = f"{_name(subject)} followed {_name(benchmark).lower()} throughout: no family was shown to beat it."
    elif difference.spans_zero:
        stance = "open"
        headline = f"{_name(subject)} is not distinguishable from {_name(benchmark).lower()} over these {days:.0f} days."
        sentences.append(f"The Sharpe ratios differ by {_shown(difference)} ({level} interval), which spans zero.")
    else:
        stance = "better" if difference.estimate > 0 else "worse"
        headline = f"{_name(subject)} did {stance} than {_name(benchmark).lower()} over these {days:.0f} days."
        sentences.append(f"The Sharpe ratios differ by {_shown(difference)} ({level} interval), which excludes zero.")
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
    elif any(intervals.sharpe[name].estimate > _IMPLAUSIBLE_SHARPE for name in judged) or any(
        (ic.get(name) or 0.0) > _IMPLAUSIBLE_IC for name in judged
    ):
        sentences.append(
            f"A Sharpe ratio above {_IMPLAUSIBLE_SHARPE:g} or an IC above {_IMPLAUSIBLE_IC:g} on real candles is a leak until "
            "proven otherwise: look for one before believing this page."
        )
    sentences.append("The universe is a list chosen today, which is hindsight: assets that failed in the period are not on it.")
    return Verdict(stance, headline, tuple(sentences))


def _of_family(family: str, benchmark: str, metrics: Mapping[str, Metrics], intervals: SharpeIntervals) -> str:
    """What the intervals say of one trained family."""
    if not metrics[family].trades:
        return f"{_name(family)} made no trade."
    told = f"{_name(family)}, followed or not, made {metrics[family].net_return:+.1%} net"
    told += f" at a Sharpe ratio of {_shown(intervals.sharpe[family])}"
    difference = intervals.difference.get(family)
    if difference is None:
        return f"{told}."
    if difference.spans_zero:
        return f"{told}: not distinguishable from {_name(benchmark).lower()}."
    return f"{told}: {'better' if difference.estimate > 0 else 'worse'} than {_name(benchmark).lower()}."


def _name(strategy: str) -> str:
    words = strategy.replace("_", " ")
    return words[:1].upper() + words[1:]


def _shown(interval: Interval) -> str:
    return f"{interval.estimate:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
