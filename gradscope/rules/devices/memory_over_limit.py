"""A training step takes more memory than the limit that was given.

## What it does
Compares the peak of a training step with `--limit` of `gradscope memory`, or with what
`--fail-on memory:8GiB` names.

## Why is this bad
The step ends with RESOURCE_EXHAUSTED on a device that has no more, or another program beside it does.

## How it is measured
The loss and its gradient are compiled for the batch of the file, and nothing is run. The peak is XLA's own
figure for arguments, results and temporaries, and the state of the optimizer is added to it.

## Limits
None of its own: the command is given one.

## Example
    for layer in params["layers"]:
        x = block(layer, x)

Use instead, where the blocks keep most of it:

    block = jax.checkpoint(block)

## What it does not say
What a device has free: the compiler of another one plans otherwise, and memory is taken by what else runs
there. `gradscope memory` says how far the peak lies from its own account of the program.

## Source
Rumelhart, Hinton and Williams 1986 (backward needs the activations); Chen et al. 2016, *Training Deep Nets
with Sublinear Memory Cost*, arXiv:1604.06174 (checkpointing).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Memory, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import bytes_of, count


@rule("memory-over-limit", severity=Severity.ERROR, needs=("memory",), single_seed_suffices=True)
def memory_over_limit(memory: Memory, limits: Limits) -> Iterator[Hit]:
    del limits
    limit = memory.limit
    if limit is None or memory.step <= limit.limit:
        return
    rows = "" if memory.batch_size is None else f" with {count(memory.batch_size, 'row')}"
    yield Hit(
        message=(
            f"A training step{rows} takes {bytes_of(memory.step)} at its peak, and the limit is "
            f"{bytes_of(limit.limit)}."
        ),
        remedy=_remedy(memory),
        evidence={"peak_bytes": memory.step, "limit": limit.limit},
        source=memory.checkpointing.source if memory.checkpointing and memory.checkpointing.best else None,
        explains=(),
    )


def _remedy(memory: Memory) -> str:
    """What was seen to be enough first."""
    limit, tried = memory.limit, memory.checkpointing
    assert limit is not None
    best = tried.best if tried is not None else None
    if tried is not None and best is not None and best.compiled is not None and not best.undone:
        after = best.compiled.peak + (memory.optimizer_state or 0)
        fits = ": it fits" if after <= limit.limit else ""
        return f"`{tried.line}` takes the peak to {bytes_of(after)}{fits}."
    if limit.rows:
        return f"A batch of {count(limit.rows, 'row')} fits."
    return "Use a smaller batch, or `jax.checkpoint` around the blocks that keep most."
