/* model
description: The first closed value of each candle, typed, with its traded value and the grid rows that traded and first knew it. Later revisions are in staging.candle_revisions.
grain: [asset_id, closed_at]
kind: view
time_column: closed_at
columns:
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis; the short key that joins and windows use [index from 0]"
  opened_at: "first instant that the candle covers [UTC]"
  closed_at: "first instant that it no longer covers [UTC]"
  traded_row: "the grid row whose bar holds the close [UTC]"
  known_row: "the first grid row that may know the candle: its close and the publication lag lie behind it [UTC]"
  is_single: "whether the calendar gives the asset at most one candle a grid row [yes or no]"
  open: "first price [quote currency]"
  high: "highest price [quote currency]"
  low: "lowest price [quote currency]"
  close: "last price [quote currency]"
  volume: "traded size [base units]"
  quote_volume: "traded value: the source's turnover, else volume at the closing price [quote currency]"
tests:
  - schema: candles
  - not_null: [asset_id, closed_at, open, high, low, close]
  - unique: [asset_id, closed_at]
  - relationship: {asset_id: raw.assets.asset_id}
  - expectation: "low * (1 - 1e-9) <= least(open, close) and high * (1 + 1e-9) >= greatest(open, close) and low <= high and low > 0"
  - expectation: "opened_at < closed_at and closed_at <= known_row"
  - range: {volume: [0, null]}
*/
with candles as (select * from raw.candles),
assets as (select * from raw.assets)
select
    candles.asset_id,
    assets.position,
    candles.opened_at,
    candles.closed_at,
    candles.traded_row,
    candles.known_row,
    assets.calendar = '24/7' and assets.candles_per_bar = 1 as is_single,
    candles.open,
    candles.high,
    candles.low,
    candles.close,
    candles.volume,
    coalesce(nullif(candles.turnover, 'nan'::double), candles.volume * candles.close) as quote_volume
from candles
inner join assets on candles.asset_id = assets.asset_id
