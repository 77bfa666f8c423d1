/* model
description: Features over many of an asset's bars, made in Python from the bars selected here - windows of a fixed width, and means with an unbounded memory. Each month's recursion starts 500 bars before the month, so that a day has the same bits however history was split.
grain: [asset_id, as_of]
kind: python
function: crossattn_core.warehouse.trailing:trailing_features
time_column: as_of
warm_up: {bars: 500, anchor: month}
columns:
  as_of: {type: timestamp, is: "grid row that first knows the bar [UTC]", from: [as_of]}
  asset_id: {type: varchar, is: "venue:category:symbol [key]", from: [asset_id]}
  position: {type: integer, is: "place on the panel's asset axis [index from 0]", from: [position]}
  relative_volume: {type: float, is: "volume over its mean of 20 bars, this one included; null until 20 bars, or where nothing traded [ratio]", from: [volume]}
  volatility: {type: float, is: "sample standard deviation of log_return over 20 bars; null until 20 returns [fraction, log]", from: [close, open, opened_at, closed_at]}
  rsi_14: {type: float, is: "100 * gains / (gains + losses) of closes over 14 changes, simple means; 50 where the price stood still; null until 14 changes [0 to 100]", from: [close]}
  macd: {type: float, is: "mean of closes with span 12 less that with span 26, over close; null until 26 bars [fraction of price]", from: [close]}
  macd_signal: {type: float, is: "mean of the price-unit MACD with span 9, over close; null until 34 bars [fraction of price]", from: [close]}
  macd_histogram: {type: float, is: "macd less macd_signal; null until 34 bars [fraction of price]", from: [close]}
  rsi_14_wilder: {type: float, is: "RSI of 14 changes with Wilder's smoothing; 50 where the price stood still; null until 14 changes [0 to 100]", from: [close]}
tests:
  - schema: features
  - unique: [asset_id, as_of]
  - range: {rsi_14: [0, 100], rsi_14_wilder: [0, 100], volatility: [0, null], relative_volume: [0, 20]}
*/
with bars as (select * from aligned.fresh_bars)
select as_of, asset_id, position, opened_at, closed_at, open, close, volume
from bars
where as_of > $warm_start and as_of <= $end
