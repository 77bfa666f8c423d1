"""Small attentions of every kind, and tokens for them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from crossattn_core.model import (
    CrossAssetAttention,
    HierarchicalCrossAttention,
    MultiHeadCrossAttention,
    TemporalCrossAttention,
)

BATCH, ASSETS, STEPS, WIDTH, HEADS, MAX_LAG = 3, 5, 7, 16, 4, 2
SECTORS, MARKETS = ("a", "a", "b", "b", "c"), {0: 0, 1: 0, 2: 0, 3: 0, 4: 1}
ORDER = torch.tensor([3, 0, 4, 1, 2])


def module_of(kind: str) -> nn.Module:
    torch.manual_seed(2)
    made = {
        "one asset": lambda: CrossAssetAttention(WIDTH, HEADS, ASSETS - 1),
        "pooled": lambda: MultiHeadCrossAttention(WIDTH, HEADS, 0.1),
        "temporal": lambda: TemporalCrossAttention(WIDTH, HEADS, MAX_LAG),
        "hierarchical": lambda: HierarchicalCrossAttention(WIDTH, HEADS, SECTORS, MARKETS),
    }
    module = made[kind]().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return module


def tokens() -> Tensor:
    return torch.randn(BATCH, ASSETS, STEPS, WIDTH, generator=torch.Generator().manual_seed(3))


def everything_readable() -> Tensor:
    return torch.ones(BATCH, ASSETS, dtype=torch.bool)


def one_asset(module: nn.Module, token_BNTD: Tensor, readable_BN: Tensor) -> Tensor:
    return module(token_BNTD[:, 0], token_BNTD[:, 1:], readable_BN[:, 1:])[0][:, None]


def among_themselves(module: nn.Module, token_BNTD: Tensor, readable_BN: Tensor) -> Tensor:
    return module(token_BNTD, mask=readable_BN)[0]


def in_groups(module: nn.Module, token_BNTD: Tensor, readable_BN: Tensor) -> Tensor:
    return module(token_BNTD, readable_BN)


KINDS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "one asset": one_asset,
    "pooled": among_themselves,
    "temporal": among_themselves,
    "hierarchical": in_groups,
}
