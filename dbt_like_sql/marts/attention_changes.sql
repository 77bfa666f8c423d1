/* model
description: How far attention moved, day by day - since the snapshot before, and since the mean of the regime window that ended last - and how spread out it is.
grain: [day]
kind: table
columns:
  day: "day of the snapshot [UTC day]"
  model_id: "the model that attended [hash]"
  same_model: "whether the snapshot before is of the same model, null on the first [yes or no]"
  since_previous: "half the absolute difference from the snapshot before, mean over targets that read in both; a pair that was not stored counts an even part of what was left out; null on the first [fraction]"
  since_window: "the same against the mean of the newest regime window that ended by then, null without its snapshots [fraction]"
  mean_entropy: "entropy over its largest possible value, mean over heads; 1 is uniform [fraction]"
  most_attended: "symbol that receives most attention, of equals the first by name [name]"
  most_attended_share: "its share of all attention [fraction]"
tests:
  - unique: [day]
  - range: {since_previous: [0, 1.0001], since_window: [0, 1.0001], mean_entropy: [0, 1.0001], most_attended_share: [0, 1.0001]}
*/
with edges as (select * from results.attention where quantity = 'edge'),
left_out as (select * from staging.attention_left_out),
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
read as (
    select
        edges.day,
        edges.target,
        coalesce(max(left_out.sources), 0) as sources,
        coalesce(max(left_out.even_share), 0) as even_share
    from edges
    left join left_out on left_out.day = edges.day and left_out.target = edges.target
    group by edges.day, edges.target
),
window_read as (
    select ended.window_id, read.target, count(*) as days, avg(read.even_share) as even_share
    from read
    inner join ended on read.day >= ended.confirmed and read.day < ended."end"
    group by ended.window_id, read.target
),
window_edges as (
    select
        window_read.window_id,
        window_read.target,
        edges.source,
        sum(edges.value::double - read.even_share) / max(window_read.days) + max(window_read.even_share) as value
    from edges
    inner join read on read.day = edges.day and read.target = edges.target
    inner join ended on edges.day >= ended.confirmed and edges.day < ended."end"
    inner join window_read on window_read.window_id = ended.window_id and window_read.target = edges.target
    group by window_read.window_id, window_read.target, edges.source
),
past_edges as (
    select 'before' as past, days.day, edges.target, edges.source, edges.value::double as value
    from edges
    inner join days on edges.day = days.day_before
    union all
    select 'window' as past, last_windows.day, window_edges.target, window_edges.source, window_edges.value
    from window_edges
    inner join last_windows on last_windows.window_id = window_edges.window_id
),
past_read as (
    select 'before' as past, days.day, read.target, read.even_share
    from read
    inner join days on read.day = days.day_before
    union all
    select 'window' as past, last_windows.day, window_read.target, window_read.even_share
    from window_read
    inner join last_windows on last_windows.window_id = window_read.window_id
),
now_edges as (
    select past_read.past, edges.day, edges.target, edges.source, edges.value::double as value
    from edges
    inner join past_read on past_read.day = edges.day and past_read.target = edges.target
),
paired as (
    select
        coalesce(now_edges.past, past_edges.past) as past,
        coalesce(now_edges.day, past_edges.day) as day,
        coalesce(now_edges.target, past_edges.target) as target,
        now_edges.value as now,
        past_edges.value as before
    from now_edges
    full outer join past_edges
        on
            past_edges.past = now_edges.past and past_edges.day = now_edges.day
            and past_edges.target = now_edges.target and past_edges.source = now_edges.source
),
moved as (
    select
        paired.past,
        paired.day,
        paired.target,
        0.5 * (
            sum(abs(coalesce(paired.now, read.even_share) - coalesce(paired.before, past_read.even_share)))
            + greatest(max(read.sources) - count(*) filter (paired.now is null), 0)
            * max(abs(read.even_share - past_read.even_share))
        ) as moved
    from paired
    inner join read on read.day = paired.day and read.target = paired.target
    inner join past_read on past_read.past = paired.past and past_read.day = paired.day and past_read.target = paired.target
    group by paired.past, paired.day, paired.target
    having sum(paired.now) > 0 and sum(paired.before) > 0
),
since_before as (select day, avg(moved) as moved from moved where past = 'before' group by day),
since_window as (select day, avg(moved) as moved from moved where past = 'window' group by day),
totals as (
    select read.day, sum(read.even_share) as even_share, sum(read.even_share * read.sources) as left_out_share
    from read
    group by read.day
),
received as (
    select
        edges.day,
        assets.symbol,
        sum(edges.value::double) as stored,
        sum(edges.value::double - read.even_share) + max(totals.even_share) - coalesce(max(own.even_share), 0) as attention,
        max(totals.left_out_share) as left_out_share
    from edges
    inner join assets on edges.source = assets.asset_id
    inner join read on read.day = edges.day and read.target = edges.target
    inner join totals on totals.day = edges.day
    left join read as own on own.day = edges.day and own.target = edges.source
    group by edges.day, assets.symbol
),
most as (
    select
        day,
        first(symbol order by attention desc, symbol asc) as most_attended,
        max(attention) / nullif(sum(stored) + max(left_out_share), 0) as most_attended_share
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
