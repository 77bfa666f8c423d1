"""The features of the warehouse as pandas and polars users would write them; ``bench_warehouse`` checks that all agree."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["pandas_features", "polars_features"]


def pandas_features(candles: pd.DataFrame, funding: pd.DataFrame) -> pd.DataFrame:
    """Every feature, by groupby."""
    in_time = pd.merge_asof(
        candles,
        funding,
        left_on="closed_at",
        right_on="settled_at",
        by="asset_id",
        tolerance=pd.Timedelta("24h") - pd.Timedelta("1us"),
    )
    rows = in_time.sort_values(["asset_id", "closed_at"], kind="stable", ignore_index=True)
    key = rows["asset_id"]

    def by_asset(values: pd.Series) -> Any:
        return values.groupby(key, observed=True, sort=False)

    def rolling(values: pd.Series, width: int) -> Any:
        return by_asset(values).rolling(width)

    def smoothed(values: pd.Series, **decay: float) -> pd.Series:
        made = by_asset(values).ewm(adjust=False, ignore_na=True, **decay).mean()
        return pd.Series(made.to_numpy(), index=values.index)

    number = by_asset(rows["close"]).cumcount()
    close, previous_close, previous_closed_at = (
        rows["close"],
        by_asset(rows["close"]).shift(),
        by_asset(rows["closed_at"]).shift(),
    )
    pause = rows["opened_at"] > previous_closed_at
    log_return = np.log(close / previous_close.where(~pause, rows["open"])).where(previous_close.notna())
    change = close - previous_close
    gain, loss = change.clip(lower=0), (-change).clip(lower=0)
    gains, losses = (pd.Series(rolling(move, 14).sum().to_numpy()) for move in (gain, loss))
    wilder_gain, wilder_loss = (
        smoothed(move.where(number > 14, total / 14).where(number >= 14), alpha=1 / 14)
        for move, total in ((gain, gains), (loss, losses))
    )
    macd = smoothed(close, span=12) - smoothed(close, span=26)
    signal = smoothed(macd, span=9)
    hour = rows["closed_at"].dt.day_of_week * 24 + rows["closed_at"].dt.hour
    return pd.DataFrame(
        {
            "log_return": log_return,
            "gap_return": np.where(pause, np.log(rows["open"] / previous_close), 0.0),
            "intraday_return": close / rows["open"] - 1,
            "range_share": (rows["high"] - rows["low"]) / close,
            "relative_volume": rows["volume"] / rolling(rows["volume"], 20).mean().to_numpy(),
            "volatility": rolling(log_return, 20).std().to_numpy(),
            "rsi_14": 100 * gains / (gains + losses),
            "rsi_14_wilder": 100 * wilder_gain / (wilder_gain + wilder_loss),
            "macd": (macd / close).where(number >= 25),
            "macd_signal": (signal / close).where(number >= 33),
            "macd_histogram": ((macd - signal) / close).where(number >= 33),
            "pause_hours": (rows["opened_at"] - previous_closed_at).dt.total_seconds() / 3600,
            "bar_age_hours": (rows["closed_at"].dt.ceil("h") - rows["closed_at"]).dt.total_seconds() / 3600,
            "hour_of_week": hour,
            "hour_of_week_sin": np.sin(2 * np.pi * hour / 168),
            "hour_of_week_cos": np.cos(2 * np.pi * hour / 168),
            "last_funding_rate": rows["rate"].fillna(0.0),
        }
    ).astype("float32")


def polars_features(candles: Any, funding: Any) -> Any:
    """The same in polars, as one lazy query."""
    import polars as pl

    def by_asset(values: Any) -> Any:
        return values.over("asset_id")

    close, volume, hour = pl.col("close"), pl.col("volume"), pl.col("hour")
    rows = (
        candles.lazy()
        .join_asof(
            funding.lazy(),
            left_on="closed_at",
            right_on="settled_at",
            by="asset_id",
            tolerance=timedelta(hours=24) - timedelta(microseconds=1),
            check_sortedness=False,
        )
        .sort("asset_id", "closed_at")
        .with_columns(
            previous_close=by_asset(close.shift()),
            previous_closed_at=by_asset(pl.col("closed_at").shift()),
            number=by_asset(pl.int_range(pl.len())),
            hour=(pl.col("closed_at").dt.weekday().cast(pl.Int32) - 1) * 24 + pl.col("closed_at").dt.hour().cast(pl.Int32),
            macd=by_asset(close.ewm_mean(span=12, adjust=False) - close.ewm_mean(span=26, adjust=False)),
        )
    )
    pause, change = pl.col("opened_at") > pl.col("previous_closed_at"), close - pl.col("previous_close")
    rows = rows.with_columns(
        log_return=pl.when(pause).then(close / pl.col("open")).otherwise(close / pl.col("previous_close")).log(),
        gain=change.clip(lower_bound=0),
        loss=(-change).clip(lower_bound=0),
        signal=by_asset(pl.col("macd").ewm_mean(span=9, adjust=False)),
    ).with_columns(
        gains=by_asset(pl.col("gain").rolling_sum(14)),
        losses=by_asset(pl.col("loss").rolling_sum(14)),
    )

    def wilder(move: str, total: str) -> Any:
        seeded = pl.when(pl.col("number") > 14).then(pl.col(move)).when(pl.col("number") == 14).then(pl.col(total) / 14)
        return by_asset(seeded.otherwise(None).ewm_mean(alpha=1 / 14, adjust=False, ignore_nulls=True))

    rows = rows.with_columns(wilder_gain=wilder("gain", "gains"), wilder_loss=wilder("loss", "losses"))
    number, macd, signal = pl.col("number"), pl.col("macd"), pl.col("signal")
    made = rows.select(
        log_return="log_return",
        gap_return=pl.when(pause).then((pl.col("open") / pl.col("previous_close")).log()).otherwise(0.0),
        intraday_return=close / pl.col("open") - 1,
        range_share=(pl.col("high") - pl.col("low")) / close,
        relative_volume=volume / by_asset(volume.rolling_mean(20)),
        volatility=by_asset(pl.col("log_return").rolling_std(20)),
        rsi_14=100 * pl.col("gains") / (pl.col("gains") + pl.col("losses")),
        rsi_14_wilder=100 * pl.col("wilder_gain") / (pl.col("wilder_gain") + pl.col("wilder_loss")),
        macd=pl.when(number >= 25).then(macd / close),
        macd_signal=pl.when(number >= 33).then(signal / close),
        macd_histogram=pl.when(number >= 33).then((macd - signal) / close),
        pause_hours=(pl.col("opened_at") - pl.col("previous_closed_at")).dt.total_seconds() / 3600,
        bar_age_hours=(pl.col("closed_at").dt.offset_by("59m59s").dt.truncate("1h") - pl.col("closed_at")).dt.total_seconds()
        / 3600,
        hour_of_week=hour,
        hour_of_week_sin=(2 * np.pi * hour / 168).sin(),
        hour_of_week_cos=(2 * np.pi * hour / 168).cos(),
        last_funding_rate=pl.col("rate").fill_null(0.0),
    )
    return made.select(pl.all().cast(pl.Float32)).collect()
