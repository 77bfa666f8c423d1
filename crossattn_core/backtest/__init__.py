"""From target weights to net equity: the self-financing simulator, its metrics and their uncertainty."""
