"""The loss counts what exists, by weight, and nothing else."""

import pytest
import torch

from crossattn_core.training.loss import regression_loss

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
