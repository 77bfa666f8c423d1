/* test
model: aligned.bars
description: every asset has one bar at every row of the grid between the first and the last
*/
with bars as (select * from aligned.bars where as_of > $start and as_of <= $end),
edges as (select min(as_of) as first, max(as_of) as last from bars),
grid as (
    select count(*) as rows
    from raw.sessions as sessions
    inner join edges on sessions.closed_at between edges.first and edges.last
    where sessions.calendar = '24/7' and sessions.closed_at = sessions.closed_row
)
select bars.asset_id, count(*) as held, any_value(grid.rows) as due
from bars
cross join grid
group by bars.asset_id
having count(*) <> any_value(grid.rows)
