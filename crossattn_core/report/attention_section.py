"""The page's section on attention and predictive leads: what the model looks at, and which of it deserves belief.

The words are "attention" and "predictive lead"; nothing here speaks of cause.
"""

import jinja2
from markupsafe import Markup

from crossattn_core.analysis.leaders import why_no_lead
from crossattn_core.report.attention_figures import attention_figure, time_figure, views_figure
from crossattn_core.report.ink import svg
from crossattn_core.report.inputs import ReportInputs
from crossattn_core.report.lead_figures import edge_graph_figure, lag_profile_figure, stress_figure

__all__ = ["attention_section"]

_SECTION = """
{% if heatmap %}<p class="note">Attention as it was used for forecasts (evaluation mode, before dropout), averaged over the
  newest {{ window_days }} days. High attention is not yet evidence of a lead: the table below says which pairs also pass
  an out-of-sample and a permutation test.</p>
<figure>{{ heatmap }}</figure>{% else %}<p class="missing">No attention snapshot was handed to this report.</p>{% endif %}
{% if time %}<h3>Attention through time</h3>
<p class="note">The sources that received most, over the regimes in force; below, entropy (1 is uniform) and the share of
  attention that moved since the snapshot before.</p>
<figure>{{ time }}</figure>{% endif %}
{% if views %}<h3>Three views, beside classical statistics</h3>
<p class="note">For the model that came into force on {{ evidence_day }}. Attention says where the model looks, gradient x
  input what a small change would do, occlusion what a source is worth to the forecast (its history replaced by that of other
  weeks). Below: false-discovery rates of the lagged cross-correlation (permutation test), of Granger's F-test and of the
  Hayashi-Yoshida estimator for bars that are not synchronous. Where views disagree, none of them is to be believed alone.</p>
<figure>{{ views }}</figure>{% endif %}
<h3>Predictive leads{% if simulated %}, against the planted truth{% endif %}</h3>
<p class="note">A lead is named only where the pair survives the permutation test with false-discovery control, stands beside
  the follower's other leads, the model's out-of-sample forecast beats the same model without cross-attention, and its
  attention looks there.{% if no_lead %} <strong>{{ no_lead }}</strong>{% endif %}</p>
{% if graph %}<figure>{{ graph }}</figure>{% endif %}
{{ table }}
{% if profile %}<h3>Lag profiles</h3>
<p class="note">Attention by lag from the largest stored weights; z of the lagged correlation of returns, the band is what 95%
  of single lags stay within by chance.</p>
<figure>{{ profile }}</figure>{% endif %}
{% if stress %}<h3>Correlation by regime</h3>
<p class="note">Same-hour correlation of hourly returns in the windows of each regime: what is left of diversification when it
  is needed.</p>
<figure>{{ stress }}</figure>{% endif %}
"""


def attention_section(inputs: ReportInputs, table: Markup) -> Markup:
    """The section's HTML; parts that were not handed in are left out, and a missing snapshot is said.

    Args:
        table: the table of leaders.
    """
    story, settings = inputs.story, inputs.experiment.analysis
    sectors = tuple(asset.sector for asset in inputs.experiment.assets)
    drawn = {}
    if inputs.attention is not None:
        net_N = None if story is None else story.net_N
        drawn["heatmap"] = attention_figure(inputs.attention, order="sector", sectors=sectors, net_N=net_N)
    if story is not None:
        drawn["time"] = time_figure(story)
        drawn["graph"] = edge_graph_figure(story, false_discovery_rate=settings.false_discovery_rate)
        drawn["profile"] = lag_profile_figure(story) if len(story.leaders) else None
        drawn["views"] = views_figure(story) if len(story.evidence) else None
        drawn["stress"] = stress_figure(story) if story.stress else None
    shown = {name: Markup(svg(figure, f"attention-{name}")) for name, figure in drawn.items() if figure is not None}
    names = ("heatmap", "time", "views", "graph", "profile", "stress")
    no_lead = ""
    if inputs.leaders is not None and "conditional_p" in inputs.leaders:
        no_lead = why_no_lead(inputs.leaders, settings.false_discovery_rate)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return Markup(
        environment.from_string(_SECTION).render(
            {name: shown.get(name) for name in names}
            | {
                "table": table,
                "no_lead": no_lead,
                "simulated": inputs.planted is not None,
                "window_days": settings.window_days,
                "evidence_day": "" if story is None or story.evidence.empty else f"{story.evidence['day'].iloc[0]:%Y-%m-%d}",
            }
        )
    )
