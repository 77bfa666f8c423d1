/* model
description: Who is attended to and who attends, day by day, ranked by net leadership. Attention is where a model looks; a lead is named elsewhere, after tests.
grain: [day, symbol]
kind: table
columns:
  day: "day of the snapshot [UTC day]"
  symbol: "the asset [name]"
  model_id: "the model that attended [hash]"
  received: "attention received from others over its fair share, 1 under uniform attention [multiple]"
  leader: "attention received beyond the fair share, summed over the targets that give it [fraction of a target's attention]"
  follower: "attention given beyond the fair share, summed over sources; 0 where all sources are read alike [fraction]"
  net_leadership: "leader less follower, sums to zero over assets [fraction]"
  leadership_rank: "1 for the largest net leadership of the day [rank]"
  own_share: "share of the asset's next-bar forecast that its own past gives, null where nobody knows [fraction]"
  net_change: "net leadership less that of the snapshot before, null on the first [fraction]"
tests:
  - unique: [day, symbol]
  - range: {received: [0, null], leader: [0, null], follower: [0, null], own_share: [0, 1], leadership_rank: [1, null]}
*/
with told as (
    select * from results.attention where quantity in ('received', 'leader', 'follower', 'net', 'self')
),
assets as (select asset_id, symbol from raw.assets),
by_asset as (
    select
        told.day,
        assets.symbol,
        max(told.model_id) as model_id,
        max(told.value) filter (told.quantity = 'received') as received,
        max(told.value) filter (told.quantity = 'leader') as leader,
        max(told.value) filter (told.quantity = 'follower') as follower,
        max(told.value) filter (told.quantity = 'net') as net_leadership,
        max(told.value) filter (told.quantity = 'self') as own_share
    from told
    inner join assets on assets.asset_id = coalesce(nullif(told.source, ''), told.target)
    group by told.day, assets.symbol
)
select
    day,
    symbol,
    model_id,
    received,
    leader,
    follower,
    net_leadership,
    rank() over (partition by day order by net_leadership desc) as leadership_rank,
    own_share,
    net_leadership - lag(net_leadership) over (partition by symbol order by day) as net_change
from by_asset
