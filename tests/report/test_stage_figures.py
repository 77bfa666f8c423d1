"""Pictures of single stages: every line and every regime that is drawn is named."""

import numpy as np
import pandas as pd

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
