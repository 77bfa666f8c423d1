/* model
description: How far the views and the classical statistics order pairs alike, on the first day of each model.
grain: [day, first_view, second_view]
kind: table
columns:
  day: "first day on which the model was in force [UTC day]"
  first_view: "a view or a statistic [name]"
  second_view: "another [name]"
  model_id: "the model [hash]"
  rank_correlation: "Spearman over all ordered pairs, null where one does not vary [correlation]"
  within_target: "the same within each follower, averaged over followers [correlation]"
tests:
  - unique: [day, first_view, second_view]
  - range: {rank_correlation: [-1, 1], within_target: [-1, 1]}
*/
with agreement as (select * from results.attention_agreement)
select
    day,
    first_view,
    second_view,
    model_id,
    rank_correlation,
    within_target
from agreement
