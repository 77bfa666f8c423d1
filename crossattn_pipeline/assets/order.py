"""Order without edges: what stands behind a view is made before what reads the view, also where the view is not selected.

Dagster orders the selected assets by their direct dependencies alone, and those are what an asset reads. Where a view between two
selected assets is left out, a step's turn says which comes first, and the step itself looks whether the other one succeeded.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import dagster as dg

from crossattn_core.stages import Stage, StageTable
from crossattn_pipeline.assets.columns import asset_key

__all__ = ["NotMadeError", "after", "turn"]

_RETRIES, _RETRY_SECONDS = 12, 10
"""Of a step that waits for another try of what it comes after (two minutes: a source is tried again for less)."""


class NotMadeError(dg.Failure):
    """A step that was not tried, since what it comes after failed: whether to try again is for that failure to say."""


def turn(stages: StageTable, stage: Stage) -> dict[str, str]:
    """Op tags by which, of the steps that may run, the one earliest in the table runs first."""
    names = [each.name for each in stages]
    return {"dagster/priority": str(len(names) - names.index(stage.name))}


def after(keys: tuple[str, ...], function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A step that, where this run makes ``keys`` too, waits for them, and fails where one of them failed."""
    steps = {asset_key(key).to_python_identifier(): key for key in keys}

    @wraps(function)
    def run(context: dg.AssetExecutionContext, **arguments: Any) -> Iterator[Any]:
        for step in context.instance.get_run_step_stats(context.run.run_id, list(steps)):
            status = step.status.value if step.status is not None else "IN_PROGRESS"
            if status == "IN_PROGRESS":
                raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_RETRY_SECONDS)
            if status != "SUCCESS":
                raise NotMadeError(f"{steps[step.step_key]}, which this is made from, failed in this run", allow_retries=False)
        yield from function(context, **arguments)

    return run
