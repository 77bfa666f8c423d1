"""An attention variant or an encoder from outside: registered, it is named in an experiment, fitted and asked like ours."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import ModelSettings, load_experiment
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.shape import NetworkShape

PANEL = planted_market(bars=400, assets=4, seed=2, edges=())
SMALL = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1},
    "training": {"epochs": 1, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8},
}
REQUEST = FitRequest(PANEL, 350, np.ones(400, np.float32), seed=5)


class NewestMeanAttention(CrossAttention):
    """Every readable asset's newest bar alike."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self.heads = settings.heads
        self.value = nn.Linear(settings.width, settings.width, bias=False)

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        allowed_BNM = allowed_sources(tokens.bars.readable_BN).float()
        weight_BNM = allowed_BNM / allowed_BNM.sum(dim=-1, keepdim=True).clamp_min(1)
        context_BND = weight_BNM @ self.value(tokens.newest_BND)
        weight_BHNML = torch.zeros(*weight_BNM.shape, tokens.bars.place_BL.shape[1])[:, None].repeat(1, self.heads, 1, 1, 1)
        weight_BHNML[..., 0] = weight_BNM[:, None]
        return context_BND.unflatten(-1, (self.heads, -1)), weight_BHNML


class NewestBarEncoder(Encoder):
    """A linear map of the newest bar."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self.map = nn.Linear(shape.channels, settings.width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        return self.map(bar_BNLC[:, :, -1])


def test_an_attention_variant_from_outside_is_fitted_stored_and_shows_its_weights(tmp_path) -> None:
    with ATTENTION.temporarily("newest_mean", NewestMeanAttention):
        experiment = planted_experiment(PANEL, {**SMALL, "model": {**SMALL["model"], "cross_attention": "newest_mean"}})
        model = fit_model("attention", REQUEST, experiment)
        loaded = load_model(model.save(tmp_path / "model"), experiment)
    rows = np.arange(360, 380)
    assert np.isfinite(model.forecast(PANEL, rows)).all()
    np.testing.assert_array_equal(loaded.forecast(PANEL, rows), model.forecast(PANEL, rows))
    attention = model.attention(PANEL, rows)
    assert attention is not None
    np.testing.assert_allclose(attention.weight_RHNML[..., 0].sum(axis=-1), 1.0, rtol=1e-5)


def test_an_encoder_from_outside_reads_the_own_window() -> None:
    with ENCODERS.temporarily("newest_bar", NewestBarEncoder):
        experiment = planted_experiment(PANEL, {**SMALL, "model": {**SMALL["model"], "own_branch": "newest_bar"}})
        model = fit_model("attention", REQUEST, experiment)
    assert np.isfinite(model.forecast(PANEL, np.arange(360, 380))).all()


@pytest.mark.parametrize(("knob", "name", "near"), [("cross_attention", "lag_bais", "lag_bias"), ("own_branch", "lsmt", "lstm")])
def test_a_name_that_nobody_registered_is_refused_with_the_nearest_and_the_list(knob: str, name: str, near: str) -> None:
    with pytest.raises(
        ExperimentError, match=rf"model.{knob}: no .* is called '{name}'; did you mean '{near}'\? Known: .*{near}"
    ):
        load_experiment(None, {"model": {knob: name}})
