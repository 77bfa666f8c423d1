/* model
description: Every decision - what each strategy wanted to hold, what it wanted before, and at what price it was decided.
grain: [strategy, as_of, asset_id]
kind: table
columns:
  strategy: "who decided [name]"
  as_of: "when the weight was decided [UTC]"
  asset_id: "venue:category:symbol [key]"
  symbol: "the venue's own symbol [name]"
  target_weight: "share of equity to hold, null where the position is left alone [fraction]"
  previous_weight: "the weight decided before, 0 before the first [fraction]"
  weight_change: "target_weight less previous_weight, 0 where the position is left alone [fraction]"
  mark_price: "newest price known at the decision [quote currency]"
  age_hours: "age of that price [hours]"
  regime: "name of the regime in force at the decision, null while unknown [name]"
tests:
  - unique: [strategy, as_of, asset_id]
  - range: {target_weight: [-10, 10]}
  - relationship: {asset_id: raw.assets.asset_id}
*/
with weights as (select * from results.weights),
assets as (select * from raw.assets),
bars as (select * from aligned.bars),
regimes as (select * from results.regime_windows where regime >= 0),
decisions as (
    select
        *,
        coalesce(
            last_value(target_weight ignore nulls) over (
                partition by strategy, asset_id order by as_of rows between unbounded preceding and 1 preceding
            ),
            0
        ) as previous_weight
    from weights
)
select
    decisions.strategy,
    decisions.as_of,
    decisions.asset_id,
    assets.symbol,
    decisions.target_weight,
    decisions.previous_weight,
    coalesce(decisions.target_weight - decisions.previous_weight, 0) as weight_change,
    bars.mark_price,
    bars.age_hours,
    -- A window serves as_of in (confirmed 00:00, end 00:00].
    regimes.name as regime
from decisions
inner join assets on decisions.asset_id = assets.asset_id
left join bars on assets.position = bars.position and decisions.as_of = bars.as_of
left join regimes
    on decisions.as_of > regimes.confirmed and (regimes."end" is null or decisions.as_of <= regimes."end")
