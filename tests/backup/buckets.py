"""A bucket on the server, read by another client than the one that wrote it; and homes of a few files."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from crossattn_core.backup.back_up import BackedUp, back_up
from crossattn_core.backup.destination import Destination, open_destination
from crossattn_core.home import Home
from crossattn_core.receipts import MadeFrom, Receipts
from tests.servers.s3 import BUCKET, environment_of_s3

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


class Bucket:
    """What boto3 sees of a prefix in the bucket."""

    def __init__(self, endpoint: str, prefix: str) -> None:
        self.url, self._prefix = f"s3://{BUCKET}/{prefix}", prefix
        self._endpoint = endpoint
        named = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "not-a-secret-at-all", "region_name": "us-east-1"}
        self._client: Any = boto3.client("s3", endpoint_url=endpoint, **named)

    def found(self) -> "Bucket":
        """The same, once the bucket is there."""
        self._client.create_bucket(Bucket=BUCKET)
        return self

    def destination(self) -> Destination:
        """The prefix, as crossattn opens it."""
        return open_destination(self.url, environment_of_s3(self._endpoint))

    def keys(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self._prefix}/")
        return sorted(entry["Key"].removeprefix(f"{self._prefix}/") for page in pages for entry in page.get("Contents", []))

    def read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}")["Body"].read()

    def write(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}", Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}")


def small_home(root: Path, files: int = 20) -> Home:
    """A home with a receipt, a model, and days."""
    home = Home(root)
    receipts = Receipts(home.receipts)
    receipts.record("target_weights", [("whole", MadeFrom("a", "b", "c"), "d")])
    (root / "home.json").write_text(json.dumps({"feed": "simulated", "bar": "1h"}), encoding="utf-8")
    for number in range(files):
        write(home, f"walk_forward/plan/2025-01-{number + 1:02}.json", f"plan {number}")
    write(home, "models/abc/weights.safetensors", "weights")
    write(home, "tuning/trials.jsonl", "")
    write(home, "panel/cache/key/1/close.bin", "a cache")
    write(home, "walk_forward/.plan.json.0a.tmp", "of a writer that was killed")
    write(home, "dagster/history/runs.db", "Dagster's")
    return home


def write(home: Home, path: str, content: str) -> None:
    (home.root / path).parent.mkdir(parents=True, exist_ok=True)
    (home.root / path).write_text(content, encoding="utf-8")


def backed_up(home: Home, destination: Destination) -> BackedUp:
    return back_up(home, home.lake, destination, NOW)


def contents(root: Path) -> dict[str, Any]:
    """Path -> bytes of every file that a backup holds; of a database its rows."""
    from pathlib import PurePosixPath

    from crossattn_core.backup.snapshot import is_kept

    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: _content(path) for name, path in sorted(found.items()) if is_kept(PurePosixPath(name))}


def _content(path: Path) -> bytes | list[str]:
    if path.suffix != ".sqlite":
        return path.read_bytes()
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()
