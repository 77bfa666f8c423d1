"""The whole stack as one module, on windows of a pandas frame."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from crossattn_core.model import CrossAttentionMultiAsset, frame_windows
from crossattn_core.model.attention.base import ATTENTION
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


@pytest.mark.parametrize("cross_attention", ATTENTION.names())
@pytest.mark.parametrize("held", [-3e38, 1e30, torch.nan])
def test_what_no_product_can_hold_of_an_unreadable_asset_moves_no_other_prediction_and_no_gradient(
    cross_attention: str, held: float
) -> None:
    model, others = model_of(cross_attention=cross_attention), [0, 1, 3]
    x_BNTF, readable_N = windows(), torch.tensor([True, True, False, True])
    wild_BNTF = x_BNTF.clone()
    wild_BNTF[:, 2, 3:] = held
    wild_BNTF.requires_grad_()
    before_BN, after_BN = (model(x, readable_BN=readable_N) for x in (x_BNTF, wild_BNTF))
    torch.testing.assert_close(after_BN[:, others], before_BN[:, others], rtol=0, atol=0)
    after_BN[:, others].square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
    assert (wild_BNTF.grad[:, 2] == 0).all()


@pytest.mark.parametrize("cross_attention", ATTENTION.names())
def test_shapes_are_found_without_values(cross_attention: str) -> None:
    output, attention = model_of(cross_attention=cross_attention).to("meta")(windows().to("meta"), return_attention=True)
    assert output.shape == (5, ASSETS)
    assert attention[0]["cross_asset"].shape == (5, 4, ASSETS, ASSETS)


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


@pytest.mark.parametrize("cross_attention", ATTENTION.names())
def test_weights_sum_to_one_over_others_that_can_be_read_and_are_exactly_zero_elsewhere(cross_attention: str) -> None:
    model, x_BNTF = model_of(cross_attention=cross_attention), windows()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    x_BNTF[:, 2] = torch.nan
    x_BNTF[0] = torch.nan
    _, attention = model(x_BNTF, return_attention=True)
    for layer in attention:
        weight_BHNM = layer["cross_asset"]
        expected = torch.full((5, 4, ASSETS), 0.0 if cross_attention == "off" else 1.0)
        expected[0] = 0.0  # nobody to read
        torch.testing.assert_close(weight_BHNM.sum(dim=-1), expected)
        assert (weight_BHNM[..., 2] == 0).all()
        assert (torch.diagonal(weight_BHNM, dim1=2, dim2=3) == 0).all()
        torch.testing.assert_close(layer["cross_asset_by_lag"].sum(dim=-1), weight_BHNM)


@pytest.mark.parametrize("cross_attention", ATTENTION.names())
@pytest.mark.parametrize(("assets", "bars", "batch"), [(1, 16, 3), (2, 16, 3), (4, 1, 3), (4, 16, 1)])
def test_few_assets_one_bar_and_one_row_are_forecast_with_finite_gradients(
    cross_attention: str, assets: int, bars: int, batch: int
) -> None:
    torch.manual_seed(1)
    model = CrossAttentionMultiAsset(assets, FEATURES, 16, max_lag=8, cross_attention=cross_attention).eval()
    x_BNTF = torch.randn(3, assets, bars, FEATURES, generator=torch.Generator().manual_seed(2))
    expected_BN = model(x_BNTF)
    torch.testing.assert_close(model(x_BNTF[:batch]), expected_BN[:batch])
    assert expected_BN.shape == (3, assets)
    model.train()(x_BNTF[:batch]).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("cross_attention", VARIANTS)
def test_gradients_are_finite_beside_rows_and_assets_that_say_nothing(cross_attention: str) -> None:
    model, x_BNTF = model_of(cross_attention=cross_attention).train(), windows()
    x_BNTF[0], x_BNTF[1, :3], x_BNTF[2, :, :8], x_BNTF[3, 0, -1] = torch.nan, torch.nan, torch.inf, -torch.inf
    x_BNTF.requires_grad_()
    model(x_BNTF).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert torch.isfinite(x_BNTF.grad).all()
    assert (x_BNTF.grad[0] == 0).all()
    assert (x_BNTF.grad[3, 0, -1] == 0).all()


def test_a_window_knows_no_row_of_the_frame_after_its_own() -> None:
    frame = pd.DataFrame(np.random.default_rng(3).standard_normal((40, ASSETS)))
    torch.manual_seed(1)
    model = CrossAttentionMultiAsset(ASSETS, 1, 16, max_lag=8, patch=1).eval()
    before_SN = model(frame_windows(frame, 16))
    later = frame.copy()
    later.iloc[25:] = 7.0
    after_SN = model(frame_windows(later, 16))
    known = 25 - 15
    torch.testing.assert_close(after_SN[:known], before_SN[:known], rtol=0, atol=0)
    assert not torch.isclose(after_SN[known:], before_SN[known:]).all(dim=1).any()


def test_windows_are_taken_in_the_models_precision() -> None:
    model, x_BNTF = model_of(), windows()
    assert torch.equal(model(x_BNTF.double()), model(x_BNTF))
    whole_BNTF = (10 * x_BNTF).round()
    assert torch.equal(model(whole_BNTF.long()), model(whole_BNTF))
    exact_BN = model.double()(x_BNTF)
    assert exact_BN.dtype == torch.float64
    torch.testing.assert_close(exact_BN.float(), model_of()(x_BNTF))
    with pytest.raises(ValueError, match=r"float16 cannot hold this attention's masks; take model.bfloat16\(\) or autocast"):
        model_of(cross_attention="last").half()(x_BNTF)


@pytest.mark.parametrize("cross_attention", VARIANTS)
def test_copies_pickles_states_and_threads_give_the_same_forecasts_and_leave_the_generator_alone(cross_attention: str) -> None:
    model, stored = model_of(cross_attention=cross_attention), io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    torch.manual_seed(7)
    loaded = CrossAttentionMultiAsset(ASSETS, FEATURES, 16, 4, LAYERS, max_lag=8, patch=4, cross_attention=cross_attention)
    loaded.load_state_dict(torch.load(stored, weights_only=True))
    state = torch.get_rng_state()
    expected_BN = model(windows())
    for each in (loaded.eval(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301  # made here
        assert torch.equal(each(windows()), expected_BN)
    with threads(1):
        torch.testing.assert_close(model(windows()), expected_BN, rtol=1e-5, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_is_drawn_in_training_alone_and_again_from_the_same_seed() -> None:
    model = model_of(dropout=0.5).train()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(model(windows()))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(model.eval()(windows()), model_of(dropout=0.0)(windows()))


def test_who_may_be_read_is_given_by_row_or_for_all_rows_alike() -> None:
    model, readable_N = model_of(output_type="portfolio"), torch.tensor([1, 1, 0, 1])
    alike, by_row = (model(windows(), return_attention=True, readable_BN=mask) for mask in (readable_N, readable_N.expand(5, -1)))
    assert torch.equal(alike[0], by_row[0])
    assert (alike[0][:, 2] == 0).all()
    assert all((layer["cross_asset"][..., 2] == 0).all() for layer in alike[1])
    for wrong in (torch.ones(4, 5), torch.ones(5, 3), torch.ones(5), torch.ones(5, 4, 4)):
        with pytest.raises(ValueError, match=r"it is \(B, N\) = \(5, 4\), or \(N,\)"):
            model(windows(), readable_BN=wrong)


def test_sectors_may_have_names_and_lie_in_one_market_each() -> None:
    groups_by_name = {"sectors": ["coins", "coins", "metals", "coins"], "markets": ["crypto", "crypto", "spot", "crypto"]}
    groups_by_number = {"sectors": (0, 0, 1, 0), "markets": (0, 0, 1, 0)}
    by_name, by_number = (
        model_of(cross_attention="hierarchical", **groups)(windows()) for groups in (groups_by_name, groups_by_number)
    )
    assert torch.equal(by_name, by_number)
    with pytest.raises(ValueError, match="sectors of 3 assets; the model has n_assets 4"):
        model_of(cross_attention="hierarchical", sectors=(0, 1, 1))
    with pytest.raises(ValueError, match="sector 'b' lies in several markets"):
        model_of(cross_attention="hierarchical", sectors="abbc", markets=(0, 0, 1, 1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x[0], r"windows \(4, 24, 3\) of \(B, N, T, F\); made for N, F = \(4, 3\)"),
        (lambda x: x.transpose(1, 2), r"windows \(5, 24, 4, 3\) of \(B, N, T, F\)"),
        (lambda x: x[:0], "hold no row or no bar"),
        (lambda x: x[:, :, :0], "hold no row or no bar"),
        (lambda x: x.numpy(), "windows are a ndarray; frame_windows or torch.as_tensor makes a tensor"),
    ],
)
def test_what_are_no_windows_of_the_model_is_refused_with_its_shape(wrong, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of()(wrong(windows()))


@pytest.mark.parametrize("knobs", [{"n_assets": 0}, {"n_features": 0}, {"n_assets": 2.0}, {"n_assets": True}, {"patch": 0}])
def test_sizes_that_are_no_whole_numbers_are_refused_by_name(knobs: dict) -> None:
    (name,) = knobs
    with pytest.raises(ValueError, match=f"{name} .* is no whole number of at least 1"):
        CrossAttentionMultiAsset(**{"n_assets": ASSETS, "n_features": FEATURES} | knobs)
    with pytest.raises(ValueError, match="weight_shape 'sigmoid'; choose from softmax, tanh"):
        model_of(output_type="portfolio", weight_shape="sigmoid")
