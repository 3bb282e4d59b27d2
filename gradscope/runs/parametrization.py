"""`check --widths`: does the learning rate of a narrow network hold in a wide one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradscope.errors import GradscopeError
from gradscope.records import Parametrization, Report, Skipped
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.records.progress import Progress
from gradscope.rules import Parts, judge, judging, left_out

if TYPE_CHECKING:
    from gradscope.training.over_widths import Runs, TrainedAtWidth

STEPS = 3
"""Of each training, where --steps gives none: muP's own check takes 3 to 10."""
SEEDS = 3
"""Starts at each width, where --seeds gives fewer."""
WHAT = "widths"


def with_widths(
    report: Report, target: str, loading: LoadOptions, options: CheckOptions, progress: Progress
) -> Report:
    """The report of a target, with what its layers do at the widths of the options."""
    if report.flow is None:
        return report
    names = [layer.name for layer in report.flow.layers]
    found, skipped = over_widths(target, loading, options, progress, names)
    if found is None:
        return replace(report, skipped=(*report.skipped, *skipped))
    flow = replace(report.flow, parametrization=found)
    parts, asked = Parts(parametrization=found), (options.select, options.ignore)
    findings, unjudged = judge(parts, select=options.select, ignore=options.ignore, limits=options.limits)
    together = sorted((*report.findings, *findings), key=lambda finding: finding.severity.rank)
    return replace(
        report,
        flow=flow,
        findings=tuple(together),
        skipped=(*report.skipped, *skipped, *unjudged),
        rules=(*report.rules, *judging(parts, *asked, unjudged)),
        left_out=(*report.left_out, *left_out(parts, *asked)),
    )


def over_widths(
    target: str, loading: LoadOptions, options: CheckOptions, progress: Progress, names: Sequence[str]
) -> tuple[Parametrization | None, tuple[Skipped, ...]]:
    """The narrowest first; `names` of the layers as they are reported. Raises `GradscopeError` where the file
    takes no width."""
    from gradscope.load.usercode.fault import headline
    from gradscope.runs.widths import in_order, require_different
    from gradscope.training import over_widths as fits

    widths, steps = in_order(options.widths), STEPS if options.steps is None else options.steps
    if steps == 0:
        return None, (Skipped(WHAT, "--steps 0: without a step no output moves"),)
    runs: list[tuple[int, int, TrainedAtWidth]] = []
    skipped: list[Skipped] = []
    for width in widths:
        try:
            for seed, run in _at(target, replace(loading, width=width), steps, options.seeds, progress):
                runs.append((width, seed, run))
        except GradscopeError:
            raise
        except Exception as error:  # an optimizer may ask for anything, and a wide network may not fit
            skipped.append(Skipped(f"width {width}", f"it could not be trained ({headline(error)})"))
    reached = tuple(dict.fromkeys(width for width, _, _ in runs))
    if len(reached) < 2:
        return None, (*skipped, Skipped(WHAT, "fewer than two could be trained"))
    sizes = {width: run.parameters for width, _, run in runs}
    require_different(sizes, target)
    named = fits.alike_named(runs, names)
    layers = fits.over_widths(named)
    one = runs[0][2]
    return Parametrization(
        optimizer=one.optimizer,
        own=one.own,
        steps=steps,
        widths=reached,
        parameters=tuple(sizes.values()),
        seeds=tuple(dict.fromkeys(seed for _, seed, _ in runs)),
        layers=layers,
    ), (*skipped, *_not_everywhere(named, [layer.layer for layer in layers]))


def _at(
    target: str, loading: LoadOptions, steps: int, seeds: int, progress: Progress
) -> Iterator[tuple[int, TrainedAtWidth]]:
    """One training after another; a start that equals the first one is no second start."""
    from gradscope.load.target import load
    from gradscope.load.usercode.random_generators import seeded
    from gradscope.trace.compiling import compiling_once
    from gradscope.training.over_widths import trained_at_width

    first: TrainedAtWidth | None = None
    count = max(seeds, SEEDS)
    with seeded(loading.seed), compiling_once():
        progress(f"width {loading.width}: loading")
        problem = load(target, loading)
        for number in range(count):
            progress(f"width {loading.width}: training from start {number + 1} of {count}")
            seed = problem.seed + number
            found = trained_at_width(problem.reseeded(seed) if number else problem, steps)
            if first is not None and list(found.layers.values()) == list(first.layers.values()):
                return
            first = first or found
            yield seed, found


def _not_everywhere(runs: Runs, kept: Sequence[str]) -> Iterator[Skipped]:
    found: dict[str, list[int]] = {}
    for width, _, run in runs:
        for name in run.layers:
            found.setdefault(name, []).append(width)
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, widths in found.items():
        if name not in kept:
            alike.setdefault(tuple(dict.fromkeys(widths)), []).append(name)
    for there, names in alike.items():
        at = ", ".join(map(str, there))
        what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        yield Skipped(f"{what} over widths", f"at width {at} only")
