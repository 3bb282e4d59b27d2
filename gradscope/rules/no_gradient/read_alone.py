"""What the loss reads the first step or place of alone: weights meet zeros there, and queries one key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gradscope.records import Attention, Measurement, Recurrence, Source


class ReadAlone(NamedTuple):
    layers: tuple[str, ...]
    """Of the loop, or the queries and keys."""
    length: int
    """Steps, or places."""
    source: Source | None
    sure: bool
    """A line of the program takes the step or the place; else the data may."""
    cause: str
    remedy: str


def read_alone(measurement: Measurement) -> Iterator[ReadAlone]:
    """Loops and attentions, together where one line takes the step or the place."""
    for loops in _loops(measurement):
        layers = tuple(dict.fromkeys(layer for loop in loops for layer in loop.layers))
        loop = loops[0]
        yield ReadAlone(layers, loop.length, loop.taken_at or loop.source, True, *_of_a_loop(loop))
    places: dict[object, list[Attention]] = {}
    for each in measurement.attentions:
        if each.first_alone:
            places.setdefault((each.taken_at, each.queries), []).append(each)
    for first, *others in places.values():
        both = [name for each in (first, *others) for name in (each.query, each.key) if name is not None]
        at = first.taken_at or first.source
        sure = first.taken_at is not None
        yield ReadAlone(tuple(dict.fromkeys(both)), first.queries or 0, at, sure, *_of_an_attention(first))


def _loops(measurement: Measurement) -> list[list[Recurrence]]:
    states: dict[object, list[Recurrence]] = {}
    for loop in measurement.recurrences:
        states.setdefault((loop.source, loop.length, loop.layers), []).append(loop)
    found: dict[object, list[Recurrence]] = {}
    for first, *others in states.values():
        if all(each.is_read_once for each in (first, *others)):
            found.setdefault((first.taken_at or first.source, first.backward, first.length), []).append(first)
    return list(found.values())


def _of_a_loop(loop: Recurrence) -> tuple[str, str]:
    """The sentences, and the remedy."""
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
            "`outputs[-1]` where time comes first)."
        )
    backward = "The loop runs from the end of the sequence, and its first step has seen one element of it."
    return f"{cause} {backward}", (
        "Read a backward direction where it has seen the whole sequence, at the first position: "
        "`jnp.concatenate([forward[:, -1], backward[:, 0]], axis=-1)`. Where a layer returns both joined, "
        "they are the first and the second half of the features."
    )


def _of_an_attention(attention: Attention) -> tuple[str, str]:
    places = attention.queries or 0
    cause = (
        f"They are queries and keys of attention over {places:,} places that sees no later one: δ of what it "
        "gives is exactly 0 at all places but the first, which has a single key, whose weight is 1 whatever "
        "they are."
    )
    if attention.taken_at is None:
        return cause, (
            "Look at what the loss takes (an index, a mask of lengths): the first place has seen no other "
            "one. The last one has seen the whole sequence."
        )
    return f"{cause} A single place is taken at {attention.taken_at}.", (
        "Let the loss read the last place, which has seen the whole sequence (`x[:, -1]`), or leave out the "
        "mask, if the first place is meant to see all others."
    )
