"""What a model reads, forecasts and is: the knobs of features, labels, network and one fit."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from crossattn_core.experiment.registered import ATTENTION, ENCODERS, check_registered
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
        description="columns of features.panel_rows, in the order of the panel's feature axis",
    )
    max_age_hours: int = Field(
        default=96, ge=1, le=24 * 14, description="an asset whose newest candle is older is unreadable; 96 h spans a long weekend"
    )


class LabelSettings(Section):
    """What is forecast: log(trade_price[exit] / trade_price[fill])."""

    horizons: tuple[int, ...] = Field(default=(1, 24), min_length=1, description="bars from fill to exit")
    trade_horizon: int = Field(default=24, ge=1, description="the horizon whose forecast is traded")
    execution_lag: int = Field(default=1, ge=1, le=24, description="bars from decision to fill")
    max_exit_delay: int = Field(
        default=96, ge=0, le=24 * 14, description="bars to wait for a tradable exit row before the label is NaN"
    )

    @model_validator(mode="after")
    def _traded_horizon_is_forecast(self) -> Self:
        if self.trade_horizon not in self.horizons:
            raise ValueError(f"trade_horizon {self.trade_horizon} is not among horizons {self.horizons}; add it there")
        if list(self.horizons) != sorted(set(self.horizons)) or self.horizons[0] < 1:
            raise ValueError(f"horizons {self.horizons} must be positive, distinct and ascending")
        return self


class ModelSettings(Section):
    """The network."""

    cross_attention: str = Field(
        default="lag_bias", validate_default=False, description="how assets read each other: a file of model/attention"
    )
    own_branch: str = Field(
        default="attention",
        validate_default=False,
        description="what reads the asset's own window (model/encoders); the others than 'attention' are baselines",
    )
    head: Literal["returns", "direction", "weights"] = Field(
        default="returns",
        description="what is given: returns, down / neutral / up, or weights; each has its losses (training.loss)",
    )
    neutral_band: float = Field(
        default=0.43,
        gt=0,
        lt=3,
        description="direction: largest size of a neutral outcome, in volatility-scaled deviations; 0.43 makes normal thirds",
    )
    weight_shape: Literal["softmax", "tanh"] = Field(
        default="tanh", description="weights: long-only by softmax, or long and short by tanh; gross exposure 1"
    )
    embedding: Literal["linear", "convolution"] = Field(
        default="linear", description="how bars become tokens of the temporal encoder: patch by patch, or by a causal convolution"
    )
    kernel: int = Field(default=48, ge=1, le=512, description="convolution: bars that one token reads, at least patch")
    lookback: int = Field(default=168, ge=8, le=4096, description="bars that a window holds")
    patch: int = Field(default=24, ge=1, le=168, description="bars in one token of the temporal encoder; divides lookback")
    max_lag: int = Field(default=24, ge=1, le=336, description="bars back that cross-attention reads, at most lookback")
    width: int = Field(default=64, ge=8, le=1024)
    heads: int = Field(default=8, ge=1, le=32, description="divides width; dealt out to the outputs in turn")
    layers: int = Field(default=2, ge=1, le=12, description="layers of causal temporal self-attention")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    value_width: int = Field(default=4, ge=1, le=256, description="lag_bias: width of a head's value of a bar")
    steps: int = Field(default=6, ge=1, le=64, description="factorised: summaries that a source makes of its recent bars")
    top_sources: int = Field(default=8, ge=1, le=512, description="sparse: assets that a head keeps per target")
    content: bool = Field(default=False, description="lag_bias: add the content term to the learned logits")

    @field_validator("cross_attention")
    @classmethod
    def _attention_is_registered(cls, name: str) -> str:
        return check_registered(ATTENTION, name)

    @field_validator("own_branch")
    @classmethod
    def _encoder_is_registered(cls, name: str) -> str:
        return check_registered(ENCODERS, name)

    @model_validator(mode="after")
    def _shapes_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.lookback % self.patch:
            raise ValueError(f"lookback {self.lookback} is not a multiple of patch {self.patch}")
        if self.embedding == "convolution" and self.kernel < self.patch:
            raise ValueError(f"kernel {self.kernel} is shorter than patch {self.patch}: bars would be skipped; raise it")
        if self.max_lag > self.lookback:
            raise ValueError(f"max_lag {self.max_lag} exceeds lookback {self.lookback}")
        return self


class TrainingSettings(Section):
    """One fit."""

    epochs: int = Field(
        default=6, ge=1, le=1000, description="epochs of a cold start: passes over the rows, or more (minimum_batches)"
    )
    warm_epochs: int = Field(default=2, ge=1, le=1000, description="epochs when the predecessor's weights are the start")
    minimum_batches: int = Field(
        default=40, ge=1, le=100_000, description="batches in an epoch, at least: little history is passed over more than once"
    )
    batch_size: int = Field(default=128, ge=1, le=65536, description="decision rows in a batch")
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    attention_lr_multiplier: float = Field(default=50.0, ge=1, le=100, description="learning-rate multiple of the lag logits")
    weight_decay: float = Field(default=1e-2, ge=0, lt=1)
    schedule: Literal["one_cycle", "cosine", "plateau"] = "one_cycle"
    loss: Literal["mse", "huber", "rank_ic", "cross_entropy", "sharpe"] = Field(
        default="mse", description="mse, huber, rank_ic: returns; cross_entropy: direction; sharpe: weights"
    )
    rank_temperature: float = Field(
        default=0.5, gt=0, le=10, description="rank_ic: scaled distance over which one forecast counts as above another"
    )
    turnover_cost_bps: float = Field(
        default=10.0,
        ge=0,
        le=500,
        description="sharpe: one-way cost of turnover in training; costs.* are what the backtest charges",
    )
    entropy_weight: float = Field(
        default=0.0, ge=0, le=10, description="weight of the penalty on attention that collapses onto one asset; 0: none"
    )
    clip_norm: float = Field(default=1.0, gt=0)
    validation_share: float = Field(
        default=0.15, gt=0, lt=0.5, description="newest share of the rows, held out to choose the epoch"
    )
    embargo: int = Field(default=24, ge=0, le=24 * 30, description="bars between the last training label and the validation rows")
    patience: int = Field(default=4, ge=1, description="epochs without a better validation loss before the fit stops")
    stride: int = Field(default=1, ge=1, le=168, description="bars between training rows")
    contiguous_rows: int = Field(
        default=16, ge=1, le=512, description="neighbouring rows that are drawn together; they share tokens"
    )
    own_branch_stride: int = Field(
        default=16, ge=1, le=64, description="in training the own branch takes part on every n-th row of a batch (drop-path)"
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="where a network is fitted; auto: cuda where there is one. Forecasts are made on the CPU"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 products on cuda, where they pay, float32 on the CPU, where they cost"
    )
    seed: int = Field(default=11, ge=0)
    threads: int = Field(
        default=1, ge=0, le=64, description="torch threads; 1 gives the same bits everywhere, 0 leaves torch's own"
    )
