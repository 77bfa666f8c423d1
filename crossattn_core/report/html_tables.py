"""Tables of the page as HTML. Text is escaped here, once; what comes out is safe to place on the page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from crossattn_core.backtest.metrics.registry import Unit, unit_of
from crossattn_core.experiment import PlantedLead

__all__ = [
    "Form",
    "accuracy_table",
    "decay_table",
    "forecast_table",
    "leader_table",
    "metrics_table",
    "missing",
    "months_table",
    "parts_table",
    "plain_table",
    "plan_table",
    "records_table",
    "significance_table",
    "words",
]

Form = Callable[[Any], str]
_FORM_OF_UNIT: dict[Unit, Form] = {
    "fraction": lambda share: f"{share + 0.0:.1%}".replace("-0.0%", "0.0%"),
    "ratio": lambda number: f"{number:.3f}",
    "days": lambda number: f"{number:,.0f}",
    "hours": lambda number: f"{number:,.0f}",
    "count": lambda number: f"{number:,}",
    "flag": lambda flag: "yes" if flag else "no",
}
_SHOWN_RETRAINS = 20
_LONG_TEXT = 28
"""Characters beyond which a cell may wrap."""


def words(name: str) -> str:
    """A name from code as a reader's words: ``equal_weight`` -> ``equal weight``."""
    return str(name).replace("_", " ")


def percent(value: Any) -> str:
    """+1.2%, 0.0% without a sign, '-' where there is none."""
    return "-" if _absent(value) else f"{0.0 if abs(value) < 0.0005 else value:+.1%}".replace("+0.0%", "0.0%")


def ratio(value: Any) -> str:
    """+1.23, 0.00 without a sign, '-' where there is none."""
    return "-" if _absent(value) else f"{0.0 if abs(value) < 0.005 else value:+.2f}".replace("+0.00", "0.00")


def missing(what: str) -> Markup:
    """A sentence in place of a part that was not handed in."""
    return Markup('<p class="missing">{}</p>').format(what)


def records_table(records: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, Form]], left: int = 1) -> Markup:
    """``columns``: (key, heading, form); the first ``left`` columns are texts."""
    lines = [[form(record.get(key)) for key, _, form in columns] for record in records]
    return _table([heading for _, heading, _ in columns], lines, left={*range(left)})


def months_table(months: Sequence[dict[str, Any]]) -> Markup:
    """Net return by month and strategy, signs coloured."""
    if not months:
        return missing("Less than a month.")
    names = [key for key in months[0] if key != "month"]
    body = []
    for record in months:
        cells = [Markup('<td class="l">{}</td>').format(record["month"])]
        for name in names:
            value = record[name]
            tone = "" if _absent(value) or round(value, 4) == 0 else (" class=up" if value > 0 else " class=down")
            cells.append(Markup(f"<td{tone}>{{}}</td>").format(percent(value)))
        body.append(Markup("").join(cells))
    head = Markup("").join([Markup('<th class="l">month</th>'), *(Markup("<th>{}</th>").format(words(name)) for name in names)])
    return Markup('<div class="scroll"><table><tr>{}</tr>{}</table></div>').format(
        head, Markup("").join(Markup("<tr>{}</tr>").format(row) for row in body)
    )


def metrics_table(strategies: dict[str, dict[str, Any]]) -> Markup:
    """Every metric, one line each in its unit, one column a strategy."""
    names = list(strategies)
    first = strategies[names[0]]
    lines = []
    for metric, value in first.items():
        if isinstance(value, dict) or metric in ("sharpe_low", "sharpe_high", "sharpe_less_benchmark"):
            continue
        form = _FORM_OF_UNIT[unit_of(metric)]
        values = [strategies[name][metric] for name in names]
        lines.append([words(metric), *("-" if _absent(number) else form(number) for number in values)])
    return _table(["metric", *(words(name) for name in names)], lines, left={0})


def parts_table(lines: Sequence[dict[str, Any]], kind: str) -> Markup:
    """Every metric of the parts of one kind, one line each; costs by kind and counts are in ``report.json``."""

    def share(value: Any) -> str:
        return percent(value).lstrip("+")

    columns: list[tuple[str, str, Form]] = [
        ("part", kind, str),
        ("days", "days", lambda days: f"{days:.0f}"),
        ("net_return", "net return", percent),
        ("annual_return", "a year", percent),
        ("annual_volatility", "volatility", share),
        ("sharpe", "Sharpe", ratio),
        ("sortino", "Sortino", ratio),
        ("calmar", "Calmar", ratio),
        ("max_drawdown", "deepest fall", share),
        ("value_at_risk", "VaR 95", share),
        ("expected_shortfall", "CVaR 95", share),
        ("skew", "skew", ratio),
        ("kurtosis", "kurtosis", ratio),
        ("hit_rate", "hit rate", share),
        ("profit_factor", "profit factor", ratio),
        ("tail_ratio", "tail ratio", ratio),
        ("turnover_per_day", "turnover a day", share),
        ("average_gross_exposure", "gross", share),
        ("average_net_exposure", "net", percent),
        ("cost_share", "costs", share),
        ("alpha", "alpha", percent),
        ("beta", "beta", ratio),
        ("information_ratio", "inform. ratio", ratio),
    ]
    if kind == "month":
        # A month scaled up to a year is no figure to read; report.json has it.
        columns = [column for column in columns if column[0] not in ("annual_return", "calmar")]
    if not lines:
        return missing("Nothing to tell yet.")
    return Markup('<div class="dense">{}</div>').format(records_table(lines, columns))


def leader_table(leaders: pd.DataFrame | None, planted: Sequence[PlantedLead] | None) -> Markup:
    """Named pairs beside the planted truth; without truth, the strongest candidates and why they were or were not named."""
    if leaders is None and planted is None:
        return missing("No lead-lag analysis was handed to this report.")
    frame = pd.DataFrame(columns=["leader", "follower", "lag", "weight", "correlation", "q_value", "named", "why"])
    if leaders is not None:
        frame = leaders
    found = {
        (_symbol(line["leader"]), _symbol(line["follower"])): line for line in frame.to_dict("records") if bool(line["named"])
    }
    lines: list[list[Any]] = []
    if planted is not None:
        for lead in planted:
            line = found.pop((lead.leader, lead.follower), None)
            named = _mark("found", True) if line is not None else _mark("not found", False)
            lag = "-" if line is None else f"{int(line['lag'])} h"
            lines.append([lead.leader, lead.follower, f"{lead.lag} h", lag, named, *_evidence(line)])
        for (leader, follower), line in found.items():
            lines.append(
                [leader, follower, "none", f"{int(line['lag'])} h", _mark("named, not planted", False), *_evidence(line)]
            )
        return _table(
            ["leader", "follower", "planted lag", "found lag", "", "attention", "correlation", "q"], lines, left={0, 1, 4}
        )
    # Stable: where many pairs share the largest q, those with the largest z stay first.
    ranked = frame.assign(_named=frame["named"].astype(bool)).sort_values(
        ["_named", "q_value"], ascending=[False, True], kind="stable"
    )
    for line in ranked.head(12).to_dict("records"):
        named = _mark("named", True) if line["named"] else _mark(str(line.get("why") or "not named"), False)
        lines.append([_symbol(line["leader"]), _symbol(line["follower"]), f"{int(line['lag'])} h", named, *_evidence(line)])
    return _table(["leader", "follower", "lag", "", "attention", "correlation", "q"], lines, left={0, 1, 3})


def significance_table(numbers: dict[str, Any], confidence: float) -> Markup:
    """Each test with its number and what it says."""

    def share(name: str) -> str:
        return "-" if _absent(numbers[name]) else f"{numbers[name]:.1%}"

    needed = numbers["minimum_track_record_days"]
    enough = "no length is enough" if _absent(needed) else f"{needed:,.0f} days; there are {numbers['days']:,}"
    hurdle = "-" if _absent(numbers["best_by_luck_annual"]) else f"{numbers['best_by_luck_annual']:.2f}"
    p_value = "-" if _absent(numbers["superior_ability_p"]) else f"{numbers['superior_ability_p']:.3f}"
    lines = [
        ["Probabilistic Sharpe ratio", share("probabilistic_sharpe"), "probability that the true Sharpe ratio is above zero"],
        [
            "Deflated Sharpe ratio",
            share("deflated_sharpe"),
            f"probability that it is above {hurdle} a year, what the best of {numbers['trials']} worthless trials shows by luck",
        ],
        ["Minimum track record", enough, f"needed to call it above zero with {confidence:.0%} confidence"],
        [
            "Superior predictive ability",
            f"p = {p_value}",
            "that no strategy on this page beats the benchmark in mean return (Hansen)",
        ],
        [
            "Probability of overfitting",
            share("overfitting_probability"),
            "that the best strategy of one half of the days is below the middle in the other half (CSCV)",
        ],
    ]
    return _table(["test", "result", "meaning"], lines, left={0, 2})


def forecast_table(forecast_quality: pd.DataFrame | None) -> Markup:
    """Each measure of each family by horizon, averaged over assets, with its interval; then the range over assets."""
    if forecast_quality is None or not len(forecast_quality):
        return missing("No forecast quality was handed to this report.")
    average = forecast_quality[forecast_quality["asset_id"] == "all"]
    single = forecast_quality[forecast_quality["asset_id"] != "all"]
    lines = []
    for line in average.to_dict("records"):
        beside = (
            (single["family"] == line["family"]) & (single["horizon"] == line["horizon"]) & (single["measure"] == line["measure"])
        )
        values = single.loc[beside, ["asset_id", "value"]].dropna().sort_values("value", kind="stable")
        ends = ["-", "-"]
        if len(values):
            ends = [f"{_symbol(values['asset_id'].iloc[place])} {values['value'].iloc[place]:+.3f}" for place in (0, -1)]
        interval = "-" if _absent(line["low"]) else f"[{line['low']:+.3f}, {line['high']:+.3f}]"
        value = "-" if _absent(line["value"]) else f"{line['value']:+.3f}"
        lines.append([words(line["family"]), line["measure"], f"{line['horizon']} h", value, interval, *ends])
    return _table(["family", "measure", "horizon", "average", "interval", "lowest", "highest"], lines, left={0, 1})


def accuracy_table(tests: Sequence[Mapping[str, Any]]) -> Markup:
    """Diebold-Mariano tests: who has the smaller error at each horizon, and how sure that is."""
    if not tests:
        return missing("No forecasts were handed to this report to compare.")
    lines = []
    for test in tests:
        first, second = words(test["first"]), words(test["second"])
        told = "cannot be told apart"
        if _absent(test["p_value"]):
            told = "too few rows"
        elif test["p_value"] < 0.05:
            told = f"{first if test['statistic'] < 0 else second} is more accurate"
        p_value = "-" if _absent(test["p_value"]) else f"{test['p_value']:.3f}"
        lines.append([first, second, f"{test['horizon']} h", ratio(test["statistic"]), p_value, f"{test['rows']:,}", told])
    return _table(["forecast", "against", "horizon", "statistic", "p", "rows", "at 5%"], lines, left={0, 1, 6})


def decay_table(decay: Sequence[Mapping[str, Any]], confidence: float) -> Markup:
    """IC by hours ahead, one line a family, each with its interval."""
    if not decay:
        return missing("No forecasts were handed to this report to follow.")
    hours = list(dict.fromkeys(line["hours"] for line in decay))
    lines = []
    for family in dict.fromkeys(line["family"] for line in decay):
        cells = {line["hours"]: line for line in decay if line["family"] == family}
        lines.append(
            [
                words(family),
                *(
                    "-"
                    if _absent(cells[hour]["ic"])
                    else f"{cells[hour]['ic']:+.3f} ±{cells[hour]['high'] - cells[hour]['ic']:.3f}"
                    for hour in hours
                ),
            ]
        )
    return _table([f"family (± at {confidence:.0%})", *(f"{hour} h" for hour in hours)], lines, left={0})


def plan_table(plan: pd.DataFrame | None) -> Markup:
    """The retrains, newest first; days that carried the model on are counted, not listed."""
    if plan is None or not len(plan):
        return missing("No retrain plan was handed to this report.")
    retrains = plan[plan["action"] == "retrain"].sort_values("day", ascending=False, kind="stable")
    columns = [
        name
        for name in ("day", "family", "reason", "why", "regime", "train_start", "cut_off", "rows", "validation_loss", "model_id")
        if name in plan
    ]
    lines = [[_cell(line[name]) for name in columns] for line in retrains.head(_SHOWN_RETRAINS).to_dict("records")]
    table = _table(
        [words(name) for name in columns],
        lines,
        left={place for place, name in enumerate(columns) if name not in ("rows", "validation_loss")},
    )
    carried = int((plan["action"] == "carry").sum())
    told = f"{len(retrains)} retrains; on {carried} model-days the model in force was carried on."
    if len(retrains) > _SHOWN_RETRAINS:
        told += f" The newest {_SHOWN_RETRAINS} are listed."
    return Markup('<p class="note">{}</p>{}').format(told, table)


def plain_table(frame: pd.DataFrame | None, absent: str) -> Markup:
    """A frame as it is."""
    if frame is None or not len(frame):
        return missing(absent)
    texts = {place for place, name in enumerate(frame.columns) if not pd.api.types.is_numeric_dtype(frame[name])}
    lines = [[_cell(value) for value in line] for line in frame.itertuples(index=False)]
    return _table([words(str(name)) for name in frame.columns], lines, left=texts)


def _table(headings: Sequence[str], lines: Sequence[Sequence[Any]], left: set[int]) -> Markup:
    long = {place for place in left if any(len(str(line[place])) > _LONG_TEXT for line in lines)}

    def side(place: int) -> str:
        if place not in left:
            return ""
        return ' class="l wrap"' if place in long else ' class="l"'

    head = "".join(f"<th{side(place)}>{escape(heading)}</th>" for place, heading in enumerate(headings))
    body = "".join(
        "<tr>" + "".join(f"<td{side(place)}>{escape(cell)}</td>" for place, cell in enumerate(line)) + "</tr>\n" for line in lines
    )
    return Markup(f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>')


def _mark(text: str, good: bool) -> Markup:
    return Markup('<span class="{}">{}</span>').format("yes" if good else "no", text)


def _evidence(line: Mapping[Any, Any] | None) -> list[str]:
    if line is None:
        return ["-", "-", "-"]
    return [
        "-" if _absent(line.get("weight")) else f"{line['weight']:.1%}",
        "-" if _absent(line.get("correlation")) else f"{line['correlation']:+.3f}",
        "-" if _absent(line.get("q_value")) else f"{line['q_value']:.3f}",
    ]


def _symbol(asset: Any) -> str:
    return str(asset).rsplit(":", 1)[-1]


def _cell(value: Any) -> str:
    if _absent(value):
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.4g}"
    if hasattr(value, "strftime"):
        text = str(value)
        return text.removesuffix(" 00:00:00").removesuffix(":00")
    return str(value)


def _absent(value: Any) -> bool:
    return value is None or (not isinstance(value, str | list | tuple | dict) and bool(pd.isna(value)))
