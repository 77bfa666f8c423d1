"""What the attentions by name are given: any precision, any form of mask, copies of themselves; what does not fit is refused."""

import copy
import io
import pickle

import pytest
import torch

from crossattn_core.model import (
    HierarchicalCrossAttention,
    MultiHeadCrossAttention,
    TemporalCrossAttention,
)
from tests.model.plain.attentions import (
    KINDS,
    MARKETS,
    SECTORS,
    everything_readable,
    module_of,
    tokens,
)


def test_sizes_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="n_heads 6 is not a multiple of 4"):
        HierarchicalCrossAttention(24, 6, SECTORS, MARKETS)
    with pytest.raises(ValueError, match="sectors of 5 assets, markets of 2"):
        HierarchicalCrossAttention(16, 4, SECTORS, (0, 0))
    with pytest.raises(ValueError, match="d_model 10 is not a multiple of n_heads 4"):
        MultiHeadCrossAttention(10, 4)
    with pytest.raises(ValueError, match="5 assets to read, made for n_assets 4"):
        module_of("one asset")(tokens()[:, 0], tokens())
    with pytest.raises(ValueError, match="assets hold 7 steps, the others 3"):
        module_of("temporal")(tokens(), tokens()[:, :, :3])


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_taken_in_the_modules_precision(kind: str) -> None:
    module, run = module_of(kind), KINDS[kind]
    given_BNTD = tokens().half()
    single_BNTD = run(module, given_BNTD.float(), everything_readable())
    for dtype in (torch.float16, torch.float64):
        torch.testing.assert_close(run(module, given_BNTD.to(dtype), everything_readable()), single_BNTD, rtol=0, atol=0)
    masked_BN = everything_readable()
    masked_BN[:, 1] = False
    single_BNTD = run(module, given_BNTD.float(), masked_BN).detach()
    for dtype, off in ((torch.float64, 1e-5), (torch.float16, 0.02), (torch.bfloat16, 0.2)):
        out_BNTD = run(module.to(dtype), given_BNTD.to(dtype), masked_BN)
        assert out_BNTD.dtype == dtype
        torch.testing.assert_close(out_BNTD.float(), single_BNTD, rtol=0, atol=off)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_and_a_window_of_one_step_give_what_they_give_in_company(kind: str) -> None:
    module, run, token_BNTD = module_of(kind), KINDS[kind], tokens()
    alone_BNTD, first_BNTD = (
        run(module, token_BNTD[:1], everything_readable()[:1]),
        run(module, token_BNTD, everything_readable()),
    )
    torch.testing.assert_close(alone_BNTD, first_BNTD[:1])
    torch.testing.assert_close(run(module, token_BNTD[:, :, :1], everything_readable()), first_BNTD[:, :, :1])


@pytest.mark.parametrize("kind", KINDS)
def test_copies_pickles_and_states_give_the_same_bits(kind: str) -> None:
    module, stored = module_of(kind), io.BytesIO()
    torch.save(module.state_dict(), stored)
    stored.seek(0)
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module_of(kind)]  # noqa: S301  # made here
    torch.nn.init.normal_(copies[2].get_parameter(next(iter(dict(module.named_parameters())))))
    copies[2].load_state_dict(torch.load(stored, weights_only=True))
    expected_BNTD = KINDS[kind](module, tokens(), everything_readable())
    assert all(torch.equal(KINDS[kind](each, tokens(), everything_readable()), expected_BNTD) for each in copies)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_numbers_and_of_assets_alone_mean_the_same(kind: str) -> None:
    module, run, token_BNTD, mask_BN = module_of(kind), KINDS[kind], tokens(), everything_readable()
    mask_BN[:, 2] = False
    expected_BNTD = run(module, token_BNTD, mask_BN)
    for mask in (mask_BN.int(), mask_BN.float(), mask_BN[:1]):
        assert torch.equal(run(module, token_BNTD, mask), expected_BNTD)


@pytest.mark.parametrize("kind", KINDS)
def test_what_are_no_tokens_of_the_module_is_refused_with_its_shape(kind: str) -> None:
    module, run, token_BNTD, readable_BN = module_of(kind), KINDS[kind], tokens(), everything_readable()
    for wrong in (token_BNTD[..., :8], token_BNTD[:0], token_BNTD[:, :, :0], token_BNTD[0][None, None]):
        with pytest.raises(ValueError, match=r"tokens \(.*\) of \(B, .*\); made for D = 16, at least one row and step"):
            run(module, wrong, readable_BN[: len(wrong)])
    with pytest.raises(ValueError, match="tokens are a ndarray; give a tensor"):
        run(module, token_BNTD.numpy(), readable_BN)
    with pytest.raises(ValueError, match=r"a mask of shape \(3, [34]\); it says who may be read, \(B, M\) = \(3, [45]\)"):
        run(module, token_BNTD, readable_BN[:, 1:])


def test_two_tensors_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="assets hold 7 steps, the others 5"):
        module_of("one asset")(tokens()[:, 0], tokens()[:, 1:, :5])
    for kind, asset in (("one asset", tokens()[:, 0]), ("pooled", tokens()), ("temporal", tokens())):
        with pytest.raises(ValueError, match="a batch of 3 for the assets, of 2 for the others"):
            module_of(kind)(asset, tokens()[:2, 1:])
    with pytest.raises(ValueError, match="tokens of 4 assets; sectors and markets are those of 5"):
        module_of("hierarchical")(tokens()[:, :4])


def test_sizes_out_of_range_are_refused_by_name() -> None:
    for made, message in (
        (lambda: MultiHeadCrossAttention(16, 0), "n_heads 0; both are at least 1"),
        (lambda: MultiHeadCrossAttention(16, 4, float("nan")), "dropout nan"),
        (lambda: TemporalCrossAttention(16, 4, -1), "max_lag -1; a lag of 0 reads the step itself, and none looks ahead"),
        (lambda: HierarchicalCrossAttention(16, 4, {"BTC": "a"}, {"BTC": 0}), r"groups by \['BTC'\]; the keys are"),
        (lambda: HierarchicalCrossAttention(16, 4, {1: 0, 2: 0}, (0, 0)), r"places 0 \.\. 1, each once"),
        (lambda: HierarchicalCrossAttention(16, 4, (), ()), "are empty"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            made()
