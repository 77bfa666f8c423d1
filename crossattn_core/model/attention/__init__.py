"""How an asset reads the others: `base` holds the interface and the registry, every other module a variant.

A new file here that registers a `CrossAttention` is a value of `model.cross_attention`; nothing else has to know it.
`content` is the common base of `last` and `pooled`.
"""
