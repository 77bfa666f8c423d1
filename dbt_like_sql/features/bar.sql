/* model
description: What a bar tells by itself and beside the asset's bar before it. Rows at which no candle became known are no bars - they move no feature.
grain: [asset_id, as_of]
kind: incremental
time_column: as_of
warm_up: {bars: 1}
columns:
  as_of: "grid row that first knows the bar [UTC]"
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  log_return: "ln(close / previous close); after a pause ln(close / open), the rest is gap_return; null on the first bar [fraction, log]"
  gap_return: "after a pause ln(open / previous close), else 0; null on the first bar [fraction, log]"
  intraday_return: "close / open - 1 [fraction, simple]"
  range_share: "(high - low) / close [fraction]"
  pause_hours: "time between the previous bar's close and this bar's opening; null on the first bar [hours]"
  bar_age_hours: "time between the bar's close and the grid row [hours]"
  hour_of_week: "hours since Monday 00:00 [0 to 168]"
  hour_of_week_sin: "sine of the hour of the week, one turn a week [-1 to 1]"
  hour_of_week_cos: "cosine of the hour of the week, one turn a week [-1 to 1]"
  last_funding_rate: "newest rate settled in the 24 hours up to the row; 0 where there is none [fraction of notional]"
tests:
  - schema: features
  - unique: [asset_id, as_of]
  - not_null: [as_of, asset_id, intraday_return, range_share]
  - range: {range_share: [0, null], hour_of_week: [0, 168], pause_hours: [0, null]}
  - expectation: "(log_return is null) = (gap_return is null)"
*/
with bars as (select * from aligned.fresh_bars where as_of > $warm_start and as_of <= $end),
funding as (
    select * from staging.funding where settled_row > $start - interval 24 hours and settled_row <= $end
),
assets as (select * from raw.assets),
-- One window, so one sort, and no text travels through it: the key comes back from the assets.
followed as (
    select
        position,
        as_of,
        opened_at,
        closed_at,
        open,
        high,
        low,
        close,
        lag(close) over own_bars as previous_close,
        lag(closed_at) over own_bars as previous_closed_at
    from bars
    window own_bars as (partition by position order by as_of)
),
kept as (
    select
        *,
        opened_at > previous_closed_at as is_after_pause,
        (extract(isodow from as_of) - 1) * 24 + extract(hour from as_of) + extract(minute from as_of) / 60 as hour_of_week
    from followed
    where as_of > $start
)
select
    kept.as_of,
    assets.asset_id,
    kept.position,
    ln(kept.close / case when kept.is_after_pause then kept.open else kept.previous_close end)::float as log_return,
    case
        when kept.is_after_pause then ln(kept.open / kept.previous_close)
        when kept.previous_close is not null then 0
    end::float as gap_return,
    (kept.close / kept.open - 1)::float as intraday_return,
    ((kept.high - kept.low) / kept.close)::float as range_share,
    (epoch(kept.opened_at - kept.previous_closed_at) / 3600)::float as pause_hours,
    (epoch(kept.as_of - kept.closed_at) / 3600)::float as bar_age_hours,
    kept.hour_of_week::float as hour_of_week,
    sin(2 * pi() * kept.hour_of_week / 168)::float as hour_of_week_sin,
    cos(2 * pi() * kept.hour_of_week / 168)::float as hour_of_week_cos,
    coalesce(case when funding.settled_row > kept.as_of - interval 24 hours then funding.rate end, 0)::float
        as last_funding_rate
from kept
inner join assets on kept.position = assets.position
asof left join funding on kept.position = funding.position and kept.as_of >= funding.settled_row
