"""A home belongs to one feed and universe, whoever founds it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
