"""The Portfolio Transformer, compact: an encoder and a decoder over time that give the whole portfolio at once.

After D. Kisiel and D. Gorse, "Portfolio Transformer for Attention-Based Asset Allocation" (2022, arXiv:2206.03246):
learned time encoding, gated residual parts, attention over time with all assets in one token, trained end to end on the
Sharpe ratio net of turnover. Smaller than theirs: patches of bars for tokens, one decoder layer, and this project's
weights head (see heads.py) and loss.

Axes: B decision rows, N assets, L bars, P patches, C channels, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.shape import NetworkShape, by_head

__all__ = ["PortfolioTransformer"]


@ENCODERS.register("portfolio_transformer")
class PortfolioTransformer(Encoder):
    """Windows of all assets to one summary an asset, like every own branch; assets meet inside the tokens."""

    reads_others = True

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self._patch, self._assets = settings.patch, shape.assets
        width, heads, dropout = settings.width, settings.heads, settings.dropout
        self.embed = nn.Linear(settings.patch * shape.assets * shape.channels, width)
        self.time = _TimeEncoding(settings.lookback // settings.patch, width)
        self.encoder = nn.ModuleList([_GatedAttention(width, heads, dropout) for _ in range(settings.layers)])
        self.decoder = _GatedAttention(width, heads, dropout)
        self.part = nn.Linear(width, shape.assets * width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        batch, assets, bars, channels = bar_BNLC.shape
        patch_BPE = bar_BNLC.transpose(1, 2).reshape(batch, bars // self._patch, self._patch * assets * channels)
        embedded_BPD = self.time(self.embed(patch_BPE))
        memory_BPD = embedded_BPD
        for layer in self.encoder:
            memory_BPD = layer(memory_BPD, memory_BPD, causal=True)
        # The decoder gives the newest step only; it may look at every step of the memory.
        decoded_B1D = self.decoder(embedded_BPD[:, -1:], memory_BPD, causal=False)
        return self.part(functional.elu(decoded_B1D[:, 0])).view(batch, self._assets, -1)


class _TimeEncoding(nn.Module):
    """Time2Vec (Kazemi et al., 2019), added to the tokens: one linear and many periodic functions of the step."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.frequency_D = nn.Parameter(torch.randn(width))
        self.phase_D = nn.Parameter(torch.zeros(width))
        self.register_buffer("step_P1", torch.linspace(-1.0, 0.0, steps)[:, None], persistent=False)

    def forward(self, token_BPD: Tensor) -> Tensor:
        angle_PD = self.get_buffer("step_P1")[-token_BPD.shape[1] :] * self.frequency_D + self.phase_D
        return token_BPD + torch.cat([angle_PD[:, :1], angle_PD[:, 1:].sin()], dim=1)


class _GatedAttention(nn.Module):
    """Attention, then a gated residual network (Lim et al., 2021): each part can close its own gate."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.gate_attention = nn.Linear(width, 2 * width)
        self.norm_attention = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.gate_forward = nn.Linear(2 * width, 2 * width)
        self.norm_forward = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query_BQD: Tensor, memory_BPD: Tensor, *, causal: bool) -> Tensor:
        parts_BXD = self.query(query_BQD), *self.key_value(memory_BPD).chunk(2, dim=-1)
        query_BHQK, key_BHPK, value_BHPK = (by_head(part_BXD, self._heads) for part_BXD in parts_BXD)
        mixed_BHQK = functional.scaled_dot_product_attention(query_BHQK, key_BHPK, value_BHPK, is_causal=causal)
        mixed_BQD = self.dropout(mixed_BHQK.transpose(1, 2).flatten(2))
        kept_BQD = self.norm_attention(query_BQD + functional.glu(self.gate_attention(mixed_BQD), dim=-1))
        expanded_BQE = self.dropout(functional.elu(self.expand(kept_BQD)))
        return self.norm_forward(kept_BQD + functional.glu(self.gate_forward(expanded_BQE), dim=-1))
