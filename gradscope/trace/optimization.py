"""What XLA is asked to make of a program, by how often it runs: on a CPU compiling it well takes longer than
running it a few times."""

from __future__ import annotations

from typing import Any

import jax

from gradscope.xla import compiling

FEW_RUNS = 20
"""Up to so many runs XLA's own optimizations cost more time than they save: a 12-layer transformer's pass
compiled in 7.6 s instead of 34 s without them and ran as fast, since matrix products are library calls."""
MUCH_WORK = 4e9
"""Operations of all those runs together from which the first level of XLA's optimizations pays. The blocks of
that transformer take 1.1 s more to compile, and 0.31 s of the processor's time in place of 0.68 s to run; of
small models compiling takes 0.1 to 0.25 s more, and a run some milliseconds less."""


def options(runs: int, work: float = 0.0, *, side_by_side: bool = False) -> dict[str, Any]:
    """For so many runs, which compute so many operations together; `side_by_side`: other programs are
    compiled at the same time, so that XLA's own threads within one cost more than they bring."""
    if jax.default_backend() != "cpu":
        return {}
    if runs > FEW_RUNS:
        # Said for many runs too: the command sets level 0 and the older emitters for the whole process.
        return compiling(3, quickly=False)
    return {
        **compiling(1 if work > MUCH_WORK else 0, quickly=True),
        **({"xla_cpu_parallel_codegen_split_count": 1} if side_by_side else {}),
    }
