"""Building by days: any order, rerun or split gives the same stored bits, and a failure changes nothing."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossattn_core.days import bounds
from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.checks import failing_query
from crossattn_core.warehouse.connection import connect
from crossattn_core.warehouse.header import ModelTest
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.project import Project
from crossattn_core.warehouse.run import build, prepare
from crossattn_core.warehouse.sources import sync_sources
from tests.warehouse.lakes import ListedLake, build_all, random_lake, small_experiment, warehouse_of

PROJECT = load_project()
FIRST, LAST = date(2025, 2, 24), date(2025, 3, 14)  # a month's turn, two weekends, a change of clocks
EXPERIMENT = small_experiment(FIRST, LAST)
LAKE = random_lake(EXPERIMENT, FIRST, LAST)
STORED = ("aligned.bars", "features.bar", "features.trailing")


def project_with(name: str, **changes: object) -> Project:
    """The project with one model changed; a loaded project is shared by all of a process and never changed itself."""
    return replace(PROJECT, models=PROJECT.models | {name: replace(PROJECT.model(name), **changes)})


def stored_rows(connection: duckdb.DuckDBPyConnection, model: str) -> list[tuple[object, ...]]:
    return connection.execute(f"select * from {model} order by as_of, asset_id").fetchall()


def built_at_once(lake: ListedLake = LAKE) -> dict[str, list[tuple[object, ...]]]:
    with warehouse_of(EXPERIMENT, lake, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        return {model: stored_rows(connection, model) for model in STORED}


WHOLE = built_at_once()


@st.composite
def partitions(draw: st.DrawFn) -> list[tuple[date, date]]:
    """The days in runs, the runs in any order, some of them again."""
    days = (LAST - FIRST).days + 1
    cuts = sorted(draw(st.sets(st.integers(1, days - 1), max_size=6)))
    runs = [(FIRST + timedelta(low), FIRST + timedelta(high - 1)) for low, high in zip([0, *cuts], [*cuts, days], strict=True)]
    return [*draw(st.permutations(runs)), *draw(st.lists(st.sampled_from(runs), max_size=2))]


@settings(max_examples=12, deadline=None)
@given(partitions())
def test_any_order_split_or_rerun_stores_the_same_bits(runs: list[tuple[date, date]]) -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        for first, last in runs:
            for model in STORED:
                build(connection, PROJECT, model, first, last)
        for model in STORED:
            assert stored_rows(connection, model) == WHOLE[model]


def test_hashes_name_values_and_nothing_else() -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        whole = build(connection, PROJECT, "aligned.bars", FIRST, LAST)
        day = build(connection, PROJECT, "aligned.bars", LAST, LAST)
    assert whole.rows_by_day[LAST] == 24 * len(EXPERIMENT.assets)
    assert day.content_hash_by_day == {LAST: whole.content_hash_by_day[LAST]}
    assert len(set(whole.content_hash_by_day.values())) == len(whole.content_hash_by_day)


def test_rewriting_the_future_moves_nothing_before_it() -> None:
    cut = date(2025, 3, 7)
    other = random_lake(EXPERIMENT, FIRST, LAST, seed=99)
    known = LAKE.read_candles(None, FIRST, cut)
    mixed = ListedLake(
        pa.concat_tables([known, other.read_candles(None, cut + timedelta(1), LAST)]),
        pa.concat_tables([LAKE.read_funding(FIRST, cut), other.read_funding(cut + timedelta(1), LAST)]),
        pa.concat_tables([LAKE.read_dividends(FIRST, cut), other.read_dividends(cut + timedelta(1), LAST)]),
    )
    rewritten = built_at_once(mixed)
    for model in STORED:
        end = bounds(cut)[1]
        assert [row for row in rewritten[model] if row[0] <= end] == [row for row in WHOLE[model] if row[0] <= end]


def test_a_failing_partition_leaves_the_previous_one_in_place() -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        broken = PROJECT.model("aligned.bars").sql.replace("known.close as mark_price", "error('torn') as mark_price")
        damaged = project_with("aligned.bars", sql=broken)
        with pytest.raises(WarehouseError, match=r"aligned/bars\.sql: building aligned\.bars .* nothing was changed"):
            build(connection, damaged, "aligned.bars", FIRST, LAST)
        assert stored_rows(connection, "aligned.bars") == WHOLE["aligned.bars"]


def test_a_lake_that_cannot_be_read_leaves_the_raw_tables_as_they_were() -> None:
    class TornLake(ListedLake):
        def read_funding(self, first: date, last: date):
            return super().read_funding(first, last).drop_columns(["rate"])

    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        before = connection.execute("select count(*) from raw.candles").fetchall()
        with pytest.raises(WarehouseError, match=r"raw\.funding: the lake's rows lack rate"):
            sync_sources(connection, TornLake(LAKE.candles, LAKE.funding), EXPERIMENT, FIRST, LAST)
        assert connection.execute("select count(*) from raw.candles").fetchall() == before


def test_a_new_column_keeps_the_days_that_were_built_before() -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        connection.execute("alter table features.bar drop column pause_hours")
        build(connection, PROJECT, "features.bar", LAST, LAST)
        kept, made = connection.execute(
            "select count(*) filter (as_of <= ?), count(pause_hours) filter (as_of > ?) from features.bar", [LAST, LAST]
        ).fetchall()[0]
    assert kept > 0
    assert made > 0


def test_kill_in_mid_write_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST, path) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
    writer = textwrap.dedent(
        """
        import sys
        from datetime import date
        from pathlib import Path
        from crossattn_core.warehouse.models import load_project
        from crossattn_core.warehouse.connection import connect
        from crossattn_core.warehouse.run import build
        project = load_project()
        with connect(Path(sys.argv[1])) as connection:
            print("writing", flush=True)
            while True:
                build(connection, project, "aligned.bars", date(2025, 2, 24), date(2025, 3, 14))
        """
    )
    for wait in (0.05, 0.11):
        process = subprocess.Popen(
            [sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with connect(path) as connection:
            assert stored_rows(connection, "aligned.bars") == WHOLE["aligned.bars"]


def test_a_waiting_writer_gives_up_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    pauses: list[float] = []
    try:
        with (
            pytest.raises(WarehouseError, match="another process has held the warehouse"),
            connect(path, timeout_seconds=1.0, sleep=pauses.append, jitter=lambda: 0.5),
        ):
            pass
    finally:
        holder.communicate()
    assert pauses == sorted(pauses)
    assert sum(pauses) >= 1.0


def test_the_connection_is_released_on_an_error(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with pytest.raises(ZeroDivisionError), connect(path):
        raise ZeroDivisionError
    with connect(path, timeout_seconds=0.0) as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]


def test_reading_where_nothing_was_built_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="no warehouse here yet"), connect(tmp_path / "none.duckdb", read_only=True):
        pass


def test_building_one_model_creates_the_views_that_it_reads() -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        result = build(connection, PROJECT, "aligned.bars", FIRST, FIRST)
        assert result.rows == 24 * len(EXPERIMENT.assets)
        prepare(connection, PROJECT, PROJECT.model("features.panel_rows"))
        assert connection.execute("select count(*) from features.panel_rows").fetchall() == [(result.rows,)]


def test_a_model_that_changes_from_view_to_table_and_back_is_built() -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        changed = project_with("staging.funding", kind="table")
        assert build(connection, changed, "staging.funding", FIRST, LAST).rows == LAKE.funding.num_rows
        assert build(connection, PROJECT, "staging.funding", FIRST, LAST).rows is None
        assert build(connection, PROJECT, "features.bar", FIRST, LAST).rows == len(WHOLE["features.bar"])


def test_a_view_is_made_again_when_it_or_what_it_reads_changes_and_left_alone_otherwise() -> None:
    def identity() -> int:
        found = connection.execute("select view_oid from duckdb_views() where view_name = 'fresh_bars'").fetchall()
        return int(found[0][0])

    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        first = identity()
        build(connection, PROJECT, "features.bar", FIRST, FIRST)
        assert identity() == first
        changed = project_with("staging.candles", sql=PROJECT.model("staging.candles").sql + " -- another")
        build(connection, changed, "features.bar", FIRST, FIRST)
        assert identity() != first
        comment = connection.execute("select comment from duckdb_views() where view_name = 'fresh_bars'").fetchall()[0][0]
        assert comment.startswith(PROJECT.models["aligned.fresh_bars"].description)


def test_a_warehouse_of_another_version_is_refused_with_the_remedy() -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        connection.execute("alter table raw.candles drop column known_row")
        with pytest.raises(
            WarehouseError, match=r"raw\.candles: this warehouse was made by another version .*known_row.* delete"
        ):
            build(connection, PROJECT, "aligned.bars", FIRST, LAST)


def test_a_null_among_the_keys_hides_no_row_without_a_partner() -> None:
    test = ModelTest("relationship", {"asset_id": "raw.partners.asset_id"})
    with duckdb.connect() as connection:
        connection.execute("create schema raw; create table raw.partners as from (values ('a'), (null)) as keys(asset_id)")
        connection.execute("create schema aligned; create table aligned.bars as from (values ('a'), ('b')) as rows(asset_id)")
        offending = connection.execute(failing_query(PROJECT.model("aligned.bars"), test)).fetchall()
    assert offending == [("b",)]
