"""The table of stages: every piece of code counts for some stage, layout counts for none, and a reason names what changed."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import duckdb
import pytest

from crossattn_core import data_stages, model_stages
from crossattn_core.candles.lake.ledger import Coverage, put_coverage
from crossattn_core.code_hash import EDGES, STAGE_MODULES, code_index, is_edge, plugin_parts
from crossattn_core.experiment import Experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.panel.cache import day_path
from crossattn_core.registry import PLUGIN_GROUP
from crossattn_core.stage import DayRule
from crossattn_core.stages import StageTable, stage_table
from crossattn_core.staleness import WHOLE, Staleness
from crossattn_core.storage import write_bytes
from crossattn_core.walk_forward.overrides import force_retrain
from crossattn_core.walk_forward.store import predictions_path, write_day
from crossattn_core.warehouse.models import load_project
from tests.small import past

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
MADE = tuple(DayRule(rule) for rule in ("chained", "alone", "whole"))


def _experiment(**sections: dict) -> Experiment:
    settings: dict = {"period": {"start": "2025-03-01", "end": "2025-03-09"}, "retrain": {"minimum_days": 10}}
    return Experiment.model_validate(settings | sections)


def _with(sources: dict[str, str], experiment: Experiment | None = None) -> StageTable:
    """The table that a checkout with other sources would have."""
    return stage_table(experiment or _experiment(), load_project(), code_index().with_sources(sources))


def _source(module: str) -> str:
    return code_index().modules[module].read_text(encoding="utf-8")


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A line with a receipt for every partition: what a home looks like after a run, without the run."""
    made = Line(_experiment(), open_home(tmp_path / "home", _experiment()), clock=past)
    made.home.warehouse.touch()
    for day in made.staleness.days:
        # A plan that is linked to no day before: as if nothing had been stepped yet.
        write_day(made.home, day, {"day": f"{day}", "previous_hash": "-", "plan_hash": "-", "rows": [], "state": {}})
        write_bytes(predictions_path(made.home, day), b"")
        write_bytes(day_path(made.home, day), b"")
    for stage in made.stages:
        if stage.rule in MADE:
            keys = made.staleness.expected(stage.name)
            made._record(stage.name, {key: f"{stage.name} {key}" for key in keys}, keys)
    return made


def test_candles_that_arrive_while_they_are_loaded_are_loaded_the_next_time(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    last = line.last_day
    line.receipts.forget("raw", [last.isoformat()])

    def load_while_another_fetches(*_: object) -> None:
        with line.lake.ledger.writing() as connection:
            put_coverage(connection, [Coverage("candles", "bybit:linear:BTCUSDT", "bybit", f"{last}", "", content_hash="new")])

    monkeypatch.setattr(data_stages, "sync_sources", load_while_another_fetches)
    with duckdb.connect() as connection:
        data_stages.sync_lake(line, connection, last)
    assert line.staleness.stale_days("raw") == [last]


def test_an_input_that_changes_while_a_stage_runs_makes_its_result_stale(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_while_another_steps(*_: object) -> None:
        line.record("walk_forward", {line.last_day: "other forecasts"}, line.made_from("walk_forward"))

    monkeypatch.setattr(Line, "panel", lambda line: None)
    monkeypatch.setattr(model_stages, "outlook", look_while_another_steps)
    model_stages.watch(line)
    assert line.staleness.is_stale("monitoring")


def test_rows_of_a_table_that_is_behind_its_candles_leave_no_receipt(line: Line) -> None:
    (*current, last) = (day.isoformat() for day in line.staleness.days)
    line.receipts.forget("aligned.bars", [last])
    assert list(line.made_from("features.bar")) == list(line.made_from("feature_windows")) == current
    assert last in line.made_from("walk_forward")


def _staleness(line: Line, table: StageTable) -> Staleness:
    return replace(line.staleness, table=table, _reasons={}, _alike={})


def _stale_stages(line: Line, table: StageTable) -> dict[str, list[str]]:
    staleness = _staleness(line, table)
    return {stage.name: staleness.lines(stage.name) for stage in table if staleness.is_stale(stage.name)}


def test_every_stage_names_a_function_that_exists_and_reads_only_what_an_earlier_one_writes() -> None:
    written: set[str] = set()
    for stage in _with({}):
        module, function = stage.run.split(".")
        assert callable(getattr(import_module(f"crossattn_core.{module}"), function)), stage.name
        assert set(stage.reads) <= written, stage.name
        written |= set(stage.keys)


def test_a_change_of_any_module_makes_a_stage_stale_or_the_module_is_an_edge_with_a_reason() -> None:
    index = code_index()
    counted = {module for stage in _with({}) for module in index.reachable(stage.run)}
    counted |= {
        model.function.split(":")[0].removeprefix("crossattn_core.") for model in load_project() if model.function is not None
    }
    unseen = {module for module in index.modules if module not in counted and not is_edge(module)}
    assert unseen == set(STAGE_MODULES), "reach it from a stage, or list it among EDGES with the reason"


def test_every_edge_is_a_module_that_no_stage_needs_to_see() -> None:
    for edge, reason in EDGES.items():
        assert edge in code_index().modules, edge
        assert reason, edge


@pytest.mark.parametrize("module", STAGE_MODULES)
def test_a_change_of_any_function_of_a_stage_module_is_seen_by_the_stages_that_run_it(module: str) -> None:
    tree, before = ast.parse(_source(module)), _with({})
    bookkeeping = {
        "Line",
        "last_day",
        "made_from",
        "stages",
        "staleness",
        "receipts",
        "record",
        "record_whole",
        "_record",
        "report",
        "clock",
        "codes_of",
        "knobs_hash_of",
    }
    pictures = {"suspect_candles", "strange_candles", "check_attention", "tune"}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if function.name in bookkeeping | pictures:
            continue
        function.body.insert(1, ast.parse("changed = 1").body[0])
        after = _with({module: ast.unparse(tree)})
        changed = [stage.name for stage in before if after.code_hash(after[stage.name]) != before.code_hash(stage)]
        assert changed, f"{module}.{function.name}"
        del function.body[1]


def test_comments_docstrings_and_layout_change_nothing() -> None:
    before = _with({})
    reformatted = {module: "# a comment\n" + ast.unparse(ast.parse(_source(module))) for module in code_index().modules}
    redocumented = {module: text.replace('"""', '"""Otherwise said. ', 1) for module, text in reformatted.items()}
    described = {module: _described(text) for module, text in reformatted.items()}
    for sources in (reformatted, redocumented, described):
        after = _with(sources)
        assert {stage.name: after.code_of(after[stage.name]) for stage in before} == {
            stage.name: before.code_of(stage) for stage in before
        }


def test_tables_of_a_warehouse_that_is_gone_are_missing_and_nothing_else_is(line: Line) -> None:
    line.home.warehouse.unlink()
    stale = _stale_stages(line, line.stages)
    assert set(stale) == {stage.name for stage in line.stages if stage.rule in MADE and stage.is_in_warehouse}
    assert {"raw", "features.bar"} <= set(stale)
    assert "feature_windows" not in stale


def _described(source: str) -> str:
    """The source with a docstring below the last member of every class, as a knob has one."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body.append(ast.Expr(ast.Constant("What the member above means.")))
    return ast.unparse(ast.fix_missing_locations(tree))


def test_a_home_whose_code_is_todays_is_up_to_date(line: Line) -> None:
    assert _stale_stages(line, line.stages) == {}


def test_the_flipped_sign_of_the_loss_makes_the_walk_and_all_behind_it_stale_and_says_so(line: Line) -> None:
    flipped = _source("training.loss").replace("return (cost_BNO", "return -(cost_BNO", 1)
    assert flipped != _source("training.loss")
    stale = _stale_stages(line, _with({"training.loss": flipped}))
    behind = {"walk_forward", "monitoring", "attention_snapshot", "target_weights", "backtest_report"}
    assert set(stale) == behind
    assert stale["walk_forward"] == ["walk_forward: 9 days (2025-03-01 .. 2025-03-09), training/loss.py changed"]
    assert all("training/loss.py changed" in lines[0] for lines in stale.values())


@pytest.mark.parametrize(
    ("module", "stage"),
    [
        ("walk_forward.plan", "walk_forward"),
        ("model.attention.lag_bias", "walk_forward"),
        ("panel.labels", "walk_forward"),
        ("panel.windows", "walk_forward"),
        ("warehouse.sources", "aligned.bars"),
        ("trading_calendar", "candles/yahoo"),
        ("regimes.windows", "walk_forward"),
        ("regimes.windows", "regime_windows"),
        ("portfolio.limits", "target_weights"),
        ("candles.quality", "candles/bybit"),
        ("warehouse.trailing", "features.trailing"),
        ("report.page", "backtest_report"),
    ],
)
def test_a_change_reaches_the_stage_that_runs_it(line: Line, module: str, stage: str) -> None:
    stale = _stale_stages(line, _with({module: _source(module) + "\nCHANGED = 1\n"}))
    assert f"{module.replace('.', '/')}.py changed" in stale[stage][0]


def test_editing_the_report_leaves_the_models_alone(line: Line) -> None:
    assert set(_stale_stages(line, _with({"report.page": _source("report.page") + "\nCHANGED = 1\n"}))) == {"backtest_report"}


def test_a_changed_knob_is_named_with_both_values(line: Line) -> None:
    stale = _stale_stages(line, _with({}, _experiment(training={"epochs": 7})))
    assert stale["walk_forward"] == ["walk_forward: 9 days (2025-03-01 .. 2025-03-09), training.epochs 6 -> 7"]
    assert "feature_windows" not in stale


def test_a_knob_of_the_report_touches_the_report_alone(line: Line) -> None:
    assert set(_stale_stages(line, _with({}, _experiment(report={"title": "another"})))) == {"backtest_report"}


def test_where_candles_lie_and_how_long_the_period_lasts_are_no_part_of_a_models_identity() -> None:
    here = _experiment(feed={"kind": "files", "folder": "/here"})
    there = _experiment(feed={"kind": "files", "folder": "/there"}, period={"start": "2025-03-01", "end": "2025-04-01"})
    renamed = there.model_copy(update={"name": "another"})
    for name in ("candles/bybit", "aligned.bars", "feature_windows", "walk_forward", "attention_snapshot", "target_weights"):
        versions = {table.version(table[name]) for table in map(partial(_with, {}), (here, there, renamed))}
        assert len(versions) == 1, name


def test_a_missing_package_version_is_part_of_the_code() -> None:
    code = _with({}).code_of(_with({})["walk_forward"])
    assert {"torch", "numpy", "pandas"} <= code.keys()
    assert "matplotlib" not in code


def test_a_package_from_outside_that_registers_something_is_part_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "crossattn_test_plugin.py"
    plugin.write_text("WIDTH = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("mine", "crossattn_test_plugin", PLUGIN_GROUP)
    monkeypatch.setattr("crossattn_core.code_hash.entry_points", lambda group: [entry])
    before = plugin_parts()
    plugin.write_text("# said otherwise\nWIDTH = 1\n", encoding="utf-8")
    assert plugin_parts() == before
    plugin.write_text("WIDTH = 2\n", encoding="utf-8")
    assert plugin_parts() != before
    assert plugin_parts().items() <= _with({}).code_of(_with({})["walk_forward"]).items()


def test_accepted_code_keeps_every_result_and_the_next_change_does_not(line: Line) -> None:
    refactored = _source("training.loop") + "\nMOVED = 1\n"
    table = _with({"training.loop": refactored})
    assert "walk_forward" in _stale_stages(line, table)
    accepted = _staleness(line, table).accept_code(NOON, "a refactoring")
    assert "walk_forward" in {row.stage for row in accepted}
    assert _stale_stages(line, table) == {}
    assert [(row.note, row.at) for row in line.receipts.accepted("walk_forward")] == [("a refactoring", NOON)]
    assert _stale_stages(line, line.stages) == {}, "the code before is as good as the code after"
    further = _with({"training.loop": refactored, "training.loss": _source("training.loss") + "\nMORE = 1\n"})
    assert _stale_stages(line, further)["walk_forward"] == [
        "walk_forward: 9 days (2025-03-01 .. 2025-03-09), training/loss.py changed"
    ], "what was accepted is no difference any more"


def test_accepting_where_nothing_changed_records_nothing(line: Line) -> None:
    assert line.staleness.accept_code(NOON, "") == []


def test_an_override_makes_its_own_day_and_later_ones_stale_and_all_that_rests_on_them(line: Line) -> None:
    day = line.last_day - timedelta(days=2)
    force_retrain(line.home, line.experiment, "new costs", day=day, rewrite=True)
    for stage in ("walk_forward", "attention_snapshot"):
        assert line.staleness.stale_days(stage) == [day, day + timedelta(days=1), line.last_day]
    assert line.staleness.is_stale("backtest_report")
    assert not line.staleness.is_stale("regime_windows")


def test_a_day_that_was_never_made_says_so(tmp_path: Path) -> None:
    fresh = Line(_experiment(), open_home(tmp_path / "home", _experiment()), clock=past)
    assert fresh.staleness.lines("walk_forward") == ["walk_forward: 9 days (2025-03-01 .. 2025-03-09), never made"]
    assert fresh.staleness.lines("monitoring") == ["monitoring: never made"]
    assert list(fresh.staleness.reasons("monitoring")) == [WHOLE]


def test_a_home_without_code_in_its_receipts_is_recomputed_not_refused(tmp_path: Path) -> None:
    import sqlite3

    home = open_home(tmp_path / "home", _experiment())
    with sqlite3.connect(home.receipts) as connection:
        connection.execute("create table receipts (stage text, key text, inputs text, output text, primary key (stage, key))")
        connection.execute("insert into receipts values ('walk_forward', '2025-03-01', 'a', 'b')")
    assert Line(_experiment(), home, clock=past).staleness.lines("walk_forward") == [
        "walk_forward: 1 day (2025-03-01), made by an earlier version, whose receipts name no code",
        "walk_forward: 8 days (2025-03-02 .. 2025-03-09), never made",
    ]
