"""The page's section on attention and predictive leads: what the model looks at, and which of it deserves belief.

The words are "attention" and "predictive lead"; nothing here speaks of cause.
"""

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.leaders import why_no_lead
from crossattn_core.experiment import Experiment
from crossattn_core.report.figures.attention import Order, attention_figure, time_figure, views_figure
from crossattn_core.report.figures.leads import edge_graph_figure, lag_profile_figure, stress_figure
from crossattn_core.report.figures.style import svg
from crossattn_core.report.inputs import AttentionSummary, ReportInputs

__all__ = ["PICTURES", "attention_pictures", "attention_section"]

PICTURES = (
    "attention",
    "attention_through_time",
    "three_views",
    "predictive_leads",
    "lag_profiles",
    "correlation_by_regime",
)
"""Names of the pictures, in the page's order."""

_SECTION = """
{% if attention %}<p class="note">Attention as it was used for forecasts (evaluation mode, before dropout), averaged over the
  newest {{ window_days }} days. High attention is not yet evidence of a lead: the table below says which pairs also pass
  an out-of-sample and a permutation test.</p>
<figure>{{ attention }}</figure>{% else %}<p class="missing">No attention snapshot was handed to this report.</p>{% endif %}
{% if attention_through_time %}<h3>Attention through time</h3>
<p class="note">The sources that received most, over the regimes in force; below, entropy (1 is uniform) and the share of
  attention that moved since the snapshot before.</p>
<figure>{{ attention_through_time }}</figure>{% endif %}
{% if three_views %}<h3>Three views, beside classical statistics</h3>
<p class="note">For the model that came into force on {{ evidence_day }}. Attention says where the model looks, gradient x
  input what a small change would do, occlusion what a source is worth to the forecast (its history replaced by that of other
  weeks). Below: false-discovery rates of the lagged cross-correlation (permutation test), of Granger's F-test and of the
  Hayashi-Yoshida estimator for bars that are not synchronous. Where views disagree, none of them is to be believed alone.</p>
<figure>{{ three_views }}</figure>{% endif %}
<h3>Predictive leads{% if simulated %}, against the planted truth{% endif %}</h3>
<p class="note">A lead is named only where the pair survives the permutation test with false-discovery control, stands beside
  the follower's other leads, the model's out-of-sample forecast beats the same model without cross-attention, and its
  attention looks there.{% if no_lead %} <strong>{{ no_lead }}</strong>{% endif %}</p>
{% if predictive_leads %}<figure>{{ predictive_leads }}</figure>{% endif %}
{{ table }}
{% if lag_profiles %}<h3>Lag profiles</h3>
<p class="note">Attention by lag from the largest stored weights; z of the lagged correlation of returns, the band is what 95%
  of single lags stay within by chance.</p>
<figure>{{ lag_profiles }}</figure>{% endif %}
{% if correlation_by_regime %}<h3>Correlation by regime</h3>
<p class="note">Same-hour correlation of hourly returns in the windows of each regime: what is left of diversification when it
  is needed.</p>
<figure>{{ correlation_by_regime }}</figure>{% endif %}
"""


def attention_pictures(
    summary: AttentionSummary, story: AttentionOverview, experiment: Experiment, *, order: Order
) -> dict[str, Figure]:
    """Every picture that there is something to draw for, by name (``PICTURES``)."""
    drawn = {
        "attention": attention_figure(summary, order=order, sectors=story.sectors, net_N=story.net_N),
        "attention_through_time": time_figure(story),
        "predictive_leads": edge_graph_figure(story, false_discovery_rate=experiment.analysis.false_discovery_rate),
    }
    if len(story.evidence):
        drawn["three_views"] = views_figure(story)
    if len(story.leaders):
        drawn["lag_profiles"] = lag_profile_figure(story)
    if story.regime_correlations:
        drawn["correlation_by_regime"] = stress_figure(story)
    return drawn


def attention_section(inputs: ReportInputs, table: Markup) -> Markup:
    """The section's HTML; parts that were not handed in are left out, and a missing snapshot is said.

    Args:
        table: the table of leaders.
    """
    story, settings = inputs.story, inputs.experiment.analysis
    if inputs.attention is not None and story is not None:
        drawn = attention_pictures(inputs.attention, story, inputs.experiment, order="sector")
    else:
        drawn = {} if inputs.attention is None else {"attention": attention_figure(inputs.attention)}
    shown = {name: Markup(svg(figure, name.replace("_", "-"))) for name, figure in drawn.items()}
    no_lead = ""
    if inputs.leaders is not None and "conditional_p" in inputs.leaders:
        no_lead = why_no_lead(inputs.leaders, settings.false_discovery_rate)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return Markup(
        environment.from_string(_SECTION).render(
            {name: shown.get(name) for name in PICTURES}
            | {
                "table": table,
                "no_lead": no_lead,
                "simulated": inputs.planted is not None,
                "window_days": settings.window_days,
                "evidence_day": "" if story is None or story.evidence.empty else f"{story.evidence['day'].iloc[0]:%Y-%m-%d}",
            }
        )
    )
