"""What raw outputs mean: classes, expected moves, weights of a portfolio."""

import numpy as np
import pytest
import torch

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import load_experiment
from crossattn_core.model.heads import direction_classes, expected_move, portfolio_weights


@pytest.mark.parametrize("shape", ["softmax", "tanh"])
def test_weights_have_a_gross_exposure_of_one_and_leave_the_unreadable_alone(shape) -> None:
    score_BN = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    readable_BN = torch.rand(50, 6, generator=torch.Generator().manual_seed(1)) > 0.3
    readable_BN[0] = False
    weight_BN = portfolio_weights(score_BN, readable_BN, shape)
    assert (weight_BN[~readable_BN] == 0).all()
    torch.testing.assert_close(weight_BN.abs().sum(dim=1), readable_BN.any(dim=1).float())
    assert (weight_BN >= 0).all() == (shape == "softmax")


def test_long_short_weights_are_tanh_of_the_scores_in_proportion() -> None:
    score_BN = torch.tensor([[0.5, -1.0, 0.0, 2.0]])
    expected_N = np.tanh([0.5, -1.0, 0.0, 2.0])
    weight_BN = portfolio_weights(score_BN, torch.ones(1, 4, dtype=torch.bool), "tanh")
    np.testing.assert_allclose(weight_BN[0], expected_N / np.abs(expected_N).sum(), rtol=1e-6)


def test_the_neutral_band_is_a_band_around_zero() -> None:
    scaled = torch.linspace(-2, 2, 401)
    classes = direction_classes(scaled, 0.5)
    assert (classes[scaled < -0.5] == 0).all()
    assert (classes[scaled.abs() <= 0.5] == 1).all()
    assert (classes[scaled > 0.5] == 2).all()


def test_logits_that_say_nothing_expect_the_mean_of_training() -> None:
    prior_OC = torch.tensor([[0.1, 0.6, 0.3]])
    mean_OC = torch.tensor([[-1.0, 0.1, 2.0]])
    move_BNO = expected_move(torch.zeros(2, 3, 3), prior_OC, mean_OC)
    torch.testing.assert_close(move_BNO, torch.full((2, 3, 1), float((prior_OC * mean_OC).sum())))


def test_a_certain_class_expects_that_classs_mean_and_one_never_seen_is_never_expected() -> None:
    mean_OC, sure = torch.tensor([[-1.0, 0.1, 2.0]]), 50.0
    up_BNO = expected_move(torch.tensor([[[0.0, 0.0, sure]]]), torch.full((1, 3), 1 / 3), mean_OC)
    assert float(up_BNO) == pytest.approx(2.0)
    unseen_BNO = expected_move(torch.zeros(1, 1, 3), torch.tensor([[0.5, 0.5, 0.0]]), mean_OC)
    assert float(unseen_BNO) == pytest.approx(-0.45)


@pytest.mark.parametrize(("head", "loss"), [("returns", "sharpe"), ("direction", "mse"), ("weights", "rank_ic")])
def test_a_loss_that_cannot_train_a_head_is_refused_with_those_that_can(head, loss) -> None:
    with pytest.raises(ExperimentError, match=f"does not suit model.head '{head}'; choose from"):
        load_experiment(None, {"model": {"head": head}, "training": {"loss": loss}})
