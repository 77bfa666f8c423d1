/* model
description: Three views of what a model's forecasts rest on, beside three classical statistics, for every ordered pair, on the first day of each model. Attention and predictive leads; none of them speaks of cause.
grain: [day, leader, follower]
kind: table
columns:
  day: "first day on which the model was in force [UTC day]"
  leader: "symbol that is read, or moves first [name]"
  follower: "symbol that reads, or moves later [name]"
  model_id: "the model [hash]"
  attention: "share of the follower's attention on the leader, over sampled rows of the weeks up to the day [fraction]"
  gradient: "share of gradient x input of the follower's next-bar forecast [fraction]"
  occlusion: "share of how far the forecast moves when a source lives in other weeks [fraction]"
  attention_lag: "lag of the largest attention [hours of lead]"
  gradient_lag: "lag of the largest gradient x input [hours of lead]"
  correlation: "largest lagged cross-correlation of hourly returns, null with too few common hours [correlation]"
  correlation_lag: "its lag [hours of lead]"
  correlation_q: "its permutation p-value after Benjamini-Hochberg over all pairs [false-discovery rate]"
  granger_f: "F of the leader's past returns beside the follower's own, null with too few rows [ratio]"
  granger_q: "its p-value after Benjamini-Hochberg over all pairs [false-discovery rate]"
  hy_correlation: "largest Hayashi-Yoshida correlation among leads, null without prices [correlation]"
  hy_lag: "its lag [hours of lead]"
  hy_ratio: "squared Hayashi-Yoshida correlations over leads, over those over lags; above 1 the leader leads [ratio]"
  hy_q: "p-value of the largest against far shifts, after Benjamini-Hochberg over all pairs [false-discovery rate]"
  attention_rank: "1 for the leader that the follower attends to most [rank]"
tests:
  - unique: [day, leader, follower]
  - range: {attention: [0, 1.0001], gradient: [0, 1.0001], occlusion: [0, 1.0001], correlation_q: [0, 1], granger_q: [0, 1], hy_q: [0, 1]}
*/
with evidence as (select * from results.attention_evidence),
leaders as (select asset_id, symbol from raw.assets),
followers as (select asset_id, symbol from raw.assets)
select
    evidence.day,
    leaders.symbol as leader,
    followers.symbol as follower,
    evidence.model_id,
    evidence.attention,
    evidence.gradient,
    evidence.occlusion,
    evidence.attention_lag,
    evidence.gradient_lag,
    evidence.correlation,
    evidence.correlation_lag,
    evidence.correlation_q,
    evidence.granger_f,
    evidence.granger_q,
    evidence.hy_correlation,
    evidence.hy_lag,
    evidence.hy_ratio,
    evidence.hy_q,
    rank() over (partition by evidence.day, evidence.follower order by evidence.attention desc) as attention_rank
from evidence
inner join leaders on evidence.leader = leaders.asset_id
inner join followers on evidence.follower = followers.asset_id
