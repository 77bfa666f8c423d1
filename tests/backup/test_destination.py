"""A place that cannot be used is told in words that hold no secret."""

from pathlib import Path

import pytest

from crossattn_core.backup.destination import open_destination
from crossattn_core.errors import BackupError
from tests.backup.buckets import Bucket, backed_up, small_home
from tests.servers.s3 import environment_of_s3, s3_server

SECRET = "not-a-secret-at-all"


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_told(endpoint: str, home_root: Path) -> None:
    destination = open_destination("s3://no-such-bucket/prefix", environment_of_s3(endpoint))
    with pytest.raises(BackupError, match="s3://no-such-bucket/prefix: there is no such bucket; make it"):
        backed_up(small_home(home_root), destination)
    with pytest.raises(BackupError, match="there is no such bucket"):
        destination.sizes("objects")


def test_wrong_credentials_are_told_without_them(home_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "log", INITIAL_NO_AUTH_ACTION_COUNT="0") as endpoint:
        for name, value in environment_of_s3(endpoint).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BackupError, match="access is denied") as refused:
            backed_up(small_home(home_root), Bucket(endpoint, "x").destination())
    assert SECRET not in str(refused.value)
    assert "AKIAEXAMPLE" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_server_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_of_s3("http://127.0.0.1:9")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackupError, match="the server does not answer; check AWS_ENDPOINT_URL"):
        open_destination("s3://crossattn/x", environment).read("latest.json")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_plain_http_is_for_this_machine_alone_unless_it_is_allowed(name: str) -> None:
    with pytest.raises(BackupError, match="plain http"):
        open_destination("s3://crossattn/x", {name: "http://storage.example.com"})
    open_destination("s3://crossattn/x", {name: "http://storage.example.com", "AWS_ALLOW_HTTP": "true"})
    open_destination("s3://crossattn/x", {name: "http://localhost:9000"})
    open_destination("s3://crossattn/x", {name: "http://[::1]:9000"})
    open_destination("s3://crossattn/x", {name: "https://storage.example.com"})


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@bucket/x",
        f"s3://{SECRET}@bucket",
        f"s3://key:half/{SECRET}@bucket/x",
        f"s3://key:half#{SECRET}@bucket/x",
        f"s3://key:half[{SECRET}@bucket/x",
        f"s3:/key:{SECRET}@bucket/x",
        f"s3//key:{SECRET}@bucket/x",
        f"key:{SECRET}@bucket/x",
        f"https://key:half/{SECRET}@bucket/x",
        f"s3://bucket/x?secret={SECRET}",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BackupError, match="holds no credentials") as refused:
        open_destination(url, {})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["gs://bucket/x", "s3:///prefix", "http://example.com/x", f"s3://key:{SECRET}", f"s3://x#{SECRET}"]
)
def test_another_kind_of_place_is_refused(url: str) -> None:
    with pytest.raises(BackupError, match="no place for backups") as refused:
        open_destination(url, {})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("written", ["{0}", "file://{0}", "file:{0}", "file://localhost{0}"])
def test_a_folder_of_any_name_is_a_place(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "at@home?#1"
    assert open_destination(written.format(folder), {}, make=True).name == str(folder)
    assert folder.is_dir()


def test_a_folder_that_is_not_there_holds_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there is no such folder"):
        open_destination(str(tmp_path / "nothing"), {})
