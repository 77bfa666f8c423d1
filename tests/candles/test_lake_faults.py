"""What the disk does to a lake is said with its remedy, and never costs a first value."""

import os
from datetime import date

import pytest

from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import CandleError
from tests.candles.ingests import BTC, FIRST, LAST, feed_of, ingest_candles


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(tmp_path, "scripted")
    ingest_candles(feed_of(BTC), lake, BTC)
    return lake


def day_file(lake: Lake):
    return lake.folder / "candles/bybit/linear/BTCUSDT/2025-03-07.parquet"


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.97])
def test_one_flipped_bit_is_found_when_the_day_is_read(lake, place):
    held = bytearray(day_file(lake).read_bytes())
    held[int(len(held) * place)] ^= 1
    day_file(lake).write_bytes(held)
    with pytest.raises(CandleError, match=r"2025-03-07\.parquet: the ledger names this file, but .*restore it"):
        lake.read_candles(None, date(2025, 3, 7), date(2025, 3, 7))


def test_one_flipped_bit_in_a_months_cache_changes_nothing(lake):
    before = lake.read_candles(None, FIRST, LAST)
    (cache,) = lake.folder.glob("compact/**/*.parquet")
    held = bytearray(cache.read_bytes())
    held[len(held) // 2] ^= 1
    cache.write_bytes(held)
    assert lake.read_candles(None, FIRST, LAST).equals(before)


def test_a_deleted_ledger_is_refused_and_no_first_value_is_overwritten(lake):
    before = day_file(lake).read_bytes()
    lake.ledger._path.unlink()
    feed = feed_of(BTC)
    feed.tables[BTC.asset_id][["open", "high", "low", "close", "turnover"]] *= 1.001
    with pytest.raises(CandleError, match=r"the ledger is gone, .*restore it from a copy, or move the folder .* aside"):
        ingest_candles(feed, lake, BTC)
    assert day_file(lake).read_bytes() == before
    lake.ledger._path.touch()  # an empty one, as a tool that repairs might leave it
    ingest_candles(feed, lake, BTC)
    assert day_file(lake).read_bytes() == before


def test_a_damaged_ledger_is_said_with_what_to_do(lake):
    lake.ledger._path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    with pytest.raises(CandleError, match=r"ledger\.sqlite: the ledger is damaged; restore it from a copy"):
        ingest_candles(feed_of(BTC), lake, BTC)
    with pytest.raises(CandleError, match=r"the ledger is damaged"):
        lake.read_candles(None, FIRST, LAST)


def test_a_full_disk_is_said_with_what_to_do_and_keeps_what_was_stored(tmp_path, monkeypatch):
    from errno import ENOSPC

    from crossattn_core.candles.lake import day_files

    lake, writes = Lake(tmp_path, "scripted"), []

    def full(*names):
        writes.append(names)
        if len(writes) > 12:
            raise OSError(ENOSPC, "No space left on device", str(names[1]))
        rename(*names)

    rename = day_files.os.replace
    monkeypatch.setattr(day_files.os, "replace", full)
    with pytest.raises(CandleError, match=r"could not be written \(No space left on device\); free some space and run the same"):
        ingest_candles(feed_of(BTC), lake, BTC)
    monkeypatch.undo()
    assert lake.read_candles(None, FIRST, LAST).num_rows in (0, 240)
    days = ingest_candles(feed_of(BTC), lake, BTC)
    assert sum(day.rows for day in days) == 31 * 24
    assert lake.verify() == []


def test_a_lake_that_cannot_be_written_to_is_read_and_says_what_to_do_when_it_is_written(lake, monkeypatch):
    """As on a disk that is mounted read-only: the right to write is not asked for until something is written."""
    import sqlite3
    from errno import EROFS

    from crossattn_core.candles.lake import day_files, ledger

    before = lake.read_candles(None, FIRST, LAST).to_pandas()
    for cache in lake.folder.glob("compact/**/*.parquet"):
        cache.unlink()
    connect = sqlite3.connect

    def read_only(path, **options):
        if str(path) == ":memory:":
            return connect(path, **options)
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    def refused(source, target):
        raise OSError(EROFS, "Read-only file system", str(target))

    monkeypatch.setattr(ledger.sqlite3, "connect", read_only)
    monkeypatch.setattr(day_files.os, "replace", refused)
    monkeypatch.setattr(day_files.Path, "mkdir", lambda self, **options: None)
    assert lake.read_candles(None, FIRST, LAST).to_pandas().equals(before)
    assert lake.verify() == []
    with pytest.raises(CandleError, match="give this user the right to write the lake's folder"):
        ingest_candles(feed_of(BTC), lake, BTC, last=date(2025, 4, 2))
    monkeypatch.undo()
    assert sum(day.gaps for day in ingest_candles(feed_of(BTC), lake, BTC, last=date(2025, 4, 2))) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everything")
def test_a_folder_without_the_right_to_write_is_read_and_says_what_to_do(lake):
    before = lake.read_candles(None, FIRST, LAST).to_pandas()
    folders = [lake.folder, *(path for path in lake.folder.rglob("*") if path.is_dir())]
    for path in [*folders, lake.ledger._path]:
        path.chmod(0o555)
    try:
        assert lake.read_candles(None, FIRST, LAST).to_pandas().equals(before)
        with pytest.raises(CandleError, match="give this user the right to write the lake's folder"):
            ingest_candles(feed_of(BTC), lake, BTC, last=date(2025, 4, 2))
    finally:
        for path in [*folders, lake.ledger._path]:
            path.chmod(0o755)
