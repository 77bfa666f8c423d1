"""The network, as torch modules that know no panel: windows of bars in, forecasts and the attention behind them out.

network     own part + cross part, put together and initialised in one place
stack       layers of temporal, then cross-asset attention; stacked puts a readout on them
attention   how an asset reads the others: one file a variant, found by a registry
encoders    how an asset's own window becomes a summary: likewise
heads       what the raw outputs mean: returns, directions or weights
plain       the models by their usual names, for notebooks: what this package exports
"""

from crossattn_core.model.plain.frames import frame_windows
from crossattn_core.model.plain.modules import (
    CrossAssetAttention,
    HierarchicalCrossAttention,
    MultiHeadCrossAttention,
    TemporalCrossAttention,
)
from crossattn_core.model.plain.multi_asset import CrossAttentionMultiAsset

__all__ = [
    "CrossAssetAttention",
    "CrossAttentionMultiAsset",
    "HierarchicalCrossAttention",
    "MultiHeadCrossAttention",
    "TemporalCrossAttention",
    "frame_windows",
]
