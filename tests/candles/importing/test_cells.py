"""Times as people write them become the instants that they mean."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.importing.cells import instants_of

FILE = Path("candles.csv")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize(
    "cells",
    [
        ["13.02.2025 10:00+02:00", "14.02.2025 10:00+02:00"],
        ["13/02/2025 09:00:00 +0100", "14/02/2025 10:00:00 +0200"],
        ["2025-02-13T08:00Z", "2025-02-14T10:00+02:00"],
    ],
)
def test_an_offset_that_is_written_counts_however_the_date_is_and_whatever_zone_is_given(cells: list[str], zone: str) -> None:
    found = instants_of(FILE, pd.Series(cells), zone)
    assert found.at_T.tolist() == np.array(["2025-02-13T08:00", "2025-02-14T08:00"], "datetime64[us]").tolist()
    assert found.zone == "as written"


def test_a_date_without_an_offset_is_of_the_zone_that_is_given() -> None:
    found = instants_of(FILE, pd.Series(["13.02.2025 10:00", "13.07.2025 10:00"]), "Europe/Berlin")
    assert found.at_T.tolist() == np.array(["2025-02-13T09:00", "2025-07-13T08:00"], "datetime64[us]").tolist()
    assert found.zone == "Europe/Berlin"
