/* model
description: Who attends to whom, day by day, with the lag at which most of it falls and what moved since the snapshot before; of a wide universe the pairs that were stored.
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
  share_change: "share less that of the snapshot before, or less an even part of what that left out; null on the first [fraction]"
tests:
  - unique: [day, target, source]
  - range: {share: [0, 1.0001], share_change: [-1.0001, 1.0001]}
  - expectation: "target <> source"
*/
with edges as (select * from results.attention where quantity = 'edge'),
left_out as (select * from staging.attention_left_out),
days as (select day, lag(day) over (order by day) as day_before from edges group by day),
targets as (select asset_id, symbol from raw.assets),
sources as (select asset_id, symbol from raw.assets),
named as (
    select
        edges.day,
        targets.symbol as target,
        sources.symbol as source,
        edges.model_id,
        edges.value as share,
        edges.lag as strongest_lag,
        days.day_before,
        coalesce(left_out.share, 0) as left_out_share,
        coalesce(left_out.sources, 0) as left_out_sources,
        before.even_share as even_share_before
    from edges
    inner join days on edges.day = days.day
    inner join targets on edges.target = targets.asset_id
    inner join sources on edges.source = sources.asset_id
    left join left_out on left_out.day = edges.day and left_out.target = edges.target
    left join left_out as before on before.day = days.day_before and before.target = edges.target
)
select
    day,
    target,
    source,
    model_id,
    share,
    share * (count(*) filter (share > 0) over (partition by day, target) + left_out_sources)
    / nullif(sum(share) over (partition by day, target) + left_out_share, 0) as fair_multiple,
    strongest_lag,
    rank() over (partition by day, target order by share desc) as share_rank,
    share - case
        when lag(day) over (partition by target, source order by day) = day_before
            then lag(share) over (partition by target, source order by day)
        else even_share_before
    end as share_change
from named
