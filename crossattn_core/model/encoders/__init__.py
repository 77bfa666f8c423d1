"""How an asset's own window of bars becomes one summary: `base` holds the interface and the registry.

`temporal` is the network's own encoder (causal self-attention over patches); `sequence` and `transformers` are baselines of
forecasting, `portfolio_transformer`, `multi_agent` and `graph_attention` of portfolios. A new file that registers an `Encoder`
is a value of `model.own_branch`.
"""
