"""How much of the gradient an optimizer lets through, told by asking it: no threshold is read anywhere.

What clips gives the same answer to the last bit for a gradient, for its double and for a small part of it, in
what it adds to the weights and in every array of the state that has an element for each weight; and an answer
in proportion to a gradient that is far smaller. What normalizes, as Adam, signs and LARS do, keeps the size
of a gradient in its state or never answers in proportion. All gradients are scaled by powers of two, which
round nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradscope.peers.placing import put
from gradscope.records import ClippedStep
from gradscope.trace.leaves import norm
from gradscope.training.optimizer import Leaves
from gradscope.training.trainer import Trainer

Answer: TypeAlias = "list[NDArray[Any]]"
"""By leaf: what a step adds to it, then the arrays of the state that have its shape, along a first axis."""
Flags: TypeAlias = "list[NDArray[np.bool_]]"
Ask: TypeAlias = Callable[[float], Answer]
"""Takes the power of two by which the gradient is made smaller; infinity makes it 0."""

SMALLER = 6
"""A gradient of 2^-6 of its size: where that changes nothing, it is far above what is let through."""
FAINT, FAINT_IN_HALF = 20, 11
"""2^-20: so small that it is let through whole. Half precision has no such numbers."""
IN_PROPORTION = 0.01
"""Of the ratio of two answers: bfloat16 has less than three digits."""
FLOOR = 1e-5
"""Norm of a leaf's gradient. What divides by a norm, as LAMB and Fromage do, lets through what is below 1e-6
in proportion: that is no clipping."""
READABLE = 1e-3
"""Of what stands beside it in the same number, such as decay: less than that is lost in rounding."""
EVEN = 0.02
"""All elements are shrunk by the same factor."""


def clipped_steps(
    made: Trainer, steps: Sequence[tuple[int, Leaves, Leaves]], loss: Any, until: int
) -> tuple[ClippedStep, ...]:
    """Of some steps, each with its weights and gradients; none where one of them is not clipped, or where the
    optimizer searches along the loss. From a fresh state `until` steps are made of a gradient, and the last
    one counts: in a warm-up, or where gradients are gathered, those before it move nothing."""
    owners, found = _Owners(made), list[ClippedStep]()
    nothing = [jnp.zeros_like(weight) for weight in made.weights]
    for step, weights, gradients in steps:
        ask, at_zero = (_asking(made, owners, each, gradients, loss, until) for each in (weights, nothing))
        clipped = clipped_step(step, ask, gradients, at_zero)
        if clipped is None or made.searches:
            return ()
        found.append(clipped)
    return tuple(found)


def clipped_step(step: int, ask: Ask, gradients: Leaves, at_zero: Ask | None = None) -> ClippedStep | None:
    """`at_zero` asks with weights of 0: what an optimizer gives back as new weights, as those of Keras do, is
    rounded to them, and small steps are lost beside large weights."""
    whole, small = ask(0), ask(SMALLER)
    kept = _same(whole, small)
    if not _count(kept):
        return None
    found = _read_off(step, ask, whole, kept, gradients)
    if at_zero is None or (found is not None and found.share == 1):
        return found
    alike, whole = _equal(whole, small), at_zero(0)
    other = _read_off(step, at_zero, whole, _both(alike, _same(whole, at_zero(SMALLER))), gradients)
    return max((each for each in (found, other) if each is not None), key=lambda e: e.share, default=None)


def _read_off(step: int, ask: Ask, whole: Answer, kept: Flags, gradients: Leaves) -> ClippedStep | None:
    """`kept` are the elements whose answer is the same for a smaller gradient."""
    half = any(leaf.dtype == jnp.float16 for leaf in gradients)
    faint = FAINT_IN_HALF if half else FAINT
    none, double = ask(math.inf), ask(-1)
    passes = _in_proportion(ask(faint), ask(faint + 1), none)
    moved = [np.any(a != b, axis=0) for a, b in zip(whole, none, strict=True)]
    clipped = _both(kept, _same(whole, double), passes, moved)
    if not _count(clipped):
        return None
    low = _last_alike(ask, whole, clipped, faint - 1)
    factors, of_steps, read = _factors((whole, ask(low + 1), ask(low + 2), none), clipped, 2.0 ** (low + 1))
    factor = float(np.median(factors)) if factors.size else 2.0**low
    whole_norm = norm(gradients)
    if whole_norm / factor <= FLOOR * math.sqrt(len(gradients)):
        return None
    even = read == _count(moved) and np.ptp(factors) <= EVEN * factor
    return ClippedStep(
        step=step,
        norm=whole_norm,
        share=_count(clipped) / _count(moved),
        factor=factor,
        kept_norm=whole_norm / factor if even else None,
        proportional=bool(of_steps.size and abs(np.median(of_steps) / factor - 1) <= EVEN),
    )


def _last_alike(ask: Ask, whole: Answer, clipped: Flags, most: int) -> int:
    """The largest power of two by which the gradient can be smaller, so that half of the elements stay."""
    low, high = SMALLER, most
    while low < high:
        middle = (low + high + 1) // 2
        stays = 2 * _count(_both(_same(whole, ask(middle)), clipped)) >= _count(clipped)
        low, high = (middle, high) if stays else (low, middle - 1)
    return low


class _Owners:
    """Which parameter an array of an optimizer's state belongs to: the one at the end of its path."""

    def __init__(self, made: Trainer) -> None:
        places, _ = jax.tree.flatten_with_path(made.rule.tracer.packed(range(len(made.weights))))
        self._places = {tuple(path): place for path, place in places}
        self._shapes = [weight.shape for weight in made.weights]

    def of(self, path: Sequence[Any], array: Any) -> int | None:
        """The one with the longest path that fits, or none."""
        ends = (self._places.get(tuple(path[start:])) for start in range(len(path) + 1))
        fitting = (each for each in ends if each is not None and self._shapes[each] == array.shape)
        return next(fitting, None)


def _asking(made: Trainer, owners: _Owners, weights: Leaves, gradients: Leaves, loss: Any, until: int) -> Ask:
    def ask(power: float) -> Answer:
        scaled, state = [_scaled(gradient, power) for gradient in gradients], made.fresh(weights)
        for _ in range(until):
            updates, state = made.asked(weights, scaled, state, loss)
        arrays = [[_read(update)] for update in updates]
        for path, leaf in jax.tree.flatten_with_path(state)[0]:
            owner = owners.of(path, leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else None
            if owner is not None:
                arrays[owner].append(_read(leaf))
        return [np.stack(each) for each in arrays]

    return ask


def _scaled(gradient: Any, power: float) -> Any:
    """In its own dtype, by NumPy: nothing is compiled for its shape."""
    array = np.asarray(gradient)
    return put(array * array.dtype.type(2.0**-power), gradient.sharding)


def _read(array: Any) -> NDArray[Any]:
    read = np.asarray(array)
    return read.astype(np.float32) if read.dtype.itemsize < 4 else read


def _same(one: Answer, other: Answer) -> Flags:
    """By leaf, the elements of which all arrays are the same to the last bit, and not all 0."""
    answers = zip(_equal(one, other), one, strict=True)
    return [equal & np.any(arrays != 0, axis=0) for equal, arrays in answers]


def _equal(one: Answer, other: Answer) -> Flags:
    return [np.all(a == b, axis=0) for a, b in zip(one, other, strict=True)]


def _in_proportion(answer: Answer, to_half: Answer, to_none: Answer) -> Flags:
    """By leaf, the elements of which one array is, to the gradient or to its square."""
    flags: Flags = []
    for arrays in zip(answer, to_half, to_none, strict=True):
        whole, half, none = (each.astype(np.float64) for each in arrays)
        with np.errstate(all="ignore"):
            ratio = (whole - none) / (half - none)
        close = [np.abs(ratio / power - 1) <= IN_PROPORTION for power in (2.0, 4.0)]
        flags.append(np.any(close, axis=(0, 1)))
    return flags


def _factors(
    answers: tuple[Answer, ...], clipped: Flags, times: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """By how much the answer to a gradient so many times smaller, which is let through, would be larger if it
    were that to the whole one: in all arrays that are in proportion to it, and in the steps alone; and how
    many elements tell it."""
    found: list[NDArray[np.float64]] = []
    of_steps: list[NDArray[np.float64]] = []
    read = 0
    for (whole, part, half, none), flags in zip(zip(*answers, strict=True), clipped, strict=True):
        with np.errstate(all="ignore"):
            wide = part.astype(np.float64) - none
            linear = np.abs(wide / (half.astype(np.float64) - none) / 2 - 1) <= IN_PROPORTION
            linear &= np.abs(wide) >= READABLE * np.abs(none)
            factors = wide * times / (whole.astype(np.float64) - none)
        linear &= flags & np.isfinite(factors)
        found.append(factors[linear])
        of_steps.append(factors[0][linear[0]])
        read += int(np.any(linear, axis=0).sum())
    return np.concatenate(found), np.concatenate(of_steps), read


def _both(*flags: Flags) -> Flags:
    return [np.logical_and.reduce(each) for each in zip(*flags, strict=True)]


def _count(flags: Iterable[NDArray[np.bool_]]) -> int:
    return sum(int(each.sum()) for each in flags)
