"""Fits that are made ahead: the same files, whatever the pool does and however the walk turns out."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crossattn_core.compute.pool import Pool
from crossattn_core.errors import TrainingError
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.walk_forward.overrides import Override, record_override
from crossattn_core.walk_forward.walk import DayResult, walk
from tests.compute.pools import PretendPool
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, FakeModel, fake_load, rolling_experiment, synthetic_panel

DAYS = 46
PANEL = synthetic_panel(DAYS, leads=((0, 0, 2, 0.8), (1, 1, 2, 0.8), (2, 2, 2, 0.8)))
LAST = FIRST_DAY + timedelta(days=DAYS - 1)


def walked(folder: Path, pool: Pool | None, fit: Any, *, last=LAST, load: Any = fake_load, **retrain: Any) -> list[DayResult]:
    return list(walk(Home(folder), rolling_experiment(**retrain), PANEL, FIRST_DAY, last, fit=fit, load=load, pool=pool))


def stored(folder: Path) -> dict[str, bytes]:
    """Every file of the walk and its models, by place."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fit_fake(family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """As ``FakeFit``, and found by name in a worker."""
    return FakeFit()(family, request, experiment, report=report)


def fit_here(calls: list[str], family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    calls.append(family)
    return fit_fake(family, request, experiment, report=report)


def fit_backwards(family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """The first family forecasts the opposite of the others."""
    model = fit_fake(family, request, experiment, report=report)
    sign = -1 if family == "attention" else 1
    return FakeModel(family, model.manifest | {"slope_H": [sign * abs(slope) for slope in model.manifest["slope_H"]]})


def fit_failing(family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """One family fails on its third retrain: the plan goes on with the model before it."""
    if family == "attention" and request.cut_off // 24 == 33:
        raise TrainingError(f"loss is not finite in batch 7 of {request.cut_off}")
    return fit_fake(family, request, experiment, report=report)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[DayResult]]:
    """A walk without a pool: half of its retrains warm."""
    folder = tmp_path_factory.mktemp("alone")
    results = walked(folder, None, fit_fake, cold_every=2, on_degraded=False)
    return stored(folder), results


@pytest.mark.parametrize("seed", [0, 1])
def test_a_walk_with_a_pool_stores_the_same_bytes_in_whatever_order_fits_are_made(tmp_path: Path, alone, seed: int) -> None:
    pool = PretendPool(seed)
    together = walked(tmp_path, pool, fit_fake, cold_every=2, on_degraded=False)
    assert stored(tmp_path) == alone[0]
    assert [result.epochs for result in together] == [result.epochs for result in alone[1]]
    assert pool.submitted


def test_what_is_submitted_ahead_is_what_the_walk_asks_for_and_nothing_is_fitted_here(tmp_path: Path) -> None:
    pool = PretendPool()
    results = walked(tmp_path, pool, fit_fake, on_degraded=False)
    retrains = sum(bool(result.trained) for result in results)
    assert len(pool.submitted) == 2 * retrains == 8
    assert not pool.cancelled
    assert pool.shared == 2  # the panel and the experiment, once each


def test_a_forecast_that_calls_for_a_retrain_sets_off_another_look_ahead(tmp_path: Path) -> None:
    knobs = {"degraded_gap": 0.001, "every_days": 18, "cooldown_days": 3, "on_drift": False, "on_regime_change": False}
    pool = PretendPool()
    alone = walked(tmp_path / "alone", None, fit_backwards, **knobs)
    walked(tmp_path / "together", pool, fit_backwards, **knobs)
    assert {result.reason for result in alone if result.trained} == {"first", "degraded"}
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")
    assert pool.cancelled  # the fits of the days on which the schedule would have had them


def test_a_fit_that_fails_in_a_worker_fails_as_here_and_the_walk_goes_on_as_here(tmp_path: Path) -> None:
    alone = walked(tmp_path / "alone", None, fit_failing)
    together = walked(tmp_path / "together", PretendPool(), fit_failing)
    health = [row["health"] for result in together for row in result.rows]
    assert health == [row["health"] for result in alone for row in result.rows]
    assert any("loss is not finite in batch 7" in why for why in health)
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")


def test_a_person_s_retrains_and_rollbacks_are_seen_ahead(tmp_path: Path) -> None:
    for name in ("alone", "together"):
        record_override(Home(tmp_path / name), Override(FIRST_DAY + timedelta(days=31), "forced", note="news"))
        record_override(Home(tmp_path / name), Override(FIRST_DAY + timedelta(days=40), "rollback", note="worse"))
    walked(tmp_path / "alone", None, fit_fake, on_degraded=False)
    pool = PretendPool()
    results = walked(tmp_path / "together", pool, fit_fake, on_degraded=False)
    assert not pool.cancelled
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")
    assert {result.reason for result in results} >= {"forced", "rollback"}


def test_a_walk_without_anything_to_fit_asks_nothing_of_its_pool(tmp_path: Path) -> None:
    early = FIRST_DAY + timedelta(days=25)
    walked(tmp_path, None, fit_fake, last=early)
    pool = PretendPool()
    assert all(result.reused for result in walked(tmp_path, pool, fit_fake, last=early))
    assert not pool.submitted
    assert not pool.shared


def test_a_single_fit_with_nothing_beside_it_is_made_here(tmp_path: Path) -> None:
    calls: list[str] = []
    pool = PretendPool()
    first_fit = FIRST_DAY + timedelta(days=20)
    walked(tmp_path, pool, partial(fit_here, calls), last=first_fit, families=("attention",))
    assert calls == ["attention"]
    assert not pool.submitted


def test_a_walk_that_was_stopped_goes_on_from_the_models_that_are_stored(tmp_path: Path, alone) -> None:
    knobs = {"cold_every": 2, "on_degraded": False}
    walked(tmp_path, PretendPool(), fit_fake, last=FIRST_DAY + timedelta(days=25), **knobs)
    pool = PretendPool()
    walked(tmp_path, pool, fit_fake, **knobs)
    assert len(pool.submitted) == 6
    assert not pool.cancelled
    assert stored(tmp_path) == alone[0]


def test_what_nobody_asks_for_is_dropped_when_the_walk_is_left(tmp_path: Path) -> None:
    pool = PretendPool()
    steps = walk(Home(tmp_path), rolling_experiment(), PANEL, FIRST_DAY, LAST, fit=fit_fake, load=fake_load, pool=pool)
    while not next(steps).trained:
        pass
    steps.close()
    assert len(pool.cancelled) == len(pool.submitted) - 2


@pytest.mark.slow
def test_networks_and_their_ensembles_come_out_of_a_pool_as_they_come_out_here(tmp_path: Path) -> None:
    """Members are fitted apart, each warm from its own predecessor, and averaged."""
    knobs = {"every_days": 10, "seeds": 2, "cold_every": 2, "on_degraded": False}
    last = FIRST_DAY + timedelta(days=41)
    pool = PretendPool()
    alone = walked(tmp_path / "alone", None, fit_model, last=last, load=load_model, **knobs)
    together = walked(tmp_path / "together", pool, fit_model, last=last, load=load_model, **knobs)
    models = [path.name for path in (tmp_path / "alone" / "models").iterdir()]
    assert len(models) == 3 * (2 + 1 + 1)  # three retrains: two members and their mean, and a ridge regression
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")
    assert [result.trained for result in together] == [result.trained for result in alone]
    assert len(pool.submitted) == 3 * 4
