import io
from datetime import date, timedelta

import numpy as np
import pytest
from rich.console import Console

from crossattn_core.days import bounds, days_between
from crossattn_core.errors import BacktestError, UniverseError
from crossattn_core.home import Home
from crossattn_core.portfolio.decisions import decision_rows, forecast_array, target_weights
from crossattn_core.portfolio.target_weights import save_weights
from crossattn_core.report.explain import explain, trace_tree
from crossattn_core.walk_forward.store import PLAN_COLUMNS, read_forecasts, write_day, write_forecasts
from tests.report import story

OF = story.experiment()
FIRST, LAST = date(2025, 1, 20), date(2025, 2, 10)
ON = story.panel(OF, first=date(2025, 1, 1), last=LAST)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with 22 days of stored forecasts and the weights that follow from them."""
    home = Home(tmp_path_factory.mktemp("home"))
    forecast_TN = story.forecasts(OF, ON)
    known_TN = np.where(np.isfinite(forecast_TN), forecast_TN, 0.001).astype(np.float32)
    before = ""
    for day in days_between(FIRST, LAST):
        start, end = (np.datetime64(edge, "us") for edge in bounds(day))
        rows = np.flatnonzero((ON.as_of_T > start) & (ON.as_of_T <= end))
        forecast_RNH = np.repeat(known_TN[rows][:, :, None], len(OF.labels.horizons), axis=2)
        write_forecasts(
            home, day, ON.as_of_T[rows], OF.asset_ids, OF.labels.horizons, {"attention": forecast_RNH}, {"attention": "m-1"}
        )
        row = dict.fromkeys(PLAN_COLUMNS, "") | {
            "day": str(day), "action": "carry", "reason": "in force", "family": "attention", "model_id": "m-1", "regime": 1,
            "train_start": "2025-01-01", "cut_off": str(FIRST), "rows": 400, "validation_loss": 0.9, "drift": 0.0, "ic_gap": 0.0,
        }  # fmt: skip
        write_day(home, day, {"day": str(day), "plan_hash": str(day), "previous_hash": before, "rows": [row]})
        before = str(day)
    stored_TN = forecast_array(read_forecasts(home, FIRST, LAST), ON, "attention", OF.labels.trade_horizon)
    rows_D = decision_rows(ON.as_of_T, OF.portfolio, first=np.datetime64(FIRST, "us"))
    save_weights(home.weights, target_weights("attention", ON, stored_TN, rows_D, OF))
    save_weights(home.weights, target_weights("equal_weight", ON, None, rows_D, OF))
    return home


def facts(step):
    return dict(step.facts)


def test_the_way_back_names_every_stage_in_order(home):
    steps = explain(home, OF, ON, date(2025, 2, 5), "ETHUSDT")
    titles = [step.title.split()[0] for step in steps]
    assert titles == ["position", "target", "decision", "forecast", "model", "features", "candle"]
    model = facts(steps[4])
    assert model["in force"] == "m-1"
    assert "400 rows" in model["trained on"]


def test_the_decision_shown_is_the_decision_that_was_stored(home):
    moved = 0
    for day in days_between(date(2025, 2, 3), date(2025, 2, 7)):
        for symbol in OF.symbols:
            steps = explain(home, OF, ON, day, symbol)
            target, decision = facts(steps[1])["weight"], facts(steps[2])
            if target == "left alone" or "stays between" not in decision:
                continue
            moved += 1
            low, high = (float(part.split("%")[0]) for part in decision["stays between"].split(" and "))
            wanted, held = (float(text.split("%")[0]) for text in (target, decision["held before"]))
            nearest = min(max(held, low), high)
            # Limits only shrink what the zone asks for.
            assert abs(wanted) <= abs(nearest) + 0.02
    assert moved > 5


def test_a_baseline_has_no_forecast_to_explain(home):
    steps = explain(home, OF, ON, date(2025, 2, 5), "BTCUSDT", "equal_weight")
    assert [step.title.split()[0] for step in steps] == ["position", "target", "features", "candle"]
    assert facts(steps[1])["weight"] == "+10.00%"


def test_a_closed_venue_is_said_to_be_closed(home):
    saturday = date(2025, 2, 8)
    steps = explain(home, OF, ON, saturday, "NVDA")
    assert facts(steps[1])["weight"] == "left alone"
    assert "closed" in facts(steps[2])["not decided"]


def test_an_unknown_symbol_or_day_is_refused(home):
    with pytest.raises(UniverseError, match="NOPE"):
        explain(home, OF, ON, LAST, "NOPE")
    with pytest.raises(BacktestError, match="decided nothing on"):
        explain(home, OF, ON, FIRST - timedelta(days=3), "BTCUSDT")


def test_the_terminal_shows_every_fact(home):
    steps = explain(home, OF, ON, date(2025, 2, 5), "ETHUSDT")
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(trace_tree(steps, "ETHUSDT on 2025-02-05"))
    text = console.export_text()
    assert all(value in text for step in steps for _, value in step.facts)
