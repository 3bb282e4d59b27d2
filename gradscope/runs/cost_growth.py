"""How the cost of a step grows: with the batch, the length of sequences, and what a file's functions take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.records import Cost, CostGrowth, GrowthPoint, Skipped
from gradscope.records.options import CostOptions, LoadOptions
from gradscope.records.progress import Progress

if TYPE_CHECKING:
    from gradscope.trace.program import Program, Tracer
    from gradscope.workload.growth import OtherSizes, ResizableAxis
    from gradscope.workload.step import WholeStep
    from gradscope.workload.timing import Times

BATCH, LENGTH = "growth with the batch", "growth with the length"
AT_HAND = "", 0
SLOW_S = 3.0
"""[seconds] of a step: where it takes longer, growth is counted, and not timed."""
ROOM = 2.5
"""Times the peak of the step at hand that has to be free for a batch twice as large."""


def grown(
    tracer: Tracer,
    program: Program,
    batch: Any,
    found: Cost,
    step: WholeStep | None,
    skipped: list[Skipped],
    progress: Progress,
) -> tuple[CostGrowth, ...]:
    """Along the batch and along its sequences; what cannot be cut is listed with the reason."""
    from gradscope.workload import growth

    sizes = growth.OtherSizes(tracer, batch, (found.forward, found.backward))
    progress("counting at other sizes")
    counted: list[tuple[ResizableAxis, CostGrowth]] = []
    for what in (BATCH, LENGTH):
        try:
            if what == BATCH:
                one = _first([growth.batch_axis(batch, found.batch_size)], sizes)
            else:
                one = _first(growth.length_axes(batch, program.body), sizes)
        except growth.CannotCut as error:
            skipped.append(Skipped(what, str(error)))
            continue
        counted += [one] if one is not None else []
    if step is None:
        return tuple(sizes.further(*each) for each in counted)
    try:
        return tuple(_timed(program, sizes, counted, found, step, skipped, progress))
    except GradscopeError as error:
        skipped.append(Skipped("seconds at other sizes", error.what.rstrip(".")))
        return tuple(each for _, each in counted)


def _first(axes: list[ResizableAxis], sizes: OtherSizes) -> tuple[ResizableAxis, CostGrowth] | None:
    """The first of them along which the loss can be traced."""
    from gradscope.workload.growth import CannotCut

    refused: CannotCut | None = None
    for axis in axes:
        try:
            return axis, sizes.count(axis)
        except CannotCut as error:
            refused = refused or (error if axis.likely else None)
    if refused is not None:
        raise refused
    return None


def _timed(
    program: Program,
    sizes: OtherSizes,
    counted: list[tuple[ResizableAxis, CostGrowth]],
    found: Cost,
    step: WholeStep,
    skipped: list[Skipped],
    progress: Progress,
) -> list[CostGrowth]:
    from gradscope.trace.compiling import NotEnoughMemory, free_memory
    from gradscope.workload.growth import with_fits
    from gradscope.workload.step import WholeStep
    from gradscope.workload.timing import Times, rounds, seconds_of

    free = free_memory()
    tight, slow = free is not None and free < ROOM * step.peak, (found.whole_s or 0.0) > SLOW_S
    if tight or slow:
        why = "a larger batch may not fit in memory" if tight else f"a step takes more than {SLOW_S:g} s"
        skipped.append(Skipped("seconds at other sizes", why))
        return [sizes.further(*each) for each in counted]
    runs: dict[tuple[str, int], Callable[[], float]] = {}
    as_one = not step.blocks
    runs[AT_HAND] = seconds_of(step.start)
    for axis, _ in counted:
        for size in axis.timed(few=not as_one):
            if size == axis.at:
                continue
            progress(f"compiling for {size} in the place of {axis.at}")
            body, inputs = sizes.at(axis, size)
            try:
                other = WholeStep(program, body, inputs, as_one=as_one)
            except NotEnoughMemory as error:
                skipped.append(Skipped(f"seconds at {axis.name} {size}", error.what.rstrip(".")))
                continue
            runs[axis.name, size] = seconds_of(other.start)
    progress("timing at other sizes")
    times = {key: Times.of(found) for key, found in rounds(runs).items()}
    return [
        with_fits(
            replace(growth, points=tuple(_timed_point(growth, point, times) for point in growth.points))
        )
        for growth in (sizes.further(axis, each) for axis, each in counted)
    ]


def _timed_point(growth: CostGrowth, point: GrowthPoint, times: Any) -> GrowthPoint:
    found = times.get(AT_HAND if point.size == growth.at else (growth.axis, point.size))
    return point if found is None else _with_seconds(point, found)


def _with_seconds(point: GrowthPoint, found: Times) -> GrowthPoint:
    return replace(point, seconds=found.median, low_s=found.low, high_s=found.high)


def grown_with_network(
    target: str, loading: LoadOptions, options: CostOptions, progress: Progress
) -> tuple[tuple[CostGrowth, ...], tuple[Skipped, ...]]:
    """Along `--widths` and `--depths`: the network made anew at each."""
    found, skipped = [], list[Skipped]()
    for axis, sizes in (("width", options.widths), ("depth", options.depths)):
        if sizes:
            found.append(_of_network(target, loading, axis, sizes, options, skipped, progress))
    return tuple(found), tuple(skipped)


def _of_network(
    target: str,
    loading: LoadOptions,
    axis: str,
    sizes: Sequence[int],
    options: CostOptions,
    skipped: list[Skipped],
    progress: Progress,
) -> CostGrowth:
    from gradscope.footprint.account import shapes_of
    from gradscope.load.target import load
    from gradscope.load.usercode.random_generators import seeded
    from gradscope.trace.compiling import NotEnoughMemory
    from gradscope.trace.program import Tracer
    from gradscope.workload.account import operations_of
    from gradscope.workload.growth import with_fits
    from gradscope.workload.step import WholeStep, is_short
    from gradscope.workload.timing import Times, rounds, seconds_of

    points, runs, parameters = [], dict[int, Callable[[], float]](), list[int]()
    for size in sizes:
        progress(f"{axis} {size}: loading")
        given = replace(loading, width=size) if axis == "width" else replace(loading, depth=size)
        with seeded(loading.seed):
            problem = load(target, given)
            batch = next(problem.batches())
        progress(f"{axis} {size}: counting")
        tracer = Tracer(problem)
        program, inputs = tracer.trace(batch), tracer.inputs(batch)
        shapes = shapes_of(inputs.weights), shapes_of(inputs.others)
        points.append(GrowthPoint(size, *operations_of(program.body, *shapes)))
        parameters.append(sum(leaf.size for leaf in program.leaves))
        if options.time:
            progress(f"{axis} {size}: compiling")
            try:
                as_one = options.whole or is_short(program.body)
                step = WholeStep(program, program.body, inputs, as_one=as_one)
            except NotEnoughMemory as error:
                skipped.append(Skipped(f"seconds at {axis} {size}", error.what.rstrip(".")))
                continue
            runs[size] = seconds_of(step.start)
    if len(set(parameters)) < len(parameters):
        raise _same_network(target, axis, dict(zip(sizes, parameters, strict=True)))
    progress(f"timing at each {axis}")
    growth = CostGrowth(axis, "", sizes[-1], tuple(points))
    times = {size: Times.of(found) for size, found in rounds(runs).items()}
    timed = tuple(_with_seconds(each, times[each.size]) if each.size in times else each for each in points)
    return with_fits(replace(growth, points=timed))


def _same_network(target: str, axis: str, parameters: dict[int, int]) -> GradscopeError:
    listed = ", ".join(f"{count:,} parameters at {axis} {size}" for size, count in parameters.items())
    return GradscopeError(
        f"The network has as many parameters at several {axis}s: {listed}.",
        why=f"{target} takes a `{axis}`, and makes the same network whatever it is.",
        fix=f"Use `{axis}` for its size.",
        slug="no-width",
    )
