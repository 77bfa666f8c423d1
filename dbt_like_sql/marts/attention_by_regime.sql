/* model
description: Who attended to whom in each regime - daily snapshots of the model in force, averaged.
grain: [regime, target, source]
kind: table
columns:
  regime: "regime in force on the day of the snapshot, 'unknown' before the first [name]"
  target: "symbol that attends [name]"
  source: "symbol that is attended to [name]"
  mean_share: "mean over days of the target's attention on the source, all lags [fraction]"
  lowest_share: "smallest of those days [fraction]"
  highest_share: "largest of those days [fraction]"
  typical_lag: "median over days of the strongest lag [hours of lead]"
  days: "snapshots averaged [count]"
tests:
  - unique: [regime, target, source]
  - range: {mean_share: [0, 1], days: [1, null]}
*/
with edges as (select * from results.attention where quantity = 'edge'),
regimes as (select * from results.regime_windows where regime >= 0),
targets as (select asset_id, symbol from raw.assets),
sources as (select asset_id, symbol from raw.assets),
placed as (
    select
        coalesce(regimes.name, 'unknown') as regime,
        targets.symbol as target,
        sources.symbol as source,
        edges.value,
        edges.lag
    from edges
    inner join targets on edges.target = targets.asset_id
    inner join sources on edges.source = sources.asset_id
    left join regimes on edges.day >= regimes.confirmed and (regimes."end" is null or edges.day < regimes."end")
)
select
    regime,
    target,
    source,
    avg(value::double) as mean_share,
    min(value) as lowest_share,
    max(value) as highest_share,
    median(lag) as typical_lag,
    count(*) as days
from placed
group by regime, target, source
