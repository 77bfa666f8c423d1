"""Every error that crossattn raises on purpose.

    CrossattnError
    ├── ExperimentError      a knob is unknown, out of bounds or contradicts another
    │   └── UniverseError    a symbol, venue or calendar that cannot be traded together
    ├── HomeError            the home folder belongs to another feed or universe, or is damaged
    ├── FeedError            candles could not be obtained
    │   ├── TransientFeedError   a retry may help (time-out, 5xx, rate limit)
    │   ├── PermanentFeedError   no retry will help (unknown symbol, wrong parameter)
    │   └── FeedBlockedError     the source refuses this address for a while (circuit open)
    ├── CandleError          candles that break a rule of the lake
    ├── WarehouseError       a SQL model cannot be loaded, ordered or run
    ├── ContractError        a stage's output breaks its schema or its contract
    │   └── LookaheadError   a row would use what was not known yet
    ├── HistoryError         too little history for what was asked
    │   └── NoForecastError  no model has served yet
    ├── CheckpointError      a checkpoint does not fit this experiment, or is damaged
    │   └── PrunedModelError     its weights are no longer kept
    ├── TrainingError        a fit that cannot go on (non-finite loss, no rows)
    ├── BacktestError        weights, prices or costs that cannot be simulated
    ├── ComputeError         an engine that is not there, cannot be reached, or lost work for good
    └── BackupError          a destination that cannot be reached, or a backup that cannot be trusted

Each message says what is wrong, where, by how much, and what to do.
"""

__all__ = [
    "BacktestError",
    "BackupError",
    "CandleError",
    "CheckpointError",
    "ComputeError",
    "ContractError",
    "CrossattnError",
    "ExperimentError",
    "FeedBlockedError",
    "FeedError",
    "HistoryError",
    "HomeError",
    "LookaheadError",
    "NoForecastError",
    "PermanentFeedError",
    "PrunedModelError",
    "TrainingError",
    "TransientFeedError",
    "UniverseError",
    "WarehouseError",
]


class CrossattnError(Exception):
    """The root: catch it to catch everything that crossattn raises on purpose."""


class ExperimentError(CrossattnError):
    """A knob is unknown, out of bounds or contradicts another."""


class UniverseError(ExperimentError):
    """A symbol, venue or calendar that cannot be traded together."""


class HomeError(CrossattnError):
    """The home folder belongs to another feed or universe, or is damaged."""


class FeedError(CrossattnError):
    """Candles could not be obtained."""


class TransientFeedError(FeedError):
    """The source failed in a way that a later try may not."""


class PermanentFeedError(FeedError):
    """The source refused in a way that every later try will repeat."""


class FeedBlockedError(FeedError):
    """The source refuses this address for a while; asking again makes it worse."""


class CandleError(CrossattnError):
    """Candles that break a rule of the lake."""


class WarehouseError(CrossattnError):
    """A SQL model cannot be loaded, ordered or run."""


class ContractError(CrossattnError):
    """A stage's output breaks its schema or its contract."""


class LookaheadError(ContractError):
    """A row would use what was not known at its as_of."""


class HistoryError(CrossattnError):
    """Too little history for what was asked."""


class NoForecastError(HistoryError):
    """No model has served yet, so that there is nothing to decide."""


class CheckpointError(CrossattnError):
    """A checkpoint does not fit this experiment, or is damaged."""


class PrunedModelError(CheckpointError):
    """A checkpoint whose weights are no longer kept; its manifest is."""


class TrainingError(CrossattnError):
    """A fit that cannot go on."""


class BacktestError(CrossattnError):
    """Weights, prices or costs that cannot be simulated."""


class ComputeError(CrossattnError):
    """An engine that is not there, cannot be reached, or lost work for good."""


class BackupError(CrossattnError):
    """A destination that cannot be reached, or a backup that cannot be trusted."""
