"""Windows: what is gathered by index is what the panel holds, scaled on training bars, and never a later bar."""

from dataclasses import replace

import numpy as np
import torch

from benchmarks.planted.markets import planted_market, planted_suite_market
from crossattn_core.panel.windows import Scaler, Windows, bar_log_returns, fit_scaler, trailing_volatility

PANEL = planted_suite_market("sessions", 2, bars=900).panel
LOOKBACK = 24


def windows_of(panel, first: int = 0, last: int | None = None, lookback: int = LOOKBACK) -> Windows:
    return Windows(panel, fit_scaler(PANEL, 0, 600), lookback=lookback, max_age_hours=96, first=first, last=last)


def test_a_window_ends_at_its_row_and_holds_the_bars_before_it() -> None:
    window_BLNC = windows_of(PANEL).gather(torch.tensor([100, 500]))
    scaled_TNF = fit_scaler(PANEL, 0, 600).apply(PANEL.feature_TNF)
    for b, row in enumerate((100, 500)):
        np.testing.assert_array_equal(window_BLNC[b, :, :, :-1].numpy(), scaled_TNF[row - LOOKBACK + 1 : row + 1])
        np.testing.assert_array_equal(window_BLNC[b, :, :, -1].numpy(), PANEL.is_fresh_TN[row - LOOKBACK + 1 : row + 1])


def test_a_slice_of_the_panel_gives_the_same_windows_as_the_whole() -> None:
    row_B = torch.tensor([400, 410])
    whole, part = windows_of(PANEL), windows_of(PANEL, first=400, last=410)
    torch.testing.assert_close(whole.gather(row_B), part.gather(row_B), rtol=0, atol=0)
    torch.testing.assert_close(whole.gather_recent(row_B, 5).bar_UNC, part.gather_recent(row_B, 5).bar_UNC, rtol=0, atol=0)


def test_bars_before_the_panel_are_silent() -> None:
    window_BLNC = windows_of(PANEL).gather(torch.tensor([3]))
    assert (window_BLNC[0, : LOOKBACK - 4] == 0).all()
    assert (window_BLNC[0, LOOKBACK - 4 :, 0, -1] == 1).all()


def test_recent_bars_spread_to_what_the_windows_hold() -> None:
    row_B = torch.tensor([300, 301, 302, 700])
    windows = windows_of(PANEL)
    recent = windows.gather_recent(row_B, 6)
    assert len(recent.bar_UNC) == 8 + 6
    torch.testing.assert_close(recent.spread(recent.bar_UNC), windows.gather(row_B).flip(1)[:, :6], rtol=0, atol=0)


def test_a_stale_asset_is_silent_and_past_its_age_unreadable() -> None:
    age_TN = PANEL.age_hours_TN.copy()
    age_TN[500, 4] = 97.0
    windows = windows_of(replace(PANEL, age_hours_TN=age_TN))
    assert windows.readable(torch.tensor([500]))[0].tolist() == [True, True, True, True, False, True]
    closed = int(np.flatnonzero(~PANEL.is_fresh_TN[:, 4])[5])
    assert (windows.gather(torch.tensor([closed]))[0, -1, 4] == 0).all()


def test_later_bars_move_neither_scaler_nor_volatility_nor_windows() -> None:
    feature_TNF, mark_TN = PANEL.feature_TNF.copy(), PANEL.mark_price_TN.copy()
    feature_TNF[601:], mark_TN[601:] = 9.0, 50.0
    rewritten = replace(PANEL, feature_TNF=feature_TNF, mark_price_TN=mark_TN)
    row_B = torch.arange(580, 601)
    torch.testing.assert_close(windows_of(rewritten).gather(row_B), windows_of(PANEL).gather(row_B), rtol=0, atol=0)
    np.testing.assert_array_equal(trailing_volatility(rewritten)[:601], trailing_volatility(PANEL)[:601])
    np.testing.assert_array_equal(fit_scaler(rewritten, 0, 600).mean_NF, fit_scaler(PANEL, 0, 600).mean_NF)


def test_volatility_of_a_slice_has_the_bits_of_the_whole() -> None:
    whole_TN = trailing_volatility(PANEL)
    for first, last in ((0, 10), (167, 168), (336, 700), (899, 899)):
        np.testing.assert_array_equal(trailing_volatility(PANEL, first=first, last=last), whole_TN[first : last + 1])


def test_volatility_is_the_root_mean_square_of_trailing_fresh_returns() -> None:
    panel = planted_market(bars=500, seed=4)
    return_TN = bar_log_returns(panel)
    expected_N = np.sqrt((return_TN[300 - 167 : 301] ** 2).mean(axis=0))
    np.testing.assert_allclose(trailing_volatility(panel)[300], expected_N, rtol=1e-12)


def test_a_feature_that_never_moves_is_left_as_it_is() -> None:
    feature_TNF = PANEL.feature_TNF.copy()
    feature_TNF[:, :, 2] = 5.0
    scaler = fit_scaler(replace(PANEL, feature_TNF=feature_TNF), 0, 600)
    assert (scaler.deviation_NF[:, 2] == 1).all()
    assert isinstance(Scaler.from_arrays(scaler.arrays()), Scaler)


def test_padded_places_spread_the_same_values_and_gradients() -> None:
    windows, row_B = windows_of(PANEL), torch.tensor([300, 301, 302, 700, 301])
    plain = windows.places(row_B, 6)
    padded = plain.padded(32, 7)
    outcome_BLNC = torch.randn(5, 6, *windows.bar_TNC.shape[1:])
    spread, gradients = [], []
    for places in (plain, padded):
        recent = windows.recent(row_B, places)
        value_UNC = recent.bar_UNC.clone().requires_grad_()
        spread.append(recent.spread(value_UNC))
        (spread[-1] * outcome_BLNC).sum().backward()
        gradients.append(value_UNC.grad)
    assert torch.equal(spread[0], spread[1])
    torch.testing.assert_close(gradients[1][: len(plain.bar_U)], gradients[0])
    assert not gradients[1][len(plain.bar_U) :].any()


def test_whether_all_assets_are_readable_is_known_of_each_batch() -> None:
    age_TN = PANEL.age_hours_TN.copy()
    age_TN[500, 4] = 97.0
    windows = windows_of(replace(PANEL, age_hours_TN=age_TN))
    for row_B in (torch.tensor([499, 501]), torch.tensor([499, 500])):
        recent = windows.gather_recent(row_B, 3)
        assert recent.all_readable == bool(recent.readable_BN.all())
