"""Splits: no label crosses from one side to the other, and nothing ends after the cut-off."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossattn_core.errors import TrainingError
from crossattn_core.panel.labels import Labels
from crossattn_core.panel.splits import training_rows


def labels_of(end_TNH: np.ndarray) -> Labels:
    value_TNH = np.where(end_TNH >= 0, 0.5, np.nan).astype(np.float32)
    return Labels(value_TNH, end_TNH.astype(np.int32))


@given(st.integers(0, 2**32 - 1), st.integers(0, 119), st.integers(0, 30), st.floats(0.05, 0.45), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_a_training_label_ends_before_the_embargo_and_no_label_after_the_cut_off(
    seed: int, cut_off: int, embargo: int, share: float, stride: int
) -> None:
    rng = np.random.default_rng(seed)
    end_TNH = np.arange(120)[:, None, None] + rng.integers(1, 30, size=(120, 3, 2))
    end_TNH[rng.random(end_TNH.shape) < 0.3] = -1
    labels = labels_of(end_TNH)
    try:
        split = training_rows(labels, cut_off, validation_share=share, embargo=embargo, stride=stride)
    except TrainingError:
        assume(False)
        return
    ends = labels.end_TNH[split.train_R]
    is_fitted = (ends >= 0) & (ends <= split.train_end)
    assert is_fitted.any(axis=(1, 2)).all()
    assert ends[is_fitted].max() + embargo < split.validation_R.min()
    assert split.train_end < split.validation_R.min() <= split.cut_off == cut_off
    judged = labels.end_TNH[split.validation_R]
    assert ((judged >= 0) & (judged <= cut_off)).any(axis=(1, 2)).all()
    assert split.train_R.max() < split.validation_R.min()


def test_the_stride_counts_back_from_the_newest_training_row() -> None:
    labels = labels_of(np.arange(1, 61)[:, None, None])
    every = training_rows(labels, 59, embargo=0)
    third = training_rows(labels, 59, embargo=0, stride=3)
    assert third.train_R[-1] == every.train_R[-1]
    assert set(np.diff(third.train_R)) == {3}


def test_too_little_history_is_refused_with_the_count() -> None:
    with pytest.raises(TrainingError, match="2 rows with a known label"):
        training_rows(labels_of(np.arange(1, 4)[:, None, None]), 2)


def test_a_row_without_weight_is_on_neither_side() -> None:
    labels, weight_T = labels_of(np.arange(1, 61)[:, None, None]), np.ones(60, dtype=np.float32)
    weight_T[:5], weight_T[20:23], weight_T[50:] = 0, 0, 0
    split = training_rows(labels, 59, weight_T=weight_T, validation_share=0.2, embargo=3)
    assert split.validation_R.tolist() == list(range(42, 50))
    assert split.train_R.tolist() == [*range(5, 20), *range(23, 38)]
    with pytest.raises(TrainingError, match="0 rows with weight and a known label"):
        training_rows(labels, 59, weight_T=np.zeros(60, dtype=np.float32))
