"""A strategy is known by its colour: no two share one."""

from itertools import combinations

from matplotlib.colors import to_rgb

from crossattn_core.families.registry import FAMILIES
from crossattn_core.portfolio.strategies.registry import BASELINES
from crossattn_core.report.figures.colours import STRATEGY_COLOURS, strategy_colour


def test_every_family_and_baseline_has_a_colour_of_its_own():
    names = {*FAMILIES.names(), *BASELINES.names()}
    assert names <= set(STRATEGY_COLOURS)


def test_no_two_colours_are_close():
    for one, other in combinations(STRATEGY_COLOURS, 2):
        apart = sum((a - b) ** 2 for a, b in zip(to_rgb(strategy_colour(one)), to_rgb(strategy_colour(other)), strict=True))
        assert apart**0.5 > 0.15, (one, other)


def test_a_family_that_is_not_listed_gets_a_colour_from_its_name():
    assert strategy_colour("mine") == strategy_colour("mine") != strategy_colour("yours")
