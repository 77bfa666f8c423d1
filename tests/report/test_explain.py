import io
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from crossattn_core.days import days_between
from crossattn_core.errors import BacktestError, UniverseError
from crossattn_core.panel.align import forecast_array
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.report.explain import StoredDecisions, explain, trace_tree
from crossattn_core.selection.choose import Champions
from tests.report import story

OF = story.experiment()
FIRST, LAST = date(2025, 1, 20), date(2025, 2, 10)
ON = story.panel(OF, first=date(2025, 1, 1), last=LAST)


@pytest.fixture(scope="module")
def stored():
    """22 days of forecasts, the weights that follow from them, and the plan's row of any day."""
    forecast_TN = story.forecasts(OF, ON)
    known_TN = np.where(np.isfinite(forecast_TN), forecast_TN, 0.001).astype(np.float32)
    rows = np.flatnonzero(ON.as_of_T > np.datetime64(FIRST, "us"))
    asset_ids = np.array(ON.asset_ids)
    forecasts = pd.DataFrame(
        {
            "as_of": np.repeat(ON.as_of_T[rows], len(asset_ids)),
            "asset_id": np.tile(asset_ids, len(rows)),
            "family": "attention",
            "horizon": OF.labels.trade_horizon,
            "forecast": known_TN[rows].ravel(),
            "model_id": "m-1",
        }
    )
    plan = pd.DataFrame(
        [
            {
                "action": "carry", "reason": "in force", "family": "attention", "model_id": "m-1", "regime": 1,
                "train_start": "2025-01-01", "cut_off": str(FIRST), "rows": 400, "validation_loss": 0.9,
            }
        ]
    )  # fmt: skip
    rows_D = decision_rows(ON.as_of_T, OF.portfolio, first=np.datetime64(FIRST, "us"))
    forecast_TN = forecast_array(forecasts, ON, "attention", OF.labels.trade_horizon)
    targets = {
        "attention": target_weights("attention", ON, forecast_TN, rows_D, OF),
        "equal_weight": target_weights("equal_weight", ON, None, rows_D, OF),
    }
    return StoredDecisions(OF, ON, targets, None, forecasts, {}, plan)


def facts(step):
    return dict(step.facts)


def test_the_way_back_names_every_stage_in_order(stored):
    steps = explain(stored, date(2025, 2, 5), "ETHUSDT")
    titles = [step.title.split()[0] for step in steps]
    assert titles == ["position", "target", "decision", "forecast", "model", "features", "candle"]
    model = facts(steps[4])
    assert model["in force"] == "m-1"
    assert "400 rows" in model["trained on"]


def test_the_decision_shown_is_the_decision_that_was_stored(stored):
    moved = 0
    for day in days_between(date(2025, 2, 3), date(2025, 2, 7)):
        for symbol in OF.symbols:
            steps = explain(stored, day, symbol)
            target, decision = facts(steps[1])["weight"], facts(steps[2])
            if target == "left alone" or "stays between" not in decision:
                continue
            moved += 1
            low, high = (float(part.split("%")[0]) for part in decision["stays between"].split(" and "))
            target_weight, held = (float(text.split("%")[0]) for text in (target, decision["held before"]))
            nearest = min(max(held, low), high)
            # Limits only shrink what the zone leads to.
            assert abs(target_weight) <= abs(nearest) + 0.02
    assert moved > 5


def test_a_baseline_has_no_forecast_to_explain(stored):
    steps = explain(stored, date(2025, 2, 5), "BTCUSDT", "equal_weight")
    assert [step.title.split()[0] for step in steps] == ["position", "target", "features", "candle"]
    assert facts(steps[1])["weight"] == "+10.00%"


def test_what_a_trade_cost_holds_its_impact(stored):
    def share_paid(impact: float) -> float:
        costs = OF.costs.model_copy(update={"impact": impact})
        experiment = OF.model_copy(update={"costs": costs})
        traded = facts(explain(replace(stored, experiment=experiment), FIRST, "ETHUSDT", "equal_weight")[0])["traded"]
        notional, cost = (float(money.replace(",", "")) for money in traded.split(", costing "))
        return cost / notional

    assert share_paid(impact=100.0) > 2 * share_paid(impact=0.0) > 0


def test_a_closed_venue_is_said_to_be_closed(stored):
    saturday = date(2025, 2, 8)
    steps = explain(stored, saturday, "NVDA")
    assert facts(steps[1])["weight"] == "left alone"
    assert "closed" in facts(steps[2])["not decided"]


def test_an_unknown_symbol_or_day_is_refused(stored):
    with pytest.raises(UniverseError, match="NOPE"):
        explain(stored, LAST, "NOPE")
    with pytest.raises(BacktestError, match="decided nothing on"):
        explain(stored, FIRST - timedelta(days=3), "BTCUSDT")


def test_the_terminal_shows_every_fact(stored):
    steps = explain(stored, date(2025, 2, 5), "ETHUSDT")
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(trace_tree(steps, "ETHUSDT on 2025-02-05"))
    text = console.export_text()
    assert all(value in text for step in steps for value in step.facts.values())


def test_the_champions_way_goes_on_with_the_strategy_it_followed(stored):
    by_day = pd.DataFrame({"day": [pd.Timestamp("2025-02-05")], "champion": ["equal_weight"], "why": ["nothing beats it"]})
    followed = replace(
        stored,
        targets=stored.targets | {"champion": replace(stored.targets["equal_weight"], strategy="champion")},
        champions=Champions(by_day, pd.DataFrame()),
    )
    steps = explain(followed, date(2025, 2, 5), "BTCUSDT", "champion")
    assert [step.title.split()[0] for step in steps] == ["position", "target", "followed", "features", "candle"]
    assert facts(steps[2]) == {"strategy": "equal_weight", "why": "nothing beats it"}
    with pytest.raises(BacktestError, match="no champion is stored for 2025-02-06"):
        explain(followed, date(2025, 2, 6), "BTCUSDT", "champion")


def test_a_family_that_gives_weights_shows_its_weight_in_place_of_a_forecast(stored):
    given = replace(stored, weights={"attention": np.full(ON.mark_price_TN.shape, 0.25, np.float32)})
    steps = explain(given, date(2025, 2, 5), "BTCUSDT")
    assert [step.title.split()[0] for step in steps] == ["position", "target", "weight", "model", "features", "candle"]
    assert facts(steps[2])["weight"] == "+25.00% of equity, before limits"
