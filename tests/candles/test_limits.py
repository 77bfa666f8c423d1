"""What the intake accepts, the staging tests, the tables' schemas and the panel accept too: one limit each."""

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.quality import (
    MAX_FUNDING_RATE,
    PRICE_ROUNDING,
    validate_candles,
    validate_dividends,
    validate_funding,
)
from crossattn_core.grid import Grid
from crossattn_core.panel.schemas import failures
from tests.candles.ingests import AAPL, BTC
from tests.candles.scripted import plain_candles

NOW = datetime(2025, 6, 1)
STAGING = Path(__file__).parents[2] / "dbt_like_sql" / "staging"
RECORDED = [  # high and low of prices that the source adjusted, each rounded by itself
    (126.83325254833925, 127.23413879411513, 122.58557891845705, 122.58557891845703),
    (30.36612576370712, 30.382452011108395, 30.096747352456024, 30.3824520111084),
    (14.884102251403283, 14.96470260620117, 14.765121790671067, 14.964702606201172),
]


def candle(**values) -> pd.DataFrame:
    row = plain_candles(BTC, datetime(2025, 3, 1), datetime(2025, 3, 1, 1))
    price = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 10.0, "turnover": np.nan}
    return row.assign(**price | values)


def is_kept_by_all(rows: pd.DataFrame) -> bool:
    """By the intake and by the schema of staged candles, which must agree."""
    accepted = len(validate_candles(rows, BTC, NOW).accepted) == len(rows)
    is_sound = failures(
        "candles", rows[["asset_id", "opened_at", "closed_at", "open", "high", "low", "close", "volume", "turnover"]]
    )
    if accepted:
        assert is_sound.empty, is_sound
    return accepted


@pytest.mark.parametrize("prices", RECORDED)
def test_the_rounding_of_adjusted_prices_is_no_wrong_order_and_is_stored_as_it_came(prices):
    rows = candle(**dict(zip(("open", "high", "low", "close"), prices, strict=True)))
    assert is_kept_by_all(rows)
    kept = validate_candles(rows, BTC, NOW).accepted
    assert tuple(kept[["open", "high", "low", "close"]].iloc[0]) == prices


@pytest.mark.parametrize(
    "values",
    [
        {"high": 100.4999},
        {"low": 100.0001},
        {"high": 100.5 * (1 - 2 * PRICE_ROUNDING)},
        {"volume": np.inf},
        {"volume": 1e307},  # times the price no number any more
        {"volume": -1.0},
        {"turnover": np.inf},
        {"turnover": -1.0},
        {"low": 0.0},
        {"open": np.nan},
    ],
)
def test_what_a_later_stage_would_stop_at_is_refused_on_the_way_in(values):
    assert not is_kept_by_all(candle(**values))


@pytest.mark.parametrize("values", [{"volume": 0.0, "turnover": 0.0}, {"turnover": np.nan}, {"volume": 1e12}])
def test_what_is_allowed_on_the_way_in_is_allowed_later(values):
    assert is_kept_by_all(candle(**values))


def test_the_staging_tests_have_the_limits_of_the_intake():
    funding = re.search(r"range: \{rate: \[(\S+), (\S+)\]\}", (STAGING / "funding.sql").read_text())
    assert funding is not None
    assert tuple(map(float, funding.groups())) == (-MAX_FUNDING_RATE, MAX_FUNDING_RATE)
    rounding = re.findall(r"\(1 [-+] (\S+?)\)", (STAGING / "candles.sql").read_text())
    assert list(map(float, rounding)) == [PRICE_ROUNDING] * 2


def test_settlements_that_pass_one_by_one_pass_summed_over_a_long_bar():
    settled = pd.date_range("2025-03-03 08:00", periods=3, freq="8h").as_unit("us")
    rows = pd.DataFrame({"asset_id": BTC.asset_id, "settled_at": settled, "rate": 0.09, "fetched_at": settled})
    assert len(validate_funding(rows, NOW).accepted) == 3
    found = failures("aligned", pd.DataFrame({"funding_rate": [0.27]}), Grid(bar="1d"))
    assert not len(found[(found["column"] == "funding_rate") & found["check"].str.startswith("within")])
    found = failures("aligned", pd.DataFrame({"funding_rate": [0.27]}))
    assert len(found[(found["column"] == "funding_rate") & found["check"].str.startswith("within")]) == 1


@pytest.mark.parametrize("amount", [0.0, -1.0, np.nan, np.inf])
def test_a_dividend_that_the_panel_would_stop_at_is_refused(amount):
    ex_at = pd.Timestamp("2025-03-12 13:30").as_unit("us")
    rows = pd.DataFrame({"asset_id": AAPL.asset_id, "ex_at": [ex_at], "amount": amount, "fetched_at": ex_at})
    assert validate_dividends(rows, AAPL, NOW).accepted.empty
