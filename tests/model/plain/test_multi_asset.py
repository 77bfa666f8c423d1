"""The whole stack as one module, on windows of a pandas frame."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from crossattn_core.model import CrossAttentionMultiAsset, frame_windows
from crossattn_core.training.device import threads

ASSETS, FEATURES, BARS, LAYERS = 4, 3, 24, 2
ORDER = [2, 0, 3, 1]
VARIANTS = ("last", "pooled", "lagged", "hierarchical", "lag_bias")


def model_of(**knobs: Any) -> CrossAttentionMultiAsset:
    torch.manual_seed(1)
    settings = {"d_model": 16, "n_heads": 4, "n_layers": LAYERS, "max_lag": 8, "patch": 4} | knobs
    return CrossAttentionMultiAsset(ASSETS, FEATURES, **settings).eval()


def windows() -> Tensor:
    return torch.randn(5, ASSETS, BARS, FEATURES, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("cross_attention", VARIANTS)
@pytest.mark.parametrize(("output_type", "shape"), [("regression", (5, 4)), ("classification", (5, 4, 3)), ("portfolio", (5, 4))])
def test_each_head_has_its_shape_and_every_layer_its_attention(cross_attention: str, output_type: Any, shape: tuple) -> None:
    output, attention = model_of(cross_attention=cross_attention, output_type=output_type)(windows(), return_attention=True)
    assert output.shape == shape
    assert len(attention) == LAYERS
    for layer in attention:
        assert layer["cross_asset"].shape == (5, 4, ASSETS, ASSETS)
        assert layer["cross_asset_by_lag"].shape == (5, 4, ASSETS, ASSETS, 2)
        total = layer["cross_asset"].sum(dim=-1)
        torch.testing.assert_close(total[total > 0], torch.ones_like(total[total > 0]))


def test_portfolio_weights_have_a_gross_exposure_of_one() -> None:
    long_only = model_of(output_type="portfolio")(windows())
    long_short = model_of(output_type="portfolio", weight_shape="tanh")(windows())
    assert (long_only > 0).all()
    assert (long_short < 0).any()
    for weights in (long_only, long_short):
        torch.testing.assert_close(weights.abs().sum(dim=1), torch.ones(5))


def test_a_silent_asset_is_not_read_and_not_held() -> None:
    x_BNTF = windows()
    x_BNTF[:, 2] = torch.nan
    weights, attention = model_of(output_type="portfolio")(x_BNTF, return_attention=True)
    assert torch.isfinite(weights).all()
    assert (weights[:, 2] == 0).all()
    assert all((layer["cross_asset"][..., 2] == 0).all() for layer in attention)


def test_a_silent_bar_is_told_from_one_without_a_move() -> None:
    x_BNTF = windows()
    silent_BNTF, flat_BNTF = x_BNTF.clone(), x_BNTF.clone()
    silent_BNTF[:, 0, -1], flat_BNTF[:, 0, -1] = torch.nan, 0.0
    assert not torch.allclose(model_of()(silent_BNTF), model_of()(flat_BNTF))


def test_what_an_unreadable_asset_holds_moves_no_other_prediction() -> None:
    x_BNTF, readable_BN = windows(), torch.tensor([True, True, False, True]).expand(5, -1)
    other_BNTF = x_BNTF.clone()
    other_BNTF[:, 2] = 9.0
    before_BN, after_BN = (model_of()(x, readable_BN=readable_BN) for x in (x_BNTF, other_BNTF))
    torch.testing.assert_close(after_BN[:, [0, 1, 3]], before_BN[:, [0, 1, 3]], rtol=0, atol=0)


def test_without_identities_permuting_assets_permutes_predictions() -> None:
    model = model_of()
    # New: nothing has been learnt of single assets but what they are called.
    torch.nn.init.zeros_(model.stack.identity_ND)
    torch.testing.assert_close(model(windows()[:, ORDER]), model(windows())[:, ORDER], rtol=1e-4, atol=1e-5)


def test_a_window_of_any_length_is_read_back_from_its_newest_bar() -> None:
    model, x_BNTF = model_of(n_layers=1, max_lag=4), windows()
    padded_BNTF = torch.cat([torch.full((5, ASSETS, 2, FEATURES), torch.nan), x_BNTF[:, :, 2:]], dim=2)
    torch.testing.assert_close(model(x_BNTF[:, :, 2:]), model(padded_BNTF))


@pytest.mark.parametrize("cross_attention", VARIANTS)
def test_gradients_reach_every_parameter(cross_attention: str) -> None:
    model = model_of(cross_attention=cross_attention).train()
    model(windows()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_same_seed_gives_the_same_bits_twice() -> None:
    assert torch.equal(model_of()(windows()), model_of()(windows()))


def test_five_lines_on_a_frame_learn_who_leads() -> None:
    rng = np.random.default_rng(0)
    returns = pd.DataFrame(rng.standard_normal((900, 3)), columns=["BTC", "ETH", "SOL"])
    returns["SOL"] = 0.6 * returns["BTC"].shift(1, fill_value=0.0) + 0.8 * returns["SOL"]

    x, y = frame_windows(returns, lookback=8)[:-1], torch.tensor(returns.to_numpy()[8:], dtype=torch.float32)
    torch.manual_seed(0)
    model = CrossAttentionMultiAsset(n_assets=3, n_features=1, d_model=16, dropout=0.0, n_layers=1, patch=1, max_lag=2)
    optimiser = torch.optim.AdamW(model.parameter_groups(1e-2, 10.0))
    with threads(1):
        for step in range(80):
            rows = torch.arange(step * 64, step * 64 + 64) % 700
            optimiser.zero_grad()
            (model(x[rows]) - y[rows]).square().mean().backward()
            optimiser.step()
    predictions, attention = model.eval()(x[700:], return_attention=True)
    assert np.corrcoef(predictions[:, 2].detach(), y[700:, 2])[0, 1] > 0.4
    read_NM = attention[0]["cross_asset"].mean(dim=(0, 1))
    assert read_NM[2, 0] > 0.7


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"made for N, F = \(4, 3\)"):
        model_of()(windows()[:, :3])
    with pytest.raises(ValueError, match="output_type 'ranking'; choose from regression"):
        model_of(output_type="ranking")
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 4"):
        model_of(d_model=10)
    with pytest.raises(ValueError, match="did you mean 'lagged'"):
        model_of(cross_attention="laged")


def test_a_frames_window_ends_with_its_row_and_holds_every_feature_of_every_asset() -> None:
    columns = pd.MultiIndex.from_product([["BTC", "ETH"], ["return", "volume"]])
    frame = pd.DataFrame(np.arange(40.0).reshape(10, 4), columns=columns, index=pd.date_range("2026-01-01", periods=10, freq="h"))
    x_SNLF = frame_windows(frame[[("ETH", "volume"), ("BTC", "return"), ("BTC", "volume"), ("ETH", "return")]], lookback=4)
    assert x_SNLF.shape == (7, 2, 4, 2)
    # Assets and features in the order in which they first appear.
    assert x_SNLF[6, 0, :, 0].tolist() == frame[("ETH", "volume")].iloc[6:].tolist()
    assert x_SNLF[0, 1, :, 1].tolist() == frame[("BTC", "return")].iloc[:4].tolist()


def test_frames_without_the_rows_or_columns_of_a_window_are_refused_by_name() -> None:
    frame = pd.DataFrame({"BTC": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="a window of 4 bars from a frame of 3 rows"):
        frame_windows(frame, lookback=4)
    with pytest.raises(ValueError, match="not in time order"):
        frame_windows(frame.iloc[::-1], lookback=2)
    uneven = pd.DataFrame([[1.0, 2.0, 3.0]], columns=pd.MultiIndex.from_tuples([("BTC", "a"), ("BTC", "b"), ("ETH", "a")]))
    with pytest.raises(ValueError, match=r"missing: \[\('ETH', 'b'\)\]"):
        frame_windows(uneven, lookback=1)
