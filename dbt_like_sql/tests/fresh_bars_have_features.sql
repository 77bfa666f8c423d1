/* test
model: features.panel_rows
description: a fresh row carries features and no other row does
*/
select asset_id, as_of, is_fresh, range_share
from features.panel_rows
where as_of > $start and as_of <= $end and is_fresh <> (range_share is not null)
