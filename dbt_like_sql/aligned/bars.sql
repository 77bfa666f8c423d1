/* model
description: One row a bar of the grid and asset - what could be traded, what is the newest known price and how old it is. Prices for marking carry forward; volumes, payments and returns do not.
grain: [asset_id, as_of]
kind: incremental
time_column: as_of
warm_up: {bars: 1, silent_assets: true}
columns:
  as_of: "grid row: the information of the row ends here [UTC]"
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  is_fresh: "whether a candle became known since the previous row [yes or no]"
  is_tradable: "whether the asset traded in the row's bar [yes or no]"
  is_expected: "whether the calendar calls for a candle in the row's bar [yes or no]"
  is_readable: "whether the newest candle is young enough to be read [yes or no]"
  closed_at: "close of the newest known candle, null before the first [UTC]"
  age_hours: "time since that close, null before the first [hours]"
  trade_price: "close of the candle with closed_at in (as_of - bar, as_of], null where there is none [quote currency]"
  mark_price: "newest known close, carried forward, null before the first [quote currency]"
  quote_volume: "traded value of the fresh bar, null where not fresh [quote currency]"
  funding_rate: "funding settled in the row's bar, paid by longs, null where none [fraction of notional]"
  dividend: "paid for a unit held when the ex-date's session opens in the row's bar, null where none [quote currency]"
tests:
  - schema: aligned
  - unique: [asset_id, as_of]
  - not_null: [as_of, asset_id, is_fresh, is_tradable, is_expected, is_readable]
  - relationship: {asset_id: raw.assets.asset_id}
  - range: {age_hours: [0, null], trade_price: [0, null], mark_price: [0, null], quote_volume: [0, null]}
  - expectation: "is_tradable = (trade_price is not null)"
  - expectation: "is_fresh = (quote_volume is not null)"
  - expectation: "closed_at <= as_of"
*/
with spine as (select * from aligned.spine where as_of > $start and as_of <= $end),
-- The warm-up is the newest bar before the range of every asset, so that even a delisted one keeps its mark.
known as (select * from aligned.fresh_bars where as_of > $warm_start and as_of <= $end),
trades as (select * from aligned.trade_prices where as_of > $start and as_of <= $end),
sessions as (select * from aligned.sessions where as_of > $start and as_of <= $end and candles_expected > 0),
funding as (
    select position, settled_row as as_of, sum(rate) as rate
    from staging.funding
    where settled_row > $start and settled_row <= $end
    group by position, settled_row
),
dividends as (
    select position, ex_row as as_of, sum(amount) as amount
    from staging.dividends
    where ex_row > $start and ex_row <= $end
    group by position, ex_row
)
select
    spine.as_of,
    spine.asset_id,
    spine.position,
    coalesce(known.as_of = spine.as_of, false) as is_fresh,
    trades.trade_price is not null as is_tradable,
    sessions.as_of is not null as is_expected,
    coalesce(epoch(spine.as_of - known.closed_at) / 3600 <= spine.max_age_hours, false) as is_readable,
    known.closed_at,
    (epoch(spine.as_of - known.closed_at) / 3600)::float as age_hours,
    trades.trade_price,
    known.close as mark_price,
    case when known.as_of = spine.as_of then known.quote_volume end as quote_volume,
    funding.rate as funding_rate,
    dividends.amount as dividend
from spine
asof left join known on spine.position = known.position and spine.as_of >= known.as_of
left join trades on spine.position = trades.position and spine.as_of = trades.as_of
left join sessions on spine.calendar = sessions.calendar and spine.as_of = sessions.as_of
left join funding on spine.position = funding.position and spine.as_of = funding.as_of
left join dividends on spine.position = dividends.position and spine.as_of = dividends.as_of
