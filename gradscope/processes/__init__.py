"""Many targets in one run, each in a process of its own, so that one cannot take the others with it.

A child ends after its target, which bounds memory, and it can hang, crash or be killed alone. Children are
forked from a server that has imported everything and computed nothing: no backend exists before the fork,
and each child makes its own. In one run of `python -m benchmarks.targets 12` a small model took 2.3 s of CPU
so, and 3.5 s with an interpreter of its own, which imports JAX each time.

Why not `multiprocessing`, whose forkserver costs the same: it runs the caller's `__main__` again in each
child, its server outlives the run with the environment of then, its children outlive a parent that was
killed, and what it carries is pickled.
"""

from __future__ import annotations

from gradscope.processes.road import judged as judged
from gradscope.processes.scheduling import run as run
