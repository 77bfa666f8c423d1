/* model
description: What forecasts were worth by family, horizon and asset, against the returns that came. Decided at as_of, filled execution_lag bars later, left at the first tradable row a horizon after the fill - as labels are. Past only; intervals stand in the report.
grain: [family, horizon, asset_id]
kind: table
columns:
  family: "model family [name]"
  horizon: "bars from fill to exit [bars]"
  asset_id: "venue:category:symbol [key]"
  symbol: "the venue's own symbol [name]"
  forecasts: "forecasts stored [count]"
  outcomes: "forecasts that could be filled and have come out [count]"
  ic: "time-series correlation of forecast and outcome, null under 3 outcomes [correlation]"
  hit_share: "outcomes with the forecast's sign, zeros left out [fraction]"
  mean_forecast: "mean of forecasts that have come out [fraction, log]"
  mean_outcome: "mean of outcomes [fraction, log]"
  root_mean_square_error: "of forecast less outcome [fraction, log]"
tests:
  - unique: [family, horizon, asset_id]
  - range: {ic: [-1, 1], hit_share: [0, 1]}
  - expectation: "outcomes <= forecasts"
*/
with forecasts as (select * from results.forecasts),
assets as (select * from raw.assets),
prices as (select asset_id, as_of, trade_price from aligned.bars where trade_price is not null),
lags as (
    select
        max(value) filter (name = 'execution_lag') as execution_lag,
        max(value) filter (name = 'max_exit_delay_hours') as max_exit_delay_hours,
        max(value) filter (name = 'bar_minutes') as bar_minutes
    from results.settings
),
dated as (
    select
        forecasts.*,
        forecasts.as_of + to_minutes((lags.execution_lag * lags.bar_minutes)::bigint) as fill_at,
        forecasts.as_of + to_minutes(((lags.execution_lag + forecasts.horizon) * lags.bar_minutes)::bigint) as due_at,
        lags.max_exit_delay_hours
    from forecasts
    cross join lags
),
filled as (
    select dated.*, prices.trade_price as fill_price
    from dated
    left join prices on dated.asset_id = prices.asset_id and dated.fill_at = prices.as_of
),
left_at as (
    select filled.*, prices.trade_price as exit_price, prices.as_of as exit_at
    from filled
    asof left join prices on filled.asset_id = prices.asset_id and filled.due_at <= prices.as_of
),
judged as (
    select
        *,
        case
            when exit_at <= due_at + to_hours(max_exit_delay_hours::bigint) then ln(exit_price / fill_price)
        end as outcome
    from left_at
)
select
    judged.family,
    judged.horizon,
    judged.asset_id,
    assets.symbol,
    count(*) as forecasts,
    count(judged.outcome) as outcomes,
    case when count(judged.outcome) >= 3 then corr(judged.forecast::double, judged.outcome) end as ic,
    avg((sign(judged.forecast) = sign(judged.outcome))::integer)
    filter (judged.forecast <> 0 and judged.outcome <> 0) as hit_share,
    avg(judged.forecast::double) filter (judged.outcome is not null) as mean_forecast,
    avg(judged.outcome) as mean_outcome,
    sqrt(avg((judged.forecast - judged.outcome) ** 2)) as root_mean_square_error
from judged
inner join assets on judged.asset_id = assets.asset_id
group by judged.family, judged.horizon, judged.asset_id, assets.symbol
