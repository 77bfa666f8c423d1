"""What a model reads, forecasts and is: the knobs of features, labels, network and one fit."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from crossattn_core.experiment.registered import AttentionName, EncoderName
from crossattn_core.experiment.section import Section

__all__ = ["LOSSES_OF_HEAD", "FeatureSettings", "LabelSettings", "ModelSettings", "TrainingSettings"]

LOSSES_OF_HEAD = {"returns": ("mse", "huber", "rank_ic"), "direction": ("cross_entropy",), "weights": ("sharpe",)}
"""model.head -> the values of training.loss that can train it."""


class FeatureSettings(Section):
    """What a model reads of each asset at each bar."""

    names: tuple[str, ...] = Field(
        default=(
            "log_return",
            "intraday_return",
            "range_share",
            "relative_volume",
            "volatility",
            "rsi_14",
            "macd_histogram",
            "gap_return",
        ),
        min_length=1,
    )
    """Columns of features.panel_rows, in the order of the panel's feature axis."""
    max_age_hours: int = Field(default=96, ge=1, le=24 * 14)
    """An asset whose newest candle is older is unreadable; 96 h spans a long weekend."""


class LabelSettings(Section):
    """What is forecast: log(trade_price[exit] / trade_price[fill])."""

    horizons: tuple[int, ...] = Field(default=(1, 24), min_length=1)
    """Bars from fill to exit."""
    trade_horizon: int = Field(default=24, ge=1)
    """The horizon whose forecast is traded."""
    execution_lag: int = Field(default=1, ge=1, le=24)
    """Bars from decision to fill."""
    max_exit_delay_hours: int = Field(default=96, ge=0, le=24 * 14)
    """Hours to wait for a tradable exit row before the label is NaN."""

    @model_validator(mode="after")
    def _traded_horizon_is_forecast(self) -> Self:
        if self.trade_horizon not in self.horizons:
            raise ValueError(f"trade_horizon {self.trade_horizon} is not among horizons {self.horizons}; add it there")
        if list(self.horizons) != sorted(set(self.horizons)) or self.horizons[0] < 1:
            raise ValueError(f"horizons {self.horizons} must be positive, distinct and ascending")
        return self


class ModelSettings(Section):
    """The network."""

    architecture: Literal["parallel", "stacked"] = "parallel"
    """parallel: temporal and cross-asset attention side by side, added up; stacked: one after the other in every layer."""
    cross_attention: AttentionName = "lag_bias"
    """How assets read each other: a file of model/attention."""
    own_branch: EncoderName = "attention"
    """What reads the asset's own window (model/encoders); the others than 'attention' are baselines."""
    head: Literal["returns", "direction", "weights"] = "returns"
    """What is given: returns, down / neutral / up, or weights; each has its losses (training.loss)."""
    neutral_band: float = Field(default=0.43, gt=0, lt=3)
    """direction: largest size of a neutral outcome, in volatility-scaled deviations; 0.43 makes normal thirds."""
    weight_shape: Literal["softmax", "tanh"] = "tanh"
    """weights: long-only by softmax, or long and short by tanh; gross exposure 1."""
    embedding: Literal["linear", "convolution"] = "linear"
    """How bars become tokens of the temporal encoder: patch by patch, or by a causal convolution."""
    kernel: int = Field(default=48, ge=1, le=512)
    """convolution: bars that one token reads, at least patch."""
    lookback: int = Field(default=168, ge=8, le=4096)
    """Bars that a window holds."""
    patch: int = Field(default=24, ge=1, le=168)
    """Bars in one token of the temporal encoder; divides lookback."""
    max_lag: int = Field(default=24, ge=1, le=336)
    """Bars back that cross-attention reads, at most lookback; stacked: in whole patches."""
    width: int = Field(default=64, ge=8, le=1024)
    """Features of a token."""
    heads: int = Field(default=8, ge=1, le=32)
    """Divides width; dealt out to the outputs in turn."""
    layers: int = Field(default=2, ge=1, le=12)
    """Layers of causal temporal self-attention; stacked: each followed by cross-asset attention."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations set to 0 in training; stacked: also how often cross-attention is silenced."""
    value_width: int = Field(default=4, ge=1, le=256)
    """lag_bias: width of a head's value of a bar."""
    steps: int = Field(default=6, ge=1, le=64)
    """factorised: summaries that a source makes of its recent bars."""
    top_sources: int = Field(default=8, ge=1, le=512)
    """sparse: assets that a head keeps per target."""
    candidate_pairs: Literal["auto", "all"] | Annotated[int, Field(ge=1)] = "auto"
    """lag_bias, sparse: (source, lag) pairs that a target attends over: all, or so many, the strongest by screening; auto: all of
    up to 4,096, else 64. With 'stacked' always all."""
    lag_prior: float = Field(default=0.0, ge=0, le=10)
    """lag_bias: logits start at -lag_prior * log(lag): near lags are likelier before anything is learned; 0: all alike."""
    content: bool = False
    """lag_bias: add the content term to the learned logits."""

    @model_validator(mode="after")
    def _shapes_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.lookback % self.patch:
            raise ValueError(f"lookback {self.lookback} is not a multiple of patch {self.patch}")
        if self.embedding == "convolution" and self.kernel < self.patch:
            raise ValueError(f"kernel {self.kernel} is shorter than patch {self.patch}: bars would be skipped; raise it")
        if self.architecture == "stacked" and self.own_branch != "attention":
            raise ValueError(
                f"own_branch {self.own_branch!r} stands beside cross-attention; with 'stacked' leave it at 'attention'"
            )
        if self.max_lag > self.lookback:
            raise ValueError(f"max_lag {self.max_lag} exceeds lookback {self.lookback}")
        return self


class TrainingSettings(Section):
    """One fit."""

    not_hashed: ClassVar[frozenset[str]] = frozenset({"device", "cuda_graph"})

    epochs: int = Field(default=6, ge=1, le=1000)
    """Epochs of a cold start: passes over the rows, or more (minimum_batches)."""
    warm_epochs: int = Field(default=2, ge=1, le=1000)
    """Epochs when the predecessor's weights are the start."""
    minimum_batches: int = Field(default=40, ge=1, le=100_000)
    """Batches in an epoch, at least: little history is passed over more than once."""
    batch_size: int = Field(default=128, ge=1, le=65536)
    """Decision rows in a batch."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """Largest rate of AdamW over the schedule."""
    attention_lr_multiplier: float = Field(default=50.0, ge=1, le=100)
    """Learning-rate multiple of the lag logits."""
    weight_decay: float = Field(default=1e-2, ge=0, lt=1)
    """Decoupled decay of the weights, as AdamW has it."""
    schedule: Literal["one_cycle", "cosine", "plateau"] = "one_cycle"
    """How the rate moves over a fit: up and down once, down along a cosine, or down where validation stops improving."""
    loss: Literal["mse", "huber", "rank_ic", "cross_entropy", "sharpe"] = "mse"
    """mse, huber, rank_ic: returns; cross_entropy: direction; sharpe: weights."""
    rank_temperature: float = Field(default=0.5, gt=0, le=10)
    """rank_ic: scaled distance over which one forecast counts as above another."""
    turnover_cost_bps: float = Field(default=10.0, ge=0, le=500)
    """sharpe: one-way cost of turnover in training; costs.* are what the backtest charges."""
    screening: bool = True
    """lag_bias, sparse: start the logits at the pairs that lagged correlations tell; learn nothing from before a target's leads
    changed."""
    entropy_weight: float = Field(default=0.0, ge=0, le=10)
    """Weight of the penalty on attention that collapses onto one asset; 0: none."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of a batch's gradient."""
    validation_share: float = Field(default=0.15, gt=0, lt=0.5)
    """Newest share of the rows, held out to choose the epoch."""
    embargo: int = Field(default=24, ge=0, le=24 * 30)
    """Bars between the last training label and the validation rows."""
    patience: int = Field(default=4, ge=1)
    """Epochs without a better validation loss before the fit stops."""
    stride: int = Field(default=1, ge=1, le=168)
    """Bars between training rows."""
    contiguous_rows: int = Field(default=16, ge=1, le=512)
    """Neighbouring rows that are drawn together; they share tokens."""
    own_branch_stride: int = Field(default=16, ge=1, le=64)
    """In training the own branch takes part on every n-th row of a batch (drop-path)."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where a network is fitted; auto: cuda where there is one. Forecasts are made on the CPU. The manifest names the device;
    models that are there are kept when it changes."""
    cuda_graph: bool = False
    """cuda: record a training step once and replay it, in place of launching its kernels one by one; refused where there is no
    GPU, or where a network's step cannot be recorded (benchmarks/bench_gpu.py)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 products on cuda from 300 assets on, where they pay, else float32."""
    seed: int = Field(default=11, ge=0)
    """Starting weights and the order of rows."""
    threads: int = Field(default=1, ge=0, le=64)
    """Torch threads; 1 gives the same bits everywhere, 0 leaves torch's own."""
