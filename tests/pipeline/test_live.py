"""Live operation by ticks of the schedule and the sensors, on a clock that the test moves, ends in the bits of a backfill."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.walk_forward.store import read_plan
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.instance import relax_sqlite
from crossattn_pipeline.partitions import RANGE_END, RANGE_START, range_tags
from crossattn_pipeline.schedules import TRIGGER
from tests.small import small_experiment, write_market

FIRST_DAY = date(2025, 3, 10)
HISTORY = timedelta(days=10)
"""Caught up as one range; the first model is made on the day after."""

LAUNCHING = ("new_complete_day", "regime_change", "drift_or_degradation")
COMPARED = (
    "walk_forward/plan/*",
    "walk_forward/predictions/*",
    "models/*/*",
    "panel/days/*",
    "attention/*.parquet",
    "weights/*",
    "target_weights/*",
)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, day: date) -> None:
        self.close(day)

    def __call__(self) -> datetime:
        return self.now

    def close(self, day: date) -> None:
        """Ten minutes after ``day`` ended."""
        self.now = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(minutes=10)


class Live:
    """One home, operated by ticks: what a daemon does, with the waiting left out."""

    def __init__(self, experiment: Experiment, home: Path, instance: dg.DagsterInstance) -> None:
        self.clock = Clock(FIRST_DAY + HISTORY - timedelta(days=1))
        self.definitions = build_defs(experiment, home, clock=self.clock)
        self.instance = instance
        self.cursors: dict[str, str | None] = dict.fromkeys(LAUNCHING)
        self.launched: list[tuple[str, dict[str, str]]] = []
        self.keys: set[str] = set()

    def run(self, job: str, tags: dict[str, str]) -> None:
        """A run as the daemon launches it; page and marts, which no compared file is made from, are left out."""
        definition = self.definitions.resolve_job_def(job)
        kept = [key for key in definition.asset_layer.selected_asset_keys if key.path[0] not in {"backtest_report", "marts"}]
        silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = definition.execute_in_process(instance=self.instance, tags=tags, asset_selection=kept, run_config=silent)
        assert result.success
        self.launched.append((job, tags))

    def live(self, day: date) -> None:
        """The schedule's tick at 00:10 after ``day`` and, once the data is there, two ticks of each sensor."""
        self.clock.close(day)
        context = dg.build_schedule_context(instance=self.instance, scheduled_execution_time=self.clock.now)
        self._launch("data", self.definitions.resolve_schedule_def("daily_data").evaluate_tick(context).run_requests)
        for name in LAUNCHING * 2:
            sensor = self.definitions.resolve_sensor_def(name)
            with dg.build_sensor_context(instance=self.instance, cursor=self.cursors[name]) as context:
                ticked = sensor.evaluate_tick(context)
            self.cursors[name] = ticked.cursor or self.cursors[name]
            self._launch("models", ticked.run_requests)

    def _launch(self, job: str, requests: Sequence[dg.RunRequest] | None) -> None:
        for request in requests or []:
            assert request.run_key not in self.keys, "a run key fired twice"
            self.keys.add(str(request.run_key))
            self.run(job, dict(request.tags))


@pytest.mark.parametrize("days", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_days_lived_one_by_one_through_ticks_equal_one_backfill_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    # Pictures in an asset's metadata are a third of the time and no file of the home.
    monkeypatch.setattr("crossattn_pipeline.assets.attention._pictures", lambda *_: {})
    live_from = FIRST_DAY + HISTORY
    last = live_from + timedelta(days=days - 1)
    market = tmp_path / "market"
    write_market(market, str(last))
    experiment = small_experiment(
        market,
        period={"start": str(FIRST_DAY), "end": None},
        retrain={"minimum_days": HISTORY.days, "every_days": 2 if days < 7 else 7, "cooldown_days": 1},
    )
    relax_sqlite()
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:  # a schedule asks only an instance that is stored
        lived = Live(experiment, tmp_path / "lived", instance)
        lived.run("data", range_tags([FIRST_DAY, live_from - timedelta(days=1)]))
        for ahead in range(days):
            lived.live(live_from + timedelta(days=ahead))
    with dg.DagsterInstance.ephemeral() as instance:
        once = Live(experiment, tmp_path / "once", instance)
        once.clock.close(last)
        for job in ("data", "models"):
            once.run(job, range_tags([FIRST_DAY, last]))

    models = [tags for job, tags in lived.launched if job == "models"]
    assert models[0][RANGE_START] == str(FIRST_DAY)
    assert [tags[RANGE_END] for tags in models] == [str(live_from + timedelta(days=ahead)) for ahead in range(days)]
    plan = read_plan(Home(tmp_path / "lived")).drop_duplicates("day").set_index("day").loc[str(live_from) :]
    assert {"first", "scheduled", "none"} <= set(plan["reason"])
    assert [tags["crossattn/reason"] for tags in models[1:]] == plan["reason"].tolist()[1:]
    assert {tags[TRIGGER] for tags in models} <= {*LAUNCHING, "regime_change", "drift", "degraded"}
    of_days, of_backfill = _stored(tmp_path / "lived"), _stored(tmp_path / "once")
    for pattern in COMPARED:
        assert any(Path(name).match(pattern) for name in of_days), pattern
    assert of_days.keys() == of_backfill.keys()
    assert [name for name in of_days if of_days[name] != of_backfill[name]] == []


def test_days_before_the_first_model_are_stepped_and_nothing_is_decided_or_reported(tmp_path: Path) -> None:
    last = FIRST_DAY + timedelta(days=2)
    write_market(tmp_path / "market", str(last))
    experiment = small_experiment(tmp_path / "market", period={"start": str(FIRST_DAY), "end": None})
    clock = Clock(last)
    definitions = build_defs(experiment, tmp_path / "home", clock=clock)
    silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        for job in ("data", "models"):
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance, tags=range_tags([FIRST_DAY, last]), run_config=silent
            )
            assert result.success
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    assert "forecasts" in made
    assert not made & {"target_weights", "backtest_report"}
    (check,) = [found for found in result.get_asset_check_evaluations() if found.check_name == "fit_to_send"]
    assert "the first model needs 14 days of history" in str(check.metadata["why"].value)
    assert set(read_plan(Home(tmp_path / "home"))["action"]) == {"wait"}


def _stored(home: Path) -> dict[str, bytes]:
    paths = [path for pattern in COMPARED for path in home.glob(pattern) if path.is_file()]
    return {str(path.relative_to(home)): path.read_bytes() for path in paths}
