"""The Dagster instance, the experiment and the home: the one place that reads the environment.

CROSSATTN_EXPERIMENT  experiment file (default: experiments/demo.yaml beside the packages, else the defaults)
CROSSATTN_HOME        home folder (default: .crossattn in the working folder)
CROSSATTN_ALERT_URL   address that a failed run is POSTed to (default: none)
CROSSATTN_PUBLISH_URL s3://bucket/prefix or folder that target weights and pages are copied to when they were made (default: none)
DAGSTER_HOME          set from the home unless already set, so that runs, web UI and daemons share one instance
CROSSATTN_POSTGRES_URL  database that holds Dagster's history, postgresql+psycopg2://... (default: SQLite in the home)
DAGSTER_EVENT_BATCH_SIZE  set unless already set: events of an asset's days that Dagster stores at once
"""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine, event

from crossattn_core.errors import HomeError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.storage import locked, write_text

__all__ = [
    "EXPERIMENT_VARIABLE",
    "HOME_VARIABLE",
    "POSTGRES_VARIABLE",
    "PROJECT",
    "PUBLISH_VARIABLE",
    "WEBHOOK_VARIABLE",
    "adopt_instance",
    "experiment_from",
    "experiment_path",
    "home_from",
    "instance_settings",
    "relax_sqlite",
    "store_events_in_batches",
]

EXPERIMENT_VARIABLE = "CROSSATTN_EXPERIMENT"
HOME_VARIABLE = "CROSSATTN_HOME"
WEBHOOK_VARIABLE = "CROSSATTN_ALERT_URL"
PUBLISH_VARIABLE = "CROSSATTN_PUBLISH_URL"
POSTGRES_VARIABLE = "CROSSATTN_POSTGRES_URL"
PROJECT = Path(__file__).resolve().parents[1]

_EVENT_BATCH_SIZE = 200

_WRITTEN = "# Written by crossattn for this home; the project's root dagster.yaml says the same of the default home.\n"
_SQLITE = """\
run_storage:
  module: dagster._core.storage.runs
  class: SqliteRunStorage
  config:
    base_dir: {dagster}/history
event_log_storage:
  module: crossattn_pipeline.event_log
  class: BatchedSqliteEventLogStorage
  config:
    base_dir: {dagster}/history/runs
schedule_storage:
  module: dagster._core.storage.schedules
  class: SqliteScheduleStorage
  config:
    base_dir: {dagster}/schedules
"""
_POSTGRES = """\
run_storage:
  module: dagster_postgres.run_storage
  class: PostgresRunStorage
  config: {{postgres_url: {{env: CROSSATTN_POSTGRES_URL}}}}
event_log_storage:
  module: crossattn_pipeline.postgres_log
  class: RangePostgresEventLogStorage
  config: {{postgres_url: {{env: CROSSATTN_POSTGRES_URL}}}}
schedule_storage:
  module: dagster_postgres.schedule_storage
  class: PostgresScheduleStorage
  config: {{postgres_url: {{env: CROSSATTN_POSTGRES_URL}}}}
"""
_COMMON = """\
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: {dagster}
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {dagster}/logs
concurrency:
  pools:
    default_limit: 1
    granularity: op
run_retries:
  enabled: true
  max_retries: 2
run_monitoring:
  enabled: true
  start_timeout_seconds: 3600  # a range of years registers thousands of partitions before its first step
retention:  # of ticks; runs and logs: retention of the experiment, see docs/runbook.md
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days: {{skipped: 3, started: 90, success: 90, failure: 90}}
telemetry:
  enabled: false
nux:
  enabled: false
"""


def experiment_from(environment: Mapping[str, str], chosen: Path | None = None) -> Experiment:
    """The experiment of ``chosen``, of the environment, or the demo."""
    return load_experiment(experiment_path(environment, chosen))


def experiment_path(environment: Mapping[str, str], chosen: Path | None = None) -> Path | None:
    """The experiment file of ``chosen``, of the environment, or the demo's; none where there is no such file."""
    if chosen is not None:
        return chosen
    if environment.get(EXPERIMENT_VARIABLE):
        return Path(environment[EXPERIMENT_VARIABLE])
    demo = PROJECT / "experiments" / "demo.yaml"
    return demo if demo.is_file() else None


def home_from(environment: Mapping[str, str], chosen: Path | None = None) -> Path:
    """The home folder of ``chosen``, of the environment, or ``.crossattn``."""
    return (chosen or Path(environment.get(HOME_VARIABLE) or ".crossattn")).resolve()


def relax_sqlite() -> None:
    """Let Dagster's SQLite databases skip fsync in this process: a run writes hundreds of small transactions.

    A killed process loses nothing; a power cut may cost Dagster's own history, never candles, models or receipts, which
    are written by other means. Calling it twice is the same as once; other databases are left alone.
    """
    if not event.contains(Engine, "connect", _skip_fsync):
        event.listen(Engine, "connect", _skip_fsync)


def _skip_fsync(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


def store_events_in_batches() -> None:
    """Let Dagster hand the events of an asset's days to its storage in batches, in this process and its children.

    DAGSTER_EVENT_BATCH_SIZE wins where it is set; 0 stores them one by one. A killed process loses the events of one batch:
    days that are made, by their receipts, and that Dagster shows as failed until they are made again.
    """
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_EVENT_BATCH_SIZE))


def adopt_instance(home: Home) -> Path:
    """Make ``home`` the Dagster instance of this process and its children; return Dagster's own folder.

    A DAGSTER_HOME that is already set wins: a deployment has its own instance.

    Raises:
        HomeError: PostgreSQL cannot be used; or the home's history is there, and CROSSATTN_POSTGRES_URL is not set.
    """
    relax_sqlite()
    store_events_in_batches()
    if os.environ.get("DAGSTER_HOME"):
        return Path(os.environ["DAGSTER_HOME"])
    url, settings = os.environ.get(POSTGRES_VARIABLE, ""), home.dagster / "dagster.yaml"
    written = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    if url:
        from crossattn_pipeline.postgres import check_postgres

        check_postgres(url)
    elif POSTGRES_VARIABLE in written:
        raise HomeError(
            f"home {home.root} has Dagster's history in PostgreSQL: set {POSTGRES_VARIABLE}, or delete {settings} to begin a "
            "new one in SQLite (what was made stays, by its receipts)"
        )
    home.dagster.mkdir(parents=True, exist_ok=True)
    expected = instance_settings(home.dagster, in_postgres=bool(url))
    if written != expected:
        write_text(settings, expected)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    if not url:
        _make_databases(home.dagster)
    return home.dagster


def instance_settings(folder: Path | str, *, in_postgres: bool) -> str:
    """The dagster.yaml of an instance whose logs, and SQLite databases, lie in ``folder``."""
    return _WRITTEN + ((_POSTGRES if in_postgres else _SQLITE) + _COMMON).format(dagster=folder)


def _make_databases(folder: Path) -> None:
    """Let Dagster make its SQLite databases, one process at a time: made by two at once they stay unusable."""
    made = folder / "databases_made"
    if made.is_file():
        return
    import dagster as dg  # seconds, which a command that finds its databases need not wait for

    with locked(folder / "databases.lock"):
        if not made.is_file():
            with dg.DagsterInstance.get():
                write_text(made, "")
