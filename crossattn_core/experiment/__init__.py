"""Every knob of crossattn, in one place: its unit, its bounds, its default; one module a stage.

An experiment is a frozen tree of sections, one a stage; a stage is handed its own section, never the whole.
A YAML file holds only what differs from the defaults below. Unknown names are refused with the nearest
valid one, and ``Experiment.content_hash`` names the result: two experiments with one hash are the same.
"""

from crossattn_core.experiment.analysis import AnalysisSettings, ReportSettings
from crossattn_core.experiment.compute import ComputeSettings
from crossattn_core.experiment.feed import FeedSettings, Period, PlantedLead, SimulatedMarket
from crossattn_core.experiment.model import FeatureSettings, LabelSettings, ModelSettings, TrainingSettings
from crossattn_core.experiment.retention import RetentionSettings
from crossattn_core.experiment.rolling import RegimeSettings, RetrainSettings, SelectionSettings
from crossattn_core.experiment.section import Section
from crossattn_core.experiment.trading import BacktestSettings, BaselineSettings, CostSettings, PortfolioSettings, VenueCosts
from crossattn_core.experiment.tuning import Choice, TuningSettings
from crossattn_core.experiment.whole import Experiment, load_experiment

__all__ = [
    "AnalysisSettings",
    "BacktestSettings",
    "BaselineSettings",
    "Choice",
    "ComputeSettings",
    "CostSettings",
    "Experiment",
    "FeatureSettings",
    "FeedSettings",
    "LabelSettings",
    "ModelSettings",
    "Period",
    "PlantedLead",
    "PortfolioSettings",
    "RegimeSettings",
    "ReportSettings",
    "RetentionSettings",
    "RetrainSettings",
    "Section",
    "SelectionSettings",
    "SimulatedMarket",
    "TrainingSettings",
    "TuningSettings",
    "VenueCosts",
    "load_experiment",
]
