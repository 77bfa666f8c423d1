"""Live operation by ticks of the schedule and the sensors, on a clock that the test moves, ends in the bits of a backfill."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.candles.opening import wall_clock
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.training.rolling_store import read_plan
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.partitions import RANGE_END, RANGE_START, range_tags
from crossattn_pipeline.schedules import TRIGGER
from tests.small import FIRST, small_experiment, write_market

pytestmark = pytest.mark.slow

FIRST_DAY = date.fromisoformat(FIRST)
LIVE_FROM, LAST_DAY = FIRST_DAY + timedelta(days=24), FIRST_DAY + timedelta(days=27)
LAUNCHING = ("new_complete_day", "regime_change", "drift_or_degradation")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Live:
    """One home, operated by ticks: what a daemon does, with the waiting left out."""

    def __init__(self, experiment: Experiment, home: Path, instance: dg.DagsterInstance) -> None:
        self.clock = Clock(wall_clock())
        self.definitions = build_defs(experiment, home, clock=self.clock)
        self.instance = instance
        self.cursors: dict[str, str | None] = dict.fromkeys(LAUNCHING)
        self.launched: list[tuple[str, dict[str, str]]] = []
        self.keys: set[str] = set()

    def run(self, job: str, tags: dict[str, str]) -> None:
        result = self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance, tags=tags)
        assert result.success
        self.launched.append((job, tags))

    def after_midnight(self, day: date) -> None:
        """The schedule's tick at 00:10 after ``day`` and, once the data is there, two ticks of each sensor."""
        self.clock.now = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(minutes=10)
        schedule = self.definitions.resolve_schedule_def("daily_data")
        context = dg.build_schedule_context(instance=self.instance, scheduled_execution_time=self.clock.now)
        for request in schedule.evaluate_tick(context).run_requests or []:
            self.run("data", dict(request.tags))
        for _ in range(2):
            for name in LAUNCHING:
                self._tick(name)

    def _tick(self, name: str) -> None:
        sensor = self.definitions.resolve_sensor_def(name)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursors[name]) as context:
            ticked = sensor.evaluate_tick(context)
        self.cursors[name] = ticked.cursor or self.cursors[name]
        for request in ticked.run_requests or []:
            assert request.run_key not in self.keys, "a run key fired twice"
            self.keys.add(str(request.run_key))
            self.run("models", dict(request.tags))


@pytest.fixture
def market(tmp_path: Path) -> Path:
    write_market(tmp_path / "market")
    return tmp_path / "market"


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.getLogger("dagster").setLevel(logging.ERROR)
    yield
    logging.getLogger("dagster").setLevel(logging.NOTSET)


def _stored(home: Path) -> dict[str, bytes]:
    days = ("walk_forward/plan/*", "walk_forward/forecasts/*", "panel/days/*")
    paths = [path for pattern in (*days, "models/*/*", "weights/*", "target_weights/*") for path in home.glob(pattern)]
    return {str(path.relative_to(home)): path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.usefixtures("quiet")
def test_days_lived_one_by_one_through_ticks_equal_one_backfill_bit_for_bit(market: Path, tmp_path: Path) -> None:
    experiment = small_experiment(market, period={"start": FIRST, "end": None})
    with dg.DagsterInstance.ephemeral() as instance:
        live = Live(experiment, tmp_path / "live", instance)
        # History is caught up as one range; from then on every day comes by itself.
        live.clock.now = datetime.combine(LIVE_FROM, datetime.min.time(), UTC)
        live.run("data", range_tags([FIRST_DAY, LIVE_FROM - timedelta(days=1)]))
        day = LIVE_FROM
        while day <= LAST_DAY:
            live.after_midnight(day)
            day += timedelta(days=1)
    models = [tags for job, tags in live.launched if job == "models"]
    assert models[0][RANGE_START] == FIRST
    assert [tags[RANGE_END] for tags in models] == [str(LIVE_FROM + timedelta(days=n)) for n in range(4)]
    plan = read_plan(Home(tmp_path / "live")).drop_duplicates("day").set_index("day")
    for tags in models[1:]:
        assert tags["crossattn/reason"] == plan.loc[tags[RANGE_END], "reason"], tags[TRIGGER]

    with dg.DagsterInstance.ephemeral() as instance:
        once = Live(experiment, tmp_path / "once", instance)
        once.clock.now = live.clock.now
        for job in ("data", "models"):
            once.run(job, range_tags([FIRST_DAY, LAST_DAY]))
    lived, backfilled = _stored(tmp_path / "live"), _stored(tmp_path / "once")
    assert len(lived) > 100
    assert lived.keys() == backfilled.keys()
    assert [name for name in lived if lived[name] != backfilled[name]] == []
