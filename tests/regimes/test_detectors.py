"""A regime detector is one file: registered by name, it is a choice of the settings and gives regime windows."""

import numpy as np
import pytest

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import RegimeSettings, load_experiment
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.detectors.registry import DETECTORS, DetectedStates
from crossattn_core.regimes.market_days import MarketDays
from crossattn_core.regimes.windows import regime_windows
from tests.walk_forward.fakes import FIRST_DAY, synthetic_panel


def stress_in_even_months(market: MarketDays, settings: RegimeSettings) -> DetectedStates:
    """Calm in odd months, stress in even ones."""
    state_D = np.array([2 if day.month % 2 == 0 else 0 for day in market.day_D], dtype=np.int64)
    return DetectedStates(state_D.astype(np.float64), state_D)


def test_a_detector_from_outside_opens_windows() -> None:
    with DETECTORS.temporarily("months", stress_in_even_months):
        settings = load_experiment(overrides={"regimes": {"detector": "months", "confirm_days": 1}}).regimes
        windows = regime_windows(daily_regimes(synthetic_panel(100), settings), settings)
    assert windows["name"].tolist()[:3] == ["calm", "stress", "calm"]
    assert str(FIRST_DAY) == "2025-01-01"
    assert windows["confirmed"].dt.strftime("%m-%d").tolist()[1:3] == ["02-02", "03-02"]


def test_the_detectors_that_come_with_the_house_are_found() -> None:
    assert {"absorption", "hidden_markov", "volatility_terciles"} <= set(DETECTORS.names())
    assert RegimeSettings().detector in DETECTORS.names(), "the default is not looked up when settings are made"


def test_an_unknown_detector_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ExperimentError, match="did you mean 'hidden_markov'"):
        load_experiment(overrides={"regimes": {"detector": "hiden_markov"}})
