"""Looks at a home that run no stage and store nothing: the pictures of attention, the way back from a position to its candle."""

from datetime import date

from crossattn_core.analysis.attention_overview import AttentionStory
from crossattn_core.line import Line
from crossattn_core.model_stages import stored_attention
from crossattn_core.panel.align import weight_array
from crossattn_core.portfolio.target_weights import read_weights
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.data import attention_findings
from crossattn_core.report.explain import Step, StoredDecisions, explain
from crossattn_core.report.inputs import AttentionSummary
from crossattn_core.selection.follow import CHAMPION, reported_strategies
from crossattn_core.selection.handover import read_champions
from crossattn_core.walk_forward.store import read_forecasts, read_plan, read_predictions

__all__ = ["attention_overview_of", "explain_position"]


def attention_overview_of(line: Line, last: date) -> tuple[AttentionSummary, AttentionStory] | None:
    """What the pictures of attention show as of ``last``; none before the first snapshot."""
    panel = line.panel(last)
    windows = regime_windows(daily_regimes(panel, line.experiment.regimes), line.experiment.regimes)
    found = attention_findings(stored_attention(line, last), line.experiment, panel, windows)
    return None if found.summary is None or found.overview is None else (found.summary, found.overview)


def explain_position(line: Line, day: date, symbol: str, strategy: str) -> tuple[Step, ...]:
    """Every step from the position in ``symbol`` after the last decision of ``day`` back to its candle: ``report.explain``.

    Raises:
        UniverseError: the symbol is not in the universe.
        BacktestError: no weights of the strategy are stored, or nothing was decided on ``day``.
    """
    home, experiment, panel, first = line.home, line.experiment, line.panel(), line.experiment.period.start
    strategies = reported_strategies(experiment) if strategy == CHAMPION else (strategy,)
    weights = read_predictions(home, first, day, "weight")
    given = {family: weight_array(weights, panel, family) for family in experiment.retrain.families}
    stored = StoredDecisions(
        experiment=experiment,
        panel=panel,
        targets={name: read_weights(home.weights, name) for name in strategies},
        champions=read_champions(home.target_weights),
        forecasts=read_forecasts(home, first, day),
        weights={family: weight_TN for family, weight_TN in given.items() if weight_TN is not None},
        plan=read_plan(home, day, day),
    )
    return explain(stored, day, symbol, strategy)
