"""Many targets in one run, each in a process of its own, so that one cannot take the others with it.

A child ends after its target, which bounds memory, and it can hang, crash or be killed alone. To import JAX
for each of them would cost more than most targets themselves, so children are forked from a server that has
imported everything and computed nothing: no backend exists before the fork, and each child makes its own. A
small model took FORK s so, and SPAWN s with an interpreter of its own (`python -m benchmarks targets`).

Why not `multiprocessing`, whose forkserver costs the same (measured): it runs the caller's `__main__` again
in each child, its server outlives the run with the environment of then, its children outlive a parent that
was killed, and it answers with pickles.
"""

from __future__ import annotations

from gradscope.running.scheduling import run as run
