"""The leads in one sentence: how many are named, and where the truth is known, how many of it were found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossattn_core.experiment import PlantedLead
from crossattn_core.report.inputs import ReportInputs

__all__ = ["LeadVerdict", "lead_verdict", "planted_here"]


@dataclass(frozen=True)
class LeadVerdict:
    """Counts of leads, and the sentence that tells them; of an unknown truth the counts that need it are None."""

    headline: str
    named: int
    tradable: int
    """Named leads whose strongest signals make more than they cost."""
    planted: int | None = None
    """Leads planted between assets of this universe."""
    at_the_exact_lag: int | None = None
    """Planted leads that are named, at the lag that was planted."""
    at_another_lag: int | None = None
    within_a_group: int | None = None
    """Planted leads whose leader is named only as one of a group that leads the follower."""
    not_planted: int | None = None
    """Named leads that nobody planted; a group that holds the planted leader of its follower is none of them."""
    missed: Sequence[PlantedLead] = ()
    """Planted leads that are not named as pairs."""


def planted_here(inputs: ReportInputs) -> list[PlantedLead] | None:
    """The planted leads between assets of this universe; None where the truth is unknown."""
    if inputs.planted is None:
        return None
    known = set(inputs.experiment.symbols)
    return [lead for lead in inputs.planted if lead.leader in known and lead.follower in known]


def lead_verdict(inputs: ReportInputs) -> LeadVerdict | None:
    """Count the named leads, against the planted ones where these are known; None where nobody looked for leads."""
    if inputs.leaders is None:
        return None
    named = [row for row in inputs.leaders.to_dict("records") if row["named"]]
    tradable = sum(row.get("tradable") in (True,) for row in named)  # missing is neither
    planted = planted_here(inputs)
    if planted is None:
        headline = f"{_leads(len(named))} named{f', {tradable} of them proven tradable' if named else ''}."
        headline = headline[0].upper() + headline[1:]
        return LeadVerdict(headline, len(named), tradable)
    lag_of = {(_symbol(row["leader"]), _symbol(row["follower"])): int(row["lag"]) for row in named}
    missed = tuple(lead for lead in planted if (lead.leader, lead.follower) not in lag_of)
    exact = sum(lag_of.get((lead.leader, lead.follower)) == lead.lag for lead in planted)
    other = len(planted) - len(missed) - exact
    grouped = sum(any(_holds(row, lead) for row in named) for lead in missed)
    false = sum(not any(_holds(row, lead) for lead in planted) for row in named)
    headline = f"{exact} of {len(planted)} planted {'lead' if len(planted) == 1 else 'leads'} found at the exact lag"
    headline += f", {other} at another lag" if other else ""
    headline += f", {grouped} within a group that leads" if grouped else ""
    headline += f"; {_leads(false)} named that nobody planted."
    return LeadVerdict(headline, len(named), tradable, len(planted), exact, other, grouped, false, missed)


def _holds(row: dict[Any, Any], lead: PlantedLead) -> bool:
    """Whether a named row is the planted lead, or a group's that its leader belongs to."""
    leaders = {_symbol(row["leader"]), *map(_symbol, row["members"])}
    return _symbol(row["follower"]) == lead.follower and lead.leader in leaders


def _leads(count: int) -> str:
    return "no lead" if not count else "1 lead" if count == 1 else f"{count} leads"


def _symbol(asset: object) -> str:
    return str(asset).rsplit(":", 1)[-1]
