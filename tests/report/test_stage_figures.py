"""Pictures of single stages: every line and every regime that is drawn is named."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd

from crossattn_core.backtest.simulation import Simulation
from crossattn_core.report.figures.performance import contribution_figure
from crossattn_core.report.figures.stages import monitor_figure, regime_figure
from crossattn_core.report.figures.style import png, svg
from tests.report import story

OF = story.experiment()
INPUTS = story.inputs(OF)
DAYS = pd.date_range("2025-02-15", "2025-06-30", freq="D")


def test_prices_and_the_regimes_behind_them_are_named() -> None:
    drawn = svg(regime_figure(story.panel(OF), INPUTS.regime_windows, OF.symbols), "regimes")
    assert all(f">{name}<" in drawn for name in (*OF.symbols, *INPUTS.regime_windows["name"]))


def test_the_monitor_draws_with_and_without_regimes_and_rolling_ic() -> None:
    rolling_ic = pd.DataFrame({"attention": np.linspace(0, 0.1, len(DAYS))}, index=DAYS)
    plan = INPUTS.plan.assign(drift=0.1)
    drawn = svg(monitor_figure(rolling_ic, plan, INPUTS.regime_windows), "monitor")
    assert all(f">{name}<" in drawn for name in ("attention", *INPUTS.regime_windows["name"]))
    for empty in (
        monitor_figure(rolling_ic.head(0), plan, INPUTS.regime_windows),
        monitor_figure(rolling_ic, plan, INPUTS.regime_windows.head(0)),
    ):
        assert len(png(empty)) < 60_000


def test_prices_of_more_assets_than_have_room_for_a_line_are_drawn_as_ranges() -> None:
    panel = story.panel(OF)
    times = -(-150 // len(panel.asset_ids))
    many = replace(panel, mark_price_TN=np.tile(panel.mark_price_TN, (1, times)))
    symbols = [f"S{n}" for n in range(many.mark_price_TN.shape[1])]
    figure = regime_figure(many, INPUTS.regime_windows, symbols)
    assert len(png(figure)) < 60_000
    assert f">half of {len(symbols)}<" in svg(figure, "regimes")


def test_contributions_of_many_assets_are_the_largest_and_the_sum_of_the_others() -> None:
    own = INPUTS.simulations[INPUTS.subject]
    pnl_TN = np.zeros((len(own.as_of_T), 150))
    pnl_TN[0] = np.arange(150.0) - 50
    (axis,) = contribution_figure(
        cast(Simulation, SimpleNamespace(pnl_TN=pnl_TN, capital=100.0)), tuple(map(str, range(150)))
    ).axes
    widths = [patch.get_width() for patch in axis.patches]
    assert "101 others" in [label.get_text() for label in axis.get_yticklabels()]
    np.testing.assert_allclose(sum(widths), pnl_TN.sum() / 100.0)
