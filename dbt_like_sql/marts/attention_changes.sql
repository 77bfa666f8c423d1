/* model
description: How far attention moved, day by day - since the snapshot before, and since the mean of the regime window that ended last - and how spread out it is.
grain: [day]
kind: table
columns:
  day: "day of the snapshot [UTC day]"
  model_id: "the model that attended [hash]"
  same_model: "whether the snapshot before is of the same model, null on the first [yes or no]"
  since_previous: "half the absolute difference from the snapshot before, mean over targets that read in both, null on the first [fraction]"
  since_window: "the same against the mean of the newest regime window that ended by then, null without its snapshots [fraction]"
  mean_entropy: "entropy over its largest possible value, mean over heads; 1 is uniform [fraction]"
  most_attended: "symbol that receives most attention, of equals the first by name [name]"
  most_attended_share: "its share of all attention [fraction]"
tests:
  - unique: [day]
  - range: {since_previous: [0, 1.0001], since_window: [0, 1.0001], mean_entropy: [0, 1.0001], most_attended_share: [0, 1.0001]}
*/
with edges as (select * from results.attention where quantity = 'edge'),
entropies as (
    select day, avg(value) as mean_entropy from results.attention where quantity = 'entropy' group by day
),
ended as (select * from results.regime_windows where "end" is not null),
assets as (select asset_id, symbol from raw.assets),
days as (
    select
        day,
        max(model_id) as model_id,
        lag(day) over (order by day) as day_before,
        lag(max(model_id)) over (order by day) as model_before
    from edges
    group by day
),
last_windows as (
    select days.day, arg_max(ended.window_id, ended."end") as window_id
    from days
    inner join ended on ended."end" <= days.day
    group by days.day
),
window_edges as (
    select ended.window_id, edges.target, edges.source, avg(edges.value::double) as value
    from edges
    inner join ended on edges.day >= ended.confirmed and edges.day < ended."end"
    group by ended.window_id, edges.target, edges.source
),
moved_before as (
    select edges.day, edges.target, 0.5 * sum(abs(edges.value::double - past.value)) as moved
    from edges
    inner join days on edges.day = days.day
    inner join edges as past on past.day = days.day_before and past.target = edges.target and past.source = edges.source
    group by edges.day, edges.target
    having sum(edges.value) > 0 and sum(past.value) > 0
),
moved_window as (
    select edges.day, edges.target, 0.5 * sum(abs(edges.value::double - past.value)) as moved
    from edges
    inner join last_windows on edges.day = last_windows.day
    inner join window_edges as past
        on past.window_id = last_windows.window_id and past.target = edges.target and past.source = edges.source
    group by edges.day, edges.target
    having sum(edges.value) > 0 and sum(past.value) > 0
),
since_before as (select day, avg(moved) as moved from moved_before group by day),
since_window as (select day, avg(moved) as moved from moved_window group by day),
received as (
    select edges.day, assets.symbol, sum(edges.value::double) as attention
    from edges
    inner join assets on edges.source = assets.asset_id
    group by edges.day, assets.symbol
),
most as (
    select
        day,
        first(symbol order by attention desc, symbol asc) as most_attended,
        max(attention) / nullif(sum(attention), 0) as most_attended_share
    from received
    group by day
)
select
    days.day,
    days.model_id,
    days.model_before = days.model_id as same_model,
    since_before.moved as since_previous,
    since_window.moved as since_window,
    entropies.mean_entropy,
    most.most_attended,
    most.most_attended_share
from days
left join since_before on since_before.day = days.day
left join since_window on since_window.day = days.day
left join entropies on entropies.day = days.day
left join most on most.day = days.day
