"""How much is trained: the user's numbers where they are given, else what fits into the time budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax

from gradscope.optimizers.engines import CHUNK
from gradscope.optimizers.feed import Feed, memory_share
from gradscope.records.options import CompareOptions
from gradscope.trace.program import Program

STEPS, SEEDS, GRID, BUDGET_S = 200, 5, 5, 120.0
FEWEST_STEPS, FEWEST_SEEDS, FEWEST_RATES = 60, 3, 3
"""With two seeds hardly any difference is significant."""
HALVED = 0.55
"""Share of all steps that a grid of five rates takes when the worse half is stopped twice."""
GROWN = 3
"""Learning rates by which a grid usually grows, including the two a decade from the best."""
VMAP_BELOW = 5_000
VMAP_FROM = 200_000
"""Steps of all runs of one optimizer; with fewer, `vmap` does not make up for its longer compilation."""
LOOP_BELOW = 200_000
"""Parameters, on a CPU: with 85,000 a step took a fifth less time inside a loop, with 650,000 as long."""
LOOP_FROM = 5_000
"""Steps of all runs of one optimizer; with fewer, sharing one compiled gradient takes less time."""
KEPT_SHARE = 0.25
"""Share of the free memory for weights and states of runs between two rungs."""


@dataclass(frozen=True)
class RunPlan:
    steps: int
    seeds: int
    grid: int
    estimate_s: float = math.inf
    engine: str = "step"
    """`step`, `loop` or `vmap`."""
    why: str = ""
    notes: tuple[str, ...] = ()


def engine_for(program: Program, feeds_kept: bool, run_steps: int, vmap: str) -> tuple[str, str]:
    """The engine, and the reason. `run_steps`: steps of all runs of one optimizer."""
    parameters = sum(leaf.size for leaf in program.leaves)
    convolves = any(site.op == "conv_general_dilated" for site in program.sites)
    plain = all(leaf.dtype in ("float32", "float64") for leaf in program.leaves)
    if not feeds_kept:
        return "step", "the batches do not fit in memory together and are streamed"
    if vmap == "on":
        return "vmap", "chosen by --vmap on"
    if jax.default_backend() != "cpu":
        return ("vmap", "on an accelerator") if plain and vmap == "auto" else ("loop", "on an accelerator")
    if convolves:  # jax-ml/jax#12868
        return "step", "convolutions are several times slower inside a loop on a CPU"
    if parameters < VMAP_BELOW and run_steps >= VMAP_FROM and plain and vmap == "auto":
        return "vmap", f"fewer than {VMAP_BELOW:,} parameters and many steps"
    if parameters >= LOOP_BELOW:
        return "step", f"{LOOP_BELOW:,} parameters or more on a CPU"
    if run_steps < LOOP_FROM:
        return "step", "few steps on a CPU, where compiling takes longest"
    return "loop", f"fewer than {LOOP_BELOW:,} parameters, no convolution, {LOOP_FROM:,} steps or more"


def plan(wanted: CompareOptions, candidates: int, step_s: float, compile_s: float) -> RunPlan:
    """The plan within the budget: fewer seeds, then steps, then learning rates, each noted in the report."""
    whole = RunPlan(wanted.steps or STEPS, wanted.seeds or SEEDS, wanted.grid or GRID)
    budget = wanted.budget_s or BUDGET_S
    chosen = whole

    def estimated(p: RunPlan) -> float:
        rates = p.grid + GROWN if wanted.exhaustive or p.grid < 3 else HALVED * p.grid + GROWN
        return candidates * (compile_s + rates * p.seeds * p.steps * step_s)

    while wanted.seeds is None and chosen.seeds > FEWEST_SEEDS and estimated(chosen) > budget:
        chosen = replace(chosen, seeds=chosen.seeds - 1)
    if wanted.steps is None and estimated(chosen) > budget:
        spent = candidates * compile_s
        rest = max((budget - spent) / (estimated(chosen) - spent), 0.0)
        fewer = max(FEWEST_STEPS, math.floor(chosen.steps * rest / CHUNK) * CHUNK)
        chosen = replace(chosen, steps=min(chosen.steps, fewer))
    if wanted.grid is None and estimated(chosen) > budget:
        chosen = replace(chosen, grid=FEWEST_RATES)
    estimate = estimated(chosen)
    return replace(chosen, estimate_s=estimate, notes=_cuts(whole, chosen, step_s, budget, estimate))


def _cuts(whole: RunPlan, chosen: RunPlan, step_s: float, budget: float, estimate: float) -> tuple[str, ...]:
    """A sentence on what was reduced, and whether that was enough."""
    numbers = (
        ("seeds", chosen.seeds, whole.seeds),
        ("steps", chosen.steps, whole.steps),
        ("learning rates", chosen.grid, whole.grid),
    )
    cuts = ", ".join(f"{now} {what} instead of {before}" for what, now, before in numbers if now < before)
    over = f"the comparison needs about {estimate:.0f} s, more than --budget {budget:.0f}s"
    if not cuts:
        return (f"A step takes {step_s * 1e3:.3g} ms, so {over}.",) if estimate > 1.5 * budget else ()
    text = f"A step takes {step_s * 1e3:.3g} ms; to fit --budget {budget:.0f}s, there are {cuts}."
    return (f"{text} Even so, {over}.",) if estimate > 1.5 * budget else (text,)


def keeps_runs(feed: Feed, runs: int) -> bool:
    """Whether weights, two moments and their copies fit in memory for all runs of one optimizer."""
    size = sum(int(leaf.size) * leaf.dtype.itemsize for leaf in map(jax.numpy.asarray, feed.weights))
    return 4.0 * size * runs < memory_share(KEPT_SHARE)
