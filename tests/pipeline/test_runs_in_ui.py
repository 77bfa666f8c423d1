"""What the web UI can show: runs with origin, job and tags; data versions made of content; what is stale, and why."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.revisions import adopt_revisions
from crossattn_core.errors import ContractError, CrossattnError, TransientFeedError
from crossattn_core.experiment import load_experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.launch import materialize
from crossattn_pipeline.schedules import TRIGGER
from crossattn_pipeline.stale import WHY
from tests.small import past

SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOW = datetime(2026, 1, 1)


@pytest.fixture
def line(ready_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The whole small line, made without Dagster, in a home and a market that the test may change."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    shutil.copytree(ready_folder / "market", tmp_path / "market")
    experiment = load_experiment(ready_folder / "small.yaml", {"feed": {"folder": str(tmp_path / "market")}})
    yield Line(experiment, open_home(tmp_path / "home", experiment), clock=past)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def revise(line: Line) -> None:
    """Another close on the period's last day, adopted."""
    path = Path(line.experiment.feed.folder) / "bybit_1h" / "ETHUSDT.parquet"
    rows = pd.read_parquet(path)
    rows.loc[rows.index[-2], "close"] *= 1.0001
    rows.to_parquet(path, index=False)
    asset = next(asset for asset in line.experiment.assets if asset.symbol == "ETHUSDT")
    options = {"settings": line.experiment.feed, "refresh_from": line.last_day}
    ingest("candles", line.feed(), line.lake, [asset], line.last_day, line.last_day, **options)
    assert adopt_revisions(line.lake, asset, line.last_day, line.last_day, NOW)


def version_of(asset: str, day: str) -> str:
    with dg.DagsterInstance.get() as instance:
        chosen = dg.AssetRecordsFilter(dg.AssetKey(asset.split("/")), asset_partitions=[day])
        made = instance.fetch_materializations(chosen, limit=1).records[0].asset_materialization
    assert made is not None
    return str((made.tags or {})["dagster/data_version"])


def test_runs_of_the_command_line_belong_to_the_job_of_the_code_location_and_name_their_trigger(line: Line) -> None:
    materialize(line, "data", ["candles/yahoo"], [line.last_day])
    with dg.DagsterInstance.get() as instance:
        # What the UI's overview and a job's page ask for.
        (run,) = instance.get_runs(dg.RunsFilter(job_name="data", tags={".dagster/repository": "__repository__@crossattn"}))
    assert run.remote_job_origin is not None
    assert (run.remote_job_origin.job_name, run.remote_job_origin.location_name) == ("data", "crossattn")
    assert run.tags[TRIGGER] == "command line"
    assert run.tags["dagster/asset_partition_range_end"] == str(line.last_day)


def test_a_day_keeps_its_data_version_until_its_content_is_another(line: Line) -> None:
    first, last = line.experiment.period.start, line.last_day
    materialize(line, "data", ["candles/bybit"], [first, last])
    whole = version_of("candles/bybit", str(last))
    assert version_of("candles/bybit", str(first)) == whole
    materialize(line, "data", ["candles/bybit"], [last])
    assert version_of("candles/bybit", str(last)) == whole
    revise(line)
    materialize(line, "data", ["candles/bybit"], [last])
    assert version_of("candles/bybit", str(last)) != whole
    assert version_of("candles/bybit", str(first)) == whole


def test_the_sensor_requests_a_run_with_the_reason_once_what_was_made_is_stale_at_two_ticks(line: Line) -> None:
    sensor = build_defs(line.experiment, line.home.root, clock=past).resolve_sensor_def("what_is_stale")
    cursor = None

    def tick() -> dg.SensorResult:
        nonlocal cursor
        with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            found = sensor.evaluate_tick(context)
        cursor = found.cursor
        return found

    assert tick().skip_message == "nothing that was made is stale"
    revise(line)
    seen = tick()
    assert not seen.run_requests
    assert "inputs changed (candles/bybit" in str(seen.skip_message)
    (request,) = tick().run_requests or ()
    assert request.tags[TRIGGER] == "what_is_stale"
    stale = {entry.stage for entry in line.staleness.stale_stages(line.experiment.period.start, line.last_day)}
    assert {"feature_windows", "backtest_report"} <= stale, "models are judged by the panel's content once it is made"
    assert f"feature_windows: 1 day ({line.last_day}), inputs changed" in request.tags[WHY]


def test_the_sensor_founds_no_home(ready_folder: Path, tmp_path: Path) -> None:
    experiment = load_experiment(ready_folder / "small.yaml")
    sensor = build_defs(experiment, tmp_path / "none").resolve_sensor_def("what_is_stale")
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance) as context:
        assert "no home" in str(sensor.evaluate_tick(context).skip_message)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_job_makes_what_the_command_would_and_then_nothing_is_stale(line: Line) -> None:
    from crossattn_pipeline.instance import adopt_instance

    revise(line)
    adopt_instance(line.home)
    job = build_defs(line.experiment, line.home.root, {"line": line}).resolve_job_def("run_stale")
    with dg.DagsterInstance.get() as instance:
        assert job.execute_in_process(instance=instance, run_config=SILENT).success
        ran = {run.job_name for run in instance.get_runs()}
    assert ran == {"run_stale", "data", "models"}
    assert line.staleness.stale_stages(line.experiment.period.start, line.last_day) == []


def test_a_day_made_before_shows_what_it_holds_when_it_is_materialized_again(line: Line) -> None:
    from crossattn_core.walk_forward.store import read_plan

    first, last = line.experiment.period.start, line.last_day
    materialize(line, "models", ["retrain_plan", "rolling_model", "forecasts"], [first, last])
    plan = read_plan(line.home)
    retrained = plan[plan["action"] == "retrain"]["day"].max()
    with dg.DagsterInstance.get() as instance:

        def shown(asset: str, day: object) -> dict[str, object]:
            chosen = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[f"{day:%Y-%m-%d}"])
            made = instance.fetch_materializations(chosen, limit=1).records[0].asset_materialization
            assert made is not None
            return {name: value.value for name, value in made.metadata.items()}

        forecasts, model, carried = shown("forecasts", last), shown("rolling_model", retrained), shown("rolling_model", last)
        assert "retrains" in shown("retrain_plan", last)
        assert "loss_curves" in carried
    assert forecasts["reused"] is True
    assert forecasts["dagster/partition_row_count"] == 24 * 4 * 2 * 2  # bars, assets, horizons, families
    row = plan[(plan["day"] == retrained) & (plan["family"] == "attention")].iloc[0]
    assert (model["reason"], model["cut_off"]) == (row["reason"], f"{row['cut_off']:%Y-%m-%dT%H:%M:%S.%f}")
    assert model["validation_loss/attention"] == pytest.approx(row["validation_loss"])
    assert model["epochs/attention"] == 1
    manifest = json.loads((line.home.models / str(row["trained_id"]) / "manifest.json").read_text(encoding="utf-8"))
    assert model["data_hash/attention"] == manifest["panel_hash"]
    assert carried["cut_off/attention"] == model["cut_off"]


@pytest.mark.parametrize(
    ("error", "is_launched_again"), [(ContractError("rows break a rule"), "false"), (TransientFeedError("time-out"), "true")]
)
def test_only_what_a_later_try_may_cure_is_launched_again(
    line: Line, monkeypatch: pytest.MonkeyPatch, error: CrossattnError, is_launched_again: str
) -> None:
    from crossattn_pipeline.instance import adopt_instance
    from crossattn_pipeline.partitions import range_tags

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("crossattn_core.data_stages.ingest_candles", fails)
    monkeypatch.setattr("crossattn_pipeline.assets.candles._RETRY_SECONDS", 0.0)
    adopt_instance(line.home)
    job = build_defs(line.experiment, line.home.root, {"line": line}).resolve_job_def("data")
    with dg.DagsterInstance.get() as instance:
        chosen = {"asset_selection": [dg.AssetKey(["candles", "yahoo"])], "tags": range_tags([line.last_day])}
        job.execute_in_process(instance=instance, run_config=SILENT, raise_on_error=False, **chosen)
        (run,) = instance.get_runs()
    assert run.tags["dagster/will_retry"] == is_launched_again


def test_the_launchpad_describes_each_field_and_offers_the_families(line: Line) -> None:
    definitions = build_defs(line.experiment, line.home.root)
    for job, op, choices in (
        ("rollback", "record_rollback", {"all", "attention", "ridge_var"}),
        ("train", "trained_model", {"attention", "ridge_var"}),
    ):
        schema = definitions.resolve_job_def(job).run_config_schema.config_type
        fields = schema.fields["ops"].config_type.fields[op].config_type.fields["config"].config_type.fields
        assert all(field.description for field in fields.values()), job
        assert choices <= {value.config_value for value in fields["family"].config_type.inner_type.enum_values}
