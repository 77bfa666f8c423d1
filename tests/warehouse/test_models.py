"""Loading: whatever is wrong in a project is reported with file and line, before anything runs."""

import importlib
import re
from pathlib import Path

import pytest

from crossattn_core.errors import WarehouseError
from crossattn_core.experiment import FeatureSettings
from crossattn_core.warehouse.models import load_project

SOURCES = """\
create schema if not exists raw;
create table if not exists raw.ticks (
    symbol varchar,     -- which [key]
    seen_at timestamp,  -- when [UTC]
    price double        -- how much [quote currency]
);
"""
HEADER = """\
/* model
description: Ticks.
grain: [symbol]
kind: view
columns:
  symbol: "which [key]"
  price: "how much [quote currency]"
*/
"""


def project_of(folder: Path, **files: str) -> Path:
    (folder / "sources.sql").write_text(SOURCES)
    for name, text in files.items():
        schema, _, model = name.partition("__")
        (folder / schema).mkdir(exist_ok=True)
        (folder / schema / f"{model}.sql").write_text(text)
    return folder


def refused(folder: Path, match: str, **files: str) -> None:
    with pytest.raises(WarehouseError, match=match):
        load_project(project_of(folder, **files))


def hashes_of(folder: Path, files: dict[str, str]) -> dict[str, list[str]]:
    """Model -> hashes of its SQL and of all that it reads, as a stage of it counts them."""
    project = load_project(project_of(folder, **files))
    return {name: [project.model(read).sql_hash for read in (*project.upstream(name), name)] for name in project.models}


def test_the_projects_own_models_load() -> None:
    project = load_project()
    order = list(project.models)
    for model in project:
        for table in model.depends_on:
            assert table in project.sources or order.index(table) < order.index(model.name)


def test_every_default_feature_is_a_float_column_of_the_panel_rows() -> None:
    offered = {column.name: column.type for column in load_project().model("features.panel_rows").columns}
    assert {offered[name] for name in FeatureSettings().names} == {"float"}


def test_a_missing_header_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, r"staging/ticks\.sql:1: no header", staging__ticks="select symbol, price from raw.ticks")


def test_a_header_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, r"ticks\.sql:2: the header is not YAML", staging__ticks="/* model\ndescription: a: b\n*/\nselect 1 as one")


def test_an_unknown_header_key_is_refused(tmp_path: Path) -> None:
    text = HEADER.replace("kind: view", "kind: view\nmaterialised: yes")
    refused(
        tmp_path,
        r"ticks\.sql:5: header key 'materialised' is unknown",
        staging__ticks=text + "select symbol, price from raw.ticks",
    )


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    text = HEADER.replace("kind: view", "kind: snapshot")
    refused(tmp_path, r"ticks\.sql:4: kind 'snapshot' is unknown", staging__ticks=text + "select symbol, price from raw.ticks")


def test_a_column_without_unit_is_refused(tmp_path: Path) -> None:
    text = HEADER.replace("how much [quote currency]", "how much")
    refused(tmp_path, r"ticks\.sql:7: column price has no description with a unit", staging__ticks=text + "select 1")


def test_a_column_that_nobody_describes_is_refused(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"ticks\.sql:5: column 'seen_at' has no description",
        staging__ticks=HEADER + "select symbol, seen_at, price from raw.ticks",
    )


def test_a_described_column_that_is_not_selected_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, r"ticks\.sql:7: describes column 'price'", staging__ticks=HEADER + "select symbol from raw.ticks")


def test_two_statements_are_refused(tmp_path: Path) -> None:
    refused(
        tmp_path, r"ticks\.sql:1: holds 2 statements", staging__ticks=HEADER + "select symbol, price from raw.ticks; select 1"
    )


def test_a_statement_that_changes_something_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, r"a model file is one select", staging__ticks=HEADER + "drop table raw.ticks")


def test_sql_that_does_not_parse_is_refused_with_its_line(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"ticks\.sql:1[0-9]: SQL does not parse",
        staging__ticks=HEADER + "select symbol,\nprice\nfrom from raw.ticks where",
    )


def test_an_unknown_column_is_refused_with_its_line_and_candidates(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"ticks\.sql:11: .*prise.*Candidate bindings.*\"price\"",
        staging__ticks=HEADER + "select\n    symbol,\n    prise as price\nfrom raw.ticks",
    )


def test_an_unknown_table_is_refused_with_the_nearest_known(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"ticks\.sql:10: reads 'raw\.tick', .* did you mean 'raw\.ticks'",
        staging__ticks=HEADER + "select symbol, price\nfrom raw.tick",
    )


def test_a_circle_is_refused(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"models read each other in a circle: .*a\.(one|two).*a\.(one|two)",
        a__one=HEADER + "select symbol, price from a.two",
        a__two=HEADER + "select symbol, price from a.one",
    )


def test_a_stored_model_without_time_column_is_refused(tmp_path: Path) -> None:
    text = HEADER.replace("kind: view", "kind: incremental")
    refused(tmp_path, r"kind 'incremental' needs a 'time_column'", staging__ticks=text + "select symbol, price from raw.ticks")


def test_a_source_column_without_description_is_refused(tmp_path: Path) -> None:
    folder = project_of(tmp_path)
    (folder / "sources.sql").write_text(SOURCES.replace(" -- how much [quote currency]", ""))
    with pytest.raises(WarehouseError, match=r"sources\.sql:1: raw\.ticks\.price has no description"):
        load_project(folder)


def test_a_test_of_no_model_is_refused(tmp_path: Path) -> None:
    folder = project_of(tmp_path, staging__ticks=HEADER + "select symbol, price from raw.ticks")
    (folder / "tests").mkdir()
    (folder / "tests" / "odd.sql").write_text("/* test\nmodel: staging.tick\ndescription: odd\n*/\nselect 1")
    with pytest.raises(
        WarehouseError, match=r"tests/odd\.sql:1: tests 'staging\.tick', which is no model; did you mean 'staging\.ticks'"
    ):
        load_project(folder)


def test_changing_one_file_changes_exactly_what_depends_on_it(tmp_path: Path) -> None:
    view = HEADER + "select symbol, price from raw.ticks"
    stored = HEADER.replace("kind: view", "kind: incremental\ntime_column: seen_at").replace(
        "columns:", 'columns:\n  seen_at: "when [UTC]"'
    )
    files = {
        "staging__ticks": view,
        "marts__mean": HEADER + "select symbol, avg(price) as price from staging.ticks group by symbol",
        "marts__other": HEADER + "select symbol, price from raw.ticks",
        "features__stored": stored + "select symbol, price, timestamp '2025-01-01' as seen_at from staging.ticks",
        "features__reader": HEADER + "select symbol, price from features.stored",
    }
    before = hashes_of(tmp_path, files)
    files["staging__ticks"] = view + " where price > 0"
    after = hashes_of(tmp_path, files)
    assert {name for name in after if after[name] != before[name]} == {
        "staging.ticks",
        "marts.mean",
        "features.stored",
        "features.reader",
    }


def test_prose_and_spacing_change_no_hash(tmp_path: Path) -> None:
    before = hashes_of(tmp_path, {"staging__ticks": HEADER + "select symbol, price from raw.ticks"})
    text = HEADER.replace("Ticks.", "Every tick.") + "-- all of them\nselect symbol,\n  price\nfrom raw.ticks"
    assert hashes_of(tmp_path, {"staging__ticks": text}) == before


def test_downstream_and_upstream_mirror_each_other() -> None:
    project = load_project()
    for model in project:
        for above in project.upstream(model.name):
            assert model.name in project.downstream(above)
    assert "features.panel_rows" in project.downstream("raw.candles")


def test_a_python_model_is_covered_by_its_code_hash():
    # The hash reads the function's own module: what that imports from the project would change rows without making them stale.
    functions = [model.function for model in load_project() if model.function is not None]
    assert functions
    for function in functions:
        source = Path(importlib.import_module(function.split(":")[0]).__file__ or "").read_text(encoding="utf-8")
        assert not re.findall(r"^\s*(?:from|import) crossattn\S*", source, re.MULTILINE), function
