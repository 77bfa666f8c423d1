"""Small markets and targets for tests: random, but drawn from a seed that the test names."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import strategies as st

from crossattn_core.backtest.costs.holding import Borrow, Dividend, Funding, Interest, WriteOff
from crossattn_core.backtest.costs.trading import Fee, HalfSpread, LinearImpact, Slippage, SquareRootImpact
from crossattn_core.backtest.market import Market
from crossattn_core.grid import HOURLY
from crossattn_core.portfolio.target_weights import Targets

START = np.datetime64("2025-01-01T01:00:00", "us")


def instants(count, grid=HOURLY):
    return grid.row_of(START) + np.arange(count) * grid.step_us


def market(
    seed=0,
    rows=200,
    assets=4,
    cost_bps=10.0,
    funding=True,
    borrow=True,
    closed=0.2,
    volatility=0.01,
    listed_late=False,
    impact=False,
    interest=False,
    margin=0.0,
    dividends=False,
    linear_impact=False,
    delisted=False,
    delisting_loss=0.0,
    grid=HOURLY,
):
    draw = np.random.default_rng(seed)
    price_TN = 100.0 * np.exp(np.cumsum(volatility * draw.standard_normal((rows, assets)), axis=0))
    tradable_TN = draw.random((rows, assets)) >= closed
    if listed_late:
        tradable_TN[: rows // 3, 0] = False
        price_TN[: rows // 3, 0] = 1.0
    costs = [
        Fee(np.full(assets, 0.5 * cost_bps / 1e4)),
        HalfSpread(np.full(assets, 0.2 * cost_bps / 1e4)),
        Slippage(np.full(assets, 0.3 * cost_bps / 1e4)),
    ]
    if funding:
        costs.append(Funding(np.where(np.arange(rows)[:, None] % 8 == 7, 1e-4 * draw.standard_normal((rows, assets)), 0.0)))
    if borrow:
        costs.append(Borrow(np.full((rows, assets), 0.05 / grid.bars_per_year)))
    if impact:
        costs.append(SquareRootImpact(np.abs(1e-5 * draw.standard_normal((rows, assets)))))
    if interest:
        costs.append(Interest(-0.04 / grid.bars_per_year))
    if linear_impact:
        costs.append(LinearImpact(np.abs(1e-8 * draw.standard_normal((rows, assets)))))
    delisted_TN = draw.random((rows, assets)) < 3 / rows if delisted else None
    if delisted and delisting_loss:
        costs.append(WriteOff(delisted_TN * delisting_loss))
    if dividends:
        costs.append(Dividend(np.where(draw.random((rows, assets)) < 0.05, 0.01 * price_TN, 0.0)))
    return Market(
        as_of_T=instants(rows, grid),
        asset_ids=tuple(f"bybit:linear:A{asset}" for asset in range(assets)),
        price_TN=price_TN,
        tradable_TN=tradable_TN,
        costs=tuple(costs),
        margin_leverage=margin,
        delisted_TN=delisted_TN,
        grid=grid,
    )


def rearranged(on, rows=slice(None), assets=slice(None)):
    """The market on some of its rows and on its assets in another order (or some twice), all its costs along."""

    def cut(value, name):
        if isinstance(value, np.ndarray):
            return value[rows][:, assets] if name.endswith("_TN") else value[assets]
        return value

    costs = [
        type(cost)(**{field.name: cut(getattr(cost, field.name), field.name) for field in fields(cost)}) for cost in on.costs
    ]
    return replace(
        on,
        as_of_T=on.as_of_T[rows],
        asset_ids=tuple(np.array(on.asset_ids, dtype=object)[assets]),
        price_TN=cut(on.price_TN, "price_TN"),
        tradable_TN=cut(on.tradable_TN, "tradable_TN"),
        delisted_TN=cut(on.delisted_TN, "delisted_TN"),
        costs=tuple(costs),
    )


def targets(on, seed=0, every=24, first=3, left_alone=0.2, gross=1.0, long_only=False):
    draw = np.random.default_rng(seed + 10_000)
    as_of_D = on.as_of_T[first::every]
    weight_DN = draw.standard_normal((len(as_of_D), len(on.asset_ids)))
    if long_only:
        weight_DN = np.abs(weight_DN)
    weight_DN *= gross / np.abs(weight_DN).sum(axis=1, keepdims=True)
    weight_DN[draw.random(weight_DN.shape) < left_alone] = np.nan
    return Targets("random", on.asset_ids, as_of_D, weight_DN)


@st.composite
def cases(draw, **fixed):
    seed = draw(st.integers(0, 10_000))
    on = market(
        seed=seed,
        rows=draw(st.integers(5, 120)),
        assets=draw(st.integers(1, 5)),
        cost_bps=draw(st.sampled_from([0.0, 10.0, 300.0])),
        funding=draw(st.booleans()),
        borrow=draw(st.booleans()),
        closed=draw(st.sampled_from([0.0, 0.3, 0.9])),
        volatility=draw(st.sampled_from([0.001, 0.03])),
        listed_late=draw(st.booleans()),
        impact=draw(st.booleans()),
        interest=draw(st.booleans()),
        margin=draw(st.sampled_from([0.0, 0.0, 1.5, 3.0])),
        dividends=draw(st.booleans()),
        linear_impact=draw(st.booleans()),
        delisted=draw(st.booleans()),
        delisting_loss=draw(st.sampled_from([0.0, 0.7, 1.0])),
        **fixed,
    )
    chosen = targets(
        on,
        seed=seed,
        every=draw(st.sampled_from([1, 3, 24])),
        first=draw(st.integers(0, 4)),
        left_alone=draw(st.sampled_from([0.0, 0.3, 0.9])),
        gross=draw(st.sampled_from([0.5, 1.0, 3.0])),
    )
    return on, chosen, draw(st.sampled_from([1, 2, 5]))
