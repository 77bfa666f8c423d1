"""What a person selects in the web UI: dated assets alone, since Dagster backfills those apart from the views between them."""

from pathlib import Path

import pytest

from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_pipeline.launch import materialize
from tests.small import past, small_experiment, write_market


def test_dated_assets_alone_make_the_panel_from_an_empty_home_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    write_market(tmp_path / "market")
    experiment = small_experiment(tmp_path / "market")
    line = Line(experiment, open_home(tmp_path / "home", experiment), clock=past)
    tables = [model.name.replace(".", "/") for model in line.project if model.is_stored_by_day]
    # Named in the wrong order: the graph has to find the right one.
    materialize(line, "data", ["feature_windows", *reversed(tables), *line.experiment.candle_stages], line.staleness.days)
    for stage in (*line.experiment.candle_stages, *(table.replace("/", ".") for table in tables), "feature_windows"):
        assert line.staleness.stale_days(stage) == [], stage
    assert line.panel().is_fresh_TN.any(axis=0).all()
