"""What Dagster costs for each asset and day of a run over a range, whatever the assets do.

    python -m benchmarks.bench_events          # under two minutes

Twelve daily assets that do nothing but say what a day holds, and one without days, as one run in a process and an
instance of its own for each way to store its events. PostgreSQL's own CPU time is counted; where it is not installed,
its rows are left out.
"""

import argparse
import logging
import multiprocessing
import os
import tempfile
import time
import warnings
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.servers.postgres import postgres_programs, postgres_server

HERE = Path(__file__).parent
DAYS, ASSETS = 120, 12
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
WAYS = {
    "Dagster's SQLite storage, an event at a time": (SQLITE, "dagster._core.storage.event_log", "SqliteEventLogStorage", 0),
    "one planned event an asset, databases open": (
        SQLITE,
        "crossattn_pipeline.event_log",
        "BatchedSqliteEventLogStorage",
        0,
    ),
    "the same, in batches of 200 (as shipped)": (SQLITE, "crossattn_pipeline.event_log", "BatchedSqliteEventLogStorage", 200),
    "Dagster's Postgres storage, an event at a time": (POSTGRES, "dagster_postgres.event_log", "PostgresEventLogStorage", 0),
    "the same, in batches of 200": (POSTGRES, "dagster_postgres.event_log", "PostgresEventLogStorage", 200),
    "one planned event an asset, a connection kept open, in batches of 200 (as shipped)": (
        POSTGRES,
        "crossattn_pipeline.postgres_log",
        "RangePostgresEventLogStorage",
        200,
    ),
}


def measure(url: str, module: str, class_: str, batch: int, send: Any) -> None:
    """Run the graph once and send CPU and wall seconds, and the number of events; ``url`` is PostgreSQL's, empty for SQLite."""
    import dagster as dg

    from crossattn_pipeline.instance import relax_sqlite

    warnings.simplefilter("ignore")
    logging.getLogger("dagster").setLevel(logging.ERROR)
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(batch)
    relax_sqlite()
    first = date(2024, 1, 1)
    daily = dg.DailyPartitionsDefinition(str(first))

    def dated(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=daily, backfill_policy=dg.BackfillPolicy.single_run())
        def made(context: dg.AssetExecutionContext) -> None:
            for day in context.partition_keys:
                context.add_asset_metadata({"rows": 24, "gaps": 0, "first": f"{day} 00:00", "reused": False}, partition_key=day)

        return made

    @dg.asset
    def whole() -> None: ...

    assets = [*(dated(f"dated_{number}") for number in range(ASSETS)), whole]
    graph = dg.Definitions(assets, jobs=[dg.define_asset_job("range", "*")], executor=dg.in_process_executor)
    with tempfile.TemporaryDirectory() as folder:
        place = f"postgres_url: '{url}'" if url else f"base_dir: {folder}/history/runs"
        stores = [f"event_log_storage: {{module: {module}, class: {class_}, config: {{{place}}}}}"]
        for kind in ("run", "schedule") if url else ():
            named = f"module: dagster_postgres.{kind}_storage, class: Postgres{kind.title()}Storage"
            stores.append(f"{kind}_storage: {{{named}, config: {{{place}}}}}")
        (Path(folder) / "dagster.yaml").write_text("\n".join((*stores, "telemetry: {enabled: false}")), encoding="utf-8")
        with dg.DagsterInstance.from_config(folder) as instance:
            tags = {
                "dagster/asset_partition_range_start": str(first),
                "dagster/asset_partition_range_end": str(first + timedelta(DAYS - 1)),
            }
            silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            cpu, wall = time.process_time(), time.perf_counter()
            done = graph.resolve_job_def("range").execute_in_process(instance=instance, tags=tags, run_config=silent)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            send.send((cpu, wall, len(instance.all_logs(done.run_id))))


def table() -> str:
    """The measurements as Markdown."""
    lines = [
        f"{ASSETS} daily assets over {DAYS} days and one asset without days, in one run; both databases without fsync.",
        "",
        "| events are stored | in | events | CPU s | of it the server's | wall s | CPU ms an asset and day |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for way, (place, *storage) in WAYS.items():
        if place == POSTGRES and postgres_programs() is None:
            continue
        with ExitStack() as held:
            server = held.enter_context(postgres_server()) if place == POSTGRES else None
            before = server.cpu_seconds() if server else 0.0
            receive, send = multiprocessing.Pipe(duplex=False)
            url = server.url if server else ""
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(url, *storage, send))
            process.start()
            send.close()
            cpu, wall, events = receive.recv()
            process.join()
            served = server.cpu_seconds() - before if server else 0.0
        per_day = 1000 * (cpu + served) / (DAYS * ASSETS)
        lines.append(f"| {way} | {place} | {events} | {cpu + served:.1f} | {served:.1f} | {wall:.1f} | {per_day:.1f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Measure, print and store."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    text = table()
    print(text)
    (HERE / "results_events.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
