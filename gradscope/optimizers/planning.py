"""How much is trained: the user's numbers where they are given, else what fits into the time that is left."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax

from gradscope.errors import GradscopeError
from gradscope.optimizers.budget import BUDGET_S, Budget
from gradscope.optimizers.curves import ENOUGH_SEEDS
from gradscope.optimizers.engines import CHUNK
from gradscope.optimizers.feed import Feed, memory_share
from gradscope.optimizers.lattice import settings_of
from gradscope.records.options import CompareOptions
from gradscope.trace.program import Program

STEPS, SEEDS, GRID = 200, ENOUGH_SEEDS, 5
FEWEST_STEPS, FEWEST_SEEDS, FEWEST_RATES = 60, 3, 3
TUNING_SEEDS, FEWEST_TUNING_SEEDS = 2, 1
"""Seeds that choose the setting, and judge none."""
HALVED = 0.55
"""Share of all steps that a grid of five rates takes when the worse half is stopped twice."""
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
class Work:
    """What is to be trained, and what it costs."""

    tuned: int
    """Optimizers whose learning rate is searched, and weight decay where they have one."""
    fixed: int
    """Those that are trained as they are."""
    step_s: float
    compile_s: float
    """Seconds to compile one optimizer."""

    def seconds(self, plan: RunPlan, exhaustive: bool, *, further: bool = True) -> float:
        """The time of all runs; `further`: of the settings beyond the grid, too."""
        whole = exhaustive or plan.grid < 3
        settings = plan.grid if whole else HALVED * plan.grid
        settings += settings_of(plan.grid) - plan.grid if further else 0
        count = self.tuned + self.fixed
        runs = self.tuned * settings * plan.tuning_seeds + count * plan.seeds
        return count * self.compile_s + runs * plan.steps * self.step_s


@dataclass(frozen=True)
class RunPlan:
    steps: int
    seeds: int
    grid: int
    tuning_seeds: int = TUNING_SEEDS
    estimate_s: float = math.inf
    step_s: float = 0.0
    compile_s: float = 0.0
    engine: str = "step"
    """`step`, `loop` or `vmap`."""
    why: str = ""
    notes: tuple[str, ...] = ()

    @property
    def run_steps(self) -> int:
        """Steps of all runs of one optimizer that is tuned."""
        return self.steps * (settings_of(self.grid) * self.tuning_seeds + self.seeds)


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


def plan(wanted: CompareOptions, work: Work, budget: Budget) -> RunPlan:
    """The plan that fits into the time left: fewer steps, then learning rates, seeds that tune, and seeds
    that judge, each noted.

    Seeds go last: with fewer than five hardly any difference is significant. Raises `GradscopeError` where
    the least that can be trained takes longer than the budget.
    """
    seeds = wanted.seeds or SEEDS
    whole = RunPlan(wanted.steps or STEPS, seeds, wanted.grid or GRID, min(TUNING_SEEDS, seeds))
    left = max(budget.left, 0.0) if budget.is_limit else BUDGET_S
    chosen = whole

    def estimated(p: RunPlan) -> float:
        return work.seconds(p, wanted.exhaustive)

    if wanted.steps is None and estimated(chosen) > left:
        spent = (work.tuned + work.fixed) * work.compile_s
        rest = max((left - spent) / (estimated(chosen) - spent), 0.0)
        fewer = max(FEWEST_STEPS, math.floor(chosen.steps * rest / CHUNK) * CHUNK)
        chosen = replace(chosen, steps=min(chosen.steps, fewer))
    if wanted.grid is None and estimated(chosen) > left:
        chosen = replace(chosen, grid=FEWEST_RATES)
    if wanted.seeds is None and estimated(chosen) > left:
        chosen = replace(chosen, tuning_seeds=FEWEST_TUNING_SEEDS)
    while wanted.seeds is None and chosen.seeds > FEWEST_SEEDS and estimated(chosen) > left:
        chosen = replace(chosen, seeds=chosen.seeds - 1)
    if budget.is_limit and work.seconds(chosen, wanted.exhaustive, further=False) > left:
        raise _too_small(work, chosen, wanted, budget)
    chosen = replace(chosen, estimate_s=estimated(chosen), step_s=work.step_s, compile_s=work.compile_s)
    return replace(chosen, notes=_cuts(whole, chosen, budget))


def _too_small(work: Work, least: RunPlan, wanted: CompareOptions, budget: Budget) -> GradscopeError:
    needed = budget.passed + work.seconds(least, wanted.exhaustive, further=False)
    ample = budget.passed + work.seconds(least, wanted.exhaustive)
    count = work.tuned + work.fixed
    optimizers = f"{count} optimizers" if count > 1 else "1 optimizer"
    limit = readable(budget.seconds)
    own = wanted.steps is not None and wanted.seeds is not None and wanted.grid is not None
    return GradscopeError(
        f"{optimizers} take {readable(needed)} or longer, more than the budget of {limit}.",
        why=f"A step takes {work.step_s * 1e3:.3g} ms and compiling an optimizer {work.compile_s:.1f} s; "
        f"{'as many as you ask for' if own else 'the fewest that say anything'} are {least.steps} steps from "
        f"{least.seeds} seeds at {least.grid} learning rates. {budget.passed:.0f} s have passed already.",
        fix=f"Give --budget {_rounded_up(ample)}, or name fewer optimizers: --optimizers adam,sgd.",
        slug="budget-too-small",
    )


def readable(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _rounded_up(seconds: float) -> str:
    """As `--budget` takes it."""
    if seconds < 100:
        return f"{math.ceil(seconds / 10) * 10}s"
    return f"{math.ceil(1.1 * seconds / 60)}m"


def _cuts(whole: RunPlan, chosen: RunPlan, budget: Budget) -> tuple[str, ...]:
    """A sentence on what was reduced, and whether that was enough."""
    numbers = (
        ("steps", chosen.steps, whole.steps),
        ("learning rates", chosen.grid, whole.grid),
        ("tuning seeds", chosen.tuning_seeds, whole.tuning_seeds),
        ("seeds", chosen.seeds, whole.seeds),
    )
    cuts = ", ".join(
        f"{now} {what if now > 1 else what.removesuffix('s')} instead of {before}"
        for what, now, before in numbers
        if now < before
    )
    step = f"A step takes {chosen.step_s * 1e3:.3g} ms"
    limit = budget.seconds if budget.is_limit else BUDGET_S
    over = not budget.is_limit and chosen.estimate_s > 1.5 * limit
    if not cuts:
        return (f"{step}: the comparison takes about {readable(chosen.estimate_s)}.",) if over else ()
    few = chosen.seeds < whole.seeds and chosen.seeds < ENOUGH_SEEDS
    told = (
        f"{step}; to fit --budget {limit:.0f}s, there are {cuts}.",
        f"{chosen.seeds} seeds are too few to tell optimizers apart, unless they differ by several times "
        "the spread between seeds."
        if few
        else "",
        f"Even so, the comparison takes about {readable(chosen.estimate_s)}." if over else "",
    )
    return (" ".join(filter(None, told)),)


def keeps_runs(feed: Feed, runs: int) -> bool:
    """Whether weights, two moments and their copies fit in memory for all runs of one optimizer."""
    size = sum(int(leaf.size) * leaf.dtype.itemsize for leaf in map(jax.numpy.asarray, feed.weights))
    return 4.0 * size * runs < memory_share(KEPT_SHARE)
