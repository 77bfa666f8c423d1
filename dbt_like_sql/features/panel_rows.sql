/* model
description: What the panel is exported from - one row a bar of the grid and asset, its prices and masks, and every feature that an experiment may name. Features are null where the asset has no fresh bar.
grain: [asset_id, as_of]
kind: view
time_column: as_of
columns:
  as_of: "grid row: the information of the row ends here [UTC]"
  asset_id: "venue:category:symbol [key]"
  is_fresh: "whether a candle became known since the previous row [yes or no]"
  is_tradable: "whether the asset traded in the row's bar [yes or no]"
  is_readable: "whether the newest candle is young enough to be read [yes or no]"
  age_hours: "time since the newest known close, null before the first [hours]"
  trade_price: "close of the candle with closed_at in (as_of - bar, as_of], null where there is none [quote currency]"
  mark_price: "newest known close, carried forward, null before the first [quote currency]"
  quote_volume: "traded value of the fresh bar, null where not fresh [quote currency]"
  funding_rate: "funding settled in the row's bar, paid by longs, null where none [fraction of notional]"
  dividend: "paid for a unit held when the ex-date's session opens in the row's bar, null where none [quote currency]"
  log_return: "ln(close / previous close); after a pause ln(close / open), the rest is gap_return [fraction, log]"
  gap_return: "after a pause ln(open / previous close), else 0 [fraction, log]"
  intraday_return: "close / open - 1 [fraction, simple]"
  range_share: "(high - low) / close [fraction]"
  relative_volume: "volume over its mean of 20 bars, this one included [ratio]"
  volatility: "sample standard deviation of log_return over 20 bars [fraction, log]"
  rsi_14: "share of gains in the moves of 14 changes, simple means [0 to 100]"
  rsi_14_wilder: "the same with Wilder's smoothing [0 to 100]"
  macd: "mean of closes with span 12 less that with span 26 [fraction of price]"
  macd_signal: "mean of MACD with span 9 [fraction of price]"
  macd_histogram: "macd less macd_signal [fraction of price]"
  pause_hours: "time between the previous bar's close and this bar's opening [hours]"
  bar_age_hours: "time between the bar's close and the grid row [hours]"
  hour_of_week: "hours since Monday 00:00 [0 to 168]"
  hour_of_week_sin: "sine of the hour of the week, one turn a week [-1 to 1]"
  hour_of_week_cos: "cosine of the hour of the week, one turn a week [-1 to 1]"
  last_funding_rate: "newest rate settled in the 24 hours up to the row; 0 where there is none [fraction of notional]"
tests:
  - unique: [asset_id, as_of]
  - expectation: "is_fresh = (intraday_return is not null)"
*/
with bars as (select * from aligned.bars),
own as (select * from features.bar),
behind as (select * from features.trailing) -- noqa: PRS
select
    bars.as_of,
    bars.asset_id,
    bars.is_fresh,
    bars.is_tradable,
    bars.is_readable,
    bars.age_hours,
    bars.trade_price,
    bars.mark_price,
    bars.quote_volume,
    bars.funding_rate,
    bars.dividend,
    own.log_return,
    own.gap_return,
    own.intraday_return,
    own.range_share,
    behind.relative_volume,
    behind.volatility,
    behind.rsi_14,
    behind.rsi_14_wilder,
    behind.macd,
    behind.macd_signal,
    behind.macd_histogram,
    own.pause_hours,
    own.bar_age_hours,
    own.hour_of_week,
    own.hour_of_week_sin,
    own.hour_of_week_cos,
    own.last_funding_rate
from bars
left join own on bars.position = own.position and bars.as_of = own.as_of
left join behind on bars.position = behind.position and bars.as_of = behind.as_of
