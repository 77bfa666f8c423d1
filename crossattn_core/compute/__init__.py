"""Where functions run that could run side by side: in this process, or in the workers of Ray.

pool            what an engine offers: share, submit, results; ``open_pool`` gives the one that an experiment names
ray_pool        Ray Core: tasks, their resources and retries, errors as they were raised
local_cluster   a Ray cluster of one process on 127.0.0.1, which ends with it however it ends
installed       which code and packages a worker must hold to be asked

Whoever uses a pool says what is computed, the pool where. No result depends on it: the functions are pure, they take what decides
as arguments, and a walk that finds no result computes it itself (``walk_forward.ahead``).
"""
