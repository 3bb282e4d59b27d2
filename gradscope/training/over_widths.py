"""From outputs of layers at several widths to the power of the width with which they go.

The coordinate check of Yang et al. 2021 (Tensor Programs IV and V): where a network is parametrized so that
learning rates transfer from a narrow one to a wide one, a few steps change each layer's output by as much
whatever the width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.measure.moved_outputs import Moved, MovedOutputs
from gradscope.records import Exponent, LayerAtWidth, LayerOverWidths
from gradscope.trace.program import Program, Tracer
from gradscope.training.batches import StepBatches
from gradscope.training.optimizer import StepRule
from gradscope.training.room import require_room
from gradscope.training.trainer import Trainer

ABOVE_ROUNDING = 10.0
"""Times what the dtype rounds off an output, which a change of it has to exceed: sums round several times."""
FEWEST_WIDTHS, FEWEST_SEEDS = 3, 2
"""A line through two points has no residual, and one start has no spread."""
HALF_INTERVAL = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179)
"""97.5 % quantile of Student's t, by degrees of freedom from 1."""


@dataclass(frozen=True)
class TrainedAtWidth:
    """One training at one width."""

    optimizer: str
    own: bool
    parameters: int
    layers: Mapping[str, Moved]
    sizes: Mapping[str, tuple[int, int]]
    """By layer: the inputs of one output element, and how many outputs its weight makes."""


def trained_at_width(problem: Problem, steps: int) -> TrainedAtWidth:
    """From the start of a problem. Raises `TooLarge`, and whatever the optimizer raises."""
    tracer, rest = Tracer(problem), problem.batches()
    batch = next(rest)
    program, first = tracer.trace(batch), tracer.inputs(batch)
    rule = StepRule.of(problem, tracer)
    require_room(rule, first.weights)
    flow = FlowPass(program, first, runs=steps, gradients=True)
    feed = StepBatches(problem, tracer, [batch], rest)
    run = Trainer(flow, rule, feed, first.weights).run(steps)
    return TrainedAtWidth(
        rule.name,
        rule.own,
        sum(leaf.size for leaf in program.leaves),
        MovedOutputs(program)(feed.at(0, first.weights), run.weights),
        dict(_sizes(program)),
    )


def _sizes(program: Program) -> Iterator[tuple[str, tuple[int, int]]]:
    for group in program.layers:
        site = min(group.sites, key=lambda site: site.depth, default=None)
        if site is None:
            continue
        for row in group.rows():
            fan_in = site.fan_in or 1
            yield row.name, (fan_in, math.prod(site.weight) // fan_in)


Runs = Sequence[tuple[int, int, TrainedAtWidth]]
"""Width and seed of each."""


def alike_named(runs: Runs, names: Sequence[str]) -> Runs:
    """With the same names of layers in each, where they differ by a count alone: Keras counts all layers that
    a process makes. `names`: of the network's layers as they are reported."""

    def renamed(run: TrainedAtWidth) -> TrainedAtWidth:
        if list(map(_uncounted, run.layers)) != list(map(_uncounted, names)):
            return run
        called = dict(zip(run.layers, names, strict=True))
        return replace(
            run,
            layers={called[name]: moved for name, moved in run.layers.items()},
            sizes={called.get(name, name): size for name, size in run.sizes.items()},
        )

    shared = set.intersection(*(set(run.layers) for _, _, run in runs))
    if all(shared.issuperset(run.layers) for _, _, run in runs):
        return runs
    if set(map(_uncounted, runs[0][2].layers)) != set(map(_uncounted, names)):
        names = list(runs[0][2].layers)
    return [(width, seed, renamed(run)) for width, seed, run in runs]


def _uncounted(name: str) -> str:
    return re.sub(r"_\d+(?=\W|$)", "", name)


def over_widths(runs: Runs) -> tuple[LayerOverWidths, ...]:
    """Of the layers that all of them have."""
    runs = sorted(runs, key=lambda run: run[:2])
    shared = set.intersection(*(set(run.layers) for _, _, run in runs))
    return tuple(_layer(name, runs) for name in runs[0][2].layers if name in shared)


def _layer(name: str, runs: Runs) -> LayerOverWidths:
    points = tuple(
        LayerAtWidth(width, seed, run.layers[name].before, run.layers[name].change)
        for width, seed, run in runs
    )
    narrow, wide = (run.sizes.get(name, (1, 1)) for _, _, run in (runs[0], runs[-1]))
    inputs, outputs = narrow
    return LayerOverWidths(
        name,
        _kind(narrow, wide),
        points,
        start=fitted([(point.width, point.start) for point in points]),
        change=fitted([(point.width, point.change) for point in points]),
        rows=runs[0][2].layers[name].elements // outputs,
        inputs=inputs,
        unjudged=_unjudged(points) or _rounded(name, runs),
    )


def _kind(narrow: tuple[int, int], wide: tuple[int, int]) -> str:
    inputs, outputs = (after > before for before, after in zip(narrow, wide, strict=True))
    return ("hidden" if outputs else "output") if inputs else ("input" if outputs else "fixed")


def _unjudged(points: Sequence[LayerAtWidth]) -> str:
    odd = next((point for point in points if not math.isfinite(point.start + point.change)), None)
    if odd is not None:
        return f"its output is not finite after the steps at width {odd.width} (seed {odd.seed})"
    still = next((point for point in points if point.change == 0), None)
    if still is not None:
        return f"the steps do not change its output at width {still.width} (seed {still.seed})"
    if len({point.width for point in points}) < FEWEST_WIDTHS:
        return f"a fit with its uncertainty takes {FEWEST_WIDTHS} widths"
    if len({point.seed for point in points}) < FEWEST_SEEDS:
        return (
            "every seed begins with the same numbers (they are not drawn from a key): one start has no spread"
        )
    return ""


def _rounded(name: str, runs: Runs) -> str:
    for width, _, run in runs:
        moved = run.layers[name]
        if not moved.change > ABOVE_ROUNDING * moved.rounding:
            return f"the steps change its output at width {width} by little more than its dtype rounds off"
    return ""


def fitted(points: Sequence[tuple[int, float]]) -> Exponent | None:
    """The exponent of value = c width^e by least squares of the logarithms; `None` where a value is 0 or not
    finite, or there are fewer than three widths.

    Its 95 % interval takes the points as independent: what the seeds differ by, and how far the widths are
    from one power, both widen it.
    """
    if len({width for width, _ in points}) < FEWEST_WIDTHS or any(
        not 0 < value < math.inf for _, value in points
    ):
        return None
    x, y = (np.log(np.asarray(each, np.float64)) for each in zip(*points, strict=True))
    x = x - x.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    rest = y - y.mean() - slope * x
    freedom = len(points) - 2
    half = quantile(freedom) * math.sqrt(float(rest @ rest) / freedom / spread)
    return Exponent(slope, slope - half, slope + half)


def quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: from the table, and beyond it by its expansion (within 0.002)."""
    if freedom <= len(HALF_INTERVAL):
        return HALF_INTERVAL[freedom - 1]
    return 1.95996 + 2.37227 / freedom + 2.8225 / freedom**2
