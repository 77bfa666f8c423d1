"""The one process that holds the definitions for web server and daemons alike: ``dagster code-server`` on a socket of its own.

It loads code and experiment again when one of their files has changed, or when somebody presses *Reload* in the UI. A run loads
them for itself.
"""

import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import grpc
import yaml

from crossattn_core.registry import PLUGIN_GROUP
from crossattn_pipeline.instance import PROJECT

__all__ = ["CodeServer", "source_files"]

LOCATION = "crossattn"
"""As in workspace.yaml: runs, schedules and sensors are kept under it."""

_LOOK_EVERY, _ASK_EVERY = 2.0, 10.0
_MAX_SECONDS_TO_ANSWER = 300.0
_MAX_UNANSWERED = 2


class CodeServer:
    """How to start, reach and watch the code server whose socket lies in ``folder``."""

    def __init__(self, folder: Path, experiment: Path | None) -> None:
        self.socket, self.workspace = folder / "code", folder / "workspace.yaml"
        location = {"grpc_server": {"socket": str(self.socket), "location_name": LOCATION}}
        self.workspace.write_text(yaml.safe_dump({"load_from": [location]}), encoding="utf-8")
        self.has_answered = False
        self._experiment = experiment
        self._loaded = self._seen = self._files()
        self._channel = grpc.insecure_channel(f"unix:{self.socket}")
        self._asked: grpc.Future | None = None
        self._reloaded: grpc.Future | None = None
        self._unanswered = 0
        self._next_look = self._next_ask = time.monotonic()

    @property
    def command(self) -> tuple[str, ...]:
        """What ``python -m`` takes to start it."""
        place = ("--socket", str(self.socket), "--location-name", LOCATION)
        # Runs are started by the interpreter that runs this; variables of an .env file count, as they do for `dagster dev`.
        options = ("--use-python-environment-entry-point", "--inject-env-vars-from-instance", "--log-level", "warning")
        return ("dagster", "code-server", "start", "--module-name", "crossattn_pipeline.definitions", *place, *options)

    def is_dead(self) -> bool:
        """Ask whether it still answers, now and then; True when it repeatedly has not. The process that answers is its child."""
        now = time.monotonic()
        if self._asked is not None and self._asked.done():
            answered = self._asked.exception() is None
            self.has_answered |= answered
            self._unanswered = 0 if answered else self._unanswered + 1
            self._asked, self._next_ask = None, now + (_ASK_EVERY if answered else 1.0)
        if self._asked is None and now >= self._next_ask and self.socket.exists():
            self._asked = self._call("ListRepositories")
        return self.has_answered and self._unanswered >= _MAX_UNANSWERED

    def reload_what_changed(self) -> list[Path]:
        """Look, now and then, at the files that it was loaded from; those that changed, once it is told to load them again."""
        now = time.monotonic()
        is_busy = self._reloaded is not None and not self._reloaded.done()
        if now < self._next_look or is_busy or not self.has_answered:
            return []
        self._next_look = now + _LOOK_EVERY
        before, self._seen = self._seen, self._files()
        if self._seen != before or self._seen == self._loaded:
            return []  # unchanged, or still being written
        changed = sorted(path for path, _ in self._seen.items() ^ self._loaded.items())
        self._loaded = self._seen
        self._reloaded = self._call("ReloadCode")
        return list(dict.fromkeys(changed))

    def close(self) -> None:
        """Ask nothing more."""
        self._channel.close()

    def _call(self, method: str) -> grpc.Future:
        """A call of Dagster's own protocol, without arguments: a code server of another version is asked the same."""
        return self._channel.unary_unary(f"/api.DagsterApi/{method}").future(b"", timeout=_MAX_SECONDS_TO_ANSWER)

    def _files(self) -> dict[Path, int]:
        """File -> when it was changed, in nanoseconds."""
        stamps = {}
        for path in (*source_files(), *([self._experiment] if self._experiment is not None else [])):
            try:
                stamps[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # an editor replaces a file
        return stamps


def source_files() -> Iterator[Path]:
    """Code and SQL that the definitions are made of, plugins included."""
    plugins = {entry.module.split(".")[0] for entry in entry_points(group=PLUGIN_GROUP)}
    for package in ("crossattn_core", "crossattn_pipeline", *sorted(plugins)):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from (path for path in Path(folder).rglob("*") if path.suffix in (".py", ".j2"))
        if spec is not None and not spec.submodule_search_locations and spec.origin is not None:
            yield Path(spec.origin)
    yield from (PROJECT / "dbt_like_sql").rglob("*.sql")
