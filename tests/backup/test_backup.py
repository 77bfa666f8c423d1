"""A home that is lost comes back as it was; only what is new is sent; whoever fails in the middle harms nothing."""

import json
import multiprocessing
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crossattn_core.backup.back_up import back_up
from crossattn_core.backup.destination import Destination, open_destination
from crossattn_core.backup.manifest import LATEST, manifest_key, object_key
from crossattn_core.backup.restore import backups, restore, verify
from crossattn_core.errors import BackupError, HomeError
from crossattn_core.experiment import load_experiment
from crossattn_core.home import Home, open_home
from crossattn_core.receipts import MadeFrom, Receipts
from crossattn_core.storage import sha256_of, write_text
from tests.backup.buckets import NOW, Bucket, backed_up, contents, small_home, write


@pytest.fixture(params=["bucket", "folder"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    if request.param == "bucket":
        return request.getfixturevalue("bucket").destination()
    return open_destination(f"file://{tmp_path}/backups", {}, make=True)


def test_a_home_that_is_lost_comes_back_as_it_was(destination: Destination, home_root: Path, tmp_path: Path) -> None:
    home = small_home(home_root)
    before = contents(home.root)
    done = backed_up(home, destination)
    assert (done.files, done.is_new) == (len(before), True)
    shutil.rmtree(home.root)
    restore(destination, home.root)
    assert contents(home.root) == before
    left_out = ("panel/cache/key/1/close.bin", "walk_forward/.plan.json.0a.tmp", "dagster/history/runs.db")
    assert not [path for path in left_out if (home.root / path).exists()]


def test_only_what_is_new_is_sent(destination: Destination, home_root: Path) -> None:
    home = small_home(home_root)
    first = backed_up(home, destination)
    assert first.sent_files == first.files  # each holds something else
    again = backed_up(home, destination)
    assert (again.name, again.is_new, again.sent_files) == (first.name, False, 0)
    write(home, "models/def/weights.safetensors", "other weights")
    write(home, "models/ghi/weights.safetensors", "weights")  # as another that is there
    later = backed_up(home, destination)
    assert (later.sent_files, later.sent_bytes, later.is_new) == (1, len("other weights"), True)
    assert backups(destination) == sorted([first.name, later.name])


def test_an_earlier_backup_is_restored_by_its_name(destination: Destination, home_root: Path, tmp_path: Path) -> None:
    home = small_home(home_root)
    before = contents(home.root)
    first = backed_up(home, destination)
    write_text(home.root / "models/abc/weights.safetensors", "trained again")
    backed_up(home, destination)
    restore(destination, tmp_path / "then", first.name)
    restore(destination, tmp_path / "now")
    assert contents(tmp_path / "then") == before
    assert contents(tmp_path / "now") == contents(home.root) != before


def test_another_client_reads_what_was_written(bucket: Bucket, home_root: Path) -> None:
    home = small_home(home_root)
    name = backed_up(home, bucket.destination()).name
    assert json.loads(bucket.read(LATEST)) == {"backup": name}
    files = json.loads(bucket.read(manifest_key(name)))["files"]
    for path, (sha256, size) in files.items():
        content = bucket.read(object_key(sha256))
        assert (sha256_of(content), len(content)) == (sha256, size)
        if path != "receipts.sqlite":
            assert content == (home.root / path).read_bytes()
    assert len(bucket.keys()) == len({sha256 for sha256, _ in files.values()}) + 2


def test_a_writer_that_is_killed_leaves_the_backup_before_in_force(bucket: Bucket, home_root: Path, tmp_path: Path) -> None:
    home = small_home(home_root)
    before, name = contents(home.root), backed_up(home, bucket.destination()).name
    for number in range(300):
        write(home, f"attention/2025-{number:04}.parquet", f"snapshot {number}")
    writer = multiprocessing.get_context("spawn").Process(target=_back_up_over_there, args=(home.root, bucket.url))
    writer.start()
    deadline = time.monotonic() + 60
    while len(bucket.keys()) < len(before) + 30 and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.kill()
    writer.join(60)
    assert writer.exitcode == -9
    assert json.loads(bucket.read(LATEST)) == {"backup": name}
    restore(bucket.destination(), tmp_path / "restored")
    assert contents(tmp_path / "restored") == before
    goes_on = backed_up(home, bucket.destination())
    assert goes_on.is_new
    assert goes_on.sent_files <= 270  # what the killed one sent is there
    assert not (home.root / ".backup").exists()


def _back_up_over_there(root: Path, url: str) -> None:
    backed_up(Home(root), open_destination(url, os.environ))


def test_of_two_homes_that_end_at_once_one_is_in_force_and_the_other_is_told(destination: Destination, tmp_path: Path) -> None:
    homes = [small_home(tmp_path / "here"), small_home(tmp_path / "there")]
    seen = backed_up(homes[0], destination).name
    for number, home in enumerate(homes):
        write(home, "models/new/weights.safetensors", f"weights of {number}")
    told, done = [], []

    def both(home: Home) -> None:
        try:
            done.append((home, backed_up(home, destination).name))
        except BackupError as error:
            told.append(str(error))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(both, homes))
    assert len(done) in (1, 2)  # one after the other is no race
    assert all("another backup ended while this one ran" in message for message in told)
    restore(destination, tmp_path / "restored")
    winner = next(home for home, name in done if name == verify(destination).name)
    assert contents(tmp_path / "restored") == contents(winner.root)
    assert seen in backups(destination)


def test_a_pointer_that_moved_is_not_overwritten(destination: Destination) -> None:
    assert destination.swap(LATEST, b"first", None)
    assert not destination.swap(LATEST, b"of one that saw nothing", None)
    first = destination.read_version(LATEST)
    assert first is not None
    assert destination.swap(LATEST, b"second", first[1])
    assert not destination.swap(LATEST, b"of one that saw the first", first[1])
    assert destination.read(LATEST) == b"second"


def test_a_damaged_and_a_missing_object_are_told_by_name_and_the_others_are_restored(
    bucket: Bucket, home_root: Path, tmp_path: Path
) -> None:
    home = small_home(home_root)
    backed_up(home, bucket.destination())
    damaged, missing = object_key(sha256_of(b"plan 3")), object_key(sha256_of(b"weights"))
    bucket.write(damaged, b"plan X")
    bucket.delete(missing)
    told = rf"{damaged} is damaged \(walk_forward/plan/2025-01-04.json\)"
    with pytest.raises(BackupError, match=told):
        verify(bucket.destination())
    with pytest.raises(BackupError, match=rf"{missing} is missing \(models/abc/weights.safetensors\)"):
        restore(bucket.destination(), tmp_path / "restored")
    assert len(contents(tmp_path / "restored")) == len(contents(home.root)) - 2 + 1  # and the mark of an unfinished restore
    with pytest.raises(HomeError, match="was not finished"):
        open_home(tmp_path / "restored", load_experiment(None))
    bucket.delete(damaged)
    assert backed_up(home, bucket.destination()).sent_files == 2
    restore(bucket.destination(), tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(home.root)


def test_a_truncated_object_is_told_when_it_is_met(bucket: Bucket, home_root: Path) -> None:
    home = small_home(home_root)
    backed_up(home, bucket.destination())
    bucket.write(object_key(sha256_of(b"weights")), b"weig")
    with pytest.raises(BackupError, match="has 4 bytes where 7 are due"):
        backed_up(home, bucket.destination())


@pytest.mark.parametrize("path", ["../outside", "/etc/outside"])
def test_a_manifest_that_points_outside_the_home_is_refused(bucket: Bucket, home_root: Path, tmp_path: Path, path: str) -> None:
    from crossattn_core.backup.manifest import Content, Manifest

    forged = Manifest("20250301T120000Z", {}, {path: Content("0" * 64, 1)})
    bucket.write(manifest_key(forged.name), forged.to_json())
    with pytest.raises(BackupError, match="is damaged"):
        restore(bucket.destination(), tmp_path / "restored", forged.name)


def test_a_backup_of_a_later_layout_is_told_as_such_whatever_it_holds(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write(manifest_key("later"), json.dumps({"layout": 2, "packs": ["a"]}).encode())
    with pytest.raises(BackupError, match="was written by a newer crossattn"):
        restore(bucket.destination(), tmp_path / "restored", "later")


def test_of_a_lake_elsewhere_the_backup_holds_that_lake_and_nothing_that_was_left_in_the_home(
    destination: Destination, home_root: Path, tmp_path: Path
) -> None:
    home = small_home(home_root)
    write(home, "lake/api/2025-01-01.parquet", "of an earlier setting")
    (tmp_path / "shared" / "api").mkdir(parents=True)
    (tmp_path / "shared" / "api" / "2025-02-01.parquet").write_text("candles", encoding="utf-8")
    back_up(home, tmp_path / "shared", destination, NOW)
    restore(destination, tmp_path / "restored")
    lake = tmp_path / "restored" / "lake"
    assert [path.relative_to(lake).as_posix() for path in lake.rglob("*.parquet")] == ["api/2025-02-01.parquet"]


def test_the_backups_of_another_home_are_not_mixed_in(bucket: Bucket, tmp_path: Path) -> None:
    backed_up(small_home(tmp_path / "one"), bucket.destination())
    other = small_home(tmp_path / "other")
    write(other, "home.json", json.dumps({"feed": "api"}))
    with pytest.raises(BackupError, match="another feed or universe"):
        backed_up(other, bucket.destination())


def test_nothing_is_restored_over_a_home(bucket: Bucket, home_root: Path) -> None:
    home = small_home(home_root)
    backed_up(home, bucket.destination())
    before = contents(home.root)
    with pytest.raises(BackupError, match="is not empty"):
        restore(bucket.destination(), home.root)
    assert contents(home.root) == before


def test_a_home_that_is_written_to_meanwhile_is_backed_up_as_at_one_instant(
    bucket: Bucket, home_root: Path, tmp_path: Path
) -> None:
    """Each receipt that is restored finds its file: a writer stores the file first, then the receipt."""
    home = small_home(home_root)
    writer = multiprocessing.get_context("spawn").Process(target=_write_on, args=(home.root,))
    writer.start()
    try:
        deadline = time.monotonic() + 60
        while len(Receipts(home.receipts).of_stage("walk_forward")) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        for attempt in range(2):
            backed_up(home, bucket.destination())
            restored = Home(tmp_path / str(attempt))
            restore(bucket.destination(), restored.root)
            outputs = Receipts(restored.receipts).outputs("walk_forward")
            assert len(outputs) >= 5
            assert [key for key in outputs if not (restored.root / "walk_forward/predictions" / key).is_file()] == []
        assert writer.is_alive()
    finally:
        writer.kill()
        writer.join(60)


def _write_on(root: Path) -> None:
    home = Home(root)
    receipts = Receipts(home.receipts)
    for number in range(100_000):
        write_text(home.walk_forward / "predictions" / f"{number:06}", str(number))
        receipts.record("walk_forward", [(f"{number:06}", MadeFrom("a", "b", "c"), str(number))])
        time.sleep(0.01)


def test_while_a_backup_is_frozen_in_no_row_is_lost_after(bucket: Bucket, home_root: Path) -> None:
    """The lock on the receipts is let go: a row can be written right after."""
    home = small_home(home_root)
    backed_up(home, bucket.destination())
    Receipts(home.receipts).record("target_weights", [("later", MadeFrom("a", "b", "c"), "d")])
    with sqlite3.connect(home.receipts) as connection:
        assert connection.execute("select count(*) from receipt").fetchone() == (2,)
