"""Every picture of attention and of predictive leads that there is something to draw for."""

from matplotlib.figure import Figure

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.experiment import AnalysisSettings
from crossattn_core.report.figures.attention import Order, attention_figure, time_figure, views_figure
from crossattn_core.report.figures.leads import edge_graph_figure, lag_profile_figure, stress_figure
from crossattn_core.report.inputs import AttentionSummary

__all__ = ["PICTURES", "attention_pictures"]

PICTURES = ("attention", "attention_through_time", "three_views", "predictive_leads", "lag_profiles", "correlation_by_regime")
"""Names of the pictures, in the page's order."""


def attention_pictures(
    summary: AttentionSummary, overview: AttentionOverview, settings: AnalysisSettings, *, order: Order
) -> dict[str, Figure]:
    """The pictures by name (``PICTURES``); those without anything to draw are left out.

    Args:
        settings: links of returns whose q is within ``false_discovery_rate`` are drawn although no lead is named.
        order: of the assets in the heatmap of attention.
    """
    drawn = {
        "attention": attention_figure(summary, order=order, sectors=overview.sectors, net_N=overview.net_N),
        "attention_through_time": time_figure(overview),
        "predictive_leads": edge_graph_figure(overview, false_discovery_rate=settings.false_discovery_rate),
    }
    if len(overview.evidence):
        drawn["three_views"] = views_figure(overview)
    if len(overview.leaders):
        drawn["lag_profiles"] = lag_profile_figure(overview)
    if overview.regime_correlations:
        drawn["correlation_by_regime"] = stress_figure(overview)
    return drawn
