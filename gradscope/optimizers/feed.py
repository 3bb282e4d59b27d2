"""The batches of each seed, in one order for every optimizer and learning rate: runs are paired.

What fits is moved to the device once and kept; what does not is drawn anew for each run, from the same
seed and so in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.user_code import user_code
from gradscope.measure.compiling import free_memory
from gradscope.trace.program import Program, Tracer

KEPT_SHARE = 0.2
"""Of the free memory, for batches that are kept on the device."""


@dataclass
class Feed:
    """What one seed starts from, and what the loss is given at each step."""

    seed: int
    problem: Problem
    tracer: Tracer
    weights: list[Any]
    first: Any
    """The first batch."""
    _kept: list[list[Any]] | None = None
    """The arguments of each step so far, where they fit."""
    _stacked: dict[tuple[int, int], list[Any]] = field(default_factory=dict)
    batches_per_pass: int | None = None
    """Known once a pass has ended."""

    def program(self) -> Program:
        """The loss, traced at the shapes of the first batch."""
        return self.tracer.trace(self.first)

    def steps(self, count: int, first: int = 0) -> Iterator[list[Any]]:
        """The arguments of the steps `first` to `count`; a pass that ends is followed by the next one."""
        if self._kept is not None and len(self._kept) >= count:
            yield from self._kept[first:count]
            return
        for step, others in enumerate(self._drawn(count)):
            if step >= first:
                yield others

    def stacked(self, first: int, count: int) -> list[Any]:
        """The arguments of `count` steps, each along a new leading axis; only for what is kept."""
        if self._kept is None:
            raise ValueError("the batches of this seed are streamed")
        if (first, count) not in self._stacked:
            columns = zip(*self._kept[first : first + count], strict=True)
            self._stacked[first, count] = [jnp.stack(column) for column in columns]
        return self._stacked[first, count]

    @property
    def is_kept(self) -> bool:
        return self._kept is not None

    def keep(self, count: int) -> None:
        """Hold the arguments of `count` steps on the device where they fit; batches that repeat, once."""
        room = KEPT_SHARE * (free_memory() or 0)
        kept: list[list[Any]] = []
        size = 0
        seen: set[int] = set()
        for others in self._drawn(count):
            size += sum(_bytes(leaf) for leaf in others if id(leaf) not in seen)
            seen.update(id(leaf) for leaf in others)
            if size > room:
                return
            kept.append(others)
        self._kept = kept

    def _drawn(self, count: int) -> Iterator[list[Any]]:
        step = 0
        shapes: Any = None
        devices: dict[int, Any] = {}
        while step < count:
            before = step
            for batch in self._pass():
                inputs = self.tracer.inputs(batch, step)
                found = [(np.shape(leaf), jax.numpy.result_type(leaf)) for leaf in inputs.others]
                shapes = shapes or found
                if found != shapes:
                    continue
                yield [_on_device(leaf, devices) for leaf in inputs.others]
                step += 1
                if step == count:
                    return
            if step == before:
                raise _no_more(step, count)
            self.batches_per_pass = self.batches_per_pass or step

    def _pass(self) -> Iterator[Any]:
        with user_code("drawing batches"):
            yield from self.problem.batches()


def feed_of(problem: Problem, seed: int) -> Feed:
    tracer = Tracer(problem)
    first = next(problem.batches(), None)
    weights = [jnp.asarray(weight) for weight in tracer.inputs(first).weights]
    return Feed(seed, problem, tracer, weights, first)


def _on_device(leaf: Any, devices: dict[int, Any]) -> Any:
    """A host array that comes again (one batch for all steps) is moved once."""
    if isinstance(leaf, jax.Array):
        return leaf
    kept = devices.get(id(leaf))
    if kept is None or kept[0] is not leaf:
        if len(devices) > 64:
            devices.clear()
        kept = devices[id(leaf)] = (leaf, jax.device_put(leaf))
    return kept[1]


def _bytes(leaf: Any) -> int:
    return int(np.size(leaf)) * jax.numpy.result_type(leaf).itemsize


def _no_more(step: int, count: int) -> GradscopeError:
    return GradscopeError(
        f"The batches ended after {step} of {count} steps.",
        why="They come from an iterator that can be walked only once and that gave nothing the second time.",
        fix="Give a function `batches()` that starts anew at each call, or fewer --steps.",
        slug="batches-ended",
    )
