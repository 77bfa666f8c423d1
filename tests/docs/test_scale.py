"""The figures of docs/scale.md are those of the benchmarks' results."""

from benchmarks.scale_page import PAGE, TABLES, filled


def test_every_measured_table_is_what_the_stored_results_make_of_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run python -m benchmarks.scale_page"
    assert page.count("<!-- measured: ") == page.count("<!-- /measured -->") == len(TABLES)
