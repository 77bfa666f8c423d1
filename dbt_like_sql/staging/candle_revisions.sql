/* model
description: Values that a source told differently later, beside the first closed value that history keeps.
grain: [asset_id, closed_at, field, later_fetched_at]
kind: view
time_column: closed_at
columns:
  asset_id: "venue:category:symbol [key]"
  closed_at: "close of the candle that was revised [UTC]"
  field: "which value was revised [name]"
  first_value: "the first closed value [as the field]"
  later_value: "what the source said later [as the field]"
  relative_change: "later_value / first_value - 1, null where the first is 0 [fraction]"
  is_adopted: "whether history was told to use the later value [yes or no]"
  later_fetched_at: "when the later value was seen [UTC]"
*/
with revisions as (select * from raw.revisions)
select
    asset_id,
    closed_at,
    field,
    first_value,
    later_value,
    later_value / nullif(first_value, 0) - 1 as relative_change,
    adopted_at is not null as is_adopted,
    later_fetched_at
from revisions
