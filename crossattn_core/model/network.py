"""The network of ``architecture: parallel``: each asset's own past, and the others' newest bars, side by side.

    bars -> patches -> causal self-attention -> own summary ----------------> own part  \\
    bars -> one token a bar, last max_lag bars -> cross-attention over others -> cross part  + -> outputs

The two parts add up, so the forecast without the others is read from the same network.

Axes: B decision rows, N assets, L bars of a window, C channels, D width, H heads, K head width, O outputs (raw numbers:
with head 'returns' one an output of the labels, else as in heads.py).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.encoders.temporal import BarEmbedding
from crossattn_core.model.heads import raw_outputs
from crossattn_core.model.output import NetworkOutput
from crossattn_core.model.parameters import initialise_maps, parameter_groups
from crossattn_core.model.shape import NetworkShape
from crossattn_core.model.stacked import StackedNetwork
from crossattn_core.panel.windows import RecentBars, Windows

__all__ = ["CrossAssetNetwork", "Network", "NetworkOutput", "build_network", "heads_by_output", "own_part_at"]

_WINDOWS = 4096
"""Windows of a pass on a CPU: what is made of more fits no cache and takes half as long again, with gradients twice."""


class CrossAssetNetwork(nn.Module):
    """Own temporal branch and cross-asset branch, added up per output."""

    serves_OH: Tensor
    temporal: Encoder
    cross: CrossAttention

    def __init__(self, shape: NetworkShape, settings: ModelSettings, cross: CrossAttention) -> None:
        super().__init__()
        self.max_lag = settings.max_lag
        self.temporal = ENCODERS.get(settings.own_branch)(shape, settings)
        self.bar_token = BarEmbedding(shape.channels, shape.assets, settings.width)
        self.cross = cross
        raw = raw_outputs(settings.head, shape.outputs)
        self.own_readout = nn.Linear(settings.width, raw)
        self.cross_readout_NOHK = nn.Parameter(torch.zeros(shape.assets, raw, settings.heads, cross.head_width))
        # Heads are dealt to outputs; what an output takes more than one number for shares its heads.
        dealt = 1 if settings.head == "weights" else shape.outputs
        serves_OH = heads_by_output(dealt, settings.heads).repeat_interleave(raw // dealt, dim=0)
        self.register_buffer("serves_OH", serves_OH, persistent=False)
        _initialise(self)
        if settings.head == "weights":
            # Scores that are all 0 hold nothing, and nothing would be learnt from them.
            nn.init.normal_(self.own_readout.weight, std=0.02)

    def forward(self, bar_BLNC: Tensor, recent: RecentBars) -> NetworkOutput:
        """Forecast every asset at each decision row from its window; only bars of the window are read."""
        return NetworkOutput(self.own_part(bar_BLNC), *self.cross_part_and_weights(recent))

    def start_from(self, share_ONX: Tensor, *, learned: bool) -> None:
        """Start the attention at screened pairs, X either all (L, M) or its candidates: each head at those of the outputs that it
        serves; heads that serve all, at those of the first, the next bar, where a lead has one lag."""
        share_ONX = share_ONX if len(share_ONX) <= self.serves_OH.shape[1] else share_ONX[:1]
        serves_OH = heads_by_output(len(share_ONX), self.serves_OH.shape[1])
        self.cross.start_from(torch.einsum("oh,on...->hn...", serves_OH / serves_OH.sum(dim=0), share_ONX), learned=learned)

    def prepare(self, readable_GM: Tensor | None, drift: float) -> bool:
        """As ``CrossAttention.prepare``."""
        return self.cross.prepare(readable_GM, drift)

    def own_part(self, bar_BLNC: Tensor) -> Tensor:
        """(B, N, O) from each asset's own window."""
        return self.own_readout(self.temporal(bar_BLNC.transpose(1, 2)))

    def cross_part_and_weights(self, recent: RecentBars) -> tuple[Tensor, Tensor]:
        """(B, N, O) from the other assets' newest bars, and the attention behind it (B, H, N, M, L)."""
        context_BNHK, weight_BHNML = self.cross(AssetTokens(self.bar_token(recent.bar_UNC), recent))
        return self._read_out(context_BNHK), weight_BHNML

    def cross_part(self, recent: RecentBars) -> Tensor:
        """(B, N, O) from the other assets' newest bars, the attention not spelled out."""
        return self.cross_part_of(AssetTokens(self.bar_token(recent.bar_UNC), recent))

    def cross_part_of(self, tokens: AssetTokens) -> Tensor:
        """(B, N, O) of tokens that ``bar_token`` made."""
        return self._read_out(self.cross.context(tokens))

    def cross_moved_by_source(self, now: AssetTokens, past: AssetTokens) -> Iterator[Tensor] | None:
        """(B, N, O) move of the cross part where source 0, 1, ... says what it says in ``past``: ``moved_by_source``."""
        moves = self.cross.moved_by_source(now, past)
        return None if moves is None else (self._read_out(move_BNHK) for move_BNHK in moves)

    def _read_out(self, context_BNHK: Tensor) -> Tensor:
        readout_NOHK = self.cross_readout_NOHK * self.serves_OH[:, :, None]
        return torch.einsum("bnhk,nohk->bno", context_BNHK, readout_NOHK)

    def ahead_part(self, recent: RecentBars, spans: tuple[tuple[int, int], ...]) -> Tensor:
        """(B, N, O') next-bar cross parts summed over later rows, for each span (first, last) of bars ahead."""
        tokens = AssetTokens(self.bar_token(recent.bar_UNC), recent)
        readout_NHK = self.cross_readout_NOHK[:, 0] * self.serves_OH[0, :, None]
        parts = [torch.einsum("bnhk,nhk->bn", self.cross.ahead(tokens, *span), readout_NHK) for span in spans]
        return torch.stack(parts, dim=-1)

    def parameter_groups(self, learning_rate: float, attention_lr_multiplier: float, weight_decay: float) -> list[dict]:
        """AdamW groups: matrices decay, vectors do not, attention logits run faster and never decay."""
        return parameter_groups(self, self.cross.logit_parameters(), learning_rate, attention_lr_multiplier, weight_decay)


def heads_by_output(outputs: int, heads: int) -> Tensor:
    """(O, H) 1 where the head feeds the output: dealt out in turn, so that a head's lags mean one horizon.

    With fewer heads than outputs every head feeds every output.

    >>> heads_by_output(3, 4).int().tolist()
    [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    """
    if heads < outputs:
        return torch.ones(outputs, heads)
    return (torch.arange(heads)[None, :] % outputs == torch.arange(outputs)[:, None]).float()


Network = CrossAssetNetwork | StackedNetwork
"""What ``model.architecture`` can name."""


def own_part_at(network: Network, windows: Windows, row_B: Tensor) -> Tensor:
    """(B, N, O) the own part at panel rows ``row_B``; on a CPU those of many assets go a few at a time."""
    assets = windows.bar_TNC.shape[1]
    rows = max(_WINDOWS // assets, 1) if row_B.device.type == "cpu" else len(row_B)
    parts = [network.own_part(windows.gather(row_X)) for row_X in row_B.split(max(rows, 1))]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def build_network(shape: NetworkShape, settings: ModelSettings, generator: torch.Generator) -> Network:
    """The network that ``settings.architecture`` and ``settings.cross_attention`` name, initialised from ``generator``."""
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: `torch.manual_seed` would seed every GPU of the caller too.
        torch.default_generator.manual_seed(int(torch.randint(0, 2**62, (1,), generator=generator)))
        if settings.architecture == "stacked":
            return StackedNetwork(shape, settings)
        return CrossAssetNetwork(shape, settings, ATTENTION.get(settings.cross_attention).of(shape, settings))


def _initialise(network: CrossAssetNetwork) -> None:
    """All weights are set here, in one place."""
    initialise_maps(network)
    # The own part starts at 0: on hourly returns it has little to forecast and must not learn noise first.
    nn.init.zeros_(network.own_readout.weight)
    nn.init.normal_(network.cross_readout_NOHK, std=0.02)
    # A head whose random value has the wrong sign for a lead is pushed off that lead. Heads that feed one output come
    # in mirrored pairs, so one of the two always has the right sign.
    for first, second in _mirrored_pairs(network.serves_OH):
        network.cross.share_values(first, second)
        with torch.no_grad():
            network.cross_readout_NOHK[:, :, second] = -network.cross_readout_NOHK[:, :, first]


def _mirrored_pairs(serves_OH: Tensor) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for serves_H in serves_OH.tolist():
        heads = [h for h, serves in enumerate(serves_H) if serves]
        pairs.update(zip(heads[::2], heads[1::2], strict=False))
    return pairs
