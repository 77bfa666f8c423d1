"""CPU by whose it is: the innermost frame of Dagster or of the project decides, a stage before both."""

import sys
import time
from types import FrameType

import pytest

from benchmarks.cpu_shares import BESIDE_STAGES, CpuShares


def stack(*frames: str) -> FrameType:
    """The innermost frame of calls ``module:function``, outermost first."""
    if not frames:
        return sys._getframe(1)
    module, _, function = frames[0].partition(":")
    scope = {"__name__": module, "stack": stack, "rest": frames[1:]}
    exec(f"def {function}(): return stack(*rest)", scope)
    return scope[function]()


STEP, BODY = "dagster._core.execution.plan.execute_step:core", "crossattn_pipeline.assets.attention:attention_snapshot"


@pytest.mark.parametrize(
    ("frames", "row"),
    [
        (["crossattn_pipeline.launch:materialize", STEP], "Dagster's definitions, plan and steps"),
        (["crossattn_pipeline.definitions:build_defs", "dagster.decorators:asset"], "Dagster's definitions, plan and steps"),
        (["crossattn_pipeline.definitions:build_defs", "pandas:frame"], "our definitions, staleness, command"),
        ([STEP, BODY, "crossattn_core.report.figures.style:png", "matplotlib.figure:draw"], "metadata, pictures, checks"),
        ([STEP, BODY, "dagster.context:add_asset_metadata", "json:dumps"], "Dagster's definitions, plan and steps"),
        ([STEP, BODY, "crossattn_core.model_stages:snapshot_attention", "torch.nn:forward"], "stage"),
        ([STEP, BODY, "crossattn_core.model_stages:check_attention", "numpy:sum"], "metadata, pictures, checks"),
        ([STEP, "crossattn_pipeline.event_log:store_event_batch", "sqlalchemy.engine:execute"], "Dagster's event log"),
        (["dagster.instance:handle", "dagster._core.storage:store_event", "json:dumps"], "Dagster's event log"),
        (["crossattn_pipeline.cli:run", "importlib._bootstrap:load", "dagster:top"], "Dagster's imports"),
        (["importlib._bootstrap:load", "crossattn_core.model:top", "torch:top"], "other imports (torch, pandas, ...)"),
    ],
)
def test_a_stack_belongs_to_a_stage_or_to_the_innermost_of_dagster_and_the_project(frames: list[str], row: str) -> None:
    assert CpuShares(["snapshot_attention"]).row_of(stack(*frames)) == row


def test_every_cpu_second_of_the_process_is_in_one_row() -> None:
    with CpuShares(["busy"]) as shares:
        scope = {"__name__": "crossattn_core.model_stages", "time": time}
        exec("def busy():\n    until = time.process_time() + 0.2\n    while time.process_time() < until: pass", scope)
        scope["busy"]()
        spent = time.process_time()
    assert shares.total == pytest.approx(spent, abs=0.05)
    assert shares.in_stages == pytest.approx(0.2, abs=0.05)
    assert set(shares.seconds) == set(BESIDE_STAGES)
