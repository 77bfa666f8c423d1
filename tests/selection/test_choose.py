"""The champion is chosen from what was realised, and only on evidence."""

import numpy as np
import pandas as pd
import pytest

from crossattn_core.errors import ContractError
from crossattn_core.experiment import SelectionSettings
from crossattn_core.selection.choose import choose_champions, paired_ic_gain, paired_return_test

SETTINGS = SelectionSettings(every_days=14, window_days=120, minimum_days=40)
FAMILIES = ("attention", "ridge_var")


def _returns(days: int = 200, seed: int = 0, **edge: float) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    common_D = 0.02 * generator.standard_normal(days)
    columns = {
        name: common_D + 0.003 * generator.standard_normal(days) + edge.get(name, 0.0)
        for name in ("equal_weight", "attention", "ridge_var")
    }
    return pd.DataFrame(columns, index=pd.date_range("2025-01-01", periods=days, unit="us"))


def _champions(returns: pd.DataFrame) -> pd.DataFrame:
    return choose_champions(returns, FAMILIES, SETTINGS, seed=1).by_day


def test_a_family_with_an_edge_takes_over_once_it_is_shown() -> None:
    champions = _champions(_returns(attention=0.002))
    assert (champions["champion"].iloc[:40] == "equal_weight").all()
    assert (champions["champion"].iloc[60:] == "attention").all()
    assert "beats equal_weight: +" in champions["why"].iloc[-1]


def test_without_an_edge_the_fallback_is_followed_and_the_numbers_say_why() -> None:
    champions = _champions(_returns(attention=-0.001, ridge_var=-0.001))
    assert set(champions["champion"]) == {"equal_weight"}
    assert champions["why"].iloc[-1].startswith("nothing beats equal_weight at 90%: attention -")


def test_luck_alone_seldom_wins() -> None:
    wins = [(_champions(_returns(seed=seed))["champion"].iloc[-1] != "equal_weight") for seed in range(40)]
    assert np.mean(wins) < 0.35  # two families at 10% each, over a last choice and those it inherits


def test_a_choice_reads_only_the_days_before_it() -> None:
    returns = _returns(attention=0.002)
    changed = returns.copy()
    changed.iloc[120:] = _returns(seed=9, ridge_var=0.01).iloc[120:].to_numpy()
    pd.testing.assert_frame_equal(_champions(returns).iloc[:121], _champions(changed).iloc[:121])


def test_a_prefix_of_days_gives_a_prefix_of_choices() -> None:
    returns = _returns(attention=0.002)
    pd.testing.assert_frame_equal(_champions(returns).iloc[:101], _champions(returns.iloc[:100]))


def test_the_holder_stays_until_a_challenger_beats_it() -> None:
    returns = _returns(attention=0.002, ridge_var=0.002)
    champions = _champions(returns)
    assert champions["champion"].iloc[60:].nunique() == 1
    returns.loc[returns.index[100] :, "ridge_var"] += 0.01
    assert _champions(returns)["champion"].iloc[-1] == "ridge_var"


def test_days_without_a_healthy_model_do_not_count() -> None:
    returns = _returns(attention=0.002, ridge_var=-0.001)
    returns.loc[returns.index[:170], "attention"] = np.nan
    assert set(_champions(returns)["champion"]) == {"equal_weight"}


def test_the_bound_of_a_known_difference_covers_it() -> None:
    generator = np.random.default_rng(0)
    below = []
    for seed in range(200):
        difference_D = 0.001 + 0.01 * generator.standard_normal(150)
        below.append(paired_return_test(difference_D, np.zeros(150), SETTINGS, seed=seed, samples=300).low <= 0.001)
    assert np.mean(below) == pytest.approx(0.9, abs=0.06)


def test_holes_and_missing_strategies_are_refused() -> None:
    with pytest.raises(ContractError, match="holes"):
        _champions(_returns().drop(index=pd.Timestamp("2025-02-01")))
    with pytest.raises(ContractError, match="lack ridge_var"):
        _champions(_returns().drop(columns="ridge_var"))


def test_the_ic_of_a_family_is_recorded_beside_its_returns_and_decides_nothing() -> None:
    returns = _returns(attention=-0.002, ridge_var=-0.002)
    generator = np.random.default_rng(2)
    sums_DNK = _ic_sums(generator, correlation=0.5)
    champions = choose_champions(returns, FAMILIES, SETTINGS, seed=1, ic_sums={"attention": sums_DNK})
    test = champions.paired_tests[champions.paired_tests["family"] == "attention"].iloc[-1]
    assert test["ic"] == pytest.approx(0.5, abs=0.05)
    assert test["ic_gain"] == test["ic"] > test["ic_gain_low"] > 0.3
    assert set(champions.by_day["champion"]) == {"equal_weight"}


def test_the_ic_gain_over_itself_is_nothing() -> None:
    sums_DNK = _ic_sums(np.random.default_rng(3), correlation=0.2)
    ic, gain, low = paired_ic_gain(sums_DNK, sums_DNK, SETTINGS, seed=1, samples=100)
    assert ic == pytest.approx(0.2, abs=0.05)
    assert gain == low == 0.0


def _ic_sums(generator: np.random.Generator, correlation: float) -> np.ndarray:
    """Sums of the terms of an IC, day by day, for two assets with a known correlation of forecast and outcome."""
    x = generator.standard_normal((200, 24, 2))
    y = correlation * x + np.sqrt(1 - correlation**2) * generator.standard_normal(x.shape)
    return np.stack([term.sum(axis=1) for term in (np.ones_like(x), x, y, x**2, y**2, x * y)], axis=-1)
