/* model
description: Who attends to whom, day by day, with the lag at which most of it falls and what moved since the snapshot before.
grain: [day, target, source]
kind: table
columns:
  day: "day of the snapshot [UTC day]"
  target: "symbol that attends [name]"
  source: "symbol that is attended to [name]"
  model_id: "the model that attended [hash]"
  share: "share of the target's attention on the source, all lags [fraction]"
  fair_multiple: "the share over that of uniform attention among the sources read, null where nothing was read [multiple]"
  strongest_lag: "lag of the largest weight [hours of lead]"
  share_rank: "1 for the source that the target attends to most [rank]"
  share_change: "share less that of the snapshot before, null on the first [fraction]"
tests:
  - unique: [day, target, source]
  - range: {share: [0, 1.0001], share_change: [-1.0001, 1.0001]}
  - expectation: "target <> source"
*/
with edges as (select * from results.attention where quantity = 'edge'),
targets as (select asset_id, symbol from raw.assets),
sources as (select asset_id, symbol from raw.assets),
named as (
    select
        edges.day,
        targets.symbol as target,
        sources.symbol as source,
        edges.model_id,
        edges.value as share,
        edges.lag as strongest_lag
    from edges
    inner join targets on edges.target = targets.asset_id
    inner join sources on edges.source = sources.asset_id
)
select
    day,
    target,
    source,
    model_id,
    share,
    share * count(*) filter (share > 0) over (partition by day, target)
    / nullif(sum(share) over (partition by day, target), 0) as fair_multiple,
    strongest_lag,
    rank() over (partition by day, target order by share desc) as share_rank,
    share - lag(share) over (partition by target, source order by day) as share_change
from named
