"""Looks at a home that run no stage and store nothing: the pictures of attention, the way back from a position to its candle."""

from datetime import date

from crossattn_core.analysis.attention_overview import AttentionOverview, attention_overview
from crossattn_core.analysis.leaders import Leads, Trading, find_leads
from crossattn_core.analysis.snapshot_store import StoredAttention, read_attention
from crossattn_core.line import Line
from crossattn_core.panel.align import weight_array
from crossattn_core.panel.opens import open_prices
from crossattn_core.portfolio.sizing import trade_cost
from crossattn_core.portfolio.target_weights import read_weights
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.explain import Step, StoredDecisions, explain
from crossattn_core.report.inputs import AttentionSummary, attention_summary
from crossattn_core.selection.follow import CHAMPION, reported_strategies
from crossattn_core.selection.handover import read_champions
from crossattn_core.walk_forward.store import read_forecasts, read_plan, read_predictions

__all__ = ["attention_overview_of", "explain_position", "leads_of"]


def leads_of(line: Line, last: date) -> tuple[StoredAttention, Leads]:
    """What is stored of attention up to the end of ``last``, and who leads whom as of then."""
    experiment, panel, settings = line.experiment, line.panel(last), line.experiment.analysis
    stored = read_attention(line.home.attention, last, settings.window_days, experiment.asset_ids)
    opens_TN = open_prices(line.lake, panel, settings.window_days)
    trading = Trading(opens_TN, 1e4 * trade_cost(experiment.asset_ids, experiment.costs))
    return stored, find_leads(panel, stored, experiment.assets, settings, experiment.backtest, trading)


def attention_overview_of(line: Line, stored: StoredAttention, leads: Leads) -> tuple[AttentionSummary, AttentionOverview] | None:
    """What the pictures of attention show, from ``leads_of``; none before the first snapshot."""
    experiment, panel = line.experiment, line.panel(stored.last)
    windows = regime_windows(daily_regimes(panel, experiment.regimes), experiment.regimes)
    summary, lags = attention_summary(stored, experiment), experiment.model.max_lag
    overview = attention_overview(stored, leads, panel, windows, experiment.assets, attention_lags=lags)
    return None if summary is None or overview is None else (summary, overview)


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
