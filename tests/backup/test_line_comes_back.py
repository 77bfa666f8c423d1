"""The whole small line, backed up to a bucket and lost: what comes back is trusted, and goes on."""

import shutil
from pathlib import Path

from crossattn_core import data_stages
from crossattn_core.backup.back_up import back_up
from crossattn_core.backup.restore import restore
from crossattn_core.experiment import load_experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from tests.backup.buckets import NOW, Bucket, contents
from tests.small import STORED_TABLES, past


def _line(folder: Path, home: Path) -> Line:
    experiment = load_experiment(folder / "small.yaml")
    return Line(experiment, open_home(home, experiment), clock=past)


def _stale(line: Line) -> set[str]:
    return {entry.stage for entry in line.staleness.stale_stages(line.experiment.period.start, line.last_day)}


def test_a_line_that_was_lost_comes_back_byte_for_byte_and_only_its_warehouse_is_made_again(
    bucket: Bucket, ready_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    line = _line(ready_folder, tmp_path / "home")
    before, stale_before = contents(line.home.root), _stale(line)
    tables_before = {name: line.receipts.outputs(name) for name in STORED_TABLES}
    settings = {"small.yaml": (ready_folder / "small.yaml").read_bytes()}
    done = back_up(line.home, line.lake.folder.parent, bucket.destination(), NOW, settings=settings)
    assert done.sent_files > 100
    shutil.rmtree(line.home.root)

    restore(bucket.destination(), tmp_path / "home")
    after = contents(tmp_path / "home")
    assert after.pop("settings/small.yaml") == settings["small.yaml"]
    assert after == before
    line = _line(ready_folder, tmp_path / "home")
    assert line.lake.verify() == []
    assert _stale(line) - stale_before <= {*STORED_TABLES, "raw", *(stage.name for stage in line.stages if stage.sql)}
    assert not _stale(line) & {"walk_forward", "attention_snapshot", "feature_windows", "candles/bybit"}
    for name in STORED_TABLES:
        data_stages.build_table(line, name, line.experiment.period.start, line.last_day)
    assert {name: line.receipts.outputs(name) for name in STORED_TABLES} == tables_before
    assert _stale(line) == stale_before
