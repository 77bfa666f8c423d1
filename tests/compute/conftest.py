"""A Ray cluster of two nodes with one CPU each, on 127.0.0.1, for the slow tests of this room."""

from collections.abc import Iterator
from typing import Any

import psutil
import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of this machine; every process that they leave is ended by its id."""
    from crossattn_core.compute.local_cluster import prepare_loopback

    before = {process.pid for process in psutil.Process().children(recursive=True)}
    prepare_loopback()
    from ray.cluster_utils import Cluster

    two_nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    two_nodes.add_node(num_cpus=1)
    yield two_nodes
    started = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    two_nodes.shutdown()
    for process in psutil.wait_procs(started, timeout=5)[1]:
        process.kill()
