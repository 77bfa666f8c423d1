"""The loss counts what exists, by weight, and nothing else."""

import numpy as np
import pytest
import torch
from scipy import stats

from crossattn_core.training.loss import collapse_penalty, direction_loss, rank_loss, regression_loss, sharpe_loss
from crossattn_core.training.objective import class_facts

WEIGHT_B, OUTPUT_WEIGHT_O = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.0, 0.5])


def forecasts() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 2, generator=generator, requires_grad=True), torch.randn(3, 4, 2, generator=generator)


def test_mean_squared_error_is_the_weighted_mean_over_what_exists() -> None:
    forecast_BNO, target_BNO = forecasts()
    target_BNO[0, 1, 0] = torch.nan
    total, weights = 0.0, 0.0
    for b in range(3):
        for n in range(4):
            for o in range(2):
                if torch.isfinite(target_BNO[b, n, o]):
                    weight = float(WEIGHT_B[b] * OUTPUT_WEIGHT_O[o])
                    total += weight * float(forecast_BNO[b, n, o].detach() - target_BNO[b, n, o]) ** 2
                    weights += weight
    loss = regression_loss(forecast_BNO, target_BNO, WEIGHT_B, OUTPUT_WEIGHT_O, huber=False)
    assert float(loss.detach()) == pytest.approx(total / weights, rel=1e-5)


@pytest.mark.parametrize("huber", [False, True])
def test_a_label_that_does_not_exist_has_no_gradient(huber: bool) -> None:
    forecast_BNO, target_BNO = forecasts()
    target_BNO[1] = torch.nan
    regression_loss(forecast_BNO, target_BNO, WEIGHT_B, OUTPUT_WEIGHT_O, huber=huber).backward()
    assert forecast_BNO.grad is not None
    assert (forecast_BNO.grad[1:] == 0).all()
    assert (forecast_BNO.grad[0] != 0).all()


def test_no_label_at_all_costs_nothing() -> None:
    forecast_BNO, target_BNO = forecasts()
    loss = regression_loss(forecast_BNO, torch.full_like(target_BNO, torch.nan), WEIGHT_B, OUTPUT_WEIGHT_O, huber=False)
    assert float(loss.detach()) == 0


def test_huber_agrees_with_torchs_own() -> None:
    forecast_BNO, target_BNO = forecasts()
    ones_B, ones_O = torch.ones(3), torch.ones(2)
    expected = torch.nn.functional.huber_loss(forecast_BNO, 3 * target_BNO)
    torch.testing.assert_close(regression_loss(forecast_BNO, 3 * target_BNO, ones_B, ones_O, huber=True), expected)


def test_direction_loss_is_torchs_cross_entropy_with_balanced_classes() -> None:
    generator = torch.Generator().manual_seed(1)
    logit_BNOC = torch.randn(5, 4, 1, 3, generator=generator)
    class_BNO = torch.randint(0, 3, (5, 4, 1), generator=generator)
    class_weight_OC = torch.tensor([[2.0, 0.5, 1.0]])
    found = direction_loss(logit_BNOC, class_BNO, torch.ones(5), torch.ones(1), class_weight_OC)
    expected = torch.nn.functional.cross_entropy(logit_BNOC.reshape(-1, 3), class_BNO.reshape(-1), weight=class_weight_OC[0])
    torch.testing.assert_close(found, expected)


def test_a_direction_that_never_came_takes_no_part() -> None:
    logit_BNOC = torch.randn(3, 4, 2, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)
    class_BNO = torch.full((3, 4, 2), -1)
    class_BNO[0] = 2
    direction_loss(logit_BNOC, class_BNO, WEIGHT_B, OUTPUT_WEIGHT_O, torch.ones(2, 3)).backward()
    assert logit_BNOC.grad is not None
    assert (logit_BNOC.grad[1:] == 0).all()
    assert (logit_BNOC.grad[0] != 0).all()


def test_rare_classes_weigh_as_much_in_all_as_common_ones() -> None:
    target_RNO = torch.cat([torch.full((90, 1, 1), 2.0), torch.full((6, 1, 1), -2.0), torch.zeros(4, 1, 1)])
    facts = class_facts(target_RNO, 0.5)
    torch.testing.assert_close(facts.prior_OC, torch.tensor([[0.06, 0.04, 0.90]]))
    torch.testing.assert_close(facts.mean_OC, torch.tensor([[-2.0, 0.0, 2.0]]))
    torch.testing.assert_close(facts.prior_OC * facts.weight_OC, torch.full((1, 3), 1 / 3))


def test_rank_loss_tends_to_spearmans_correlation() -> None:
    generator = np.random.default_rng(0)
    forecast_BN, target_BN = generator.standard_normal((2, 7, 9))
    target_BN[2, :3] = np.nan
    expected = np.mean(
        [stats.spearmanr(f[np.isfinite(t)], t[np.isfinite(t)]).statistic for f, t in zip(forecast_BN, target_BN, strict=True)]
    )
    forecast_BNO, target_BNO = (torch.from_numpy(each)[..., None].float() for each in (forecast_BN, target_BN))
    loss = rank_loss(forecast_BNO, target_BNO, torch.ones(7), torch.ones(1), temperature=1e-4)
    assert -float(loss) == pytest.approx(expected, abs=1e-4)


def test_climbing_the_rank_loss_sorts_the_forecasts() -> None:
    generator = torch.Generator().manual_seed(3)
    target_BNO = torch.randn(6, 8, 1, generator=generator)
    forecast_BNO = torch.randn(6, 8, 1, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([forecast_BNO], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        rank_loss(forecast_BNO, target_BNO, torch.ones(6), torch.ones(1), temperature=0.5).backward()
        optimiser.step()
    assert torch.equal(forecast_BNO.detach().argsort(dim=1), target_BNO.argsort(dim=1))


def test_sharpe_loss_is_the_sharpe_ratio_of_what_is_left_after_turnover() -> None:
    generator = np.random.default_rng(1)
    weight_BN, return_BN = generator.standard_normal((40, 3)), 0.01 * generator.standard_normal((40, 3))
    return_BN[5, 1] = np.nan
    follows_B = np.ones(40, dtype=bool)
    follows_B[[0, 20]] = False
    net = []
    held_before = np.zeros(3)
    for b in range(40):
        held = np.where(np.isfinite(return_BN[b]), weight_BN[b], 0.0)
        paid = 0.002 * np.abs(held - held_before).sum() if follows_B[b] else 0.0
        net.append(float(np.nansum(held * return_BN[b]) - paid))
        held_before = held
    expected = np.mean(net) / np.std(net) * np.sqrt(365)
    tensors = (torch.from_numpy(each) for each in (weight_BN, return_BN, np.ones(40), follows_B))
    assert -float(sharpe_loss(*tensors, cost=0.002, decisions_per_year=365)) == pytest.approx(expected, rel=1e-6)


def test_a_portfolio_that_never_moves_has_a_finite_gradient() -> None:
    weight_BN = torch.zeros(8, 3, requires_grad=True)
    sharpe_loss(weight_BN, torch.randn(8, 3), torch.ones(8), torch.ones(8), cost=0.001, decisions_per_year=365).backward()
    assert weight_BN.grad is not None
    assert torch.isfinite(weight_BN.grad).all()


def test_the_collapse_penalty_is_one_minus_the_share_of_the_largest_entropy() -> None:
    attention_BHNML = torch.zeros(1, 1, 3, 5, 4)
    attention_BHNML[0, 0, 0, 1, 2] = 1.0  # one asset: collapsed
    attention_BHNML[0, 0, 1, [0, 2, 3, 4], 1] = 0.25  # every other asset alike, at one lag: no collapse
    share_M = np.array([0.7, 0.1, 0.1, 0.1])
    attention_BHNML[0, 0, 2, [0, 1, 3, 4], 0] = torch.from_numpy(share_M).float()
    partial = 1 - stats.entropy(share_M) / np.log(4)
    assert float(collapse_penalty(attention_BHNML)) == pytest.approx((1 + 0 + partial) / 3, abs=1e-6)
