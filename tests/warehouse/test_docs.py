"""The page names everything, is the same every time, and reaches for nothing outside itself."""

import re
from pathlib import Path

from crossattn_core.warehouse.docs import write_docs
from crossattn_core.warehouse.models import load_project

PROJECT = load_project()


def page(folder: Path) -> str:
    return write_docs(PROJECT, folder / "models.html").read_text(encoding="utf-8")


def test_every_model_source_column_and_test_is_on_the_page(tmp_path: Path) -> None:
    text = page(tmp_path)
    for name in (*PROJECT.models, *PROJECT.sources):
        assert f'id="{name}"' in text
        assert all(f'id="{name}.{column.name}"' in text for column in PROJECT.columns_of(name))
    assert "rsi_14: [0, 100]" in text


def test_the_same_project_gives_the_same_bytes(tmp_path: Path) -> None:
    assert page(tmp_path / "one") == page(tmp_path / "two")


def test_every_link_leads_to_an_entry_of_the_page(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert {link.removeprefix("#") for link in re.findall(r'href="([^"]+)"', text)} <= set(re.findall(r'id="([^"]+)"', text))
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", text)


def test_text_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert text.count("<script>") == 1
    assert "closed_at &lt;= as_of" in text


def test_a_column_names_what_it_is_made_from(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert 'id="features.panel_rows.rsi_14" data-from="features.trailing.rsi_14"' in text
    assert 'id="features.trailing.rsi_14" data-from="aligned.fresh_bars.close"' in text


def test_every_edge_of_the_graph_is_a_table_that_a_model_reads(tmp_path: Path) -> None:
    drawn = set(re.findall(r'<path data-from="([^"]+)" data-to="([^"]+)"', page(tmp_path)))
    assert drawn == {(table, model.name) for model in PROJECT for table in model.depends_on}
