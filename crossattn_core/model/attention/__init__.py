"""How an asset reads the others: `base` holds the interface and the registry, every other module variants.

A new file here that registers a `CrossAttention` is a value of `model.cross_attention`; nothing else has to know it.
`lag_bias` is the default, `sparse` builds on it; `ablations` holds 'uniform' and 'off', `content` 'last' and 'pooled'.
"""
