"""Pictures of attention and leads: small, whole, on one scale, at 5 and at 50 assets."""

import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.regime_correlation import correlation_by_regime
from crossattn_core.report.figures.attention import LINES, attention_figure, order_by, time_figure, views_figure
from crossattn_core.report.figures.leads import edge_graph_figure, lag_profile_figure, stress_figure
from crossattn_core.report.figures.strongest import strongest_of
from crossattn_core.report.figures.style import frame, png, svg
from tests.report.attention_stories import attention_story, summary

DRAWN: dict[str, Callable[[AttentionOverview], Figure]] = {
    "attention": lambda story: attention_figure(summary(story), order="sector", sectors=story.sectors, net_N=story.net_N),
    "views": views_figure,
    "time": time_figure,
    "graph": lambda story: edge_graph_figure(story, false_discovery_rate=0.05),
    "profile": lag_profile_figure,
    "stress": stress_figure,
}


@pytest.fixture(scope="module")
def wide_story() -> Callable[[int], AttentionOverview]:
    return cache(attention_story)


@pytest.mark.parametrize("assets", [150, 300])
@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_of_a_large_universe_stays_small_and_says_what_it_leaves_out(
    name: str, assets: int, wide_story: Callable[[int], AttentionOverview]
) -> None:
    story = wide_story(assets)
    figure = DRAWN[name](story)
    assert len(png(figure)) < 60_000
    assert max(figure.get_size_inches()) < 20
    if name in ("attention", "views", "graph", "stress"):
        assert figure.get_suptitle().startswith(f"50 of {assets} assets")
        shown = strongest_of(story)
        drawn = svg(figure, name)
        if name != "attention":
            assert all(f">{story.symbols[n]}<" in drawn for n in shown)


@pytest.mark.parametrize("assets", [5, 50])
@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_small_enough_for_the_ui_at_a_readable_resolution(name: str, assets: int) -> None:
    figure = DRAWN[name](attention_story(assets))
    drawn = png(figure)
    assert len(drawn) < 60_000
    width = int.from_bytes(drawn[16:20])  # of the PNG header
    assert width >= 0.6 * 80 * figure.get_size_inches()[0]


@pytest.mark.parametrize("assets", [5, 50])
@pytest.mark.parametrize("name", ["attention", "views", "graph", "stress"])
def test_every_asset_is_named_in_the_picture(name: str, assets: int) -> None:
    story = attention_story(assets)
    drawn = svg(DRAWN[name](story), name)
    assert all(f">{symbol}<" in drawn for symbol in story.symbols)


@pytest.mark.parametrize("name", DRAWN)
def test_equal_stories_give_equal_bytes(name: str) -> None:
    assert svg(DRAWN[name](attention_story(5)), name) == svg(DRAWN[name](attention_story(5)), name)


def test_every_cell_carries_its_value_where_there_is_room_and_each_rows_largest_where_there_is_not() -> None:
    for assets, values in ((5, 25), (50, 50)):
        story = attention_story(assets)
        (pairs, *_) = DRAWN["attention"](story).axes
        assert len(pairs.texts) == values
        place_N = order_by("sector", story.sectors, story.net_N)
        written = {round(100 * story.weight_NM[place_N[0]].max())}
        assert written & {int(text.get_text()) for text in pairs.texts if text.get_position()[1] == 0}


@pytest.mark.parametrize(("name", "groups"), [("views", [(0, 1, 2), (3, 4, 5)]), ("stress", [(0, 1, 2)])])
def test_panels_that_are_compared_share_one_scale(name: str, groups: list[tuple[int, ...]]) -> None:
    images = [image for axis in DRAWN[name](attention_story(6)).axes for image in axis.get_images()]
    for group in groups:
        assert len({images[k].get_clim() for k in group}) == 1


def test_lines_differ_in_dash_as_well_as_in_colour() -> None:
    assert len({str(dash) for _, dash in LINES}) == len(LINES)
    assert len({colour for colour, _ in LINES}) == len(LINES)


def test_the_graph_draws_each_named_lead_with_its_lag_and_says_why_there_is_none() -> None:
    story = attention_story(6, named=3)
    (axis,) = DRAWN["graph"](story).axes
    named = story.leaders[story.leaders["named"]]
    solid = [patch for patch in axis.patches if patch.get_linestyle() in ("-", "solid")]
    assert len(solid) == len(named) == 3
    assert {f"{lag} h" for lag in named["lag"]} <= {text.get_text() for text in axis.texts}
    quiet = attention_story(6, named=0)
    quiet.leaders["q_value"] = 0.4
    title = DRAWN["graph"](quiet).axes[0].get_title("left")
    assert title.startswith("No lead found: of 30 ordered pairs none survives the permutation test")


def test_assets_are_ordered_by_sector_then_by_leadership() -> None:
    net_N = np.array([0.1, 0.4, -0.3, 0.2])
    assert order_by("leadership", ("b", "a", "b", "a"), net_N).tolist() == [1, 3, 0, 2]
    assert order_by("sector", ("b", "a", "b", "a"), net_N).tolist() == [1, 3, 0, 2]
    assert order_by("sector", ("a", "b", "a", "b"), net_N).tolist() == [0, 2, 1, 3]
    assert order_by("panel", ("a", "b", "a", "b"), net_N).tolist() == [0, 1, 2, 3]


def test_correlation_by_regime_is_the_plain_one_over_common_hours() -> None:
    rng = np.random.default_rng(0)
    as_of_T = np.datetime64("2025-01-01T01:00", "us") + np.arange(24 * 40) * np.timedelta64(1, "h")
    common_T = rng.standard_normal(len(as_of_T))
    return_TN = np.stack(
        [common_T, 0.3 * common_T + rng.standard_normal(len(as_of_T)), rng.standard_normal(len(as_of_T))], axis=1
    )
    return_TN[24 * 20 :] *= 3
    return_TN[rng.random(return_TN.shape) < 0.2] = np.nan
    return_TN[:, 2] = np.nan
    windows = pd.DataFrame(
        {
            "regime": [0, 1],
            "name": ["calm", "stress"],
            "confirmed": pd.to_datetime(["2025-01-11", "2025-01-21"]),
            "end": pd.to_datetime(["2025-01-21", None]),
        }
    )
    calm, stress = correlation_by_regime(return_TN, as_of_T, windows)
    assert (calm.name, calm.bars, stress.name, stress.bars) == ("calm", 240, "stress", 480)
    rows = slice(240, 480)
    both = np.isfinite(return_TN[rows, :2]).all(axis=1)
    expected = np.corrcoef(return_TN[rows][both][:, :2].T)[0, 1]
    assert calm.correlation_NN[0, 1] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(calm.correlation_NN[0, 2])
    assert calm.mean == pytest.approx(expected)
    np.testing.assert_array_equal(np.diag(stress.correlation_NN), 1.0)


def test_an_svg_shortens_coordinates_and_never_what_is_read() -> None:
    figure, (axis,) = frame()
    axis.plot([0.0, 1 / 3], [0.0, 2 / 3])
    axis.set_title("smallest q 0.9987")
    drawn = svg(figure, "digits")
    assert "smallest q 0.9987" in drawn
    assert not re.search(r'="[^"]*\d\.\d{3}', drawn)
