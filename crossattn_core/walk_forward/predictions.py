"""The table of what models in force predict: the return over a horizon, or the weight to hold.

Axes: T rows of the panel, R rows of a day, N assets, H horizons, K rows of the table.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from crossattn_core.experiment import LabelSettings
from crossattn_core.families.fitted import FittedModel
from crossattn_core.panel.panel import Panel

__all__ = [
    "FORECAST_COLUMNS",
    "PREDICTION_COLUMNS",
    "PREDICTION_SCHEMA",
    "Kind",
    "Predicted",
    "as_forecasts",
    "predict",
    "prediction_rows",
]

Kind = Literal["return", "weight"]

PREDICTION_SCHEMA = pa.schema(
    [
        ("as_of", pa.timestamp("us")),
        ("asset_id", pa.string()),
        ("family", pa.string()),
        ("kind", pa.string()),
        ("horizon", pa.int32()),
        ("value", pa.float32()),
        ("model_id", pa.string()),
    ]
)
PREDICTION_COLUMNS = tuple(PREDICTION_SCHEMA.names)
"""Grain: (as_of, asset_id, family, kind, horizon). ``value`` of kind 'return': log return over ``horizon`` bars; of kind
'weight': share of equity to hold before limits, ``horizon`` being the one that is traded. An unreadable asset has no row."""

FORECAST_COLUMNS = ("as_of", "asset_id", "family", "horizon", "forecast", "model_id")
"""Grain: (as_of, asset_id, family, horizon): the predictions of kind 'return', ``value`` under the name ``forecast``."""


class Predicted(NamedTuple):
    """What one model predicts for some rows of the panel."""

    kind: Kind
    horizons: tuple[int, ...]
    value_RNH: NDArray[np.float32]
    """NaN where the asset is unreadable at the row."""


def predict(model: FittedModel, panel: Panel, rows_R: NDArray[np.integer], labels: LabelSettings) -> Predicted:
    """The returns that ``model`` forecasts at every horizon; the weights of a family that gives weights."""
    weight_RN = model.weights(panel, rows_R)
    if weight_RN is None:
        return Predicted("return", labels.horizons, model.forecast(panel, rows_R))
    return Predicted("weight", (labels.trade_horizon,), weight_RN[..., None])


def prediction_rows(
    predicted: Predicted, as_of_R: NDArray[np.datetime64], asset_ids: tuple[str, ...], family: str, model_id: str
) -> pa.Table:
    """One model's predictions as rows (``PREDICTION_SCHEMA``), as_of ascending; those that are not finite are left out."""
    row_K, asset_K, horizon_K = np.nonzero(np.isfinite(predicted.value_RNH))
    columns = (
        as_of_R[row_K],
        np.array(asset_ids)[asset_K],
        np.full(len(row_K), family),
        np.full(len(row_K), predicted.kind),
        np.array(predicted.horizons, dtype=np.int32)[horizon_K],
        predicted.value_RNH[row_K, asset_K, horizon_K],
        np.full(len(row_K), model_id),
    )
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, PREDICTION_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PREDICTION_SCHEMA)


def as_forecasts(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of kind 'return' among ``predictions``, as ``FORECAST_COLUMNS``."""
    returns = predictions[predictions["kind"] == "return"].reset_index(drop=True)
    return returns.rename(columns={"value": "forecast"})[list(FORECAST_COLUMNS)]
