/* model
description: The UTC grid of the days that were synchronised, crossed with the universe.
grain: [asset_id, as_of]
kind: view
time_column: as_of
columns:
  as_of: "grid row: the information of the row ends here [UTC]"
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  calendar: "sessions that the asset follows [exchange_calendars name]"
  max_age_hours: "older than this, the newest candle is no longer read [hours]"
*/
with grid as (select * from raw.sessions where calendar = '24/7' and closed_at = closed_row),
assets as (select * from raw.assets)
select
    grid.closed_at as as_of,
    assets.asset_id,
    assets.position,
    assets.calendar,
    assets.max_age_hours
from grid
cross join assets
