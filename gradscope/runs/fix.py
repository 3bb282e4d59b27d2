"""`gradscope.fix`: check, try remedies in the same short training, rank them by what they brought.

A remedy is an edit of the user's source: the edited text is loaded in place of the file, which stays as it
is, and trained from the same seeds on the same batches. What is printed is what was run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from gradscope.errors import GradscopeError
from gradscope.load.target import split_target
from gradscope.records import (
    Chance,
    Effect,
    Finding,
    LongerTraining,
    Remedies,
    Report,
    SeedEnds,
    Severity,
    Skipped,
    Timing,
    TriedRemedy,
)
from gradscope.records.options import CheckOptions, FixOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.remedies import catalogue, verdict
from gradscope.remedies.source_code import Remedy, SourceCode, patched
from gradscope.runs.check import check
from gradscope.runs.trying import AsItIs, Trying

TIMES = 4
"""So many more steps the best remedy is trained for at last."""
EXAMINED = 5
"""Remedies on which the passes of `check` run, too."""
UNSTEADY = Skipped(
    "the same batches for each remedy", "the file makes other ones each time that it is loaded"
)
LEARNS = 0.5
"""Of the loss: where the steps take so much away, and nothing was found, there is nothing to fix."""


def fix(
    target: str,
    loading: LoadOptions | None = None,
    options: FixOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Check a target, and try remedies for what is found, or for a loss that hardly falls.

    `report.remedies` has what each brought, the best one first. Raises `GradscopeError` where the target
    cannot be judged. Its file is not changed. Ctrl-C ends it with what is known by then.
    """
    loading, options = loading or LoadOptions(), options or FixOptions()
    _require(options)
    begun, modules = perf_counter(), frozenset(sys.modules)
    from gradscope.trace.compiling import compiling_once

    with compiling_once():
        report = check(target, loading, CheckOptions(), progress=progress)
        started = perf_counter()
        trying = Trying(target, loading, options, report.findings, modules, begun, progress)
        progress("training without a remedy")
        codes, skipped = _codes(target, report.findings)
        plain = trying.as_it_is()
        skipped = (*skipped, *([UNSTEADY] if plain.digests is None else []))
        found = _remedies(trying, plain, codes)
        found = replace(found, delta_ratio=verdict.delta_ratio(report.flow))
    timing = report.timing.plus(Timing(run_s=perf_counter() - started))
    return replace(report, remedies=found, skipped=(*report.skipped, *skipped), timing=timing)


def fix_target(
    target: str,
    *,
    steps: int | None = None,
    seeds: int = 3,
    everything: bool = False,
    budget: float | None = 300.0,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Report:
    """`gradscope.fix`: try remedies on a file, named as on the command line, which is not changed.

    `report.remedies.tried` has what each brought, those that help first, with its edit as a unified diff.
    Each is trained for `steps` (100, fewer where one is expensive) from `seeds` starts. `everything` tries
    all that are known, and no further one is tried after `budget` [s]. Raises `GradscopeError` where the
    file cannot be judged. Ctrl-C ends it with what is known by then.
    """
    loading = LoadOptions(batch_size=batch_size, seed=seed)
    return fix(target, loading, FixOptions(steps, seeds, everything, budget), progress=progress)


def _require(options: FixOptions) -> None:
    for name, value in (("--steps", options.steps), ("--seeds", options.seeds)):
        if value is not None and value < 1:
            raise GradscopeError(
                f"{name} is {value}.",
                why="At least one is needed to try anything.",
                fix="Give a number of 1 or more.",
                slug="bad-option",
            )


def _codes(target: str, findings: Sequence[Finding]) -> tuple[list[SourceCode], tuple[Skipped, ...]]:
    """The file of the target, and those whose lines findings name."""
    where, _ = split_target(target)
    own = getattr(sys.modules.get(str(where)), "__file__", None) or str(where)
    paths = [own, *(found.source.file for found in findings if found.source is not None)]
    codes, unread = [], []
    for path in dict.fromkeys(os.path.relpath(os.path.realpath(path)) for path in paths):
        try:
            codes.append(SourceCode.read(path))
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            unread.append(Skipped(f"edits of {path}", f"it cannot be read ({type(error).__name__})"))
    return codes, tuple(unread)


def _remedies(trying: Trying, plain: AsItIs, codes: Sequence[SourceCode]) -> Remedies:
    everything, findings = trying.options.everything, trying.findings
    found = plain.record
    grave = any(each.severity is not Severity.NOTE for each in findings)
    if not (grave or everything) and min(found.before.falls) >= LEARNS:
        return replace(found, needed=False)
    known = catalogue.known(codes, plain.loss, findings, plain.arrays)
    texts = {code.path: code.text for code in codes}
    tried: list[TriedRemedy] = []
    chance: Chance | None = None
    try:
        for group in catalogue.meant(known, findings):
            if everything or not any(each.helps for each in tried):
                found = replace(found, in_time=_try(trying, group, texts, plain, tried))
        _examine(trying, found.before, tried)
        if tried and not trying.spent:
            chance = plain.by_chance(len(tried), trying.progress)
    except KeyboardInterrupt:
        found = replace(found, complete=False)
        tried = [each if each.checked else verdict.unexamined(each) for each in tried]
    judged = tuple(_against(each, chance) for each in verdict.ranked(tried, found.before))
    found = replace(found, tried=judged, chance=chance, untried=len(known) - len(tried))
    return replace(found, longer=_longer(trying, plain, found))


def _longer(trying: Trying, plain: AsItIs, found: Remedies) -> LongerTraining | None:
    """Few steps favor high rates: the best remedy and the file as it is, for more of them."""
    if found.best is None or not found.complete or trying.spent:
        return None
    steps = TIMES * found.steps
    trying.progress(f"training {steps} steps with the best remedy, and without")
    try:
        before = plain.benches[0].trained(times=TIMES)[1]
        after = trying.longer(edited_by(found.best), TIMES)
    except KeyboardInterrupt:
        return None
    return None if after is None else LongerTraining(steps, before, after)


def _try(
    trying: Trying,
    group: Sequence[Remedy],
    texts: dict[str, str],
    plain: AsItIs,
    tried: list[TriedRemedy],
) -> bool:
    """Whether the budget was enough for all of them."""
    for number, remedy in enumerate(group, 1):
        if trying.spent:
            return False
        trying.progress(f"remedy {number} of {len(group)}: {remedy.what}")
        tried.append(trying.trained(remedy, texts[remedy.path], plain))
    return True


def _examine(trying: Trying, before: SeedEnds, tried: list[TriedRemedy]) -> None:
    """Run the passes of `check` on the few that bring most; where none lowers the loss, on those that are
    meant for a finding and do no harm. Of the others it is not known what they cure, and one whose loss is
    another one is not said to help by its number alone."""
    tried[:] = verdict.ranked(tried, before)
    rules = {each.rule for each in trying.findings if each.severity is not Severity.NOTE}
    _check_each(trying, before, tried, lambda each: each.helps)
    if not any(each.helps for each in tried):
        _check_each(
            trying,
            before,
            tried,
            lambda each: not each.checked and bool(rules & {*each.rules}) and verdict.is_free(before, each),
        )


def _check_each(
    trying: Trying, before: SeedEnds, tried: list[TriedRemedy], asked: Callable[[TriedRemedy], bool]
) -> None:
    for number, place in enumerate([place for place, each in enumerate(tried) if asked(each)]):
        each = tried[place]
        if number < EXAMINED and not trying.spent:
            trying.progress(f"checking what it cures to {each.what}")
            tried[place] = trying.checked(each, edited_by(each), before)
        else:
            tried[place] = verdict.unexamined(each)


def _against(found: TriedRemedy, chance: Chance | None) -> TriedRemedy:
    if chance is None or found.training is None or found.changes_loss or found.effect is not Effect.HELPS:
        return found
    return replace(found, beats_chance=verdict.beats(found.training, chance.training))


def edited_file(found: Remedies) -> tuple[str, str]:
    """The file of the best remedy and its text after the edit. Raises `GradscopeError` where it has changed
    since the edit was tried, or where there is no edit."""
    best = found.best
    if best is None:
        raise GradscopeError(
            "There is no edit to apply.",
            why="No remedy helped.",
            slug="no-edit",
        )
    return edited_by(best)


def edited_by(tried: TriedRemedy) -> tuple[str, str]:
    """The file of a remedy and its text after the edit."""
    path = tried.diff.splitlines()[0].removeprefix("--- a/").partition("\t")[0]
    try:
        return path, patched(SourceCode.read(path).text, tried.diff)
    except (ValueError, OSError) as error:
        raise GradscopeError(
            f'"{path}" is not written.',
            why="It has changed since the edit was tried.",
            fix="Run `gradscope fix` again.",
            slug="no-edit",
        ) from error
