"""Baseline strategies, one file each: no model, the same decisions, the same costs; ``registry`` finds them by name."""
