"""Assets are told apart by their key; a symbol names one where no other shares it."""

from datetime import date

import pytest
from pydantic import ValidationError

from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.days import bounds
from crossattn_core.errors import ExperimentError, UniverseError
from crossattn_core.experiment import Experiment, FeedSettings, load_experiment
from crossattn_core.universe import VENUES, Asset
from crossattn_core.warehouse.sources import asset_rows

PERP = {"venue": "bybit", "symbol": "BTCUSDT"}
SPOT = PERP | {"category": "spot"}
OTHER = {"venue": "binance", "symbol": "BTCUSDT"}
ETHER = {"venue": "bybit", "symbol": "ETHUSDT"}


def experiment(*assets: dict, **sections: object) -> Experiment:
    return Experiment.model_validate({"assets": list(assets), **sections})


def test_spot_and_perpetual_of_one_symbol_stand_in_one_universe_and_go_by_their_keys() -> None:
    of = experiment(PERP, SPOT, OTHER, ETHER)
    names = ("bybit:linear:BTCUSDT", "bybit:spot:BTCUSDT", "binance:linear:BTCUSDT", "ETHUSDT")
    assert of.symbols == names
    assert tuple(asset_rows(of).column("symbol").to_pylist()) == names
    with pytest.raises(ValidationError, match="bybit:linear:BTCUSDT is there more than once; a universe names each asset once"):
        experiment(PERP, PERP, ETHER)


def test_a_choice_names_assets_by_symbol_or_key() -> None:
    of = experiment(PERP, SPOT, ETHER)
    assert of.select(("bybit:spot:BTCUSDT", "ETHUSDT")).asset_ids == ("bybit:spot:BTCUSDT", "bybit:linear:ETHUSDT")
    with pytest.raises(UniverseError, match=r"BTCUSDT is not in experiment 'demo' \(bybit:linear:BTCUSDT, bybit:spot:BTCUSDT"):
        of.select(("BTCUSDT", "ETHUSDT"))
    with pytest.raises(UniverseError, match="alone has nothing to attend to"):
        of.select(("ETHUSDT", "bybit:linear:ETHUSDT"))


def test_planted_leads_name_assets_by_symbol_or_key() -> None:
    lead = {"leader": "bybit:spot:BTCUSDT", "follower": "ETHUSDT", "lag": 2}
    of = experiment(PERP, SPOT, ETHER, feed={"simulated": {"leads": [lead]}})
    feed = SimulatedFeed(of.feed.simulated, of.assets, of.period)
    (planted,) = feed.truth(bounds(of.period.start)[1])["leads"]
    assert (planted["leader_id"], planted["follower_id"]) == ("bybit:spot:BTCUSDT", "bybit:linear:ETHUSDT")
    assert len(of.select(("bybit:spot:BTCUSDT", "ETHUSDT")).feed.simulated.leads) == 1
    perp, spot = (set(feed.candles(asset, *bounds(of.period.start))["close"]) for asset in of.assets[:2])
    assert not perp & spot
    with pytest.raises(ValidationError, match="planted lead names BTCUSDT, which is not among the assets"):
        experiment(PERP, SPOT, ETHER, feed={"simulated": {"leads": [lead | {"leader": "BTCUSDT"}]}})


def test_each_venue_has_its_own_costs_where_the_experiment_names_none() -> None:
    of = experiment(PERP, OTHER, ETHER, feed={"simulated": {"leads": []}})
    for venue in ("bybit", "binance", "yahoo", "okx"):
        assert getattr(of.costs, venue) == of.costs.of(venue) == VENUES.get(venue).costs
    assert set(of.model_dump()["costs"]) & set(VENUES.names()) == {"bybit", "binance"}
    assert Experiment.model_validate(of.model_dump()).content_hash() == of.content_hash()


def test_a_file_names_some_knobs_of_a_venue_and_the_others_are_the_venues() -> None:
    of = load_experiment(overrides={"costs": {"bybit": {"fee_bps": 1.0}, "impact": 0.5}})
    assert (of.costs.bybit.fee_bps, of.costs.bybit.slippage_bps) == (1.0, VENUES.get("bybit").costs.slippage_bps)
    assert of.costs.impact == 0.5
    assert of.content_hash() != load_experiment().content_hash()


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"bybt": {"fee_bps": 1.0}}, "bybt: no such knob and no venue; did you mean 'bybit'"),
        ({"imact": 1.0}, "imact: no such knob and no venue; did you mean 'impact'"),
        ({"bybit": {"fe_bps": 1.0}}, r"costs\.bybit\.fe_bps: no such knob; did you mean 'fee_bps'"),
        ({"bybit": {"fee_bps": -1.0}}, r"costs\.bybit\.fee_bps: .* \(given: -1\.0\)"),
    ],
)
def test_a_wrong_cost_is_refused_with_the_nearest(costs: dict, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        load_experiment(overrides={"costs": costs})


@pytest.mark.parametrize("symbol", ["../ETC", "A/B", "a b", "", "BTC\\USD", "X" * 26, "Ü", "A:B", "A\nB"])
def test_what_cannot_be_a_files_name_is_no_symbol(symbol: str) -> None:
    with pytest.raises(ValidationError, match="is not a symbol"):
        Asset(venue="yahoo", symbol=symbol)


@pytest.mark.parametrize("name", VENUES.names())
def test_every_venue_declares_what_it_is(name: str) -> None:
    venue = VENUES.get(name)
    assert venue.default_category in venue.categories
    assert venue.costs.trade_bps > 0
    assert venue.requests_per_second > 0
    assert venue.units
    assert "candles" in Asset(venue=name, symbol="BTCUSDT").series


def test_what_is_declared_of_a_symbol_may_be_declared_of_one_asset_alone() -> None:
    spot, perpetual = (Asset(venue="bybit", category=category, symbol="BTCUSDT") for category in ("spot", "linear"))
    days = {"BTCUSDT": date(2025, 1, 1), spot.asset_id: date(2025, 2, 1)}
    settings = FeedSettings(first_days=days)
    assert settings.declared(settings.first_days, spot) == date(2025, 2, 1)
    assert settings.declared(settings.first_days, perpetual) == date(2025, 1, 1)
    assert settings.declared(settings.last_days, spot) is None
