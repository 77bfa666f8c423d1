/* model
description: What each asset's candles are worth - how many were expected, stored, refused and revised, and how often the grid was fresh.
grain: [asset_id]
kind: table
columns:
  asset_id: "venue:category:symbol [key]"
  symbol: "the venue's own symbol [name]"
  days_asked: "days that the source was asked for; a day never asked for is not empty but unknown [count]"
  first_candle: "close of the oldest candle, null where there is none [UTC]"
  last_candle: "close of the newest candle, null where there is none [UTC]"
  candles: "candles stored [count]"
  candles_expected: "candles that the calendar calls for between the first and the last, optional ones where they are stored [count]"
  missing_share: "expected hours in which no candle closed, null where none was expected [fraction]"
  longest_pause_hours: "longest time between two candles [hours]"
  zero_volume_candles: "candles in which nothing was traded [count]"
  quarantined: "candles that broke a rule and were refused [count]"
  revised_values: "values that the source told differently later [count]"
  largest_revision: "largest relative change among them, 0 where there is none [fraction]"
  funding_settlements: "funding payments stored, null where the asset pays none [count]"
tests:
  - unique: [asset_id]
  - range: {missing_share: [0, 1]}
  - relationship: {asset_id: raw.assets.asset_id}
*/
with assets as (select * from raw.assets),
asked as (select asset_id, count(*) as days_asked from raw.coverage group by asset_id),
candles as (
    select
        asset_id,
        min(closed_at) as first_candle,
        max(closed_at) as last_candle,
        count(*) as candles,
        count(*) filter (volume = 0) as zero_volume_candles
    from staging.candles
    group by asset_id
),
pauses as (
    select asset_id, opened_at - lag(closed_at) over (partition by asset_id order by closed_at) as pause
    from staging.candles
),
longest as (select asset_id, max(epoch(pause)) / 3600 as longest_pause_hours from pauses group by asset_id),
expected as (
    select assets.asset_id, sum(sessions.candles_expected) as candles_expected, count(*) as hours_expected
    from candles
    inner join assets on candles.asset_id = assets.asset_id
    inner join aligned.sessions as sessions
        on
            assets.calendar = sessions.calendar
            and sessions.as_of >= candles.first_candle
            and sessions.as_of < candles.last_candle + interval 1 hour
            and sessions.candles_expected > 0
    group by assets.asset_id
),
/* A half day's last candle that the source lacks was never promised; one that is there counts as expected, as it does in raw.coverage. */
optional as (
    select candles.asset_id, count(*) as candles_optional
    from staging.candles as candles
    inner join assets on candles.asset_id = assets.asset_id
    inner join raw.sessions as sessions
        on assets.calendar = sessions.calendar and candles.closed_at = sessions.closed_at and sessions.is_optional
    group by candles.asset_id
),
traded as (
    select prices.asset_id, count(*) as hours_traded
    from aligned.trade_prices as prices
    inner join assets on prices.asset_id = assets.asset_id
    inner join aligned.sessions as sessions
        on assets.calendar = sessions.calendar and prices.as_of = sessions.as_of and sessions.candles_expected > 0
    group by prices.asset_id
),
quarantined as (select asset_id, count(*) as quarantined from raw.quarantine group by asset_id),
revised as (
    select asset_id, count(*) as revised_values, max(abs(relative_change)) as largest_revision
    from staging.candle_revisions
    group by asset_id
),
funding as (select asset_id, count(*) as funding_settlements from staging.funding group by asset_id)
select
    assets.asset_id,
    assets.symbol,
    coalesce(asked.days_asked, 0) as days_asked,
    candles.first_candle,
    candles.last_candle,
    coalesce(candles.candles, 0) as candles,
    (coalesce(expected.candles_expected, 0) + coalesce(optional.candles_optional, 0))::bigint as candles_expected,
    case
        when expected.hours_expected > 0 then greatest(0, 1 - coalesce(traded.hours_traded, 0) / expected.hours_expected)
    end as missing_share,
    longest.longest_pause_hours,
    coalesce(candles.zero_volume_candles, 0) as zero_volume_candles,
    coalesce(quarantined.quarantined, 0) as quarantined,
    coalesce(revised.revised_values, 0) as revised_values,
    coalesce(revised.largest_revision, 0) as largest_revision,
    case when assets.pays_funding then coalesce(funding.funding_settlements, 0) end as funding_settlements
from assets
left join asked on assets.asset_id = asked.asset_id
left join candles on assets.asset_id = candles.asset_id
left join expected on assets.asset_id = expected.asset_id
left join optional on assets.asset_id = optional.asset_id
left join longest on assets.asset_id = longest.asset_id
left join traded on assets.asset_id = traded.asset_id
left join quarantined on assets.asset_id = quarantined.asset_id
left join revised on assets.asset_id = revised.asset_id
left join funding on assets.asset_id = funding.asset_id
order by assets.position
