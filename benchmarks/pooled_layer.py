"""The layer that crossattn set out to replace, from its formulas: attention between the assets' means over time.

Per layer: multi-head self-attention over every hourly token of each asset; tokens averaged over time; multi-head
attention from each asset to the other assets' means; the answer added to every token; a feed-forward of four times the
width. Dropout on the attention weights, weights returned, as commonly written.

Axes: B windows, N assets, L bars, C channels, D width.
"""

import torch
from torch import Tensor, nn

__all__ = ["PooledNetwork"]


class PooledNetwork(nn.Module):
    """Layers of the pooled kind and a linear head on the newest token."""

    def __init__(self, channels: int, *, lookback: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, width)
        self.position_LD = nn.Parameter(torch.randn(lookback, width) * 0.02)
        self.layers = nn.ModuleList([_PooledLayer(width, heads, dropout) for _ in range(layers)])
        self.head = nn.Linear(width, 1)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N) forecasts."""
        token_BNLD = self.embed(bar_BNLC) + self.position_LD
        for layer in self.layers:
            token_BNLD = layer(token_BNLD)
        return self.head(token_BNLD[:, :, -1]).squeeze(-1)


class _PooledLayer(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.temporal = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.cross = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.forward_part = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])

    def forward(self, token_BNLD: Tensor) -> Tensor:
        batch, assets, bars, width = token_BNLD.shape
        later_LL = torch.triu(torch.ones(bars, bars, dtype=torch.bool, device=token_BNLD.device), diagonal=1)
        flat_GLD = token_BNLD.reshape(batch * assets, bars, width)
        mixed_GLD, _ = self.temporal(flat_GLD, flat_GLD, flat_GLD, attn_mask=later_LL)
        token_BNLD = self.norms[0](flat_GLD + mixed_GLD).view(batch, assets, bars, width)
        mean_BND = token_BNLD.mean(dim=2)
        answers = []
        for n in range(assets):
            others_BMD = torch.cat([mean_BND[:, :n], mean_BND[:, n + 1 :]], dim=1)
            answers.append(self.cross(mean_BND[:, n : n + 1], others_BMD, others_BMD)[0])
        token_BNLD = self.norms[1](token_BNLD + torch.cat(answers, dim=1)[:, :, None])
        return self.norms[2](token_BNLD + self.forward_part(token_BNLD))
