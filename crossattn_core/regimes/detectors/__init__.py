"""Regime detectors, one file each; ``registry`` finds them by name. They read the market day by day (``regimes.market_days``)."""
