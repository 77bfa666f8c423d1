"""benchmarks/README.md is what the stored results and the notes on them make of it."""

from benchmarks.assemble import BENCHMARKS, HERE, page


def test_the_page_is_made_from_the_stored_results() -> None:
    assert (HERE / "README.md").read_text(encoding="utf-8") == page(), "run python -m benchmarks.assemble"


def test_every_result_and_note_belongs_to_a_benchmark_and_is_on_the_page() -> None:
    told = page()
    for path in (*HERE.glob("results_*.md"), *HERE.glob("notes_*.md")):
        assert path.stem.split("_", 1)[1] in BENCHMARKS, path.name
        assert path.read_text(encoding="utf-8").strip() in told, path.name
