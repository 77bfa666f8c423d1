/* test
model: aligned.bars
description: every asset has one bar at every row of the grid between the first and the last
*/
with bars as (select * from aligned.bars),
edges as (select min(as_of) as first, max(as_of) as last from bars),
grid as (
    select count(*) as rows
    from raw.sessions, edges
    where calendar = '24/7' and closed_at = closed_row and closed_at between edges.first and edges.last
)
select bars.asset_id, count(*) as held, any_value(grid.rows) as due
from bars
cross join grid
group by bars.asset_id
having count(*) <> any_value(grid.rows)
