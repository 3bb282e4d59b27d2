"""Loops over time of which the loss reads the first step alone, where the state is nothing but zeros."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Measurement, Recurrence


def read_once(measurement: Measurement) -> list[list[Recurrence]]:
    """Those loops, together where one line takes the step of them."""
    states: dict[object, list[Recurrence]] = {}
    for loop in measurement.recurrences:
        states.setdefault((loop.source, loop.length, loop.layers), []).append(loop)
    found: dict[object, list[Recurrence]] = {}
    for first, *others in states.values():
        if all(each.is_read_once for each in (first, *others)):
            found.setdefault((first.taken_at or first.source, first.backward, first.length), []).append(first)
    return list(found.values())


def of_one_step(loops: Sequence[Recurrence]) -> tuple[str, str]:
    """The sentences, and the remedy."""
    loop = loops[0]
    at = "" if loop.source is None else f" at {loop.source}"
    cause = (
        f"It is used in a loop of {loop.length:,} steps{at} whose first state is zeros, and δ of the state "
        "that enters each later step is exactly 0: no gradient comes from what these compute."
    )
    if loop.taken_at is None:
        return cause, (
            "Look at what the loss takes of the outputs of the loop (an index, a mask of lengths): later "
            "steps get no gradient from it. The last one has seen the whole sequence."
        )
    cause = f"{cause} A single step of its outputs is taken at {loop.taken_at}."
    if not loop.backward:
        return cause, (
            "Let the loss read the last step, which has seen the whole sequence (`outputs[:, -1]`, or "
            "`outputs[-1]` where time comes first), or the mean over all steps."
        )
    backward = "The loop runs from the end of the sequence, and its first step has seen one element of it."
    return f"{cause} {backward}", (
        "Read a backward direction where it has seen the whole sequence, at the first position: "
        "`jnp.concatenate([forward[:, -1], backward[:, 0]], axis=-1)`; or take the mean over all positions."
    )
