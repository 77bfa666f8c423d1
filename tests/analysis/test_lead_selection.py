"""A lead stands beside the follower's others, and a group is named where no member can be told apart."""

import numpy as np
import pytest

from crossattn_core.analysis.lead_lag import lead_lag
from crossattn_core.analysis.lead_selection import MAX_CONDITIONAL_P, select_leads
from crossattn_core.analysis.leader_groups import MARKET, LeaderGroup, leader_groups, members_beside
from crossattn_core.stats.scaled_returns import volatility_scaled
from crossattn_core.universe import Asset

BARS, ASSETS = 12_000, 6
IDS = tuple("ABCDEF")
GROUPS = (LeaderGroup(MARKET, tuple(range(ASSETS))), LeaderGroup("ABC sector", (0, 1, 2)))


def _market(seed: int = 0, *, beta: float = 0.7) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Generator, factor and (T, N) unit moves that share it."""
    rng = np.random.default_rng(seed)
    factor_T = rng.standard_normal(BARS)
    return rng, factor_T, beta * factor_T[:, None] + np.sqrt(1 - beta**2) * rng.standard_normal((BARS, ASSETS))


def _selected(move_TN: np.ndarray, groups=GROUPS):
    tested = lead_lag(volatility_scaled(0.01 * move_TN), IDS, max_lag=12, permutations=200, groups=groups)
    found = select_leads(tested, IDS, IDS, 0.05)
    return found[(found["conditional_p"] <= MAX_CONDITIONAL_P) & (found["beside"] == "")], found


def _names(table) -> dict[tuple[str, str], int]:
    return {(row["leader"], row["follower"]): row["lag"] for row in table.to_dict("records")}


def test_a_slow_asset_is_led_by_the_market_and_by_no_member() -> None:
    _, factor_T, move_TN = _market()
    move_TN[1:, 5] += 0.12 * factor_T[:-1]
    stands, found = _selected(move_TN)
    assert _names(stands) == {(MARKET, "F"): 1}
    members = found[(found["follower"] == "F") & (found["leader"] != MARKET) & (found["q_value"] <= 0.05)]
    assert len(members) >= 3
    assert (members["conditional_p"] > MAX_CONDITIONAL_P).all()


def test_an_asset_that_adds_to_its_group_is_named_itself() -> None:
    _, _, move_TN = _market(1)
    move_TN[3:, 5] += 0.3 * move_TN[:-3, 0]
    assert _names(_selected(move_TN)[0]) == {("A", "F"): 3}


def test_a_sector_that_leads_is_named_as_the_sector() -> None:
    rng, _, move_TN = _market(2, beta=0.2)
    sector_T = rng.standard_normal(BARS)
    move_TN[:, :3] = 0.5 * move_TN[:, :3] + 0.8 * sector_T[:, None]
    move_TN[1:, 5] += 0.12 * sector_T[:-1]
    assert _names(_selected(move_TN)[0]) == {("ABC sector", "F"): 1}


def test_leaders_that_move_together_in_no_known_group_become_one() -> None:
    rng, _, move_TN = _market(3, beta=0.2)
    shared_T = rng.standard_normal(BARS)
    for n in (0, 2, 4):
        move_TN[:, n] = 0.5 * move_TN[:, n] + 0.85 * shared_T
    move_TN[2:, 5] += 0.15 * shared_T[:-2]
    assert _names(_selected(move_TN, groups=())[0]) == {("A + C + E", "F"): 2}


def test_a_group_leaves_its_follower_out_and_needs_two_members() -> None:
    assert members_beside(GROUPS, 0) == {0: (1, 2, 3, 4, 5), 1: (1, 2)}
    assert members_beside((LeaderGroup("pair", (0, 1)),), 0) == {}


def test_each_set_of_members_is_one_group() -> None:
    coins = [Asset(venue="bybit", symbol=f"{name}USDT", sector="coins") for name in "AB"]
    stocks = [Asset(venue="yahoo", symbol=name, sector=sector) for name, sector in (("X", "a"), ("Y", "a"), ("Z", "b"))]
    groups = {group.name: group.members for group in leader_groups([*coins, *stocks])}
    assert groups == {MARKET: (0, 1, 2, 3, 4), "crypto market": (0, 1), "stocks market": (2, 3, 4), "a sector": (2, 3)}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_selected_where_assets_only_move_together(seed: int) -> None:
    assert _names(_selected(_market(10 + seed)[2])[0]) == {}
