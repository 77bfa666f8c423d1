/* model
description: Features with an unbounded memory - exponential means - made in Python from the bars selected here. Each month's recursion starts 500 bars before the month, so that a day has the same bits however history was split.
grain: [asset_id, as_of]
kind: python
function: crossattn_core.warehouse.recursive:recursive_features
time_column: as_of
warm_up: {bars: 500, anchor: month}
columns:
  as_of: {type: timestamp, is: "grid row that first knows the bar [UTC]", from: [as_of]}
  asset_id: {type: varchar, is: "venue:category:symbol [key]", from: [asset_id]}
  position: {type: integer, is: "place on the panel's asset axis [index from 0]", from: [position]}
  macd: {type: float, is: "mean of closes with span 12 less that with span 26, over close; null until 26 bars [fraction of price]", from: [close]}
  macd_signal: {type: float, is: "mean of the price-unit MACD with span 9, over close; null until 34 bars [fraction of price]", from: [close]}
  macd_histogram: {type: float, is: "macd less macd_signal; null until 34 bars [fraction of price]", from: [close]}
  rsi_14_wilder: {type: float, is: "RSI of 14 changes with Wilder's smoothing; 50 where the price stood still; null until 14 changes [0 to 100]", from: [close]}
tests:
  - unique: [asset_id, as_of]
  - range: {rsi_14_wilder: [0, 100]}
*/
with bars as (select * from aligned.fresh_bars)
select as_of, asset_id, position, close
from bars
where as_of > $warm_start and as_of <= $end
