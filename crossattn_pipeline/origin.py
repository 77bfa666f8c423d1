"""Where a run of the command line comes from: the code location that the web UI loads, which then shows the run as its job's.

Dagster has no public way to say this of a run in process: ``execute_in_process`` takes no origin, and the public way that takes
one, submitting a run to a workspace, needs a server and another process. This module alone reaches inside, and a test holds it.
"""

from functools import cache, partial

import dagster as dg
from dagster._core.remote_origin import CodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from crossattn_pipeline.instance import PROJECT

__all__ = ["name_origin"]

_REPOSITORY = "__repository__"
"""What Dagster calls the one repository of a code location that is a ``Definitions``."""


def name_origin(instance: dg.DagsterInstance, job: str) -> None:
    """Let runs that ``instance`` creates name ``job`` of the web UI's code location as what they ran."""
    for location in _locations():
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), job)
        created = partial(type(instance).create_run_for_job, instance, remote_job_origin=origin)
        vars(instance)["create_run_for_job"] = created


@cache
def _locations() -> tuple[CodeLocationOrigin, ...]:
    """The location of workspace.yaml; none in an installation that lacks the file."""
    workspace = PROJECT / "workspace.yaml"
    return tuple(location_origins_from_yaml_paths([str(workspace)])) if workspace.is_file() else ()
