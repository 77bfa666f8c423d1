"""The stored panel: exported by days, opened as maps, appended without touching history."""

import dataclasses
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.errors import ContractError, HistoryError, HomeError
from crossattn_core.grid import HOURLY
from crossattn_core.home import Home
from crossattn_core.panel.cache import PanelCache
from crossattn_core.panel.panel import ROW_ARRAYS, Panel
from crossattn_core.panel.store import chain_hash, export_days, exported_days, open_panel
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.sources import sync_sources
from tests.warehouse.lakes import ListedLake, build_all, random_lake, small_experiment, warehouse_of

FIRST, LAST = date(2025, 3, 3), date(2025, 3, 9)
EXPERIMENT = small_experiment(FIRST, LAST)
LAKE = random_lake(EXPERIMENT, FIRST, LAST)
PROJECT = load_project()


def export(home: Home, runs: list[tuple[date, date]], lake: ListedLake = LAKE) -> None:
    with warehouse_of(EXPERIMENT, lake, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        for first, last in runs:
            export_days(connection, home, EXPERIMENT, first, last)


def arrays(panel: Panel) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in panel.row_arrays.items()}


def same(panel: Panel, other: Panel) -> bool:
    return all(values.tobytes() == arrays(other)[name].tobytes() for name, values in arrays(panel).items())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_every_array_with_an_entry_a_row_is_named_once(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    panel = open_panel(home, EXPERIMENT)
    held = {field.name for field in dataclasses.fields(panel) if isinstance(getattr(panel, field.name), np.ndarray)}
    assert held == set(ROW_ARRAYS) == set(panel.row_arrays)
    cut = panel.cut(slice(5, 9), "cut")
    for name, values in cut.row_arrays.items():
        assert np.array_equal(values, panel.row_arrays[name][5:9], equal_nan=values.dtype.kind == "f"), name
    assert cut.content_hash == "cut"


def test_the_panel_holds_every_hour_of_every_asset(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    panel = open_panel(home, EXPERIMENT)
    assert np.array_equal(panel.as_of_T, HOURLY.rows(FIRST, LAST))
    assert panel.feature_TNF.shape == (24 * 7, len(EXPERIMENT.assets), len(EXPERIMENT.features.names))
    assert panel.feature_TNF.dtype == np.float32
    assert not panel.feature_TNF.flags.writeable


def test_values_are_those_of_the_warehouse(home: Home) -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        export_days(connection, home, EXPERIMENT, FIRST, LAST)
        rows = connection.execute(
            "select as_of, asset_id, rsi_14, trade_price, funding_rate, dividend from features.panel_rows"
        ).fetchall()
    panel = open_panel(home, EXPERIMENT)
    for as_of, asset_id, rsi, price, *paid in rows:
        row, asset = panel.row_of(np.datetime64(as_of)), panel.asset_ids.index(asset_id)
        held = (
            panel.feature_TNF[row, asset, panel.features.index("rsi_14")],
            panel.trade_price_TN[row, asset],
            panel.funding_rate_TN[row, asset],
            panel.dividend_TN[row, asset],
        )
        for value, stored in zip((rsi, price, *paid), held, strict=True):
            assert np.isnan(stored) if value is None else stored == value
    assert np.isfinite(panel.dividend_TN).sum() == LAKE.dividends.num_rows > 0


def test_only_fresh_rows_carry_features(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    panel = open_panel(home, EXPERIMENT)
    assert np.isnan(panel.feature_TNF[~panel.is_fresh_TN]).all()
    assert np.isfinite(panel.feature_TNF[panel.is_fresh_TN][:, panel.features.index("range_share")]).all()


def test_appending_days_gives_the_panel_of_one_export(home: Home, tmp_path: Path) -> None:
    days = [FIRST + timedelta(n) for n in range(7)]
    for day in days:
        export(home, [(day, day)])
        open_panel(home, EXPERIMENT)
    at_once = Home(tmp_path / "other")
    export(at_once, [(FIRST, LAST)])
    grown, whole = open_panel(home, EXPERIMENT), open_panel(at_once, EXPERIMENT)
    assert same(grown, whole)
    assert grown.content_hash == whole.content_hash


def test_the_chain_names_every_prefix(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    chain = chain_hash(home, EXPERIMENT)
    assert list(chain) == [FIRST + timedelta(n) for n in range(7)]
    for day, value in chain.items():
        prefix = open_panel(home, EXPERIMENT, last=day)
        assert prefix.content_hash == value
        assert prefix.as_of_T[-1] == HOURLY.rows(day, day)[-1]


def test_a_changed_day_changes_the_chain_from_there_on_and_rebuilds_the_cache(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    before, mapped = chain_hash(home, EXPERIMENT), open_panel(home, EXPERIMENT)
    held = arrays(mapped)
    changed = FIRST + timedelta(4)
    other = random_lake(EXPERIMENT, FIRST, LAST, seed=5)
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        sync_sources(connection, other, EXPERIMENT, changed, LAST)
        build_all(connection, PROJECT, FIRST, LAST)
        export_days(connection, home, EXPERIMENT, FIRST, LAST)
    after = chain_hash(home, EXPERIMENT)
    assert [day for day in after if after[day] == before[day]] == [FIRST + timedelta(n) for n in range(4)]
    reopened = open_panel(home, EXPERIMENT)
    assert same(reopened.until(96), mapped.until(96))
    assert not same(reopened, mapped)
    # Those who hold the old maps keep reading the old values.
    assert all(np.array_equal(values, held[name], equal_nan=values.dtype.kind == "f") for name, values in arrays(mapped).items())


def test_an_unchanged_day_is_not_written_again(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    path = home.panel / "days" / f"{LAST}.parquet"
    written = path.stat().st_mtime_ns
    export(home, [(FIRST, LAST)])
    assert path.stat().st_mtime_ns == written


def test_a_lost_cache_is_made_again(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    before = open_panel(home, EXPERIMENT)
    shutil.rmtree(home.panel / "cache")
    assert same(open_panel(home, EXPERIMENT), before)


def test_arrays_that_go_while_they_are_opened_are_opened_anew_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    export(home, [(FIRST, LAST)])
    before = arrays(open_panel(home, EXPERIMENT))
    mapped, gone = PanelCache.mapped, [1]

    def of_a_generation_that_may_be_gone(cache: PanelCache, generation: int, days: list[date], content_hash: str) -> Panel:
        if gone:
            shutil.rmtree(cache._folder)
            gone.pop()
        return mapped(cache, generation, days, content_hash)

    monkeypatch.setattr(PanelCache, "mapped", of_a_generation_that_may_be_gone)
    opened = arrays(open_panel(home, EXPERIMENT))
    assert all(np.array_equal(before[name], opened[name], equal_nan=before[name].dtype != bool) for name in before)
    gone += [1, 1]
    with pytest.raises(HomeError, match=r"delete .*, a cache"):
        open_panel(home, EXPERIMENT)


def test_a_torn_append_is_cut_off(home: Home) -> None:
    export(home, [(FIRST, FIRST + timedelta(2))])
    open_panel(home, EXPERIMENT)
    torn = next(home.panel.glob("cache/*/*/feature.bin"))
    with torn.open("ab") as stream:
        stream.write(b"\x00" * 1000)
    export(home, [(FIRST, LAST)])
    whole = Home(home.root / "other")
    export(whole, [(FIRST, LAST)])
    assert same(open_panel(home, EXPERIMENT), open_panel(whole, EXPERIMENT))


def test_a_hole_is_named(home: Home) -> None:
    export(home, [(FIRST, FIRST + timedelta(1)), (LAST, LAST)])
    assert list(exported_days(home)) == [FIRST, FIRST + timedelta(1), LAST]
    with pytest.raises(HistoryError, match=r"lacks 4 of its days, first 2025-03-05, last 2025-03-08"):
        open_panel(home, EXPERIMENT)
    assert len(open_panel(home, EXPERIMENT, last=FIRST + timedelta(1)).as_of_T) == 48


def test_an_empty_home_says_what_to_do(home: Home) -> None:
    with pytest.raises(HistoryError, match="the panel holds no day yet"):
        open_panel(home, EXPERIMENT)


def test_a_missing_row_is_refused_and_never_shifts_another(home: Home) -> None:
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        connection.execute("delete from aligned.bars where asset_id like '%ETH%' and as_of = timestamp '2025-03-04 05:00'")
        with pytest.raises(
            ContractError, match=r"holds 0 rows for bybit:linear:ETHUSDT at 2025-03-04T05:00:00\S*Z, where 1 is due \(1 such"
        ):
            export_days(connection, home, EXPERIMENT, FIRST, LAST)
    assert exported_days(home) == {}


def test_an_unknown_feature_is_refused_with_those_on_offer(home: Home) -> None:
    wishful = small_experiment(FIRST, LAST, features={"names": ["moon_phase"]})
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        with pytest.raises(ContractError, match=r"no column moon_phase; features to choose from: .*rsi_14"):
            export_days(connection, home, wishful, FIRST, LAST)


def test_every_feature_can_be_chosen_and_is_what_the_warehouse_holds(home: Home) -> None:
    rows = PROJECT.model("features.panel_rows").columns
    names = tuple(column.name for column in rows if column.type == "float")
    assert {"log_return", "intraday_return", "range_share", "relative_volume", "volatility", "rsi_14", "rsi_14_wilder"} <= set(
        names
    )
    assert {"macd", "macd_signal", "macd_histogram", "gap_return", "hour_of_week", "last_funding_rate", "age_hours"} <= set(names)
    everything = small_experiment(FIRST, LAST, features={"names": names})
    with warehouse_of(everything, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        export_days(connection, home, everything, FIRST, LAST)
        stored = connection.execute(
            f"select {', '.join(names)} from features.panel_rows where asset_id like '%AAPL' and is_fresh order by as_of"
        ).fetchnumpy()
    panel = open_panel(home, everything)
    asset = next(place for place, asset_id in enumerate(panel.asset_ids) if asset_id.endswith("AAPL"))
    fresh = panel.is_fresh_TN[:, asset]
    for place, name in enumerate(names):
        held = np.ma.filled(stored[name].astype(np.float32), np.nan)
        assert np.array_equal(panel.feature_TNF[fresh, asset, place], held, equal_nan=True), name


def test_other_features_need_no_new_export(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    other = small_experiment(FIRST, LAST, features={"names": ["rsi_14_wilder", "hour_of_week_sin"]})
    panel = open_panel(home, other)
    assert panel.features == ("rsi_14_wilder", "hour_of_week_sin")
    assert panel.content_hash != open_panel(home, EXPERIMENT).content_hash


def test_a_narrower_universe_opens_its_part(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    narrow = small_experiment(FIRST, LAST, symbols=("BTCUSDT", "AAPL"))
    panel, whole = open_panel(home, narrow), open_panel(home, EXPERIMENT)
    assert panel.asset_ids == narrow.asset_ids
    assert np.array_equal(panel.mark_price_TN, whole.mark_price_TN[:, [0, 2]], equal_nan=True)


def test_rows_that_break_the_contract_are_refused_before_any_is_written(home: Home) -> None:
    export(home, [(FIRST, LAST)])
    before, held = chain_hash(home, EXPERIMENT), arrays(open_panel(home, EXPERIMENT))
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        connection.execute(
            "update aligned.bars set mark_price = mark_price * 2 where as_of = timestamp '2025-03-05 05:00' and not is_fresh"
        )
        with pytest.raises(ContractError, match=r"has a mark that changed although nothing was fresh"):
            export_days(connection, home, EXPERIMENT, date(2025, 3, 5), LAST)
    assert chain_hash(home, EXPERIMENT) == before
    assert all(
        np.array_equal(values, held[name], equal_nan=values.dtype.kind == "f")
        for name, values in arrays(open_panel(home, EXPERIMENT)).items()
    )


def test_a_mark_that_jumps_between_two_exports_is_refused(home: Home) -> None:
    export(home, [(FIRST, FIRST + timedelta(1))])
    with warehouse_of(EXPERIMENT, LAKE, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        connection.execute(
            "update aligned.bars set mark_price = mark_price + 1 where asset_id like '%AAPL' and as_of > timestamp '2025-03-05'"
        )
        with pytest.raises(ContractError, match=r"AAPL at 2025-03-05T01:00:00\S* has a mark that changed"):
            export_days(connection, home, EXPERIMENT, FIRST + timedelta(2), LAST)
    assert list(exported_days(home)) == [FIRST, FIRST + timedelta(1)]


def test_the_export_leaves_the_arrays_ready_to_be_mapped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    export(home, [(FIRST, LAST)])
    monkeypatch.setattr("crossattn_core.panel.cache.read_day", _unread)
    assert open_panel(home, EXPERIMENT).as_of_T[-1] == HOURLY.rows(LAST, LAST)[-1]


def _unread(*_: object) -> None:
    raise AssertionError("a stored day was read")
