"""What an optimizer does with which leaves: its rate and its weight decay, group by group.

Nothing is read from masks, labels or states: the optimizer is asked. It gets weights of 0, 1 or 2 in every
element and gradients of 0, of one number or of twice that, and what it answers tells a rate from a decay and
what is frozen from what is not, however it was put together. An update that is not the same in every element
(an orthogonalized one, noise) is told as `other`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.peers.placing import put
from gradscope.records import ParameterGroup, ShortTraining, UndecayedTraining
from gradscope.trace.program import Program
from gradscope.trace.spread import in_reach
from gradscope.training.clipping import clipped_steps
from gradscope.training.optimizer import Leaves, widened
from gradscope.training.step_numbers import Floats
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

NORM = 0.05
"""Of all made gradients together: below what gradients are clipped to."""
ALIKE = 0.02
"""Two updates are the same: bfloat16 has less than three digits."""
DIGITS = 3
"""By which rates are told apart."""
STRONG = 0.5
"""What decay adds to the first update, over the rest of it: from there on the steps are tried without."""


@dataclass(frozen=True)
class _Answer:
    """Smallest and largest element of the update of each leaf."""

    ends: Floats

    def one(self, leaf: int) -> float | None:
        """The number that all elements are; `None` where they differ or are not finite."""
        low, high = self.ends[leaf]
        return float(high) if _alike(low, high) else None


class AskedForSteps(Protocol):
    """What can be asked for steps: a `Trainer`, or an optimizer alone."""

    weights: Leaves

    def gradients(self) -> tuple[Any, Leaves]:
        """The loss and its gradients, at the start."""

    def fresh(self, weights: Leaves) -> Any:
        """The state before the first step of all."""

    def asked(self, weights: Leaves, gradients: Leaves, state: Any, loss: Any) -> tuple[Leaves, Any]:
        """What a step adds to each weight, and the state after it."""


class OptimizerProbe:
    """An optimizer from a fresh state, asked again and again."""

    def __init__(self, made: AskedForSteps, steps: int) -> None:
        """It is given up to `steps` steps to move anything: in a warm-up or where it gathers gradients the
        first one does not."""
        self._made, self.steps = made, steps
        self.loss, self.gradients = made.gradients()
        count = sum(weight.size for weight in made.weights)
        self._size = 2.0 ** round(math.log2(NORM / math.sqrt(max(count, 1))))
        self._once = self._asked(0.0, self._size, wait=True)
        self._twice, self._nothing = self._asked(0.0, 2 * self._size), self._asked(1.0, 0.0)
        self._heavy = self._asked(2.0, 0.0) if self._nothing.ends.any() else self._nothing
        self._both = self._asked(2.0, self._size)
        self._striped = self._asked(0.0, self._size, in_turn=True)

    def groups(self, program: Program) -> tuple[ParameterGroup, ...]:
        """Of the leaves of the program, in their order; nothing where no step moved anything."""
        found: dict[Any, list[int]] = {}
        for leaf, about in enumerate(program.leaves if self._once.ends.any() else ()):
            if about.size:
                found.setdefault((*self._transform(leaf), *self._decay(leaf)), []).append(leaf)
        return tuple(
            ParameterGroup(
                tuple(program.leaves[leaf].name for leaf in leaves),
                sum(program.leaves[leaf].size for leaf in leaves),
                *what,
            )
            for what, leaves in found.items()
        )

    def decay_share(self, groups: Sequence[ParameterGroup]) -> float | None:
        """Norm of what decay adds to the update of the problem's own weights and gradients, over that of the
        update without it; `None` without decay, and where weights enter an update or a state otherwise."""
        if not any(group.decayed for group in groups) or any(group.transform == "other" for group in groups):
            return None
        weights, none = self._made.weights, filled(self._made.weights, 0.0)
        states = zip(*(jax.tree.leaves(self._made.fresh(each)) for each in (weights, none)), strict=True)
        if not all(np.array_equal(one, other) for one, other in states):
            return None
        updates = [self._updates(each, self.gradients) for each in (weights, none)]
        with_it, without = (np.concatenate([np.ravel(widened(u)) for u in each]) for each in updates)
        size = float(np.linalg.norm(without))
        return float(np.linalg.norm(with_it - without)) / size if size else None

    def _updates(self, weights: Leaves, gradients: Leaves, *, wait: bool = False) -> Leaves:
        """At the first step that moves anything, which the first question finds."""
        state = self._made.fresh(weights)
        for step in range(1, self.steps + 1):
            updates, state = self._made.asked(weights, gradients, state, self.loss)
            if wait and _ends(updates).any():
                self.steps = step
                break
        return updates

    def _asked(self, weight: float, gradient: float, *, wait: bool = False, in_turn: bool = False) -> _Answer:
        own = self._made.weights
        gradients = [striped(each, gradient) for each in own] if in_turn else filled(own, gradient)
        return _Answer(_ends(self._updates(filled(own, weight), gradients, wait=wait)))

    def _transform(self, leaf: int) -> tuple[str, float | None]:
        once, twice, both = (each.one(leaf) for each in (self._once, self._twice, self._both))
        if once == 0 == twice and not self._striped.ends[leaf].any():
            return "frozen", None
        if once is None or twice is None or both is None or once == 0:
            return "other", None
        grows, stays = _alike(twice, 2 * once), _alike(twice, once)
        added = self._heavy.one(leaf) or 0.0
        low, high = self._striped.ends[leaf]
        second = -2 * once if grows else -once
        ends = (once, second) if self._made.weights[leaf].size > 1 else (once, once)
        by_element = _alike(low, min(ends)) and _alike(high, max(ends))
        if not by_element or not (_alike(both, once + added) or (stays and _alike(both, once))):
            return "other", None
        if grows:
            return "proportional", _rounded(-once / self._size)
        return ("fixed", _rounded(-once)) if stays else ("other", None)

    def _decay(self, leaf: int) -> tuple[bool, float | None]:
        one, two = self._nothing.one(leaf), self._heavy.one(leaf)
        if one == 0 == two:
            return False, 0.0
        if one is None or two is None or not (one < 0 and two < 0):
            return False, None
        return True, _rounded(-one) if _alike(two, 2 * one) else None


def with_groups(
    record: ShortTraining, made: Trainer, program: Program, last: tuple[Leaves, Leaves]
) -> ShortTraining:
    """The record of a short training, and what its optimizer does with which leaves, and with how much of
    their gradients; `last` are the weights after it and the gradients of its last step."""
    if not record.own:
        return record
    probe = OptimizerProbe(made, record.steps)
    groups = probe.groups(program)
    undecayed = _undecayed(program, made, probe, groups, record)
    asked = [(0, made.weights, probe.gradients), (record.steps - 1, *last)] if groups else []
    return replace(
        record,
        groups=groups,
        undecayed=undecayed,
        clipped=clipped_steps(made, asked, probe.loss, probe.steps),
    )


def _undecayed(
    program: Program,
    made: Trainer,
    probe: OptimizerProbe,
    groups: Sequence[ParameterGroup],
    record: ShortTraining,
) -> UndecayedTraining | None:
    """More than the steps of the short training, where decay is strong."""
    share = probe.decay_share(groups) if record.steps >= USUAL_STEPS else None
    if share is None or not share >= STRONG:
        return None
    count = LONGER * record.steps
    without = made.run(count, Modification(undecayed=True)).weights
    decayed = {name for group in groups if group.decayed for name in group.leaves}
    none = [
        zero if about.name in decayed else own
        for about, own, zero in zip(program.leaves, made.weights, filled(made.weights, 0.0), strict=True)
    ]
    return UndecayedTraining(
        share=share,
        decay=max((group.decay or 0.0 for group in groups), default=0.0),
        steps=count,
        start=made.mean_loss(made.weights, record.batches)[0],
        end_with=made.mean_loss(made.unchanged(count), record.batches)[0],
        end_without=made.mean_loss(without, record.batches)[0],
        at_zero=made.mean_loss(none, record.batches)[0],
    )


def filled(weights: Leaves, value: float) -> Leaves:
    """As large as the weights; made by NumPy, so that nothing is compiled for their shapes."""
    return [_placed(np.full(each.shape, value), each) for each in weights]


def striped(weight: Any, value: float) -> Any:
    """The value, and minus twice the value, in turn."""
    turns = np.arange(weight.size).reshape(weight.shape) % 2
    return _placed(np.where(turns, -2 * value, value), weight)


def _placed(array: Any, like: Any) -> Any:
    return put(array.astype(like.dtype), like.sharding)


def _ends(updates: Leaves) -> Floats:
    """Smallest and largest element of each, f64[leaves, 2]; on a CPU NumPy reads them where they lie."""
    if in_reach(updates):
        arrays = [
            np.asarray(update, np.float32) if update.dtype.itemsize < 4 else update for update in updates
        ]
        found = [
            (np.min(each), np.max(each)) if each.size else (0.0, 0.0) for each in map(np.asarray, arrays)
        ]
    else:
        found = jax.device_get(_ends_on_device(updates))
    return np.asarray(found, np.float64).reshape(-1, 2)


@jax.jit
def _ends_on_device(updates: Leaves) -> Any:
    return [
        (jnp.min(each), jnp.max(each)) if each.size else (jnp.zeros(()), jnp.zeros(())) for each in updates
    ]


def _alike(one: float, other: float) -> bool:
    size = max(abs(one), abs(other))
    return math.isfinite(size) and abs(one - other) <= ALIKE * size


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
