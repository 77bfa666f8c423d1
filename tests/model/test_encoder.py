"""The temporal encoder: causal, per asset, and the same token whichever way it is computed."""

import pytest
import torch

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS
from crossattn_core.model.encoders.temporal import TemporalEncoder
from crossattn_core.model.shape import NetworkShape

ASSETS, CHANNELS, LOOKBACK, PATCH = 3, 2, 24, 4


def encoder_and_bars(kernel: int | None = None) -> tuple[TemporalEncoder, torch.Tensor]:
    torch.manual_seed(0)
    sizes = {"lookback": LOOKBACK, "patch": PATCH, "max_lag": PATCH, "width": 16, "heads": 4, "layers": 2, "dropout": 0.0}
    embedding = {} if kernel is None else {"embedding": "convolution", "kernel": kernel}
    settings = ModelSettings.model_validate({**sizes, **embedding})
    encoder = TemporalEncoder(NetworkShape(ASSETS, CHANNELS, outputs=1), settings).eval()
    return encoder, torch.randn(5, ASSETS, LOOKBACK, CHANNELS)


def every_patch(encoder: TemporalEncoder, bar_BNLC: torch.Tensor) -> torch.Tensor:
    """(B, N, P, D) the encoder's token of each patch, where it gives the newest alone."""
    token_GPD = encoder.tokens(bar_BNLC).flatten(0, 1)
    for layer in encoder.layers:
        token_GPD = layer(token_GPD, newest=False)
    return encoder.norm(token_GPD).unflatten(0, bar_BNLC.shape[:2])


embeddings = pytest.mark.parametrize("kernel", [None, PATCH, 9])


@embeddings
def test_a_future_bar_never_moves_an_earlier_token(kernel: int | None) -> None:
    encoder, bar_BNLC = encoder_and_bars(kernel)
    before_BNPD = every_patch(encoder, bar_BNLC)
    for bar in (1, 7, 15, LOOKBACK - 1):
        rewritten_BNLC = bar_BNLC.clone()
        rewritten_BNLC[:, :, bar:] += 10.0
        after_BNPD = every_patch(encoder, rewritten_BNLC)
        complete = bar // PATCH
        torch.testing.assert_close(after_BNPD[:, :, :complete], before_BNPD[:, :, :complete], rtol=0, atol=0)
        assert not torch.equal(after_BNPD[:, :, complete:], before_BNPD[:, :, complete:])


@embeddings
def test_the_short_way_to_the_newest_token_agrees_with_the_long_one(kernel: int | None) -> None:
    encoder, bar_BNLC = encoder_and_bars(kernel)
    torch.testing.assert_close(encoder(bar_BNLC), every_patch(encoder, bar_BNLC)[:, :, -1])


@embeddings
def test_an_asset_reads_only_itself(kernel: int | None) -> None:
    encoder, bar_BNLC = encoder_and_bars(kernel)
    rewritten_BNLC = bar_BNLC.clone()
    rewritten_BNLC[:, 0] += 10.0
    torch.testing.assert_close(encoder(rewritten_BNLC)[:, 1:], encoder(bar_BNLC)[:, 1:], rtol=0, atol=0)


@pytest.mark.parametrize("name", ENCODERS.names())
def test_an_encoder_says_whether_a_summary_rests_on_other_assets(name: str) -> None:
    torch.manual_seed(0)
    settings = ModelSettings(lookback=LOOKBACK, patch=PATCH, max_lag=PATCH, width=16, heads=4, layers=2)
    encoder = ENCODERS.get(name)(NetworkShape(ASSETS, CHANNELS, outputs=1), settings).eval()
    bar_BNLC = torch.randn(5, ASSETS, LOOKBACK, CHANNELS)
    rewritten_BNLC = bar_BNLC.clone()
    rewritten_BNLC[:, 0] += 1.0
    moved = not torch.allclose(encoder(rewritten_BNLC)[:, 1:], encoder(bar_BNLC)[:, 1:], rtol=0, atol=1e-6)
    assert moved == encoder.reads_others


def test_attention_agrees_with_torchs_own_multihead_attention() -> None:
    encoder, _ = encoder_and_bars()
    layer = encoder.layers[0]
    token_GPD = torch.randn(5, 6, 16)
    reference = torch.nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key_value.weight]))
        reference.out_proj.weight.copy_(layer.out.weight)
        normed_GPD = layer.norm_attention(token_GPD)
        mask_PP = torch.triu(torch.ones(6, 6, dtype=torch.bool), diagonal=1)
        mixed_GPD, _ = reference(normed_GPD, normed_GPD, normed_GPD, attn_mask=mask_PP)
        kept_GPD = token_GPD + mixed_GPD
        expected_GPD = kept_GPD + layer.contract(torch.nn.functional.gelu(layer.expand(layer.norm_forward(kept_GPD))))
    torch.testing.assert_close(layer(token_GPD, newest=False), expected_GPD, rtol=1e-4, atol=1e-5)


def test_a_convolution_no_longer_than_a_patch_is_the_linear_embedding() -> None:
    convolved, bar_BNLC = encoder_and_bars(PATCH)
    linear, _ = encoder_and_bars()
    weights = convolved.state_dict()
    kernel_DCL = weights.pop("embed.bars.weight")
    weights["embed.weight"] = kernel_DCL.transpose(1, 2).flatten(1)
    weights["embed.bias"] = weights.pop("embed.bars.bias")
    linear.load_state_dict(weights)
    torch.testing.assert_close(linear(bar_BNLC), convolved(bar_BNLC))


def test_a_longer_convolution_reads_the_bars_before_its_patch() -> None:
    encoder, bar_BNLC = encoder_and_bars(9)
    embedded_BNPD = encoder.embed(bar_BNLC)
    rewritten_BNLC = bar_BNLC.clone()
    rewritten_BNLC[:, :, 7] += 1.0  # the last bar of patch 1; patch 2 ends at bar 11 and reads bars 3..11
    moved_P = (encoder.embed(rewritten_BNLC) != embedded_BNPD).flatten(0, 1).any(dim=0).any(dim=-1)
    assert moved_P.tolist() == [False, True, True, True, False, False]
