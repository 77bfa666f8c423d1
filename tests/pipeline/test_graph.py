"""The asset graph: what it holds, how it hangs together, what the web UI is told."""

from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.code_hash import code_index
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.stage import Stage
from crossattn_core.stages import StageTable, stage_table
from crossattn_core.warehouse.models import load_project
from crossattn_pipeline.assets.portfolio import portfolio_assets
from crossattn_pipeline.assets.training import training_assets
from crossattn_pipeline.definitions import build_defs

DATED = {
    "candles/bybit",
    "candles/yahoo",
    "candles/bybit_funding",
    "aligned/bars",
    "features/bar",
    "features/trailing",
    "feature_windows",
    "retrain_plan",
    "rolling_model",
    "forecasts",
    "attention_snapshot",
}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment()


@pytest.fixture(scope="module")
def definitions(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(experiment, tmp_path_factory.mktemp("home"))


def name_of(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def test_every_stage_after_the_first_reads_the_one_before(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    reads = {name_of(key): {name_of(parent) for parent in graph.get(key).parent_keys} for key in graph.get_all_asset_keys()}
    assert reads["candles/bybit"] == reads["candles/yahoo"] == reads["candles/bybit_funding"] == set()
    assert {"candles/bybit", "candles/yahoo"} <= reads["staging/candles"]
    assert reads["staging/funding"] == {"candles/bybit_funding"}
    assert {"aligned/bars", "features/bar", "features/trailing"} <= reads["features/panel_rows"]
    assert reads["feature_windows"] == {"features/panel_rows", "aligned/bars", "features/bar", "features/trailing"}
    assert reads["retrain_plan"] == {"feature_windows"}
    assert reads["rolling_model"] == {"retrain_plan", "feature_windows"}
    assert reads["forecasts"] == {"rolling_model", "feature_windows"}
    assert reads["attention_snapshot"] == {"rolling_model", "feature_windows"}
    assert reads["staging/attention_left_out"] == {"attention_snapshot"}
    for mart in ("attention_edges", "attention_changes", "attention_by_regime"):
        assert {"staging/attention_left_out", "attention_snapshot"} <= reads[f"marts/{mart}"], mart
    assert reads["target_weights"] == {"forecasts", "retrain_plan", "feature_windows"}
    assert {"target_weights", "attention_snapshot", "forecasts", "feature_windows", "candles/bybit"} <= reads["backtest_report"]


def test_what_stands_behind_views_is_made_before_it_also_where_a_run_leaves_them_out(experiment: Experiment) -> None:
    stages = stage_table(experiment, load_project())
    before = {key: set(stage.reads) for stage in stages for key in stage.keys}

    def dated_ancestors(name: str) -> set[str]:
        parents = before.get(name, set()) & DATED
        return parents.union(*(dated_ancestors(parent) for parent in parents))

    candles = {"candles/bybit", "candles/yahoo", "candles/bybit_funding"}
    assert candles <= dated_ancestors("aligned/bars")
    assert candles <= dated_ancestors("features/bar")
    assert {"candles/bybit", "candles/yahoo"} <= dated_ancestors("features/trailing")
    assert candles | {"aligned/bars", "features/bar", "features/trailing"} <= dated_ancestors("feature_windows")


def test_the_report_descends_from_every_venue(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    ancestors: set[dg.AssetKey] = set()
    waiting = [dg.AssetKey("backtest_report")]
    while waiting:
        parents = graph.get(waiting.pop()).parent_keys - ancestors
        ancestors |= parents
        waiting += parents
    assert {"candles/bybit", "candles/yahoo", "candles/bybit_funding"} <= {name_of(key) for key in ancestors}


def test_dated_assets_share_one_partition_definition_and_run_a_range_as_one(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    dated = {name_of(key) for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned}
    assert dated == DATED
    nodes = [graph.get(dg.AssetKey(name.split("/"))) for name in sorted(dated)]
    assert len({node.partitions_def for node in nodes}) == 1
    for node in nodes:
        assert node.backfill_policy is not None
        assert node.backfill_policy.policy_type.name == "SINGLE_RUN"


def test_every_asset_says_what_it_is_and_whose(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        name = name_of(spec.key)
        assert len((spec.description or "").split()) > 3, name
        assert spec.group_name in {"candles", "warehouse", "panel", "models", "attention", "portfolio", "marts"}, name
        assert spec.kinds & {"parquet", "duckdb", "numpy", "pytorch", "json", "html"}, name
        assert list(spec.owners) == ["team:research"], name


def test_the_graph_is_the_table_of_stages(definitions: dg.Definitions, experiment: Experiment) -> None:
    stages = stage_table(experiment, load_project())
    specs = {name_of(spec.key): spec for spec in definitions.resolve_all_asset_specs()}
    assert set(specs) == {key for stage in stages if stage.is_asset for key in stage.keys}
    for stage in stages:
        for output in stage.outputs if stage.is_asset else ():
            spec = specs[output.key]
            assert {name_of(dep.asset_key) for dep in spec.deps} == set((*output.reads, *output.behind)), output.key
            assert (spec.group_name, spec.code_version) == (stage.group, stages.version(stage)), output.key


def test_the_code_version_changes_with_the_code_and_with_the_knobs_that_a_stage_depends_on(experiment: Experiment) -> None:
    def versions(experiment: Experiment, sources: dict[str, str]) -> dict[str, str | None]:
        stages = stage_table(experiment, load_project(), code_index().with_sources(sources))
        assets = (*training_assets(stages), *portfolio_assets(stages))
        return {name_of(spec.key): spec.code_version for asset in assets for spec in asset.specs}

    before = versions(experiment, {})
    loss = code_index().modules["training.loss"].read_text(encoding="utf-8")
    recoded = versions(experiment, {"training.loss": loss + "\nCHANGED = 1\n"})
    assert {name for name in before if before[name] != recoded[name]} >= {"trained_model", "rolling_model", "forecasts"}
    costs = experiment.costs.model_copy(update={"impact": 0.1})
    repriced = versions(experiment.model_copy(update={"costs": costs}), {})
    assert {name for name in before if before[name] != repriced[name]} == {"target_weights", "backtest_report"}


def as_mermaid(table: StageTable) -> str:
    """The stages as a Mermaid flowchart, SQL models drawn as one box."""

    def box(stage: Stage) -> str:
        return "sql" if stage.sql and stage.name != "feature_windows" else stage.name.replace("/", "_")

    labels = {box(stage): "SQL models" if box(stage) == "sql" else f"{stage.name}<br>{stage.rule.value}" for stage in table}
    edges = dict.fromkeys((box(parent), box(stage)) for stage in table for parent in table.parents(stage))
    boxes = [f'    {key}["{label}"]' for key, label in labels.items()]
    arrows = [f"    {parent} --> {child}" for parent, child in edges if parent != child]
    return "\n".join(["flowchart LR", *boxes, *arrows]) + "\n"


def test_the_picture_of_the_graph_in_the_docs_is_the_tables() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how_it_works.md").read_text(encoding="utf-8")
    drawn = as_mermaid(stage_table(Experiment(), load_project()))
    assert drawn in page, f"paste this picture into the page:\n{drawn}"


def test_sql_assets_carry_their_sql_their_columns_and_where_each_comes_from(definitions: dg.Definitions) -> None:
    specs = {name_of(spec.key): spec for spec in definitions.resolve_all_asset_specs()}
    bars = specs["aligned/bars"]
    assert "select" in (bars.description or "")
    schema = bars.metadata["dagster/column_schema"]
    described = {column.name: column.description for column in schema.columns}
    assert "quote currency" in (described["trade_price"] or "")
    assert "staging" in str(bars.metadata["column_lineage_table"].value) or "aligned" in str(
        bars.metadata["column_lineage_table"].value
    )


def test_a_changed_sql_file_changes_the_code_version_of_its_readers_alone(experiment: Experiment, tmp_path: Path) -> None:
    import shutil

    def versions() -> dict[str, str]:
        stages = stage_table(experiment, load_project(tmp_path / "sql"))
        return {stage.name: stages.version(stage) for stage in stages}

    shutil.copytree(Path(__file__).parents[2] / "dbt_like_sql", tmp_path / "sql")
    before = versions()
    changed = tmp_path / "sql" / "features" / "bar.sql"
    text = changed.read_text(encoding="utf-8")
    changed.write_text(
        text.replace("select", "select distinct", 1) if "select distinct" not in text else text + "\nlimit 1000000000"
    )
    after = versions()
    moved = {name for name in before if before[name] != after[name]}
    assert {"features.bar", "features.panel_rows", "feature_windows"} <= moved
    assert not {"aligned.bars", "features.trailing", "staging.candles", "walk_forward"} & moved


def test_every_asset_that_holds_a_table_tells_its_columns_and_where_each_comes_from(definitions: dg.Definitions) -> None:
    specs = {name_of(spec.key): spec for spec in definitions.resolve_all_asset_specs()}
    without = {"rolling_model", "trained_model", "monitoring"}
    columns = {
        name: {column.name for column in spec.metadata["dagster/column_schema"].columns}
        for name, spec in specs.items()
        if name not in without
    }
    for name in specs.keys() - without:
        spec = specs[name]
        assert all(column.description for column in spec.metadata["dagster/column_schema"].columns), name
        assert spec.metadata["column_lineage_page"].value.startswith("/lineage#"), name
        assert "/lineage#" in (spec.description or ""), name
        for column, deps in spec.metadata["dagster/column_lineage"].deps_by_column.items():
            assert column in columns[name], name
            for dep in deps:
                assert dep.column_name in columns[name_of(dep.asset_key)], (name, column)
                assert name_of(dep.asset_key) != name
    lineage = specs["target_weights"].metadata["dagster/column_lineage"].deps_by_column
    assert dg.TableColumnDep(asset_key=dg.AssetKey("forecasts"), column_name="value") in lineage["target_weight"]


def test_every_asset_says_in_which_file_it_is_written(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        references = spec.metadata["dagster/code_references"].code_references
        assert Path(references[0].file_path).is_relative_to(Path(__file__).parents[2] / "crossattn_pipeline"), spec.key


def test_only_days_that_go_on_can_be_late(definitions: dg.Definitions, tmp_path: Path) -> None:
    assert all(spec.freshness_policy is None for spec in definitions.resolve_all_asset_specs())
    live = build_defs(Experiment.model_validate({"period": {"start": "2025-01-01", "end": None}}), tmp_path)
    late = {name_of(spec.key) for spec in live.resolve_all_asset_specs() if spec.freshness_policy is not None}
    assert late == DATED


def test_marts_alone_may_be_made_by_automation_which_is_off_until_somebody_switches_it_on(definitions: dg.Definitions) -> None:
    automated = {name_of(spec.key) for spec in definitions.resolve_all_asset_specs() if spec.automation_condition is not None}
    assert automated == {name_of(spec.key) for spec in definitions.resolve_all_asset_specs() if spec.group_name == "marts"}
    assert definitions.resolve_sensor_def("marts").default_status == dg.DefaultSensorStatus.STOPPED
