"""The assets ``target_weights`` and ``backtest_report``, and their checks."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from crossattn_core import model_stages
from crossattn_core.errors import NoForecastError
from crossattn_core.line import Line
from crossattn_core.report.figures.attention import attention_figure
from crossattn_core.report.figures.models import retrain_figure
from crossattn_core.report.figures.performance import equity_figure, underwater_figure
from crossattn_core.report.figures.style import png
from crossattn_core.report.tables import headline_markdown
from crossattn_core.report.verdict import MAX_PLAUSIBLE_IC, MAX_PLAUSIBLE_SHARPE
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.selection.handover import champion_note, check_handover, read_handover
from crossattn_core.stages import StageTable
from crossattn_pipeline.assets.from_table import stage_asset
from crossattn_pipeline.metadata import REPORTS_PATH, check_rows, figure, made_because, number, table

__all__ = ["portfolio_assets"]


def portfolio_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """``target_weights`` and ``backtest_report``, each made as a whole."""
    experiment = stages.experiment

    @stage_asset(
        stages,
        "target_weights",
        description=(
            "Target weights of each strategy at each decision, and the champion's weights as Parquet, CSV and JSON. A decision "
            "reads nothing after its own row; the champion of a day is chosen from returns realised before it. Before the first "
            "model serves there is nothing to decide: the step logs it and is skipped."
        ),
        output_required=False,
        kinds={"parquet"},
        check_specs=[
            dg.AssetCheckSpec(
                "fit_to_send",
                asset="target_weights",
                blocking=True,
                description="The stored orders are finite, within the asset's and the gross limits, and tradable at the fill.",
            )
        ],
    )
    def target_weights(
        context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        why = made_because(line, "target_weights")
        try:
            decided = model_stages.decide_weights(line)
        except NoForecastError as early:
            context.log.warning(f"nothing is decided: {early}")
            yield dg.AssetCheckResult(
                asset_key="target_weights", check_name="fit_to_send", passed=True, metadata={"orders": 0, "why": str(early)}
            )
            return
        champions = decided.champions
        newest = pd.DataFrame(
            {"asset": line.experiment.symbols} | {name: targets.target_DN[-1] for name, targets in decided.targets.items()},
        )
        as_of_D = decided.targets[CHAMPION].as_of_D
        orders = read_handover(line.home.target_weights)
        faults = check_handover(orders, experiment)
        yield dg.MaterializeResult(
            metadata={
                **why,
                "champion": str(champions.by_day["champion"].iloc[-1]),
                "why": champion_note(champions),
                "paired_tests": table(champions.paired_tests.tail(20).iloc[::-1], rows=20),
                "decisions": len(as_of_D),
                "newest_decision": str(as_of_D[-1]),
                "newest_weights": table(newest),
                "path": dg.MetadataValue.path(line.home.target_weights),
                "content_hash": {name: targets.content_hash for name, targets in decided.targets.items()},
            },
            check_results=[check_rows("target_weights", "fit_to_send", faults, orders=len(orders), faults=len(faults))],
        )

    @stage_asset(
        stages,
        "backtest_report",
        description="Simulated trading of every strategy net of costs, beside its baselines, as one self-contained page.",
        kinds={"html"},
        pool="duckdb",
        check_specs=[
            dg.AssetCheckSpec(
                "plausible",
                asset="backtest_report",
                description=f"On recorded or live candles a net Sharpe above {MAX_PLAUSIBLE_SHARPE:g} or an IC above "
                f"{MAX_PLAUSIBLE_IC:g} is a leak until proven otherwise.",
            )
        ],
    )
    def backtest_report(line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        why = made_because(line, "backtest_report")
        inputs, paths = model_stages.write_report(line)
        report = json.loads(paths.json.read_text(encoding="utf-8"))
        simulations, plan = inputs.simulations, inputs.plan
        metadata: dict[str, Any] = {
            **why,
            "page": dg.MetadataValue.url(f"{REPORTS_PATH}/{paths.html.parent.name}/{paths.html.name}"),
            "path": dg.MetadataValue.path(paths.html),
            "verdict": report["verdict"]["headline"],
            "headline": dg.MetadataValue.md(headline_markdown(report)),
            "sharpe": number(report["strategies"][inputs.subject]["sharpe"]),
            "equity": figure(png(equity_figure(simulations, inputs.subject, inputs.benchmark)), "equity"),
            "drawdown": figure(png(underwater_figure(simulations, inputs.subject, inputs.benchmark)), "drawdown"),
        }
        if inputs.attention is not None:
            metadata["attention"] = figure(png(attention_figure(inputs.attention)), "attention")
        if plan is not None and len(plan):
            span = simulations[inputs.subject].as_of_T
            metadata["retrains"] = figure(png(retrain_figure(plan, inputs.regime_windows, span[0], span[-1])), "retrains")
        if inputs.leaders is not None:
            named = inputs.leaders[inputs.leaders["named"]]
            metadata["predictive_leads"] = table(named) if len(named) else "no lead found"
        return dg.MaterializeResult(metadata=metadata, check_results=[_plausible(line, report)])

    return [target_weights, backtest_report]


def _plausible(line: Line, report: dict) -> dg.AssetCheckResult:
    suspects = pd.DataFrame(
        [
            (name, numbers["sharpe"], numbers["ic"])
            for name, numbers in report["strategies"].items()
            if (numbers["sharpe"] or 0.0) > MAX_PLAUSIBLE_SHARPE or (numbers["ic"] or 0.0) > MAX_PLAUSIBLE_IC
        ],
        columns=["strategy", "sharpe", "ic"],
    )
    simulated = line.experiment.feed.kind == "simulated"
    return dg.AssetCheckResult(
        asset_key="backtest_report",
        check_name="plausible",
        passed=simulated or suspects.empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"suspects": table(suspects), "simulated_market": simulated},
    )
