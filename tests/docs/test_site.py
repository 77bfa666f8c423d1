"""The documentation as a site: every page in its navigation, made pages complete, nothing fetched from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mkdocs.config import load_config

from crossattn_core.experiment import Experiment
from docs_site.command_line import command_line_page, commands
from docs_site.flowchart import as_svg
from docs_site.hooks import OUTSIDE, made_pages, on_config
from docs_site.knobs import bounds_of, knobs_page, meaning_of, sections, type_of
from tests.forks import PROJECT

DOCS = PROJECT / "docs"
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]+)?(#[^)\s]*)?\)")


def _markdown() -> list[Path]:
    return [*sorted(DOCS.rglob("*.md")), *(PROJECT / path for path in ("README.md", *OUTSIDE))]


def test_every_knob_says_what_it_means() -> None:
    silent = [
        f"{name}.{field}" for name, model in sections() for field, info in model.model_fields.items() if not meaning_of(info)
    ]
    assert silent == [], "write a docstring below each"


def test_every_knob_has_its_row_with_type_default_and_bounds() -> None:
    page = knobs_page(PROJECT / "experiments" / "demo.yaml")
    rows = {tuple(cell.strip() for cell in row.split(" | ")[:4]) for row in page.splitlines() if row.startswith("| `")}
    for _, model in sections():
        for field in model.model_fields:
            assert any(row[0] == f"| `{field}`" for row in rows), field
    assert ("| `learning_rate`", "number", "`0.001`", "> 0, < 1") in rows
    assert ("| `retrain`", "[section](#retrainsettings)", "", "") in rows


def test_types_and_bounds_are_said_in_words() -> None:
    fields = Experiment.model_fields["feed"].annotation.model_fields  # type: ignore[union-attr]
    assert type_of(fields["kind"].annotation, fields["kind"].metadata) == "one of `api`, `files`, `simulated`"
    assert type_of(fields["first_days"].annotation, fields["first_days"].metadata) == "text -> day"
    assert bounds_of(fields["timeout_seconds"].metadata) == "> 0, ≤ 300"


def test_every_command_and_option_has_its_row() -> None:
    page = command_line_page()
    for name, command in commands():
        section = page.split(f"## {name}\n", 1)[1].split("\n## ")[0]
        for parameter in command.params:
            assert f"`{parameter.opts[0]}`" in section or f"`{parameter.name.upper()}`" in section, f"{name} {parameter.name}"


def test_the_chart_of_the_stages_has_a_box_for_each_and_every_edge() -> None:
    (chart,) = re.findall(r"^```mermaid\n(.*?)^```$", (DOCS / "how_it_works.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    drawn = as_svg(chart)
    assert drawn.count("<rect") == chart.count('["')
    assert drawn.count("<path") == chart.count(" --> ")


def test_the_navigation_holds_every_page_once() -> None:
    def leaves(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [leaf for one in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(one)]  # type: ignore[union-attr]

    config = on_config(load_config(str(PROJECT / "mkdocs.yml")))
    pages = leaves(config.nav)
    made = {path for path in made_pages() if path.endswith(".md")}
    assert sorted(pages) == sorted({path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | made)


def test_links_between_files_lead_to_files_and_pictures_are_small() -> None:
    for page in _markdown():
        for target, _ in _LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
            if target and not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.relative_to(PROJECT)}: {target}"
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < 120_000, picture.name


def test_no_font_and_no_script_of_others_is_asked_for() -> None:
    settings = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    for address in (*settings["extra"]["polyfills"], *settings["extra_css"]):
        assert address in made_pages()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = dict(os.environ) | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_refers_to_nothing_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding="utf-8")
        used = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?([^\"'\s>]+)", text)
        outside = [address for address in used if re.match(r"(https?:)?//", address)]
        assert outside == [], f"{page.name}: {outside}"


@pytest.mark.slow
def test_a_browser_reads_and_searches_the_site_from_the_file_system_and_asks_nobody(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    errors: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        page = browser.new_page()
        page.set_default_timeout(180_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name, words in {
            "index.html": "Who leads whom",
            "tutorial.html": "Fifteen minutes",
            "questions.html": "Is it safe to trade today?",
            "reference/knobs.html": "learning_rate",
            "reference/command_line.html": "crossattn review",
            "reference/rooms/model.html": "cross",
            "method.html": "From candles to a backtest",
        }.items():
            page.goto(f"{site.as_uri()}/{name}")
            assert words in page.inner_text("article"), name
        page.goto(f"{site.as_uri()}/index.html")
        page.locator("input[name=query]").press_sequentially("false discovery")  # the search reads at each key that is let go
        page.wait_for_selector(".md-search-result__item")
        browser.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
