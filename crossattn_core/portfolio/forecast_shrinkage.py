"""Forecast shrinkage: a factor on each forecast, 0 until realised forecasts make skill likely.

Outcome = slope x forecast + noise. Two groups of assets (Efron, 2008): those whose forecasts say nothing, slope 0, and a share
of them whose forecasts do, slopes normal around a common one. Neither the share nor the common slope is known: both are
averaged over a grid, and with probability 1 - ``prior_skill`` the share is 0, the family knows nothing at all. What earlier
forecasts turned out to be worth (realised_slope.py) says by Bayes' rule how likely each asset's skill is, and how large its
slope:

    factor = slope, given skill x max(0, 1 - shrinkage_confidence / odds for skill)

Where there is no skill, the ratio of the odds to the prior's is a martingale: it doubles at some time in at most half of all
such markets (Ville's inequality), so most of them are never traded. Evidence adds up over assets, and grows with the size of
forecasts and with time.

A short horizon is realised sooner and far oftener: where a forecast over one is stored as well, what it turned out to be worth
moves the prior odds of each asset and of the family, by a factor of ``MAX_SHORT_ODDS`` at most, since a bounce that is forecast
for an hour need not be there over a day.

Axes: D decisions, T rows, N assets, S slopes and P shares of the grid.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import PortfolioSettings
from crossattn_core.portfolio.realised_slope import RealisedSlope

__all__ = ["forecast_shrinkage"]

MAX_SHORT_ODDS = 12.0
"""Largest factor, either way, by which a shorter horizon moves the prior odds."""
_SLOPES = np.array([0.25, 0.5, 0.75, 1.0])
_SHARES = np.array([0.2, 0.4, 0.6, 0.8, 1.0])


class _Skill(NamedTuple):
    """The posterior of one horizon."""

    likely_DN: NDArray[np.float64]
    """(D, N) probability that the asset's forecasts are worth anything."""
    family_D: NDArray[np.float64]
    """(D,) probability that any of the family's are."""
    slope_DN: NDArray[np.float64]
    """(D, N) mean slope where they are, in [0, 1]."""


def forecast_shrinkage(
    realised: RealisedSlope, settings: PortfolioSettings, *, short: RealisedSlope | None = None
) -> NDArray[np.float64]:
    """(D, N) factor on the forecast of each decision, in [0, 1].

    Args:
        realised: of the traded horizon's forecasts.
        short: of the same family's forecasts over a shorter horizon; none where there are none.
    """
    if settings.shrinkage_prior_sd == 0:
        return np.full(realised.slope_DN.shape, settings.shrinkage)
    asset_odds_DN, family_odds_D = np.ones(realised.slope_DN.shape), np.ones(len(realised.slope_DN))
    if short is not None:
        seen, nothing = _skill(short, settings, asset_odds_DN, family_odds_D), 1.0 / MAX_SHORT_ODDS
        unseen = settings.prior_skill * _SHARES.mean()
        asset_odds_DN = np.clip(_odds(seen.likely_DN) / _odds(unseen), nothing, MAX_SHORT_ODDS)
        family_odds_D = np.clip(_odds(seen.family_D) / _odds(settings.prior_skill), nothing, MAX_SHORT_ODDS)
    skill = _skill(realised, settings, asset_odds_DN, family_odds_D)
    doubt_DN = settings.shrinkage_confidence / np.maximum(_odds(skill.likely_DN), 1e-12)
    return skill.slope_DN * np.maximum(0.0, 1.0 - doubt_DN)


def _skill(
    realised: RealisedSlope, settings: PortfolioSettings, asset_odds_DN: NDArray[np.float64], family_odds_D: NDArray[np.float64]
) -> _Skill:
    """The average over the grid, each point weighed by how well it explains the slopes; the odds multiply the prior's."""
    estimate_DN, information_DN = realised
    spread = (settings.shrinkage_prior_sd / 2) ** 2  # assets are more alike than families
    slope_S11 = _SLOPES[:, None, None]
    ahead_SDN = (slope_S11 / spread + information_DN * estimate_DN) / (1.0 / spread + information_DN)
    # Log ratio of the densities of the estimate, with skill and without.
    evidence_SDN = 0.5 * (
        information_DN * estimate_DN**2
        - np.log1p(spread * information_DN)
        - information_DN * (estimate_DN - slope_S11) ** 2 / (1.0 + spread * information_DN)
    )
    ratio_SDN = np.exp(np.clip(evidence_SDN, -200.0, 200.0))
    share_PDN = _SHARES[:, None, None] * asset_odds_DN
    share_PDN /= 1.0 - _SHARES[:, None, None] + share_PDN
    with_skill_SPDN = share_PDN * ratio_SDN[:, None]
    mixed_SPDN = 1.0 - share_PDN + with_skill_SPDN
    prior_S = np.exp(-0.5 * ((_SLOPES - settings.shrinkage) / settings.shrinkage_prior_sd) ** 2)
    weight_SPD = np.log(mixed_SPDN).sum(axis=3) + np.log(prior_S / prior_S.sum() / len(_SHARES))[:, None, None]
    largest_D = np.maximum(weight_SPD.max(axis=(0, 1)), 0.0)
    odds_D = _odds(settings.prior_skill) * family_odds_D
    weight_SPD = np.exp(weight_SPD - largest_D) * odds_D / (1.0 + odds_D)
    total_D = weight_SPD.sum(axis=(0, 1))
    weight_SPD /= total_D + np.exp(-largest_D) / (1.0 + odds_D)
    member_SDN = np.einsum("spd,spdn->sdn", weight_SPD, with_skill_SPDN / mixed_SPDN)
    likely_DN = member_SDN.sum(axis=0)
    slope_DN = (member_SDN * np.clip(ahead_SDN, 0.0, 1.0)).sum(axis=0) / np.maximum(likely_DN, 1e-300)
    return _Skill(likely_DN, weight_SPD.sum(axis=(0, 1)), slope_DN)


def _odds(probability: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(probability) / np.maximum(1.0 - np.asarray(probability), 1e-12)
