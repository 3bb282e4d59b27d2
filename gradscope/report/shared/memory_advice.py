"""What was tried to take less memory, as every format for people words it."""

from __future__ import annotations

from gradscope.records import Checkpointing, Memory, MemoryLimit
from gradscope.report.shared import units
from gradscope.report.shared.memory import layer_table, operation_table, parts_table
from gradscope.report.shared.repeats import block_name
from gradscope.report.shared.table import Column, SmallTable


def trial_table(found: Memory) -> SmallTable | None:
    tried = found.checkpointing
    if tried is None or not tried.trials:
        return None
    trials = tried.trials
    return SmallTable(
        title="Gradient checkpointing",
        head="policy",
        names=[trial.policy for trial in trials],
        columns=[
            Column(("peak", "accounted"), 1, [units.size(found.accounted_with(trial)) for trial in trials]),
            Column(
                ("XLA's", "figure"),
                0,
                ["" if trial.compiled is None else units.size(trial.compiled.peak) for trial in trials],
            ),
            Column(
                ("", "saved"),
                2,
                [
                    "undone" if trial.undone else units.share(max(0.0, found.saved_by(trial)))
                    for trial in trials
                ],
            ),
            Column(
                ("more", "operations"), 3, [_more(trial.operations, tried.operations) for trial in trials]
            ),
            Column(("more", "time"), 4, [_more(trial.step_s, tried.step_s) for trial in trials]),
            Column(
                ("gradient", "differs by"),
                5,
                ["" if t.gradient_error is None else units.number(t.gradient_error) for t in trials],
            ),
        ],
        urgency=range(len(trials)),
        meaning="The block that repeats, inside `jax.checkpoint` with each policy.",
        heading=f"gradient checkpointing of {block_name(tried.block)}, {_times(tried)}",
    )


def _times(tried: Checkpointing) -> str:
    return (
        f"{units.counted(tried.count, 'step')} of a loop"
        if tried.loop
        else f"repeated {units.count(tried.count)} times"
    )


def _more(value: float | None, than: float | None) -> str:
    if value is None or not than:
        return ""
    share = value / than - 1
    return f"{'+' if share >= 0 else '-'}{abs(share):.0%}"


def advice(found: Memory) -> list[str]:
    """Sentences on checkpoints and batches that were tried."""
    tried, said = found.checkpointing, []
    if tried is not None and tried.trials:
        undone = any(trial.undone for trial in tried.trials)
        if undone:
            said.append(
                "XLA on this backend holds as much with checkpoints as without: it takes the second "
                "computation for the first one, or runs it early. What they save is accounted by the program,"
                " and comes true where a compiler keeps the order that it asks for."
            )
        said.append(_recommended(found, tried))
    if found.limit is not None:
        said += _limited(found, found.limit)
    return said


def _recommended(found: Memory, tried: Checkpointing) -> str:
    best = tried.best
    if best is None:
        return f"No policy on {block_name(tried.block)} saves a tenth of the peak."
    equal = "" if best.gradient_error is None else ", with the same gradient"
    moved = f", once {block_name(tried.block)} are a function" if tried.block.startswith("lines ") else ""
    moved = f", once {block_name(tried.block)} is a function" if tried.block.startswith("line ") else moved
    peak = found.peak_with(best)
    return (
        f"{best.policy} takes the {'accounted ' if best.undone else ''}peak to {units.size(peak)} "
        f"for {_more(best.operations, tried.operations)} operations{equal}{moved}."
    )


def _limited(found: Memory, limit: MemoryLimit) -> list[str]:
    if limit.rows is None:
        return []
    below = f"{units.size(limit.limit)}"
    if limit.rows == 0:
        return [f"Not even a batch of one row stays below {below}."]
    per_row = f"each row takes {units.size(limit.per_row)}"
    at = next((peak for rows, peak in limit.measured if rows == limit.rows), None)
    peak = "" if at is None else f", at {units.size(at)}"
    said = [
        f"The largest batch below {below} that was compiled has {units.counted(limit.rows, 'row')}{peak}; "
        f"{per_row}, by the line through {units.counted(len(limit.measured), 'size')}."
    ]
    parts = limit.accumulation
    if parts is not None:
        said.append(
            f"The batch of {found.batch_size} fits as {parts.parts} of {parts.rows} whose gradients are "
            f"accumulated{_reduction(parts.reduction)}"
        )
    return said


def _reduction(reduction: str) -> str:
    if reduction in ("mean", "sum"):
        return f": the {reduction} of the gradients of two halves is that of the whole (tried)."
    if reduction == "neither":
        return (
            ": but neither the mean nor the sum of the gradients of two halves is that of the whole (tried), "
            "as it is with random numbers or with a normalization over the batch."
        )
    return "; whether their mean or their sum is that of the whole was not tried."


def tables(found: Memory) -> list[SmallTable]:
    """All of a report."""
    every = parts_table(found), layer_table(found), operation_table(found), trial_table(found)
    return [table for table in every if table is not None]
