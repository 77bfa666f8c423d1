"""What must not move when everything after an instant is rewritten, from candles to equity."""

from datetime import datetime

import numpy as np
import pandas as pd

from crossattn_core.analysis.snapshot_store import snapshots_from_previous
from crossattn_core.line import Line
from crossattn_core.portfolio.target_weights import read_weights
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.report.inputs import ReportInputs
from crossattn_core.report.page import ReportPaths
from crossattn_core.selection.follow import reported_strategies
from crossattn_core.selection.handover import read_champions, read_handover
from crossattn_core.walk_forward.store import read_forecasts, read_plan

Ran = tuple[Line, ReportInputs, ReportPaths]


def assert_past_is_unmoved(ran: Ran, other: Ran, moment: datetime) -> None:
    """Panel, regimes, plan, forecasts, snapshots, champions, orders, weights and equity up to ``moment`` are equal to the bit,
    and after it something differs."""
    (line, inputs, _), (other_line, other_inputs, _) = ran, other
    at = np.datetime64(moment, "us")

    panel, other_panel = line.panel(), other_line.panel()
    rows = panel.row_of(at) + 1
    assert panel.feature_TNF.shape == other_panel.feature_TNF.shape
    assert panel.row_arrays.keys() == other_panel.row_arrays.keys()
    for name, held in panel.row_arrays.items():
        assert np.array_equal(held[:rows], other_panel.row_arrays[name][:rows], equal_nan=held.dtype != bool), name
    assert not np.array_equal(panel.trade_price_TN[rows:], other_panel.trade_price_TN[rows:], equal_nan=True), (
        "the rewrite did nothing"
    )

    first, last = line.experiment.period.start, line.last_day
    past_days = (moment - pd.Timedelta(1, "us")).date()
    regimes, other_regimes = (daily_regimes(held, line.experiment.regimes) for held in (panel, other_panel))
    complete = (moment.date() - first).days
    assert np.array_equal(regimes.regime_D[:complete], other_regimes.regime_D[:complete])

    plans = [held[held["day"] <= pd.Timestamp(past_days)] for held in (read_plan(line.home), read_plan(other_line.home))]
    pd.testing.assert_frame_equal(*plans, check_exact=True)
    assert plans[0]["model_id"].nunique() > 1, "no model was in force before the rewrite"

    forecasts = [read_forecasts(held.home, first, last) for held in (line, other_line)]
    pd.testing.assert_frame_equal(*(held[held["as_of"] <= moment].reset_index(drop=True) for held in forecasts), check_exact=True)
    assert not forecasts[0]["forecast"].equals(forecasts[1]["forecast"]), "the rewrite reached no forecast"

    snapshots = [pd.concat(snapshots_from_previous(held.home.attention, first, last)) for held in (line, other_line)]
    whole_days = [held[held["day"] < pd.Timestamp(moment.date())].reset_index(drop=True) for held in snapshots]
    pd.testing.assert_frame_equal(*whole_days, check_exact=True)

    champions, other_champions = (read_champions(held.home.target_weights) for held in (line, other_line))
    assert champions is not None
    assert other_champions is not None
    for chosen, other in zip(champions, other_champions, strict=True):
        day = "day" if "day" in chosen else "chosen_on"
        known = [held[held[day] <= pd.Timestamp(moment.date())].reset_index(drop=True) for held in (chosen, other)]
        pd.testing.assert_frame_equal(*known, check_exact=True)
    orders = [read_handover(held.home.target_weights) for held in (line, other_line)]
    pd.testing.assert_frame_equal(*(held[held["as_of"] <= moment].reset_index(drop=True) for held in orders), check_exact=True)

    for strategy in reported_strategies(line.experiment):
        targets, other_targets = (read_weights(held.home.weights, strategy) for held in (line, other_line))
        decided = int((targets.as_of_D <= at).sum())
        assert np.array_equal(targets.target_DN[:decided], other_targets.target_DN[:decided], equal_nan=True), strategy
        simulation, other_simulation = inputs.simulations[strategy], other_inputs.simulations[strategy]
        known = int((simulation.as_of_T <= at).sum())
        assert known > 0
        assert np.array_equal(simulation.equity_T[:known], other_simulation.equity_T[:known]), strategy
