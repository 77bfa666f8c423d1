"""The runbook says of every sensor, schedule, check and knob of retention what it means and what to do."""

from pathlib import Path

from crossattn_core.experiment import RetentionSettings, load_experiment
from crossattn_pipeline.definitions import build_defs

DOCS = Path(__file__).parents[2] / "docs"
LIVE = Path(__file__).parents[2] / "experiments" / "live.yaml"


def test_every_sensor_schedule_and_check_is_in_the_runbook(tmp_path: Path) -> None:
    text = (DOCS / "runbook.md").read_text(encoding="utf-8")
    definitions = build_defs(load_experiment(LIVE), tmp_path / "home")
    assert definitions.schedules
    assert definitions.sensors
    names = {getattr(automation, "name", "") for automation in (*definitions.schedules, *definitions.sensors)}
    graph = definitions.resolve_asset_graph()
    names |= {check.name for check in graph.asset_check_keys if not graph.get(check.asset_key).kinds & {"duckdb"}}
    assert len(names) > 15
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_knob_of_retention_is_in_the_runbook() -> None:
    text = (DOCS / "runbook.md").read_text(encoding="utf-8")
    assert [name for name in RetentionSettings.model_fields if f"| `{name}` |" not in text] == []


def test_every_variable_that_may_hold_a_secret_is_in_the_page_on_security() -> None:
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    for name in ("CROSSATTN_ALERT_URL", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"):
        assert f"`{name}`" in text, name
