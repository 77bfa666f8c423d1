/* model
description: Who attended to whom in each regime - daily snapshots of the model in force, averaged.
grain: [regime, target, source]
kind: table
columns:
  regime: "regime in force on the day of the snapshot, 'unknown' before the first [name]"
  target: "symbol that attends [name]"
  source: "symbol that is attended to [name]"
  mean_share: "mean over days of the target's attention on the source, all lags; a day that did not store the pair counts an even part of what it left out [fraction]"
  lowest_share: "smallest of the days that stored the pair [fraction]"
  highest_share: "largest of the days that stored the pair [fraction]"
  typical_lag: "median over those days of the strongest lag [hours of lead]"
  days: "snapshots averaged [count]"
tests:
  - unique: [regime, target, source]
  - range: {mean_share: [0, 1], days: [1, null]}
*/
with edges as (select * from results.attention where quantity = 'edge'),
left_out as (select * from staging.attention_left_out),
regimes as (select * from results.regime_windows where regime >= 0),
targets as (select asset_id, symbol from raw.assets),
sources as (select asset_id, symbol from raw.assets),
days as (
    select
        read.day,
        read.target,
        coalesce(regimes.name, 'unknown') as regime,
        coalesce(left_out.even_share, 0) as even_share
    from (select day, target from edges group by day, target) as read
    left join regimes on read.day >= regimes.confirmed and (regimes."end" is null or read.day < regimes."end")
    left join left_out on left_out.day = read.day and left_out.target = read.target
),
averaged as (
    select regime, target, count(*) as days, avg(even_share) as even_share from days group by regime, target
),
placed as (
    select
        days.regime,
        edges.target,
        edges.source,
        edges.value,
        edges.value::double - days.even_share as over_even_share,
        edges.lag
    from edges
    inner join days on edges.day = days.day and edges.target = days.target
)
select
    placed.regime,
    targets.symbol as target,
    sources.symbol as source,
    sum(placed.over_even_share) / averaged.days + averaged.even_share as mean_share,
    min(placed.value) as lowest_share,
    max(placed.value) as highest_share,
    median(placed.lag) as typical_lag,
    averaged.days
from placed
inner join averaged on averaged.regime = placed.regime and averaged.target = placed.target
inner join targets on placed.target = targets.asset_id
inner join sources on placed.source = sources.asset_id
group by placed.regime, targets.symbol, sources.symbol, averaged.days, averaged.even_share
