/* model
description: What a target's stored edges leave out, day by day - of a wide universe a snapshot stores a target's strongest sources alone. No row where every edge was stored.
grain: [day, target]
kind: view
columns:
  day: "day of the snapshot [UTC day]"
  target: "who attends [asset key]"
  share: "share of the target's attention on sources whose edges were not stored [fraction]"
  sources: "those sources, of the ones that were read [count]"
  even_share: "the share in even parts over them, 0 where there are none [fraction]"
tests:
  - unique: [day, target]
  - range: {share: [0, 1.0001], sources: [0, null], even_share: [0, 1.0001]}
*/
with attention as (select * from results.attention),
shares as (select day, target, value::double as share from attention where quantity = 'left_out'),
counts as (select day, target, value::double as sources from attention where quantity = 'left_out_sources')
select
    shares.day,
    shares.target,
    shares.share,
    counts.sources,
    coalesce(shares.share / nullif(counts.sources, 0), 0) as even_share
from shares
inner join counts on counts.day = shares.day and counts.target = shares.target
