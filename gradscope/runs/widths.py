"""`compare-optimizers --widths`: the same comparison on a network of each width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter

from gradscope.errors import GradscopeError
from gradscope.records import Comparison, Report, Skipped, Timing
from gradscope.records.options import CompareOptions, LoadOptions
from gradscope.records.progress import Progress
from gradscope.runs.common import tool


def compare_widths(
    target: str, options: LoadOptions, terms: CompareOptions, progress: Progress, begun: float
) -> Report:
    """The widest comes first, since it decides how many steps, seeds and rates fit into the budget; the
    others get as many. A width for which no time is left is listed as skipped."""
    from gradscope.load.target import load
    from gradscope.load.usercode.random_generators import seeded
    from gradscope.optimizers.budget import budget_of
    from gradscope.optimizers.compare import compare

    widths = in_order(terms.widths)[::-1]
    whole = budget_of(terms, begun)
    found: list[tuple[int, Comparison]] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    sizes: dict[int, int] = {}
    for place, width in enumerate(widths):

        def say(stage: str, width: int = width) -> None:
            progress(f"width {width}: {stage}")

        say("loading")
        with seeded(options.seed):
            problem = load(target, replace(options, width=width))
            # Compiling takes as long at each width: the widest gets its share by width and by count.
            share = (width / sum(widths[place:]) + 1 / len(widths[place:])) / 2
            budget = (whole.seconds - whole.passed) * share if whole.is_limit else None
            mine = _as_many(terms, found) if found else terms
            try:
                if budget is not None and budget <= 0:
                    raise _no_time(width)
                one = compare(
                    problem.reseeded, replace(mine, budget_s=budget), problem.seed, say, perf_counter()
                )
            except GradscopeError as error:
                if not found or error.slug != "budget-too-small":
                    raise
                skipped.append(Skipped(f"width {width}", f"{error.what} {error.why}"))
                continue
        notes += [note for note in problem.notes if note not in notes]
        found.append((width, one))
        sizes[width] = one.parameters
        require_different(sizes, target)
        if not one.complete and one.budget_spent_s is None:
            break
    rising = sorted(found, key=lambda each: each[0])
    return Report(
        target,
        tool(),
        optimizers=_together(rising, terms),
        notes=tuple(notes),
        skipped=tuple(skipped),
        timing=Timing(0.0, run_s=perf_counter() - begun),
    )


def _together(found: Sequence[tuple[int, Comparison]], terms: CompareOptions) -> Comparison:
    from gradscope.optimizers.widths import over_widths

    whole = found[-1][1]
    names = [row.name for row in whole.contestants]
    wanted = (*terms.optimizers, whole.users, "adamw", *names)
    return over_widths(found, next(name for name in wanted if name in names))


def _as_many(terms: CompareOptions, found: Sequence[tuple[int, Comparison]]) -> CompareOptions:
    first = found[0][1]
    return replace(terms, steps=first.steps, seeds=len(first.seeds), grid=first.grid)


def in_order(widths: Sequence[int]) -> list[int]:
    """Each once, rising. Raises `GradscopeError` where there are not two."""
    found = sorted(set(widths))
    if len(found) < 2 or found[0] < 1:
        raise GradscopeError(
            f"--widths is {','.join(map(str, widths))}.",
            why="A change with the width takes two widths at least, each above 0.",
            fix="Give several, such as --widths 64,128,256.",
            slug="bad-option",
        )
    return found


def require_different(sizes: Mapping[int, int], target: str) -> None:
    """Raises `GradscopeError` where the number of parameters does not follow the width."""
    if len(sizes) > len(set(sizes.values())):
        listed = ", ".join(f"{size:,} parameters at width {width}" for width, size in sizes.items())
        raise GradscopeError(
            f"The network has as many parameters at several widths: {listed}.",
            why=f"{target} takes a `width`, and makes the same network whatever it is.",
            fix="Use `width` in the place of the size of its hidden layers.",
            slug="no-width",
        )


def _no_time(width: int) -> GradscopeError:
    return GradscopeError(
        f"No time was left for width {width}.",
        why="The wider ones took the whole budget.",
        fix="Give a larger --budget, or fewer --steps.",
        slug="budget-too-small",
    )
