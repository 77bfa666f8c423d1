/* model
description: Each asset's own bars on the grid, one a row at which new candles became known. Candles that are shorter than the grid's bar are put together; on an hourly grid a US session's last half hour merges with the bar before it, so that no return is lost between rows.
grain: [asset_id, as_of]
kind: view
time_column: as_of
columns:
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  as_of: "first grid row that knows the bar [UTC]"
  opened_at: "first instant that the bar covers [UTC]"
  closed_at: "first instant that it no longer covers [UTC]"
  open: "first price [quote currency]"
  high: "highest price [quote currency]"
  low: "lowest price [quote currency]"
  close: "last price [quote currency]"
  volume: "traded size [base units]"
  quote_volume: "traded value [quote currency]"
tests:
  - unique: [asset_id, as_of]
  - expectation: "closed_at <= as_of"
*/
with candles as (select * from staging.candles),
single as (select * from candles where is_single),
shared as (select * from candles where not is_single)
select asset_id, position, known_row as as_of, opened_at, closed_at, open, high, low, close, volume, quote_volume
from single
union all
select
    any_value(asset_id) as asset_id,
    position,
    known_row as as_of,
    min(opened_at) as opened_at,
    max(closed_at) as closed_at,
    arg_min(open, closed_at) as open,
    max(high) as high,
    min(low) as low,
    arg_max(close, closed_at) as close,
    sum(volume) as volume,
    sum(quote_volume) as quote_volume
from shared
group by position, known_row
