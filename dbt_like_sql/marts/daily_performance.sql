/* model
description: What each strategy made of a day, after every cost, and how far it stood below its best.
grain: [strategy, day]
kind: table
columns:
  strategy: "whose equity [name]"
  day: "rows with as_of in (day 00:00, next day 00:00] [UTC day]"
  net_return: "change of equity over the day, after costs [fraction, simple]"
  equity: "equity at the day's end [quote currency]"
  drawdown: "equity at the day's end over its best day's end so far, less 1 [fraction, at most 0]"
  turnover: "sum of absolute trades, each counted once [fraction of equity]"
  mean_gross_exposure: "mean over the day's hours [fraction of equity]"
  mean_net_exposure: "mean over the day's hours [fraction of equity]"
  costs_paid: "fees, spreads, slippage, impact, funding, borrowing, write-offs, less interest received [quote currency]"
  costs_bps: "the same over the equity at the day's end [basis points]"
  dividends_received: "dividends, negative where a short paid them; part of the gross return, not of the costs [quote currency]"
tests:
  - unique: [strategy, day]
  - range: {drawdown: [-1, 0], mean_gross_exposure: [0, null], turnover: [0, null]}
*/
with hours as (
    select *, (as_of - interval 1 microsecond)::date as day
    from results.returns
),
days as (
    select
        strategy,
        day,
        arg_max(equity, as_of) as equity,
        product(1 + coalesce(net_return, 0)) - 1 as net_return,
        sum(turnover) as turnover,
        avg(gross_exposure) as mean_gross_exposure,
        avg(net_exposure) as mean_net_exposure,
        sum(
            fee_paid + spread_paid + slippage_paid + impact_paid + funding_paid + borrow_paid + delisting_paid + interest_paid
        ) as costs_paid,
        sum(dividend_received) as dividends_received
    from hours
    group by strategy, day
)
select
    strategy,
    day,
    net_return,
    equity,
    equity / max(equity) over (partition by strategy order by day) - 1 as drawdown,
    turnover,
    mean_gross_exposure,
    mean_net_exposure,
    costs_paid,
    10000 * costs_paid / nullif(equity, 0) as costs_bps,
    dividends_received
from days
