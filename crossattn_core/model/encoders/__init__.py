"""How an asset's own window of bars becomes one summary: `base` holds the interface and the registry.

`temporal` is the network's own encoder (causal self-attention over patches); `sequence` and `portfolio_transformer` are
the baselines'. A new file that registers an `Encoder` is a value of `model.own_branch`.
"""
