"""What is left of a lead at prices that could be traded at, and what it pays."""

import numpy as np
import pytest

from crossattn_core.analysis.lead_worth import WORTH_COLUMNS, follower_prices, lead_worth
from crossattn_core.experiment import BacktestSettings
from crossattn_core.stats.returns import log_returns
from crossattn_core.stats.scaled_returns import volatility_scaled

BARS = 20_000


def _worth(close_TN: np.ndarray, open_TN: np.ndarray | None, sign: float = 1.0) -> dict[str, float]:
    return_TN = log_returns(close_TN)
    prices = follower_prices(return_TN, close_TN, open_TN, slice(None))
    return lead_worth(
        volatility_scaled(return_TN),
        prices,
        [0],
        1,
        lag=1,
        shape="linear",
        sign=sign,
        bars_per_day=24,
        bootstrap=BacktestSettings(),
    )


def _led(share_at_open: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Closes and opens of a leader and a follower that catches up a fifth of it, ``share_at_open`` of that at the open."""
    rng = np.random.default_rng(seed)
    move_TN = 0.001 * rng.standard_normal((BARS, 2))
    caught_T = 0.2 * np.concatenate([[0.0], move_TN[:-1, 0]])
    log_close_TN = np.cumsum(move_TN + np.stack([np.zeros(BARS), caught_T], axis=1), axis=0)
    log_open_TN = np.concatenate([np.zeros((1, 2)), log_close_TN[:-1]])
    log_open_TN[:, 1] += share_at_open * caught_T
    return np.exp(log_close_TN), np.exp(log_open_TN)


@pytest.mark.parametrize("share_at_open", [0.0, 0.5, 1.0])
def test_what_is_left_from_the_next_trade_is_what_did_not_happen_before_it(share_at_open: float) -> None:
    found = _worth(*_led(share_at_open))
    assert tuple(found) == WORTH_COLUMNS
    assert found["next_trade_share"] == pytest.approx(1 - share_at_open, abs=0.06)


def test_gross_basis_points_are_the_mean_signed_move_from_the_next_trade() -> None:
    # E|x| of a normal move of 10 bps is 8 bps; a fifth of that is caught up.
    found = _worth(*_led(0.0))
    assert found["gross_bps"] == pytest.approx(0.2 * 10 * np.sqrt(2 / np.pi), abs=0.3)
    assert found["strongest_bps"] > 2 * found["gross_bps"]
    assert _worth(*_led(1.0))["gross_bps"] == pytest.approx(0.0, abs=0.25)


def test_the_strongest_signals_pay_by_rules_that_know_the_days_before_alone() -> None:
    close_TN, open_TN = _led(0.0)
    found = _worth(close_TN, open_TN)
    # E[|x| | |x| in its largest tenth] of a normal move is 2.06 deviations.
    assert found["strongest_bps"] == pytest.approx(0.2 * 10 * 2.06, abs=0.7)
    assert found["strongest_low"] < found["strongest_bps"] < found["strongest_high"]
    # The way is read from the days before: which sign the whole sample has, future included, does not enter.
    assert _worth(close_TN, open_TN, -1.0)["strongest_bps"] == pytest.approx(found["strongest_bps"])


def test_a_lead_that_turned_round_costs_who_learnt_its_way_before() -> None:
    # Right from the first to the second quarter, wrong from the second to the fourth.
    log_close_TN, log_open_TN = (np.log(of_TN) for of_TN in _led(0.0))
    late = BARS // 2
    about = log_close_TN[late - 1, 1]
    for of_TN in (log_close_TN, log_open_TN):
        of_TN[late:, 1] = 2 * about - of_TN[late:, 1]
    found = _worth(np.exp(log_close_TN), np.exp(log_open_TN))
    assert found["strongest_bps"] == pytest.approx(-0.2 * 10 * 2.06 / 3, abs=0.5)
    assert found["strongest_high"] < 0


def test_of_a_lead_that_is_none_the_interval_holds_nothing_and_few_days_give_none() -> None:
    rng = np.random.default_rng(3)
    close_TN = np.exp(np.cumsum(0.001 * rng.standard_normal((BARS, 2)), axis=0))
    open_TN = np.concatenate([close_TN[:1], close_TN[:-1]])
    found = _worth(close_TN, open_TN)
    assert found["strongest_low"] < 0 < found["strongest_high"]
    short = _worth(close_TN[: 24 * 12], open_TN[: 24 * 12])
    assert np.isfinite(short["strongest_bps"])
    assert np.isnan(short["strongest_low"])


def test_a_lead_of_opposite_sign_is_traded_the_other_way() -> None:
    close_TN, open_TN = _led(0.0)
    turned_TN, turned_open_TN = close_TN.copy(), open_TN.copy()
    turned_TN[:, 0], turned_open_TN[:, 0] = 1 / close_TN[:, 0], 1 / open_TN[:, 0]
    assert _worth(turned_TN, turned_open_TN, -1.0)["gross_bps"] == pytest.approx(_worth(close_TN, open_TN)["gross_bps"], rel=0.02)


def test_a_lead_of_stale_prices_is_gone_while_the_price_moves() -> None:
    # The follower prints its price in every other bar alone: the bar after a silent one catches up with both.
    rng = np.random.default_rng(1)
    factor_T = 0.001 * rng.standard_normal(BARS)
    log_TN = np.cumsum(factor_T[:, None] + 0.0003 * rng.standard_normal((BARS, 2)), axis=0)
    silent_T = rng.random(BARS) < 0.4
    newest_T = np.maximum.accumulate(np.where(silent_T, 0, np.arange(BARS)))
    log_TN[:, 1] = log_TN[newest_T, 1]
    found = _worth(np.exp(log_TN), None)
    assert abs(found["moving_share"]) < 0.1
    assert np.isnan(found["next_trade_share"])
