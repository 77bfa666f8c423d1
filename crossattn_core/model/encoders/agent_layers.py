"""Layers of several agents at once: each agent has weights of its own, and one product serves them all.

What torch's `Linear`, `LayerNorm`, `MultiheadAttention` and pre-norm `TransformerEncoder` compute agent by agent, with dropout on
what is added to a token only. Biases and norms are vectors of all agents, since vectors do not decay (see parameters.py).

Axes: A agents, G sequences, S tokens that read, T tokens that are read, X inputs, E outputs, D width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.shape import by_head

__all__ = ["AgentAttention", "AgentLinear", "AgentNorm", "AgentTransformer"]


class AgentLinear(nn.Module):
    """A linear map an agent."""

    def __init__(self, agents: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_AXE = nn.Parameter(torch.empty(agents, inputs, outputs))
        self.bias_E = nn.Parameter(torch.zeros(agents * outputs))
        for weight_XE in self.weight_AXE.data:
            nn.init.xavier_uniform_(weight_XE)

    def forward(self, token_AGSX: Tensor) -> Tensor:
        """(A, G, S, X) to (A, G, S, E)."""
        bias_A1E = self.bias_E.unflatten(0, (len(self.weight_AXE), 1, -1))
        return torch.baddbmm(bias_A1E, token_AGSX.flatten(1, 2), self.weight_AXE).unflatten(1, token_AGSX.shape[1:3])


class AgentNorm(nn.Module):
    """A layer norm an agent."""

    def __init__(self, agents: int, width: int) -> None:
        super().__init__()
        self._agents, self._width = agents, width
        self.weight_D = nn.Parameter(torch.ones(agents * width))
        self.bias_D = nn.Parameter(torch.zeros(agents * width))

    def forward(self, token_AGSD: Tensor) -> Tensor:
        """(A, G, S, D) to the same, each token with mean 0 and deviation 1 before its agent's own scale."""
        scale, shift = (vector.view(self._agents, 1, 1, self._width) for vector in (self.weight_D, self.bias_D))
        return torch.addcmul(shift, functional.layer_norm(token_AGSD, (self._width,)), scale)


class AgentAttention(nn.Module):
    """Multi-head attention an agent (fused kernel, so no dropout on the weights)."""

    def __init__(self, agents: int, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.query, self.key, self.value, self.out = (AgentLinear(agents, width, width) for _ in range(4))

    def forward(self, token_AGSD: Tensor, read_AGTD: Tensor) -> Tensor:
        """(A, G, S, D) tokens that read (A, G, T, D) of their own agent and sequence."""
        maps = (self.query(token_AGSD), self.key(read_AGTD), self.value(read_AGTD))
        query, key, value = (by_head(mapped.flatten(0, 1), self._heads) for mapped in maps)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2).unflatten(0, token_AGSD.shape[:2]))


class AgentTransformer(nn.Module):
    """A pre-norm encoder of ``model.layers`` layers an agent, with a norm at the end; every token reads every other."""

    def __init__(self, agents: int, settings: ModelSettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_AgentLayer(agents, settings) for _ in range(settings.layers)])
        self.norm = AgentNorm(agents, settings.width)

    def forward(self, token_AGSD: Tensor) -> Tensor:
        """(A, G, S, D) to the same."""
        for layer in self.layers:
            token_AGSD = layer(token_AGSD)
        return self.norm(token_AGSD)


class _AgentLayer(nn.Module):
    def __init__(self, agents: int, settings: ModelSettings) -> None:
        super().__init__()
        width = settings.width
        self.norm_attention, self.norm_forward = AgentNorm(agents, width), AgentNorm(agents, width)
        self.attention = AgentAttention(agents, width, settings.heads)
        self.expand, self.contract = AgentLinear(agents, width, 2 * width), AgentLinear(agents, 2 * width, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, token_AGSD: Tensor) -> Tensor:
        normed_AGSD = self.norm_attention(token_AGSD)
        token_AGSD = token_AGSD + self.dropout(self.attention(normed_AGSD, normed_AGSD))
        expanded_AGSE = functional.gelu(self.expand(self.norm_forward(token_AGSD)))
        return token_AGSD + self.dropout(self.contract(expanded_AGSE))
