/* model
description: Dividends of the universe's shares, with the grid row whose bar holds the opening bell of each ex-date. A feed whose prices are adjusted for dividends has none.
grain: [asset_id, ex_at]
kind: view
time_column: ex_at
columns:
  asset_id: "venue:category:symbol [key]"
  position: "place on the panel's asset axis [index from 0]"
  ex_at: "opening bell of the ex-date: who holds then is paid [UTC]"
  ex_row: "the grid row whose bar holds the opening bell [UTC]"
  amount: "paid for a unit held, on the scale of the stored prices [quote currency]"
tests:
  - not_null: [asset_id, ex_at, amount]
  - unique: [asset_id, ex_at]
  - expectation: "amount > 0"
*/
with dividends as (select * from raw.dividends),
assets as (select * from raw.assets)
select
    dividends.asset_id,
    assets.position,
    dividends.ex_at,
    dividends.ex_row,
    dividends.amount
from dividends
inner join assets on dividends.asset_id = assets.asset_id
