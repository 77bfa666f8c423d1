"""The leads in one sentence: what is counted as found, missed and made up."""

from dataclasses import replace

import pandas as pd
import pytest

from crossattn_core.experiment import PlantedLead
from crossattn_core.report.inputs import ReportInputs
from crossattn_core.report.lead_verdict import lead_verdict
from tests.report import story

INPUTS = ReportInputs(experiment=story.experiment(), simulations={})
PLANTED = tuple(
    PlantedLead(leader=leader, follower=follower, lag=lag)
    for leader, follower, lag in (("BTCUSDT", "ETHUSDT", 1), ("BTCUSDT", "SOLUSDT", 6), ("NVDA", "AMD", 1))
)


def verdict(*rows, planted=PLANTED):
    """Rows: leader, follower, lag, and what differs from a named lead of one asset."""
    leaders = pd.DataFrame(
        [
            {"leader": leader, "follower": follower, "lag": lag, "members": (leader,), "named": True, **other}
            for leader, follower, lag, other in rows
        ],
        columns=["leader", "follower", "lag", "members", "named", "tradable"],
    )
    return lead_verdict(replace(INPUTS, leaders=leaders, planted=planted))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("BTCUSDT", "ETHUSDT", 1, {})], "1 of 3 planted leads found at the exact lag; no lead named that nobody planted."),
        (
            [("BTCUSDT", "ETHUSDT", 1, {}), ("BTCUSDT", "SOLUSDT", 5, {})],
            "1 of 3 planted leads found at the exact lag, 1 at another lag; no lead named that nobody planted.",
        ),
        (
            [("stocks market", "AMD", 1, {"members": ("NVDA", "MSFT")})],
            "0 of 3 planted leads found at the exact lag, 1 within a group that leads; no lead named that nobody planted.",
        ),
        (
            [("stocks market", "AMD", 1, {"members": ("AAPL", "MSFT")}), ("ETHUSDT", "BTCUSDT", 1, {})],
            "0 of 3 planted leads found at the exact lag; 2 leads named that nobody planted.",
        ),
        (
            [("BTCUSDT", "ETHUSDT", 1, {"named": False})],
            "0 of 3 planted leads found at the exact lag; no lead named that nobody planted.",
        ),
    ],
)
def test_planted_leads_are_counted_by_how_they_were_found(rows, sentence):
    assert verdict(*rows).headline == sentence


def test_a_lead_planted_outside_of_the_universe_cannot_be_missed():
    outside = (*PLANTED, PlantedLead(leader="BTCUSDT", follower="NOBODY", lag=3))
    assert verdict(planted=outside).planted == 3


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No lead named."),
        ([("BTCUSDT", "ETHUSDT", 1, {"tradable": None})], "1 lead named, 0 of them proven tradable."),
        (
            [("BTCUSDT", "ETHUSDT", 1, {"tradable": True}), ("NVDA", "AMD", 1, {"tradable": False})],
            "2 leads named, 1 of them proven tradable.",
        ),
    ],
)
def test_where_nobody_knows_the_truth_named_and_tradable_leads_are_counted(rows, sentence):
    assert verdict(*rows, planted=None).headline == sentence


def test_where_nobody_looked_for_leads_there_is_no_verdict_on_them():
    assert lead_verdict(replace(INPUTS, leaders=None)) is None
