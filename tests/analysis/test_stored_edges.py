"""Of a wide universe the strongest sources of a target are stored, and every reader says nearly what it says of all of them."""

from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis import snapshot as snapshot_module
from crossattn_core.analysis.leaders import _attention
from crossattn_core.analysis.snapshot import STORED_SOURCES, Snapshot
from crossattn_core.analysis.snapshot_checks import attention_changes, check_snapshots
from crossattn_core.analysis.snapshot_store import read_attention, write_snapshot
from crossattn_core.analysis.stored_edges import attention_by_day, window_edges
from crossattn_core.experiment import AnalysisSettings
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.run import prepare
from crossattn_core.warehouse.sources import create_sources
from tests.analysis.window_changes import since_window
from tests.walk_forward.fakes import FIRST_DAY

ASSETS, KEPT, DAYS, UNREAD = 14, 4, 6, 11
NAMES = tuple(f"a{n:02d}" for n in range(ASSETS))
WINDOWS = pd.DataFrame(
    {
        "window_id": [0, 1],
        "regime": [0, 1],
        "name": ["calm", "stress"],
        "confirmed": pd.to_datetime([FIRST_DAY, FIRST_DAY + timedelta(days=3)]),
        "end": pd.to_datetime([FIRST_DAY + timedelta(days=3), None]),
    }
)


def _snapshots(assets: int = ASSETS) -> list[Snapshot]:
    """Attention that drifts from day to day, most of it on one source; another is read by nobody, one target reads nothing."""
    rng = np.random.default_rng(3)
    base_NML, taken = rng.random((assets, assets, 5)) ** 3, []
    base_NML[:, 0] += 1.0
    for d in range(DAYS):
        weight_NML = base_NML + 0.5 * rng.random(base_NML.shape)
        weight_NML[np.arange(assets), np.arange(assets)] = weight_NML[:, UNREAD] = 0
        weight_NML /= weight_NML.sum(axis=(1, 2), keepdims=True)
        weight_NML[3] = 0
        names = tuple(f"a{n:02d}" for n in range(assets))
        day = FIRST_DAY + timedelta(days=d)
        taken.append(Snapshot(day, f"m{d // 4}", names, np.arange(1, 6), weight_NML.astype(np.float32), rng.random(2), None))
    return taken


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The snapshots' frames with four sources a target."""
    monkeypatch.setattr(snapshot_module, "STORED_SOURCES", KEPT)
    return [of.to_frame() for of in _snapshots()]


def test_up_to_the_size_every_pair_is_stored_and_beyond_the_strongest() -> None:
    for assets in (STORED_SOURCES + 1, STORED_SOURCES + 2):
        frame = _snapshots(assets)[0].to_frame()
        stored = frame[frame["quantity"] == "edge"].groupby("target").size()
        assert (stored == STORED_SOURCES).all()
        assert ("left_out" in set(frame["quantity"])) == (assets > STORED_SOURCES + 1)


def test_the_strongest_sources_are_stored_with_what_they_leave_out(cut: list[pd.DataFrame]) -> None:
    edge_NM = _snapshots()[0].edge_NM
    frame = cut[0].set_index(["quantity", "target"])["value"]
    for n, name in enumerate(NAMES):
        strongest = np.sort(np.delete(edge_NM[n], n))[::-1]
        assert np.allclose(np.sort(frame["edge"][name])[::-1], strongest[:KEPT], atol=1e-7)
        assert frame["left_out"][name] == pytest.approx(strongest[KEPT:].sum(), abs=1e-6)
        assert frame["left_out_sources"][name] == (strongest[KEPT:] > 0).sum()


def test_what_was_left_out_lies_evenly_on_the_sources_that_were_read(cut: list[pd.DataFrame]) -> None:
    for of, snapshot in zip(attention_by_day(cut, NAMES), _snapshots(), strict=True):
        whole_NM, stored_NM = snapshot.edge_NM, of.edge_NM
        reads_N = whole_NM.sum(axis=1) > 0
        np.testing.assert_allclose(stored_NM.sum(axis=1), reads_N, atol=1e-5)
        assert (stored_NM[:, UNREAD] == 0).all()
        assert (np.diag(stored_NM) == 0).all()
        strongest_NM = np.argsort(-whole_NM, axis=1)[:, :KEPT]
        kept_NK, exact_NK = (np.take_along_axis(of_NM, strongest_NM, axis=1) for of_NM in (stored_NM, whole_NM))
        np.testing.assert_allclose(kept_NK, exact_NK, atol=1e-6)


def test_names_read_as_categories_or_as_text_give_the_same_attention(cut: list[pd.DataFrame]) -> None:
    named = ["model_id", "quantity", "target", "source"]
    categories = [frame.astype(dict.fromkeys(named, "category")) for frame in cut]
    for text, category in zip(attention_by_day(cut, NAMES), attention_by_day(categories, NAMES), strict=True):
        assert (text.day, text.model_id, text.entropy) == (category.day, category.model_id, category.entropy)
        for name in ("edge_NM", "left_out_N", "received_N"):
            np.testing.assert_array_equal(getattr(text, name), getattr(category, name))
        np.testing.assert_array_equal(text.by_lag.code_P, category.by_lag.code_P)


def test_days_of_one_frame_are_those_of_a_frame_each(cut: list[pd.DataFrame]) -> None:
    for whole, alone in zip(attention_by_day([pd.concat(cut)], NAMES), attention_by_day(cut, NAMES), strict=True):
        assert whole.day == alone.day
        np.testing.assert_array_equal(whole.edge_NM, alone.edge_NM)


def test_an_asset_that_the_universe_lacks_is_placed_nowhere(cut: list[pd.DataFrame]) -> None:
    with pytest.raises(IndexError):
        list(attention_by_day(cut, NAMES[:-1]))


def test_the_checks_of_cut_snapshots_pass_and_find_edges_that_do_not_add_up(cut: list[pd.DataFrame]) -> None:
    settings = AnalysisSettings(max_entropy=1.0, min_entropy=0.0)
    assert check_snapshots(cut, NAMES, settings)["passed"].all()
    broken = cut[2].copy()
    broken.loc[(broken["quantity"] == "edge") & (broken["target"] == "a01"), "value"] *= 1.1
    checks = check_snapshots([*cut[:2], broken, *cut[3:]], NAMES, settings)
    assert checks[~checks["passed"]]["check"].tolist() == ["adds_up"]


def test_a_day_after_a_day_of_the_other_form_moves_no_more_than_what_was_left_out(cut: list[pd.DataFrame]) -> None:
    whole = _snapshots()[0].edge_NM
    days = list(attention_by_day(cut[:1], NAMES))
    assert 0.5 * np.abs(days[0].edge_NM - whole).sum(axis=1).max() <= days[0].left_out_N.max()


def test_a_leaders_attention_is_the_same_where_it_is_among_the_strongest(cut: list[pd.DataFrame], monkeypatch) -> None:
    pairs = pd.DataFrame(
        [(m, n, (m,)) for n in NAMES for m in NAMES if m != n] + [("group", "a05", ("a00", "a02", "a07"))],
        columns=["leader", "follower", "members"],
    )
    stored = _attention(window_edges(cut, NAMES), pairs)
    monkeypatch.setattr(snapshot_module, "STORED_SOURCES", ASSETS)
    whole = _attention(window_edges([of.to_frame() for of in _snapshots()], NAMES), pairs)
    first = (pairs["leader"] == "a00").to_numpy()
    np.testing.assert_allclose(stored["fair_multiple"][first], whole["fair_multiple"][first], rtol=1e-5)
    np.testing.assert_array_equal(stored["attention_lag"][first], whole["attention_lag"][first])
    # Whoever was never among the strongest has at most a fair share.
    never = stored["attention_lag"].isna() & stored["weight"].notna()
    assert never.any()
    assert (stored["fair_multiple"][never] <= 1).all()
    assert whole["weight"].isna().tolist() == stored["weight"].isna().tolist()


def test_stored_attention_is_read_day_by_day_with_what_share_was_stored(tmp_path: Path, cut: list[pd.DataFrame]) -> None:
    for snapshot in _snapshots():
        write_snapshot(tmp_path, snapshot, pd.DataFrame({"as_of": pd.to_datetime([]), "asset_id": []}))
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    stored = read_attention(tmp_path, last, 3, NAMES)
    np.testing.assert_array_equal(stored.day_D, [np.datetime64(FIRST_DAY + timedelta(days=d)) for d in range(DAYS)])
    np.testing.assert_allclose(stored.moved_D, attention_changes(cut, NAMES)["since_previous"])
    np.testing.assert_allclose(stored.edges.mean_NM, np.mean([of.edge_NM for of in attention_by_day(cut[3:], NAMES)], axis=0))
    left = [of.left_out_N[of.edge_NM.sum(axis=1) > 0].mean() for of in attention_by_day(cut[3:], NAMES)]
    assert stored.edges.stored_share == pytest.approx(1 - np.mean(left))
    np.testing.assert_allclose(stored.received_DN, [of.received_M for of in _snapshots()], rtol=1e-5)
    expected_ML = np.mean([of.source_lag_ML for of in _snapshots()[3:]], axis=0)
    np.testing.assert_allclose(stored.by_lag.loc[list(NAMES)].to_numpy(), expected_ML, rtol=1e-5)


def test_marts_of_cut_snapshots_are_those_of_python(cut: list[pd.DataFrame]) -> None:
    with duckdb.connect(":memory:") as connection:
        create_sources(connection)
        for n, name in enumerate(NAMES):
            connection.execute("insert into raw.assets (asset_id, position, symbol) values (?, ?, ?)", [name, n, name.upper()])
        connection.register("tidy", pd.concat(cut))
        connection.execute("insert into results.attention by name select * from tidy")
        connection.register("windows", WINDOWS)
        connection.execute("insert into results.regime_windows by name select * from windows")
        project = load_project()
        prepare(connection, project, project.model("marts.attention_changes"))
        changes, edges, regimes = (
            connection.execute(f"select * from ({project.model(f'marts.attention_{name}').select_text})").df()
            for name in ("changes", "edges", "by_regime")
        )
    changes = changes.sort_values("day", ignore_index=True)
    days = list(attention_by_day(cut, NAMES))
    np.testing.assert_allclose(changes["since_previous"], attention_changes(cut, NAMES)["since_previous"], atol=1e-6)
    np.testing.assert_allclose(changes["since_window"], since_window(pd.concat(cut), NAMES, WINDOWS), atol=1e-6)
    shares = [of.edge_NM.sum(axis=0).max() / of.edge_NM.sum() for of in days]
    np.testing.assert_allclose(changes["most_attended_share"], shares, atol=1e-6)
    assert set(changes["most_attended"]) == {"A00"}

    placed = {name.upper(): n for n, name in enumerate(NAMES)}
    at = edges["target"].map(placed), edges["source"].map(placed), edges["day"].map({of.day: d for d, of in enumerate(days)})
    edge_DNM = np.stack([of.edge_NM for of in days])
    read_DN = (edge_DNM > 0).sum(axis=2)
    expected = edge_DNM[at[2], at[0], at[1]] * read_DN[at[2], at[0]]
    known = edges["fair_multiple"].notna()
    np.testing.assert_allclose(edges["fair_multiple"][known], expected[known], rtol=1e-5)
    later = (at[2] > 0).to_numpy()
    change = (edge_DNM[at[2], at[0], at[1]] - edge_DNM[at[2] - 1, at[0], at[1]])[later]
    np.testing.assert_allclose(edges["share_change"][later], change, atol=1e-6)

    for name, inside in (("calm", slice(0, 3)), ("stress", slice(3, None))):
        rows = regimes[regimes["regime"] == name]
        mean_NM = edge_DNM[inside].mean(axis=0)
        np.testing.assert_allclose(rows["mean_share"], mean_NM[rows["target"].map(placed), rows["source"].map(placed)], atol=1e-6)
        assert (rows["days"] == 3).all()
