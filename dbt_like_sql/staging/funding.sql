/* model
description: Funding settlements of the universe, with the grid row whose bar holds each.
grain: [asset_id, settled_at]
kind: view
time_column: settled_at
columns:
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  settled_at: "when the payment fell due [UTC]"
  settled_row: "the grid row whose bar holds the settlement [UTC]"
  rate: "paid by longs to shorts [fraction of notional]"
tests:
  - not_null: [asset_id, settled_at, rate]
  - unique: [asset_id, settled_at]
  - range: {rate: [-0.1, 0.1]}
*/
with funding as (select * from raw.funding),
assets as (select * from raw.assets)
select
    funding.asset_id,
    assets.position,
    funding.settled_at,
    funding.settled_row,
    funding.rate
from funding
inner join assets on funding.asset_id = assets.asset_id
where assets.pays_funding
