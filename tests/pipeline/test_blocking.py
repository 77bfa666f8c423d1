"""Rows that fail a blocking test are not stored: the check shows them, downstream is not run, the previous partition stays."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.errors import CrossattnError
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.warehouse.connection import connect
from crossattn_core.warehouse.project import Project
from crossattn_pipeline.launch import materialize
from tests.small import past, small_experiment, write_market

DAY = date(2025, 3, 10)
CHAIN = ("aligned/bars", "features/bar", "features/trailing", "features/panel_rows", "feature_windows")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A small line whose data half was materialized."""
    market, home = tmp_path_factory.mktemp("market"), tmp_path_factory.mktemp("home")
    write_market(market)
    experiment = small_experiment(market)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        ready = Line(experiment, open_home(home, experiment), clock=past)
        views = [model.name.replace(".", "/") for model in ready.project if model.kind == "view"]
        keys = [*experiment.candle_stages, *views, *CHAIN]
        materialize(ready, "data", keys, [experiment.period.start, ready.last_day])
        yield ready


def with_sql(line: Line, name: str, old: str, new: str) -> Line:
    """The same line with one model's SQL changed."""
    model = line.project.model(name)
    assert old in model.sql
    project = line.project
    changed = replace(model, sql=model.sql.replace(old, new), sql_hash="changed")
    broken = Line(line.experiment, line.home, clock=line.clock)
    broken.__dict__["project"] = Project(project.folder, project.models | {name: changed}, project.sources, project.sources_sql)
    return broken


def stored(line: Line) -> list[tuple]:
    with connect(line.home.warehouse, read_only=True) as connection:
        return connection.execute("select * from aligned.bars order by asset_id, as_of").fetchall()


def newest(asset: str) -> int:
    with dg.DagsterInstance.get() as instance:
        record = instance.fetch_materializations(dg.AssetRecordsFilter(dg.AssetKey(asset.split("/"))), limit=1).records[0]
    return record.storage_id


def evaluation(asset: str, check: str) -> dg.AssetCheckEvaluation:
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check)
        record = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    assert record.event is not None
    found = record.event.dagster_event
    assert found is not None
    return found.asset_check_evaluation_data


def test_rows_that_fail_a_test_are_shown_and_not_stored(line: Line) -> None:
    before, downstream, panel = stored(line), newest("features/bar"), line.panel().content_hash
    broken = with_sql(line, "aligned.bars", "known.close as mark_price", "-known.close as mark_price")
    with pytest.raises(CrossattnError, match=r"aligned\.bars for 2025-03-10\.\.2025-03-10 fails \d tests.*kept"):
        materialize(broken, "data", CHAIN, [DAY])
    assert stored(line) == before
    assert newest("features/bar") == downstream
    assert line.panel().content_hash == panel
    bounded = ("age_hours", "trade_price", "mark_price", "quote_volume")
    positive = evaluation("aligned/bars", "_".join(["range", *(f"{name}_at_least_0" for name in bounded)]))
    assert not positive.passed
    assert "mark_price" in str(positive.metadata["failing_rows"].value)
    schema = evaluation("aligned/bars", "schema_aligned")
    assert not schema.passed
    assert "above 0" in str(schema.metadata["failing_rows"].value)
    assert "aligned.bars" in {entry.stage for entry in broken.staleness.stale_stages(DAY, DAY)}


def test_a_panel_that_breaks_its_contract_is_shown_and_not_exported(line: Line) -> None:
    panel = line.panel().content_hash
    broken = with_sql(
        line, "features.panel_rows", "bars.mark_price,", "bars.mark_price + 1 - bars.is_fresh::integer as mark_price,"
    )
    with pytest.raises(CrossattnError, match="has a mark that changed although nothing was fresh"):
        materialize(broken, "data", ["feature_windows"], [DAY])
    assert line.panel().content_hash == panel
    assert not evaluation("feature_windows", "contract").passed


def test_the_next_sound_run_stores_and_passes(line: Line, tmp_path: Path) -> None:
    materialize(line, "data", CHAIN, [DAY])
    assert evaluation("aligned/bars", "schema_aligned").passed
    assert evaluation("feature_windows", "contract").passed
    assert "aligned.bars" not in {entry.stage for entry in line.staleness.stale_stages(DAY, DAY)}
