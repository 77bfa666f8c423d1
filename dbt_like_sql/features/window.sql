/* model
description: Features of a bar that need a fixed number of the asset's own bars. Hours in which no candle closed are no bars - they neither move a feature nor fill a window.
grain: [asset_id, as_of]
kind: incremental
time_column: as_of
warm_up: {bars: 20}
columns:
  as_of: "grid row that first knows the bar [UTC]"
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  log_return: "ln(close / previous close); after a pause ln(close / open), the rest is gap_return; null on the first bar [fraction, log]"
  gap_return: "after a pause ln(open / previous close), else 0; null on the first bar [fraction, log]"
  intraday_return: "close / open - 1 [fraction, simple]"
  range_share: "(high - low) / close [fraction]"
  relative_volume: "volume over its mean of 20 bars, this one included; null until 20 bars, or where nothing traded [ratio]"
  volatility: "sample standard deviation of log_return over 20 bars; null until 20 returns [fraction, log]"
  rsi_14: "100 * gains / (gains + losses) of closes over 14 changes, simple means; 50 where the price stood still; null until 14 changes [0 to 100]"
  pause_hours: "time between the previous bar's close and this bar's opening; null on the first bar [hours]"
  bar_age_hours: "time between the bar's close and the grid row [hours]"
  hour_of_week: "hours since Monday 00:00 [0 to 167]"
  hour_of_week_sin: "sine of the hour of the week, one turn a week [-1 to 1]"
  hour_of_week_cos: "cosine of the hour of the week, one turn a week [-1 to 1]"
  last_funding_rate: "newest rate settled in the 24 hours up to the row; 0 where there is none [fraction of notional]"
tests:
  - unique: [asset_id, as_of]
  - not_null: [as_of, asset_id, intraday_return, range_share]
  - range: {rsi_14: [0, 100], range_share: [0, null], volatility: [0, null], relative_volume: [0, 20], hour_of_week: [0, 167], pause_hours: [0, null]}
  - expectation: "(log_return is null) = (gap_return is null)"
*/
with bars as (select * from aligned.fresh_bars where as_of > $warm_start and as_of <= $end),
funding as (
    select * from staging.funding where settled_hour > $start - interval 24 hours and settled_hour <= $end
),
previous as (
    select
        asset_id,
        position,
        as_of,
        opened_at,
        closed_at,
        open,
        close,
        volume,
        close / open - 1 as intraday_return,
        (high - low) / close as range_share,
        lag(close) over own_bars as previous_close,
        lag(closed_at) over own_bars as previous_closed_at
    from bars
    window own_bars as (partition by position order by as_of)
),
returns as (
    select
        *,
        case when opened_at > previous_closed_at then ln(close / open) else ln(close / previous_close) end as log_return,
        case
            when previous_close is null then null
            when opened_at > previous_closed_at then ln(open / previous_close)
            else 0
        end as gap_return,
        greatest(close - previous_close, 0) as gain,
        greatest(previous_close - close, 0) as loss
    from previous
),
-- The warm-up holds 20 bars, or all that an asset has: its row number tells a full window from a short one.
windows as (
    select
        *,
        avg(volume) over last_20 as mean_volume,
        row_number() over own_bars as bar,
        stddev_samp(log_return) over last_20 as volatility,
        sum(gain) over last_14 as gains,
        sum(loss) over last_14 as losses
    from returns
    window
        own_bars as (partition by position order by as_of),
        last_20 as (partition by position order by as_of rows 19 preceding),
        last_14 as (partition by position order by as_of rows 13 preceding)
),
kept as (
    select *, (extract(isodow from as_of) - 1) * 24 + extract(hour from as_of) as hour_of_week
    from windows
    where as_of > $start
)
select
    kept.as_of,
    kept.asset_id,
    kept.position,
    kept.log_return::float as log_return,
    kept.gap_return::float as gap_return,
    kept.intraday_return::float as intraday_return,
    kept.range_share::float as range_share,
    case when kept.bar >= 20 and kept.mean_volume > 0 then kept.volume / kept.mean_volume end::float as relative_volume,
    case when kept.bar >= 21 then kept.volatility end::float as volatility,
    case
        when kept.bar <= 14 then null
        when kept.gains + kept.losses = 0 then 50
        else 100 * kept.gains / (kept.gains + kept.losses)
    end::float as rsi_14,
    (epoch(kept.opened_at - kept.previous_closed_at) / 3600)::float as pause_hours,
    (epoch(kept.as_of - kept.closed_at) / 3600)::float as bar_age_hours,
    kept.hour_of_week::float as hour_of_week,
    sin(2 * pi() * kept.hour_of_week / 168)::float as hour_of_week_sin,
    cos(2 * pi() * kept.hour_of_week / 168)::float as hour_of_week_cos,
    coalesce(case when funding.settled_hour > kept.as_of - interval 24 hours then funding.rate end, 0)::float
        as last_funding_rate
from kept
asof left join funding on kept.position = funding.position and kept.as_of >= funding.settled_hour
