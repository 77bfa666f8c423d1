"""What is published is listed with its hashes; a list that is damaged is written anew."""

import json
from pathlib import Path

import pytest

from crossattn_core.backup.destination import Destination, open_destination
from crossattn_core.backup.publish import PUBLISHED, publish
from crossattn_core.home import Home
from crossattn_core.storage import sha256_of
from tests.backup.buckets import NOW, small_home, write


@pytest.fixture
def place(tmp_path: Path) -> Destination:
    return open_destination(str(tmp_path / "published"), {}, make=True)


@pytest.fixture
def home(home_root: Path) -> Home:
    home = small_home(home_root)
    write(home, "target_weights/newest.json", "{}")
    write(home, "reports/2025-03-28/report.html", "<h1>report</h1>")
    return home


def test_what_differs_is_sent_and_the_list_names_all_of_it(home: Home, place: Destination) -> None:
    assert [publish(home, place, NOW), publish(home, place, NOW)] == [2, 0]
    write(home, "target_weights/newest.json", '{"weights": []}')
    assert publish(home, place, NOW) == 1
    assert json.loads(place.read(PUBLISHED) or b"")["files"] == {
        "reports/2025-03-28/report.html": sha256_of(b"<h1>report</h1>"),
        "target_weights/newest.json": sha256_of(b'{"weights": []}'),
    }


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"files": 3}', b'{"files": null}', b"\xff"])
def test_a_damaged_list_is_no_reason_to_publish_nothing(home: Home, place: Destination, damaged: bytes) -> None:
    publish(home, place, NOW)
    place.replace(PUBLISHED, damaged)
    assert publish(home, place, NOW) == 2
    assert publish(home, place, NOW) == 0
