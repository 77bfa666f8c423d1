"""The web UI and the daemons on 127.0.0.1, over one home."""

import os
import sys
from pathlib import Path

from crossattn_core.home import open_home
from crossattn_pipeline.instance import EXPERIMENT_VARIABLE, HOME_VARIABLE, PROJECT, adopt_instance, experiment_from, home_from

__all__ = ["serve"]


def serve(experiment_file: Path | None, home_root: Path | None, port: int) -> None:
    """Replace this process by ``dagster dev`` (web server, daemons, code location) over the experiment's home."""
    experiment = experiment_from(os.environ, experiment_file)
    home = open_home(home_from(os.environ, home_root), experiment)
    adopt_instance(home)
    os.environ[HOME_VARIABLE] = str(home.root)
    if experiment_file is not None:
        os.environ[EXPERIMENT_VARIABLE] = str(experiment_file.resolve())
    arguments = ["dagster", "dev", "--host", "127.0.0.1", "--port", str(port), "--workspace", str(PROJECT / "workspace.yaml")]
    os.execv(sys.executable, [sys.executable, "-m", *arguments])
