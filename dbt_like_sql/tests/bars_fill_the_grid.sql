/* test
model: aligned.bars
description: every asset has one bar in every hour between the first and the last
*/
with bars as (select * from aligned.bars),
hours as (select date_diff('hour', min(as_of), max(as_of)) + 1 as hours from bars)
select bars.asset_id, count(*) as held, any_value(hours.hours) as due
from bars
cross join hours
group by bars.asset_id
having count(*) <> any_value(hours.hours)
