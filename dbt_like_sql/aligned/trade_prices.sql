/* model
description: The price at which an asset traded in a bar of the grid, whenever we came to know it. Fills and labels use it; features never do.
grain: [asset_id, as_of]
kind: view
time_column: as_of
columns:
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  as_of: "grid row whose bar (as_of - bar, as_of] holds the close [UTC]"
  trade_price: "close of the newest candle of that bar [quote currency]"
  candles: "candles that closed in that bar [count]"
tests:
  - unique: [asset_id, as_of]
*/
with candles as (select * from staging.candles),
single as (select * from candles where is_single),
shared as (select * from candles where not is_single)
select asset_id, position, traded_row as as_of, close as trade_price, 1::bigint as candles
from single
union all
select
    any_value(asset_id) as asset_id,
    position,
    traded_row as as_of,
    arg_max(close, closed_at) as trade_price,
    count(*) as candles
from shared
group by position, traded_row
