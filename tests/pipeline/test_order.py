"""Dependencies: what a stage reads, also through views that a run leaves out; nothing for the order alone."""

from collections.abc import Iterator

import dagster as dg
import pytest

from crossattn_core.experiment import load_experiment
from crossattn_core.stages import StageTable, stage_table
from crossattn_core.warehouse.models import load_project
from crossattn_pipeline.assets.from_table import stage_asset
from crossattn_pipeline.partitions import range_tags

ALPHABETICAL = ("aligned.bars", "candles/bybit", "candles/bybit_funding", "candles/yahoo", "feature_windows", "features.bar")


@pytest.fixture(scope="module")
def stages() -> StageTable:
    return stage_table(load_experiment(), load_project())


def run(stages: StageTable) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """A run of dated assets without the views between them."""
    made: list[str] = []

    def asset(name: str) -> dg.AssetsDefinition:
        @stage_asset(stages, name, description="a stand-in")
        def stand_in(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
            made.append(name)
            yield dg.MaterializeResult()

        return stand_in

    definitions = dg.Definitions(
        assets=[asset(name) for name in ALPHABETICAL], jobs=[dg.define_asset_job("job")], executor=dg.in_process_executor
    )
    day = [stages.experiment.period.start]
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("job")
        return job.execute_in_process(instance=instance, tags=range_tags(day), raise_on_error=False), made


def test_dated_assets_selected_without_the_views_between_them_still_run_in_order(stages: StageTable) -> None:
    result, made = run(stages)
    assert result.success
    assert len(made) == len(ALPHABETICAL)
    for name in made:
        before = {stage.name for key in stages[name].reads for stage in stages if key in stage.keys}
        assert all(made.index(other) < made.index(name) for other in before & set(made)), (name, made)


def test_every_dependency_is_read_by_its_stage_and_none_is_there_for_the_order_alone(stages: StageTable) -> None:
    """The tables that a model's SQL or its tests name, and days that stand behind its views."""
    project = stages.project
    for stage in stages:
        for output in stage.outputs:
            assert not set(output.reads) & set(output.behind), output.key
            if stage.name not in project.models:
                continue
            model = project.model(stage.name)
            named = model.sql + "".join(str(test.argument) + test.sql for test in model.tests)
            for key in output.reads:
                tables = [table for table in (*project.models, *project.sources) if key in stages.keys_of_table(table)]
                assert any(table in named for table in tables), (output.key, key)


def test_days_behind_views_are_reached_over_the_views_too(stages: StageTable) -> None:
    reads = {output.key: set(output.reads) for stage in stages for output in stage.outputs}

    def ancestors(key: str) -> set[str]:
        return reads.get(key, set()).union(*(ancestors(parent) for parent in reads.get(key, ())))

    behind = {(output.key, key) for stage in stages for output in stage.outputs for key in output.behind}
    assert behind
    assert all(key in ancestors(reader) for reader, key in behind)
