"""From forecasts to target weights: decisions, rules, limits, and what stands beside them."""
