"""How an asset reads the others: `base` holds the interface and the registry, every other module one variant.

A new file here that registers a `CrossAttention` is a value of `model.cross_attention`; nothing else has to know it.
`lag_bias` is the default, `sparse` builds on it; `last` and `pooled` share `content`; `uniform` and `off` are the ablations.
"""
