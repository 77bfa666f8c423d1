"""What keeps a model from serving."""

import numpy as np
import pytest

from crossattn_core.families.fitted import AttentionWeights
from crossattn_core.walk_forward.health import check_health
from tests.walk_forward.fakes import FakeModel, synthetic_panel

PANEL = synthetic_panel(10)
CUT_OFF = len(PANEL.as_of_T) - 1


def _verdict(family: str = "ridge_var", **manifest):
    return check_health(FakeModel(family, {"slope_H": [0.1, 0.2], "validation_loss": 0.5} | manifest), PANEL, CUT_OFF)


def test_a_plain_model_is_healthy() -> None:
    assert _verdict() == (True, "")
    assert _verdict("attention").healthy


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"validation_loss": float("nan")}, "validation loss is nan"),
        ({"slope_H": [float("inf"), 1.0]}, "infinite forecasts"),
        ({"slope_H": [float("nan"), float("nan")]}, "no asset has a forecast"),
        ({"slope_H": [0.0, 0.0]}, "never move"),
    ],
)
def test_numbers_that_cannot_be_followed_are_named(manifest, message) -> None:
    healthy, why = _verdict(**manifest)
    assert not healthy
    assert message in why


def test_attention_on_one_source_and_lag_for_all_is_a_collapse(monkeypatch) -> None:
    def collapsed(self, panel, rows):
        weight_RHNML = np.zeros((len(rows), 2, 4, 4, 8), dtype=np.float32)
        weight_RHNML[:, :, 1:, 0, 3] = 1.0
        weight_RHNML[:, :, 0, 1, 3] = 1.0
        return AttentionWeights(np.asarray(rows), weight_RHNML, panel.asset_ids, ("all", "all"), np.arange(1, 9))

    monkeypatch.setattr(FakeModel, "attention", collapsed)
    healthy, why = _verdict("attention")
    assert not healthy
    assert why.startswith("attention collapsed")


def test_features_that_left_the_training_rows_behind_keep_a_model_from_serving() -> None:
    model = FakeModel("ridge_var", {"slope_H": [0.1, 0.2], "validation_loss": 0.5})
    assert check_health(model, PANEL, CUT_OFF, drift=2.0, max_drift=2.0).healthy
    assert check_health(model, PANEL, CUT_OFF, drift=float("nan"), max_drift=2.0).healthy
    healthy, why = check_health(model, PANEL, CUT_OFF, drift=2.5, max_drift=2.0)
    assert not healthy
    assert "stability index 2.500 when fitted, at most 2 serves" in why


def test_a_model_is_checked_on_rows_that_it_was_allowed_to_know(monkeypatch) -> None:
    rows_read = []
    plain = FakeModel.forecast
    monkeypatch.setattr(FakeModel, "forecast", lambda self, panel, rows: rows_read.append(rows.max()) or plain(self, panel, rows))
    check_health(FakeModel("ridge_var", {"slope_H": [0.1, 0.2]}), PANEL, 100)
    assert max(rows_read) == 100
