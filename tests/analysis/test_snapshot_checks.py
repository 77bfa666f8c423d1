"""Collapse and drift are found, and calm attention passes."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis.snapshot import Snapshot
from crossattn_core.analysis.snapshot_checks import CHECKS, attention_changes, check_snapshots
from crossattn_core.analysis.stored_edges import attention_by_day, moved_share
from crossattn_core.experiment import AnalysisSettings
from tests.analysis.window_changes import since_window
from tests.walk_forward.fakes import FIRST_DAY

NAMES = ("a", "b", "c", "d")


def _frame(days: int = 4, entropy: float = 0.6, **edge_by_day) -> pd.DataFrame:
    frames = []
    for d in range(days):
        edge_NM = edge_by_day.get(f"d{d}", np.full((4, 4), 1.0) + 0.1 * np.arange(4))
        edge_NM = np.where(np.eye(4, dtype=bool), 0, edge_NM)
        weight_NML = (edge_NM / edge_NM.sum(axis=1, keepdims=True))[:, :, None].astype(np.float32)
        day = FIRST_DAY + timedelta(days=d)
        frames.append(Snapshot(day, "m0" if d < 2 else "m1", NAMES, np.array([1]), weight_NML, np.array([entropy])).to_frame())
    return pd.concat(frames, ignore_index=True)


def _failed(frame: pd.DataFrame) -> set[tuple[int, str]]:
    checks = check_snapshots([frame], NAMES, AnalysisSettings())
    failed = checks[~checks["passed"]]
    return {((day - pd.Timestamp(FIRST_DAY)).days, check) for day, check in zip(failed["day"], failed["check"], strict=True)}


def test_calm_attention_passes_every_check() -> None:
    assert _failed(_frame()) == set()


def test_one_source_that_takes_everything_is_a_collapse_and_a_jump() -> None:
    edge_NM = np.full((4, 4), 1e-4)
    edge_NM[:, 2] = 1.0
    edge_NM[2, :] = [0.01, 0.01, 0, 1.0]
    assert (2, "jump") in _failed(_frame(d2=edge_NM))
    all_on_one = np.where(np.arange(4) == 2, 1.0, 1e-9)
    edge_NM = np.tile(all_on_one, (4, 1))
    edge_NM[2] = 0.0
    edge_NM[2, 0] = 1e-12
    frame = _frame(d2=edge_NM)
    frame = frame[~((frame["quantity"] == "edge") & (frame["target"] == "c"))]
    assert (2, "one_source") in _failed(frame)


@pytest.mark.parametrize(("entropy", "check"), [(0.01, "entropy_low"), (0.999, "entropy_uniform")])
def test_entropy_near_nothing_or_uniform_is_flagged(entropy: float, check: str) -> None:
    assert {name for _, name in _failed(_frame(entropy=entropy))} == {check}


def test_changes_show_how_much_moved_and_whether_the_model_is_the_same() -> None:
    edge_NM = np.full((4, 4), 1.0)
    edge_NM[:, 0] = 10.0
    changes = attention_changes([_frame(d3=edge_NM)], NAMES)
    assert np.isnan(changes["since_previous"].iloc[0])
    assert changes["since_previous"].iloc[1] == pytest.approx(0.0)
    assert changes["since_previous"].iloc[3] > 0.3
    assert changes["same_model"].tolist() == [False, True, False, True]


def test_a_window_that_ended_is_the_yardstick_of_the_next() -> None:
    edge_NM = np.full((4, 4), 1.0)
    edge_NM[:, 0] = 10.0
    start = pd.Timestamp(FIRST_DAY)
    windows = pd.DataFrame(
        {
            "window_id": [0, 1],
            "confirmed": [start, start + pd.Timedelta(2, "D")],
            "end": [start + pd.Timedelta(2, "D"), pd.NaT],
        }
    )
    frame = _frame(d2=edge_NM, d3=edge_NM)
    moved_D = since_window(frame, NAMES, windows)
    assert np.isnan(moved_D).tolist() == [True, True, False, False]
    assert moved_D[3] > 0.3
    edge_DNM = np.stack([of.edge_NM for of in attention_by_day([frame], NAMES)])
    assert moved_share(edge_DNM[:2].mean(axis=0), edge_DNM[3]) == pytest.approx(moved_D[3], abs=1e-6)


def test_weights_that_do_not_add_up_are_an_error_of_their_own() -> None:
    frame = _frame()
    broken = (frame["day"] == pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=2)) & (frame["quantity"] == "edge")
    frame.loc[broken & (frame["target"] == "b"), "value"] *= 1.01
    assert _failed(frame) == {(2, "adds_up")}
    checks = check_snapshots([frame], NAMES, AnalysisSettings())
    row = checks[~checks["passed"]].iloc[0]
    assert row["value"] == pytest.approx(0.01, rel=1e-3)
    assert row["why"].startswith("b's attention is 1.0e-02 off")


def test_every_check_is_made_of_every_day_and_of_none_without_snapshots() -> None:
    checks = check_snapshots([_frame()], NAMES, AnalysisSettings())
    assert (checks.groupby("day")["check"].agg(set) == set(CHECKS)).all()
    assert check_snapshots([_frame().iloc[:0]], NAMES, AnalysisSettings()).empty
