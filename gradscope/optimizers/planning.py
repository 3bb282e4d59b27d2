"""How much is run: the user's numbers where they are given, else what fits into the budget of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax

from gradscope.measure.compiling import free_memory
from gradscope.optimizers.engines import CHUNK
from gradscope.optimizers.feed import Feed
from gradscope.options import CompareOptions
from gradscope.trace.program import Program

STEPS, SEEDS, GRID, BUDGET_S = 200, 5, 5, 120.0
FEWEST_STEPS, FEWEST_SEEDS, FEWEST_RATES = 60, 2, 3
VMAP_BELOW = 5_000
VMAP_FROM = 200_000
"""Steps of all runs of one optimizer: below, `vmap` does not earn back its longer compilation."""
SCAN_BELOW = 50_000
"""Parameters, on a CPU; both measured: `docs/compare-optimizers.md`."""
KEPT_SHARE = 0.25
"""Of the free memory, for weights and states of runs that wait between two rungs."""


@dataclass(frozen=True)
class Plan:
    steps: int
    seeds: int
    grid: int
    engine: str
    """`step`, `scan` or `vmap`."""
    why: str
    estimate_s: float
    notes: tuple[str, ...] = ()


def engine_for(program: Program, feeds_kept: bool, run_steps: int, vmap: str) -> tuple[str, str]:
    """The engine, and why. `run_steps`: steps of all runs of one optimizer."""
    parameters = sum(leaf.size for leaf in program.leaves)
    convolves = any(site.op == "conv_general_dilated" for site in program.sites)
    plain = all(leaf.dtype in ("float32", "float64") for leaf in program.leaves)
    if not feeds_kept:
        return "step", "the batches do not fit in memory together: they are streamed"
    if vmap == "on":
        return "vmap", "asked for"
    if jax.default_backend() != "cpu":
        return ("vmap", "on an accelerator") if plain and vmap == "auto" else ("scan", "on an accelerator")
    if convolves:  # jax-ml/jax#12868
        return "step", "convolutions are several times slower inside a loop on a CPU"
    if parameters < VMAP_BELOW and run_steps >= VMAP_FROM and plain and vmap == "auto":
        return "vmap", f"fewer than {VMAP_BELOW:,} parameters and many steps"
    if parameters < SCAN_BELOW:
        return "scan", f"fewer than {SCAN_BELOW:,} parameters and no convolution"
    return "step", f"{SCAN_BELOW:,} parameters or more on a CPU"


def plan(
    wanted: CompareOptions, engine: tuple[str, str], candidates: int, step_s: float, compile_s: float
) -> Plan:
    """Defaults, cut to the budget: fewer seeds, then fewer steps, then a shorter grid; never silently."""
    chosen = Plan(
        wanted.steps or STEPS, wanted.seeds or SEEDS, wanted.grid or GRID, *engine, estimate_s=math.inf
    )
    budget = wanted.budget_s or BUDGET_S

    def estimated(p: Plan) -> float:
        lanes = p.grid if wanted.exhaustive or p.engine == "vmap" else 0.6 * p.grid
        return candidates * (compile_s + lanes * p.seeds * p.steps * step_s)

    while wanted.seeds is None and chosen.seeds > FEWEST_SEEDS and estimated(chosen) > budget:
        chosen = replace(chosen, seeds=chosen.seeds - 1)
    if wanted.steps is None and estimated(chosen) > budget:
        spent = candidates * compile_s
        rest = max((budget - spent) / (estimated(chosen) - spent), 0.0)
        fewer = max(FEWEST_STEPS, math.floor(chosen.steps * rest / CHUNK) * CHUNK)
        chosen = replace(chosen, steps=fewer)
    if wanted.grid is None and estimated(chosen) > budget:
        chosen = replace(chosen, grid=FEWEST_RATES)
    whole = Plan(wanted.steps or STEPS, wanted.seeds or SEEDS, wanted.grid or GRID, *engine, math.inf)
    cuts = [
        f"{now} {what} instead of {before}"
        for what, now, before in (
            ("seeds", chosen.seeds, whole.seeds),
            ("steps", chosen.steps, whole.steps),
            ("learning rates", chosen.grid, whole.grid),
        )
        if now < before
    ]
    if chosen.engine != "step":
        chosen = replace(chosen, steps=math.ceil(chosen.steps / CHUNK) * CHUNK)
    why = f"A step takes {step_s * 1e3:.3g} ms; to stay near {budget:.0f} s (--budget): {', '.join(cuts)}."
    return replace(chosen, estimate_s=estimated(chosen), notes=(why,) if cuts else ())


def keeps_runs(feed: Feed, runs: int) -> bool:
    """Weights, two moments and their copies of all runs of one optimizer fit."""
    size = sum(int(leaf.size) * leaf.dtype.itemsize for leaf in map(jax.numpy.asarray, feed.weights))
    return 4.0 * size * runs < KEPT_SHARE * (free_memory() or 0)
