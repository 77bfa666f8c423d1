"""Rows a few at a time: where each row has logits of its own, a batch of them must not be held at once.

Axes: B decision rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["MAX_LOGITS", "in_row_chunks"]

MAX_LOGITS = 2**25
"""Logits that are held at once, 128 MB of them; one row's where that is more. A few dozen assets stay below with any batch."""


def in_row_chunks(attend: Callable[..., Tensor], *rows_BX: Tensor, logits_per_row: int) -> Tensor:
    """``attend`` of the rows, chunk by chunk where all logits would be more than ``MAX_LOGITS``.

    A chunk's logits are made again for its gradient: a third more work, and memory that does not grow with the batch.
    """
    batch = len(rows_BX[0])
    size = max(1, MAX_LOGITS // max(logits_per_row, 1))
    if size >= batch:
        return attend(*rows_BX)
    found = []
    for chunk in zip(*(value_BX.split(size) for value_BX in rows_BX), strict=True):
        if torch.is_grad_enabled():
            found.append(checkpoint(attend, *chunk, use_reentrant=False, preserve_rng_state=False))
        else:
            found.append(attend(*chunk))
    return torch.cat(found)
