"""The attention marts compute in SQL what the analysis computes in Python."""

from collections.abc import Iterator
from datetime import timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis.snapshot import Snapshot
from crossattn_core.analysis.snapshot_checks import attention_changes
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.run import prepare
from crossattn_core.warehouse.sources import create_sources
from tests.analysis.window_changes import since_window
from tests.walk_forward.fakes import FIRST_DAY

NAMES = ("a", "b", "c", "d")
DAYS = 24
PROJECT = load_project()
WINDOWS = pd.DataFrame(
    {
        "window_id": [0, 1, 2],
        "regime": [0, 1, 0],
        "name": ["calm", "stress", "calm"],
        "confirmed": pd.to_datetime(["2025-01-03", "2025-01-09", "2025-01-17"]),
        "end": pd.to_datetime(["2025-01-09", "2025-01-17", None]),
    }
)


def _snapshots() -> list[Snapshot]:
    """Random attention; the third model never reads for its second target, and one day is missing."""
    rng = np.random.default_rng(5)
    taken = []
    for d in range(DAYS):
        if d == 11:
            continue
        weight_NML = rng.random((4, 4, 6)).astype(np.float32) ** 3
        weight_NML[np.arange(4), np.arange(4)] = 0
        weight_NML /= weight_NML.sum(axis=(1, 2), keepdims=True)
        if d >= 20:
            weight_NML[1] = 0
        day = FIRST_DAY + timedelta(days=d)
        taken.append(Snapshot(day, f"m{d // 10}", NAMES, np.arange(1, 7), weight_NML, rng.random(2), rng.random(4)))
    return taken


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        create_sources(connection)
        for n, name in enumerate(NAMES):
            connection.execute("insert into raw.assets (asset_id, position, symbol) values (?, ?, ?)", [name, n, name.upper()])
        tidy = pd.concat([snapshot.to_frame() for snapshot in _snapshots()])
        connection.register("tidy", tidy)
        connection.execute("insert into results.attention by name select * from tidy")
        connection.register("windows", WINDOWS)
        connection.execute("insert into results.regime_windows by name select * from windows")
        yield connection


def _mart(connection: duckdb.DuckDBPyConnection, name: str) -> pd.DataFrame:
    model = PROJECT.model(f"marts.{name}")
    prepare(connection, PROJECT, model)
    return connection.execute(f"select * from ({model.select_text})").df()


def test_changes_are_those_of_the_checks(connection: duckdb.DuckDBPyConnection) -> None:
    edges = pd.concat([snapshot.to_frame() for snapshot in _snapshots()]).query("quantity == 'edge'")
    expected = attention_changes([edges], NAMES).assign(since_window=since_window(edges, NAMES, WINDOWS))
    made = _mart(connection, "attention_changes").sort_values("day", ignore_index=True)
    assert made["day"].tolist() == expected["day"].tolist()
    assert expected["since_window"].notna().sum() == 15
    for column in ("since_previous", "since_window"):
        np.testing.assert_allclose(made[column], expected[column], atol=1e-6)
    assert made["same_model"][1:].tolist() == expected["same_model"][1:].tolist()


def test_leadership_is_the_snapshots_own_and_its_rank_orders_net_leadership(connection: duckdb.DuckDBPyConnection) -> None:
    made = _mart(connection, "attention_leadership").set_index(["day", "symbol"]).sort_index()
    for snapshot in _snapshots():
        rows = made.loc[pd.Timestamp(snapshot.day)]
        for column, value in (
            ("leader", snapshot.leader_M),
            ("follower", snapshot.follower_N),
            ("net_leadership", snapshot.net_N),
        ):
            np.testing.assert_allclose(rows[column], value, atol=1e-6)
        np.testing.assert_allclose(rows["own_share"], snapshot.own_share_N, atol=1e-6)
        assert rows["leadership_rank"].tolist() == (4 - np.argsort(np.argsort(snapshot.net_N))).tolist()


def test_edges_are_shares_over_the_fair_share_of_the_sources_read(connection: duckdb.DuckDBPyConnection) -> None:
    made = _mart(connection, "attention_edges")
    read = made[made["fair_multiple"].notna()]
    np.testing.assert_allclose(read["fair_multiple"], read["share"] * 3, rtol=1e-5)
    assert set(made[made["fair_multiple"].isna()]["target"]) == {"B"}
    assert (made.groupby(["day", "target"])["share"].sum().round(4).isin([0.0, 1.0])).all()
