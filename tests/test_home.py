"""A home belongs to one feed and universe, whoever founds it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from crossattn_core.errors import HomeError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import open_home


def _founds(root: Path, experiment: Experiment) -> bool:
    try:
        open_home(root, experiment)
    except HomeError:
        return False
    return True


def test_two_feeds_that_found_one_home_at_once_do_not_both_get_it(tmp_path: Path) -> None:
    hours, minutes = load_experiment(None), load_experiment(None, {"period": {"start": "2024-06-01"}})
    assert hours.period.start != minutes.period.start
    with ThreadPoolExecutor(8) as pool:
        for attempt in range(20):
            founded = list(pool.map(lambda each, at=attempt: _founds(tmp_path / str(at), each), [hours, minutes] * 4))
            assert founded in ([True, False] * 4, [False, True] * 4)


def test_a_home_of_some_of_the_assets_says_which_are_missing_and_what_reads_it(tmp_path: Path) -> None:
    whole = load_experiment(None)
    open_home(tmp_path, whole.select(whole.asset_ids[:-1]))
    with pytest.raises(HomeError, match=rf"here alone \[\], experiment alone \['{whole.asset_ids[-1]}'\]") as refused:
        open_home(tmp_path, whole)
    assert "made with --symbols?" in str(refused.value)
    with pytest.raises(HomeError) as other:
        open_home(tmp_path, whole.model_copy(update={"period": whole.period.model_copy(update={"start": date(2024, 6, 1)})}))
    assert "start: here '2025-01-01', experiment '2024-06-01'" in str(other.value)
