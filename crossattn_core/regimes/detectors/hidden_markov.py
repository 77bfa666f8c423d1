"""A hidden Markov model of calm and stress, filtered forward: a day's state depends on that day and the days before it.

Observations of a day: the market's mean standardised return and its log volatility. States are Gaussian with diagonal
covariance, ordered by volatility. Parameters are fitted on past days only (Baum-Welch), again every ``refit_days``, each
time from the parameters before; after a fit the filter runs again over the days that the fit read. Smoothed labels or
a Viterbi path would rewrite the past and are not used.

Axes: D days, N assets, K states, O observations of a day.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import RegimeSettings
from crossattn_core.regimes.detectors.registry import DETECTORS, DetectedStates
from crossattn_core.regimes.market_days import MarketDays

__all__ = ["GaussianChain", "filter_forward", "fit_chain", "hidden_markov"]

_SHRINK_DAYS = 5.0
"""Days by which an asset's weekend mean is drawn towards its mean over all days."""
_MAX_DAYS = 1000
"""Newest days that a fit and the filter read: older ones cost time and hold little about today's calm."""
_FIRST_ROUNDS, _LATER_ROUNDS = 25, 4
_MIN_DEVIATION = 0.05
_MIN_SEPARATION = 0.2
"""Log volatility by which a state must exceed the calmest to count as another regime: before the first storm a fit only
splits noise."""


@dataclass(frozen=True)
class GaussianChain:
    """Parameters of the model."""

    start_K: NDArray[np.float64]
    move_KK: NDArray[np.float64]
    """(from, to) transition probabilities of a day."""
    mean_KO: NDArray[np.float64]
    deviation_KO: NDArray[np.float64]


@DETECTORS.register("hidden_markov")
def hidden_markov(market: MarketDays, settings: RegimeSettings) -> DetectedStates:
    """The most probable state by the forward filter; with two states they are calm (0) and stress (2)."""
    days, states = len(market.day_D), settings.states
    level_D, state_D = np.full(days, np.nan), np.full(days, -1, dtype=np.int64)
    log_DN, known_DN = _log_volatility(market)
    chain: GaussianChain | None = None
    weekend_D = np.array([day.weekday() >= 5 for day in market.day_D], dtype=bool)
    usual_DN = np.zeros_like(log_DN)
    code_K = np.round(np.linspace(0, 2, states)).astype(np.int64)
    probability_K = np.zeros(states)
    for d in range(settings.minimum_days - 1, days):
        if (d - settings.minimum_days + 1) % settings.refit_days == 0:
            # What is usual is learnt with the chain and holds until the next fit, on weekdays and weekends apart.
            newest = slice(max(d + 1 - _MAX_DAYS, 0), d + 1)
            usual_DN = _usual(log_DN[newest], known_DN[newest], weekend_D[newest])[weekend_D.astype(np.int64)]
            observed_DO = _observations(market, log_DN, known_DN, usual_DN, newest)
            chain = fit_chain(observed_DO, states, chain, sticky_days=settings.sticky_days)
            probability_K = filter_forward(chain, observed_DO)[-1]
        elif chain is not None:
            today_DO = _observations(market, log_DN, known_DN, usual_DN, slice(d, d + 1))
            probability_K = _step(chain, probability_K @ chain.move_KK, today_DO[0])
        if chain is not None:
            apart_K = chain.mean_KO[:, -1] - chain.mean_KO[0, -1] >= _MIN_SEPARATION
            state_D[d] = np.where(apart_K, code_K, 0)[int(np.argmax(probability_K))]
        level_D[d] = float(probability_K @ np.linspace(0, 1, states))
    return DetectedStates(level_D, state_D)


def fit_chain(
    observed_DO: NDArray[np.float64], states: int, before: GaussianChain | None = None, *, sticky_days: float = 20.0
) -> GaussianChain:
    """Baum-Welch from ``before``, or from equal parts by volatility (the last observation); states come out ordered by it.

    ``sticky_days`` is the prior mean length of a state and the number of days that this prior weighs. A missing
    observation (NaN) carries no information. Rabiner, "A Tutorial on Hidden Markov Models", 1989.
    """
    chain = before or _first_guess(observed_DO, states, sticky_days)
    known_DO = np.isfinite(observed_DO)
    filled_DO = np.where(known_DO, observed_DO, 0.0)
    for _ in range(_LATER_ROUNDS if before else _FIRST_ROUNDS):
        forward_DK, backward_DK, likelihood_DK, scale_D = _forward_backward(chain, observed_DO)
        weight_DK = forward_DK * backward_DK
        weight_DK /= weight_DK.sum(axis=1, keepdims=True)
        arrive_DK = likelihood_DK[1:] * backward_DK[1:] / scale_D[1:, None]
        moved_KK = chain.move_KK * (forward_DK[:-1].T @ arrive_DK)
        prior_KK = np.full((states, states), 1 / (states - 1)) if states > 1 else np.ones((1, 1))
        np.fill_diagonal(prior_KK, sticky_days - 1)
        move_KK = moved_KK + prior_KK
        total_KO = np.maximum(weight_DK.T @ known_DO, 1e-9)
        mean_KO = (weight_DK.T @ filled_DO) / total_KO
        off_DKO = np.where(known_DO[:, None, :], filled_DO[:, None, :] - mean_KO, 0.0)
        spread_KO = (weight_DK[:, :, None] * off_DKO**2).sum(axis=0)
        deviation_KO = np.maximum(np.sqrt(spread_KO / total_KO), _MIN_DEVIATION)
        chain = GaussianChain(weight_DK[0], move_KK / move_KK.sum(axis=1, keepdims=True), mean_KO, deviation_KO)
    order_K = np.argsort(chain.mean_KO[:, -1], kind="stable")
    return GaussianChain(
        chain.start_K[order_K], chain.move_KK[np.ix_(order_K, order_K)], chain.mean_KO[order_K], chain.deviation_KO[order_K]
    )


def filter_forward(chain: GaussianChain, observed_DO: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, K) probability of each state given the days up to and including d."""
    probability_DK = np.empty((len(observed_DO), len(chain.start_K)))
    prior_K = chain.start_K
    for d, observed_O in enumerate(observed_DO):
        probability_DK[d] = _step(chain, prior_K, observed_O)
        prior_K = probability_DK[d] @ chain.move_KK
    return probability_DK


def _step(chain: GaussianChain, prior_K: NDArray[np.float64], observed_O: NDArray[np.float64]) -> NDArray[np.float64]:
    joint_K = prior_K * _likelihood(chain, observed_O[None])[0]
    return joint_K / joint_K.sum()


def _likelihood(chain: GaussianChain, observed_DO: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, K) density, scaled so that each day's largest is 1; 1 for all where nothing was seen."""
    standard_DKO = (observed_DO[:, None, :] - chain.mean_KO) / chain.deviation_KO
    log_DKO = np.where(np.isfinite(standard_DKO), -0.5 * standard_DKO**2 - np.log(chain.deviation_KO), 0.0)
    log_DK = log_DKO.sum(axis=2)
    return np.maximum(np.exp(log_DK - log_DK.max(axis=1, keepdims=True)), 1e-12)


def _forward_backward(
    chain: GaussianChain, observed_DO: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    likelihood_DK = _likelihood(chain, observed_DO)
    forward_DK, backward_DK = np.empty_like(likelihood_DK), np.ones_like(likelihood_DK)
    scale_D = np.empty(len(observed_DO))
    prior_K = chain.start_K
    for d in range(len(observed_DO)):
        joint_K = prior_K * likelihood_DK[d]
        scale_D[d] = joint_K.sum()
        forward_DK[d] = joint_K / scale_D[d]
        prior_K = forward_DK[d] @ chain.move_KK
    for d in range(len(observed_DO) - 2, -1, -1):
        backward_DK[d] = chain.move_KK @ (likelihood_DK[d + 1] * backward_DK[d + 1]) / scale_D[d + 1]
    return forward_DK, backward_DK, likelihood_DK, scale_D


def _first_guess(observed_DO: NDArray[np.float64], states: int, sticky_days: float) -> GaussianChain:
    volatility_D = observed_DO[:, -1]
    edges = np.nanquantile(volatility_D, np.arange(1, states) / states)
    part_D = np.searchsorted(edges, np.nan_to_num(volatility_D, nan=float(np.nanmedian(volatility_D))))
    parts = [observed_DO[part_D == k] if (part_D == k).any() else observed_DO for k in range(states)]
    stay = 1 - 1 / sticky_days
    move_KK = np.full((states, states), (1 - stay) / max(states - 1, 1))
    np.fill_diagonal(move_KK, stay)
    mean_KO = np.stack([np.nanmean(part, axis=0) for part in parts])
    deviation_KO = np.maximum(np.stack([np.nanstd(part, axis=0) for part in parts]), _MIN_DEVIATION)
    return GaussianChain(np.full(states, 1 / states), move_KK, np.nan_to_num(mean_KO), np.nan_to_num(deviation_KO, nan=1.0))


def _log_volatility(market: MarketDays) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(D, N) log of the day's root mean square return, 0 where unknown, and where it is known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log_DN = 0.5 * np.log(market.squares_DN / market.bars_DN)
    known_DN = np.isfinite(log_DN) & (market.bars_DN >= min(4, market.return_DHN.shape[1]))
    return np.where(known_DN, log_DN, 0.0), known_DN


def _usual(log_DN: NDArray[np.float64], known_DN: NDArray[np.bool_], weekend_D: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(2, N) mean log volatility of each asset on weekdays and on weekends, drawn towards its mean over all days."""
    overall_N = log_DN.sum(axis=0) / np.maximum(known_DN.sum(axis=0), 1)
    sums = [
        (log_DN[days_D].sum(axis=0) + _SHRINK_DAYS * overall_N) / (known_DN[days_D].sum(axis=0) + _SHRINK_DAYS)
        for days_D in (~weekend_D, weekend_D)
    ]
    return np.stack(sums)


def _observations(
    market: MarketDays, log_DN: NDArray[np.float64], known_DN: NDArray[np.bool_], usual_DN: NDArray[np.float64], days: slice
) -> NDArray[np.float64]:
    """(D, 2) mean over assets of the day's return in its own usual deviations, and of log volatility over its usual."""
    known_DN, usual_DN = known_DN[days], usual_DN[days]
    scale_DN = np.exp(usual_DN) * np.sqrt(np.maximum(market.bars_DN[days], 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        count_D = known_DN.sum(axis=1)
        return_D = np.where(known_DN, market.returns_DN[days] / scale_DN, 0.0).sum(axis=1) / count_D
        volatility_D = np.where(known_DN, log_DN[days] - usual_DN, 0.0).sum(axis=1) / count_D
    return np.stack([return_D, volatility_D], axis=1)
