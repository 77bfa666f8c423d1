"""What tests of several rooms share, made once however many processes run them."""

import json
import os
from pathlib import Path

import pytest

from crossattn_core.storage import locked
from tests.small import run_line, small_experiment, write_market


@pytest.fixture(scope="session")
def ready_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with market/, small.yaml and home/, where the whole small line ran; a test that writes copies home/ first."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "ready"
    with locked(folder.with_suffix(".lock")):
        if not (folder / "made").is_file():
            write_market(folder / "market")
            experiment = small_experiment(folder / "market")
            (folder / "small.yaml").write_text(json.dumps(experiment.model_dump(mode="json")), encoding="utf-8")
            run_line(experiment, folder / "home")
            (folder / "made").touch()
    return folder
