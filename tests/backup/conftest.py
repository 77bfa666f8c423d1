"""One S3 server for the room; each test has a prefix of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backup.buckets import Bucket
from tests.servers.s3 import environment_of_s3, s3_server


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as endpoint:
        Bucket(endpoint, "").found()
        yield endpoint


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in environment_of_s3(endpoint).items():
        monkeypatch.setenv(name, value)
    return Bucket(endpoint, request.node.name.replace("[", "-").replace("]", ""))


@pytest.fixture
def home_root(tmp_path: Path) -> Path:
    return tmp_path / "home"
