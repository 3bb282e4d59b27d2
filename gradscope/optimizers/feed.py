"""The batches of each seed, in the same order for every optimizer and learning rate, so that runs are paired.

Batches that fit in memory are moved to the device once and kept; others are drawn again for each run, from
the same seed and so in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.trace.compiling import free_memory
from gradscope.trace.program import Program, Tracer
from gradscope.trace.stream import BatchStream, form_of

KEPT_SHARE = 0.2
"""Of the free memory, for batches that are kept on the device; a table of them takes as much again."""
UNKNOWN_MEMORY = 2**31
"""Bytes that are assumed to be free where the system does not say."""


@dataclass
class Feed:
    """The initial weights of one seed, and the arguments of the loss at each step."""

    seed: int
    problem: Problem
    tracer: Tracer
    weights: list[Any]
    first: Any
    """The first batch."""
    form: Any
    """That of the batches for which the program was compiled: the first one, or that of another seed."""
    kept: list[list[Any]] | None = None
    """The arguments of each step where those of all seeds fit in memory, else `None`."""
    batches_per_pass: int | None = None
    """`None` until a pass over the batches has ended."""
    other_forms: int = 0
    """Batches that the last run passed over, as the program of the first one does not fit them."""

    def program(self) -> Program:
        """The loss, traced at the shapes of the first batch."""
        return self.tracer.trace(self.first)

    @property
    def opening(self) -> list[Any]:
        """The arguments of the first step, from the batch at hand."""
        return self.tracer.inputs(self.first).others

    def steps(self, count: int, first: int = 0) -> Iterator[list[Any]]:
        """The arguments of the steps `first` to `count`; a pass that ends is followed by the next one."""
        if self.kept is not None and len(self.kept) >= count:
            yield from self.kept[first:count]
            return
        for step, others in enumerate(self.drawn(count)):
            if step >= first:
                yield others

    def drawn(self, count: int) -> Iterator[list[Any]]:
        """As `steps`, drawn from the user's batches; arrays in host memory stay there."""
        opening = self.problem.batches()
        stream = BatchStream(self.problem, self.tracer, self.form, opening, repeat=True)
        step = 0
        try:
            for _, others in itertools.islice(stream, count):
                yield others
                step += 1
        finally:
            self.other_forms = stream.other_forms
            self.batches_per_pass = self.batches_per_pass or stream.batches_per_pass
        if step < count:
            raise _other_forms(step, stream.other_forms) if stream.given_up else _no_more(step, count)


def feed_of(problem: Problem, seed: int, like: Feed | None = None) -> Feed:
    """`like`: the feed whose compiled program this one is to share."""
    problem = problem.for_training()
    tracer = Tracer(problem)
    first = next(problem.batches(), None)
    weights = [jnp.asarray(weight) for weight in tracer.inputs(first).weights]
    return Feed(seed, problem, tracer, weights, first, form_of(first) if like is None else like.form)


def memory_share(share: float) -> float:
    """Bytes."""
    free = free_memory()
    return share * (UNKNOWN_MEMORY if free is None else free)


def keep(feeds: Sequence[Feed], count: int) -> bool:
    """Move the arguments of `count` steps of all seeds to the device, each array once, and return whether
    they fit; else none is kept."""
    room = memory_share(KEPT_SHARE)
    moved: dict[int, tuple[Any, Any]] = {}
    kept: list[list[list[Any]]] = []
    for feed in feeds:
        kept.append([])
        for others in feed.drawn(count):
            for leaf in others:
                if id(leaf) not in moved:
                    room -= int(np.size(leaf)) * jax.numpy.result_type(leaf).itemsize
                    if room < 0:
                        return False
                    # The leaf is held as well: another one could get its `id`.
                    moved[id(leaf)] = (leaf, leaf if isinstance(leaf, jax.Array) else jax.device_put(leaf))
            kept[-1].append([moved[id(leaf)][1] for leaf in others])
    for feed, steps in zip(feeds, kept, strict=True):
        feed.kept = steps
    return True


def repeat(feeds: Sequence[Feed]) -> bool:
    """Whether every seed gives the same run: the same weights and batches, and no key that is used."""
    return len(feeds) > 1 and all(_repeats(feed, feeds[0]) for feed in feeds[1:])


def _repeats(one: Feed, other: Feed) -> bool:
    if one.problem.takes_key or one.kept is None or other.kept is None:
        return False
    # One batch holds all rows: their order makes no difference to the loss.
    ordered = not one.batches_per_pass == other.batches_per_pass == 1
    return all(map(np.array_equal, one.weights, other.weights)) and all(
        _same(a, b, ordered)
        for mine, others in zip(one.kept, other.kept, strict=True)
        for a, b in zip(mine[:-1], others[:-1], strict=True)  # the last is the key
    )


def _same(one: Any, other: Any, ordered: bool) -> bool:
    if one is other:
        return True
    a, b = np.asarray(one), np.asarray(other)
    return np.array_equal(a, b) or (
        not ordered and np.array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
    )


@dataclass(frozen=True)
class BatchTable:
    """The kept arguments of all steps of all seeds, for a loop on the device: each array is stored once."""

    columns: list[Any]
    """For each argument, its different arrays along a leading axis."""
    places: Any
    """The row of `columns` for each, i32[seeds, steps, arguments]."""

    def chunk(self, first: int, count: int) -> Any:
        """The rows for `count` steps of each seed from `first` on; the last step is repeated at the end."""
        steps = np.minimum(np.arange(first, first + count), self.places.shape[1] - 1)
        return self.places[:, steps]


def table_of(feeds: Sequence[Feed]) -> BatchTable:
    """The table of feeds whose batches are kept."""
    rows = [feed.kept or [] for feed in feeds]
    columns, places = [], []
    for argument in range(len(rows[0][0])):
        different: dict[int, tuple[int, Any]] = {}
        for steps in rows:
            for others in steps:
                different.setdefault(id(others[argument]), (len(different), others[argument]))
        columns.append(_stacked([leaf for _, leaf in different.values()]))
        places.append([[different[id(others[argument])][0] for others in steps] for steps in rows])
    return BatchTable(columns, np.stack([np.asarray(place, np.int32) for place in places], axis=-1))


def _stacked(leaves: Sequence[Any]) -> Any:
    if any(jnp.issubdtype(leaf.dtype, jax.dtypes.extended) for leaf in leaves):
        return jnp.stack(leaves)
    # Hundreds of operands would take XLA longer than the copy takes here.
    return jax.device_put(np.stack([np.asarray(leaf) for leaf in leaves]))


def _no_more(step: int, count: int) -> GradscopeError:
    return GradscopeError(
        f"The batches ended after {step} of {count} steps.",
        why="They come from an iterator that can be used only once: the second pass was empty.",
        fix="Define a function `batches()` that returns a new iterator at each call, or reduce --steps.",
        slug="batches-ended",
    )


def _other_forms(step: int, other_forms: int) -> GradscopeError:
    drawn = other_forms + step
    return GradscopeError(
        f"{other_forms:,} of {drawn:,} batches differ from the first in shape or in a Python value.",
        why="A training step is compiled for the first batch, and too few others fit it.",
        fix="Pad all batches to one shape, or give a single batch.",
        slug="batches-differ",
    )
