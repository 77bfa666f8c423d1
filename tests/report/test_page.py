import html
import io
import json
import re
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.colors import same_color
from rich.console import Console

from crossattn_core.errors import BacktestError
from crossattn_core.report.figures.attention import attention_figure
from crossattn_core.report.figures.colours import STRATEGY_COLOURS
from crossattn_core.report.figures.models import retrain_figure
from crossattn_core.report.figures.performance import equity_figure
from crossattn_core.report.figures.style import png
from crossattn_core.report.html import interval, percent, ratio, share, whole, words
from crossattn_core.report.page import build_report
from crossattn_core.report.tables import headline, headline_markdown
from tests.report import story


@pytest.fixture(scope="module")
def inputs():
    return story.inputs()


@pytest.fixture(scope="module")
def paths(inputs, tmp_path_factory):
    return build_report(inputs, tmp_path_factory.mktemp("report"))


def test_equal_inputs_give_equal_bytes(inputs, paths, tmp_path):
    again = build_report(inputs, tmp_path)
    for name in ("html", "json", "returns"):
        assert getattr(again, name).read_bytes() == getattr(paths, name).read_bytes(), name


def test_a_callers_matplotlib_settings_change_no_byte(inputs, paths, tmp_path):
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "axes.titlepad": 20, "lines.linewidth": 5, "figure.dpi": 200}):
        assert build_report(inputs, tmp_path).html.read_bytes() == paths.html.read_bytes()
        picture = png(equity_figure(inputs.simulations, "attention", "equal_weight"))
    assert picture == png(equity_figure(inputs.simulations, "attention", "equal_weight"))


def test_the_page_asks_nobody_for_anything(paths):
    page = paths.html.read_text()
    assert "<script" not in page
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert all(address.startswith("http://www.w3.org/") for address in addresses), addresses
    assert not re.search(r"(?:src|href)=\"(?!#|data:image/png;base64,)", page)


def test_ids_on_the_page_are_unique(paths):
    ids = re.findall(r'\bid="([^"]+)"', paths.html.read_text())
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'xlink:href="#([^"]+)"', paths.html.read_text()))
    assert links <= set(ids)


def test_the_page_stays_small(paths):
    assert paths.html.stat().st_size < 800_000


def test_every_strategy_and_every_sharpe_interval_is_on_the_page(inputs, paths):
    page, report = paths.html.read_text(), json.loads(paths.json.read_text())
    for name in inputs.simulations:
        assert name.replace("_", " ") in page
        numbers = report["strategies"][name]
        if numbers["sharpe"] is not None:
            assert f"{numbers['sharpe']:+.2f} [{numbers['sharpe_low']:+.2f}, {numbers['sharpe_high']:+.2f}]" in page


def test_returns_compound_to_the_net_return(paths):
    hourly = pq.read_table(paths.returns).to_pandas()
    report = json.loads(paths.json.read_text())
    for name, own in hourly.groupby("strategy"):
        grown = float(np.prod(1 + own["net_return"]) - 1)
        assert grown == pytest.approx(report["strategies"][name]["net_return"], abs=1e-9)


def test_gross_less_costs_is_net(paths):
    for numbers in json.loads(paths.json.read_text())["strategies"].values():
        assert numbers["gross_return"] - numbers["cost_share"] == pytest.approx(numbers["net_return"], abs=1e-12)


def test_noise_is_called_not_distinguishable(tmp_path):
    believed = story.experiment(shrinkage=0.5, shrinkage_prior_sd=0.0)
    report = json.loads(build_report(story.inputs(believed, ic=0.0), tmp_path).json.read_text())
    assert report["verdict"]["stance"] == "open"
    assert "not distinguishable from equal weight" in report["verdict"]["headline"]


def test_a_strategy_that_loses_for_sure_is_called_worse(tmp_path):
    of = story.experiment(shrinkage=1.0, shrinkage_prior_sd=0.0)
    report = json.loads(build_report(story.inputs(of, ic=-0.6), tmp_path).json.read_text())
    assert report["verdict"]["stance"] == "worse"


def test_a_report_of_simulations_alone_says_what_is_missing(inputs, tmp_path):
    bare = replace(
        inputs, shrinkage={}, forecast_quality=None, plan=None, regime_windows=None, attention=None, leaders=None, planted=None,
        data_quality=None, hashes={},
    )  # fmt: skip
    built = build_report(bare, tmp_path)
    page = built.html.read_text()
    assert json.loads(built.json.read_text())["leads"] is None
    assert page.count('class="missing"') >= 5


def test_text_from_outside_is_escaped(inputs, tmp_path):
    quality = pd.DataFrame({"asset_id": ["<script>alert(1)</script>"], "gaps": [1]})
    page = build_report(replace(inputs, data_quality=quality, notes=("<b>bold</b>",)), tmp_path).html.read_text()
    assert "<script>" not in page
    assert "<b>bold</b>" not in page


def test_a_script_in_any_name_or_reason_is_shown_as_text(tmp_path):
    planted = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    settings = story.experiment().model_dump()
    settings["report"] = {"title": planted, "owner": planted}
    for asset in settings["assets"]:
        asset["sector"] = planted
    of = type(story.experiment()).model_validate(settings)
    inputs = story.inputs(of)
    changed = {
        name: frame.assign(**{column: planted for column in columns if column in frame})
        for name, frame, columns in (
            ("plan", inputs.plan, ("why", "reason", "model_id", "action")),
            ("leaders", inputs.leaders, ("why",)),
            ("regime_windows", inputs.regime_windows, ("name",)),
        )
        if frame is not None
    }
    notes = {"notes": (planted,), "hashes": {planted: planted}, "data_quality": pd.DataFrame({planted: [planted]})}
    page = build_report(replace(inputs, **changed, **notes), tmp_path).html.read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_strategies_over_different_rows_are_refused(inputs, tmp_path):
    of = inputs.experiment
    short = story.inputs(of).simulations["cash"]
    shorter = replace(short, start=short.start + 24, equity_T=short.equity_T[24:])
    with pytest.raises(BacktestError, match="different rows"):
        build_report(replace(inputs, simulations={**inputs.simulations, "cash": shorter}), tmp_path)


def test_a_report_about_a_strategy_that_was_not_simulated_is_refused(inputs, tmp_path):
    with pytest.raises(BacktestError, match="'nobody'"):
        build_report(replace(inputs, subject="nobody"), tmp_path)


def test_the_terminal_shows_the_subject_first_with_its_interval(paths):
    console = Console(width=140, record=True, file=io.StringIO())
    report = json.loads(paths.json.read_text())
    console.print(headline(report))
    text = console.export_text()
    lines = [line for line in text.splitlines() if line.startswith("│")]
    assert lines[0].startswith("│ attention")
    assert "[" in lines[0]
    assert headline_markdown(report).splitlines()[2].startswith("| attention")


def test_pictures_for_the_interface_stay_under_60_kb(inputs):
    drawn = [
        equity_figure(inputs.simulations, "attention", "equal_weight"),
        attention_figure(inputs.attention),
        retrain_figure(inputs.plan, inputs.regime_windows, np.datetime64("2025-02-15", "us"), np.datetime64("2025-07-01", "us")),
    ]
    for figure in drawn:
        picture = png(figure)
        assert picture[:4] == b"\x89PNG"
        assert len(picture) < 60_000


def test_a_picture_drawn_again_has_the_same_bytes(inputs):
    first, second = (png(equity_figure(inputs.simulations, "attention", "equal_weight")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("subject", "benchmark"), [("attention", "equal_weight"), ("momentum", "attention")])
def test_a_strategy_keeps_its_colour_whatever_its_part(inputs, subject, benchmark):
    axis = equity_figure(inputs.simulations, subject, benchmark).axes[0]
    for name, line in zip(inputs.simulations, axis.get_lines(), strict=False):
        assert same_color(line.get_color(), STRATEGY_COLOURS[name])


@pytest.fixture(scope="module")
def first(paths):
    """The markup up to the table of contents."""
    page = paths.html.read_text()
    return page[page.index("<main>") : page.index("<nav")]


def text_of(markup):
    return html.unescape(re.sub(r"<[^>]+>", " ", markup))


def test_the_first_screen_holds_a_sentence_two_figures_and_four_numbers(paths, first):
    numbers = json.loads(paths.json.read_text())
    assert first.count('class="verdict') == 1
    assert f"<strong>{numbers['verdict']['headline']}</strong>" in first
    assert first.count("<svg") == 2
    assert first.count('class="card"') == 4
    assert numbers["leads"]["headline"] in first


def test_every_number_on_the_first_screen_is_one_of_the_report(inputs, paths, first):
    numbers = json.loads(paths.json.read_text())
    own, benchmark = numbers["strategies"][numbers["subject"]], numbers["strategies"][numbers["benchmark"]]
    cards = [
        [percent(own["net_return"]), percent(benchmark["net_return"])],
        [ratio(own["sharpe"]), interval(own["sharpe_low"], own["sharpe_high"])],
        [percent(own["max_drawdown"]), percent(benchmark["max_drawdown"])],
        [share(own["cost_share"]), f"{own['turnover_per_day']:.1%}"],
    ]
    shown = [text_of(card) for card in re.findall(r'<div class="card">(.*?)</div>', first)]
    for card, values in zip(shown, cards, strict=True):
        assert all(value in card for value in values), (card, values)
    known = [
        numbers["verdict"]["headline"],
        numbers["leads"]["headline"],
        numbers["first"],
        numbers["last"],
        whole(numbers["days"]),
    ]
    known += [str(len(inputs.experiment.symbols)), *(value for values in cards for value in values)]
    known_numbers = set(re.findall(r"[\d.,]*\d%?", " ".join(known)))
    found = set(re.findall(r"[\d.,]*\d%?", text_of(re.sub(r"<svg.*?</svg>", "", first, flags=re.DOTALL))))
    assert found <= known_numbers


def test_the_small_curve_names_every_strategy_with_its_net_return(paths, first):
    equity = text_of(re.findall(r"<svg.*?</svg>", first, re.DOTALL)[1])
    for name, numbers in json.loads(paths.json.read_text())["strategies"].items():
        assert f"{words(name)} {numbers['net_return']:+.1%}" in re.sub(r"\s+", " ", equity)


def test_the_table_of_contents_names_every_section_in_order(paths):
    page = paths.html.read_text()
    contents = re.findall(r'<a href="#(\w+)">([^<]+)</a>', re.findall(r"<nav.*?</nav>", page, re.DOTALL)[0])
    assert contents == re.findall(r'<h2 id="(\w+)">([^<]+)</h2>', page)
    assert len(contents) > 8


def test_details_fold_and_the_headline_table_does_not(paths):
    page = paths.html.read_text()
    assert page.count("<details>") == page.count("</details>") > 12
    at = page.index("Sharpe less")
    assert page[:at].count("<details>") == page[:at].count("</details>")
