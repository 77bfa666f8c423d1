/* test
model: features.bar
description: the returns and gaps of a day add up to the change of the mark (1e-4, since features are stored as FLOAT)
*/
with bars as (select * from aligned.bars where as_of > $start - interval 1 day and as_of <= $end),
moved as (
    select
        bars.asset_id,
        (bars.as_of - interval 1 microsecond)::date as day,
        sum(own.log_return::double + own.gap_return::double) as told,
        count(*) filter (own.log_return is null) as untold
    from bars
    inner join features.bar as own on bars.position = own.position and bars.as_of = own.as_of
    group by all
),
marks as (
    select
        asset_id,
        (as_of - interval 1 microsecond)::date as day,
        ln(arg_max(mark_price, as_of)) as closing
    from bars
    group by all
),
changes as (
    select *, closing - lag(closing) over (partition by asset_id order by day) as change
    from marks
)
select moved.asset_id, moved.day, moved.told, changes.change
from moved
inner join changes on moved.asset_id = changes.asset_id and moved.day = changes.day
where moved.untold = 0 and abs(moved.told - changes.change) > 1e-4
