"""Run as a script: four calls of a quarter GPU each where Ray counts one GPU; prints what each of them sees."""

import os
import sys
import time
from pathlib import Path

from crossattn_core.compute.local_cluster import prepare_loopback
from crossattn_core.compute.pool import open_pool
from crossattn_core.experiment import ComputeSettings

CALLS, SECONDS = 4, 240


def meet(folder: str, n: int) -> str:
    """The GPU that is visible here, once all calls run at the same time."""
    (Path(folder) / str(n)).touch()
    ends = time.monotonic() + SECONDS
    while len(list(Path(folder).iterdir())) < CALLS:
        if time.monotonic() > ends:
            raise TimeoutError("the other calls did not begin")
        time.sleep(0.05)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "none")


def main(folder: str) -> None:
    prepare_loopback()
    import ray

    ray.init(address="local", num_cpus=CALLS, num_gpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False)
    with open_pool(ComputeSettings(engine="ray", gpus=1 / CALLS, retries=0)) as pool:
        assert pool is not None
        print([task.result() for task in [pool.submit(meet, folder, n) for n in range(CALLS)]])  # noqa: T201
    ray.shutdown()


if __name__ == "__main__":
    from tests.compute import shared_gpu  # so that workers can import what they are to call

    shared_gpu.main(sys.argv[1])
