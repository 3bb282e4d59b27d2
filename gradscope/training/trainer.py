"""The engine: steps of an optimizer on the gradients of the flow pass, with one thing changed or none.

The same problem, the same batches, the same random numbers: what differs in the loss is due to the change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.blocks.by_part import compile_by_part
from gradscope.measure.flow import Begun, FlowPass, Sample
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Inputs
from gradscope.trace.spread import placed_as, started
from gradscope.training.batches import StepBatches
from gradscope.training.optimizer import Leaves, LossOf, StepRule, stepped, widened
from gradscope.training.scales import OddArray
from gradscope.training.step_numbers import NUMBERS, Floats, numbers_of_step

MANY = 1000
"""Leaves from which on steps of the optimizer alone run part by part: XLA compiles a loop over all as one."""


@dataclass(frozen=True)
class Modification:
    """What is done otherwise than the user does it."""

    factor: float = 1.0
    """On each update of the optimizer."""
    master: bool = False
    """The weights are kept in float32 between the steps, and rounded for the gradient."""
    undecayed: bool = False
    """The optimizer sees weights of 0, which nothing decays."""
    standardized: OddArray | None = None
    """An array of each batch that is standardized."""
    without: Callable[[Leaves], tuple[Any, Leaves]] | None = None
    """A part of the loss, of the weights alone, that is taken off it: its value and its gradients."""
    loss: Callable[[Inputs, int], tuple[Any, Leaves]] | None = None
    """Another loss: its value and its gradients, at the inputs of a step and its number, from 0."""
    held: tuple[int, tuple[int, ...]] | None = None
    """A step, from 0, and leaves of the optimizer's state that keep what they have before it."""
    one_batch: bool = False
    """The first batch at every step."""


@dataclass(frozen=True)
class Trajectory:
    """A run of some steps from the problem's params."""

    losses: list[float]
    """Of each step's batch, before the step."""
    end: float
    """Of the first batch, after the last step."""
    leaves: Floats
    """f64[steps, leaves, 10], as `step_numbers` has them; empty where nobody watched."""
    first: Leaves
    """What the optimizer asked for at the first step."""
    weights: Leaves
    gradients: Leaves
    """At the last step."""
    state: Any
    loss: Any


class Trainer:
    """Trains one problem again and again from the same start, and compiles each of its programs once."""

    def __init__(
        self,
        flow: FlowPass,
        rule: StepRule,
        feed: StepBatches,
        weights: list[Any],
        begun: Begun | None = None,
    ) -> None:
        """`begun`: the loss of the first batch and its gradients at the start, where they are at hand."""
        self.flow, self.rule, self.feed = flow, rule, feed
        self._begun = begun
        self.weights = [each if isinstance(each, jax.Array) else jax.device_put(each) for each in weights]
        """At the start."""
        self._given = rule.begun(self.weights)
        self._started: Any = None
        self._fresh: Callable[[Leaves], Any] | None = None
        self._steps: dict[bool, Callable[..., Any]] = {}
        self._unchanged: dict[int, Leaves] = {}
        self.searches = False
        """Its optimizer asks for the loss of other weights, as a line search does; known from its first step
        on."""

    @property
    def restored(self) -> bool:
        return self._given is not None

    def start(self) -> Any:
        """The state of the optimizer there, made once."""
        if self._started is None:
            self._started = self.fresh(self.weights) if self._given is None else self._given
        return self._started

    def run(
        self,
        steps: int,
        change: Modification = Modification(),
        *,
        start: Leaves | None = None,
    ) -> Trajectory:
        """From the start, or from other weights."""
        found = self._trained(steps, change, start)
        last = self.feed.at(0, found.weights, change.standardized)
        return replace(found, end=float(self.flow.loss(last)))

    def watched(self, steps: int) -> tuple[Trajectory, Sample]:
        """From the start, with what each step does to each leaf; and what the flow pass measures of the first
        batch after the last one."""
        found = self._trained(steps, watched=True)
        after = self.flow(self.feed.at(0, found.weights))
        return replace(found, end=after.loss), after

    def _trained(
        self,
        steps: int,
        change: Modification = Modification(),
        start: Leaves | None = None,
        *,
        watched: bool = False,
    ) -> Trajectory:
        """Its `end` is not known."""
        weights = wide = self.weights if start is None else start
        state, losses, seen, odd = self.start(), [], [], change.standardized
        first: Leaves = []
        none = [jnp.zeros_like(weight) for weight in weights] if change.undecayed else []
        kept: Leaves = []
        for step in range(steps):
            if change.held is not None and step >= change.held[0]:
                kept = kept or jax.tree.leaves(state)
                state = _put_back(state, kept, change.held[1])
            inputs = self.feed.at(step, weights, odd, first=change.one_batch)
            if change.loss is not None:
                loss, gradients = change.loss(inputs, step)
            elif step == 0 and start is None and odd is None:
                loss, gradients = self.gradients()
            else:
                loss, gradients = self.flow.loss_and_gradients(inputs)
            if change.without is not None:
                part, own = change.without(weights)
                loss = loss - part
                gradients = [whole - each for whole, each in zip(gradients, own, strict=True)]
            before = weights
            if change.undecayed:
                updates, state = self.asked(none, gradients, state, loss)
                weights = [stepped(w, u) for w, u in zip(weights, updates, strict=True)]
            else:
                given = weights, wide, gradients, state, loss, inputs.others
                weights, wide, updates, state = self._step(change, *given)
            losses.append(loss)
            first = first or updates
            if watched:
                seen.append(numbers_of_step(gradients, updates, before, weights))
        losses, seen = jax.device_get((losses, seen))
        return Trajectory(
            [float(each) for each in losses],
            math.nan,
            np.asarray(seen, np.float64).reshape(len(seen), len(weights), NUMBERS),
            first,
            weights,
            gradients,
            state,
            loss,
        )

    def unchanged(self, steps: int) -> Leaves:
        """The weights after so many steps with nothing changed, which several trials are held against."""
        if steps not in self._unchanged:
            self._unchanged[steps] = self.run(steps).weights
        return self._unchanged[steps]

    def fresh_update(self, gradients: Leaves, loss: Any) -> Leaves:
        """What the optimizer asks for at its first step of all, for these gradients."""
        fresh = self.start() if self._given is None else self.fresh(self.weights)
        return self.asked(self.weights, gradients, fresh, loss)[0]

    def fresh(self, weights: Leaves) -> Any:
        """The state of the optimizer before the first step of all, at other weights."""
        self._fresh = self._fresh or started(self.rule.fresh, (weights,))
        return self._fresh(weights)

    def asked(self, weights: Leaves, gradients: Leaves, state: Any, loss: Any) -> tuple[Leaves, Any]:
        """What the optimizer asks for at these weights and gradients, and its state after that."""
        _, _, updates, state = self._step(Modification(), weights, weights, gradients, state, loss)
        return updates, state

    def mean_loss(
        self, weights: Leaves, batches: int, standardized: OddArray | None = None
    ) -> tuple[float, float]:
        """Of the first batches, and the standard error of that mean: 0 for one batch."""
        inputs = (self.feed.at(step, weights, standardized) for step in range(batches))
        found = [self.flow.loss(each) for each in inputs]
        losses = np.asarray(jax.device_get(found), np.float64)
        with np.errstate(invalid="ignore"):
            error = float(np.std(losses, ddof=1) / batches**0.5) if batches > 1 else 0.0
        return float(np.mean(losses)), error

    def gradients(self) -> tuple[Any, Leaves]:
        """The loss of the first batch and its gradients, at the start: every run begins with them."""
        if self._begun is None:
            self._begun = self.flow.loss_and_gradients(self.feed.at(0, self.weights))
        return self._begun

    def _step(
        self,
        change: Modification,
        weights: Leaves,
        wide: Leaves,
        gradients: Leaves,
        state: Any,
        loss: Any,
        others: Leaves | None = None,
    ) -> Any:
        """`others` are what the loss takes besides the weights, by default with the first batch."""
        if change.master and wide is self.weights:
            wide = [widened(weight) for weight in weights]
        others = self.feed.at(0, weights).others if others is None else others
        consts = list(self.flow.program.body.consts)
        given = weights, wide if change.master else [], gradients, others, consts
        arguments = *given, state, loss, np.float32(change.factor)
        if change.master not in self._steps:
            self._steps[change.master] = compile_by_part(self._advanced, arguments, runs=1)
        return self._steps[change.master](*arguments)

    def _advanced(
        self,
        weights: Leaves,
        wide: Leaves,
        gradients: Leaves,
        others: Leaves,
        consts: Leaves,
        state: Any,
        loss: Array,
        factor: Array,
    ) -> tuple[Leaves, Leaves, Leaves, Any]:
        """Traceable: weights, master weights, what was asked for, and the state, after a step."""
        updates, state = self.rule(weights, gradients, state, loss, self._loss_of(others, consts))
        updates = [update * jnp.asarray(factor, update.dtype) for update in updates]
        sums = [base + update for base, update in zip(wide or weights, updates, strict=True)]
        moved = [each.astype(weight.dtype) for each, weight in zip(sums, weights, strict=True)]
        moved, updates = placed_as(moved, self.weights), placed_as(updates, self.weights)
        return moved, placed_as(sums, self.weights) if wide else [], updates, state

    def _loss_of(self, others: Leaves, consts: Leaves) -> LossOf:
        def loss_of(weights: Leaves) -> Array:
            self.searches = True
            return self.flow.program.loss(weights, others, consts)

        return loss_of

    def alone(self, run: Trajectory, state: Any, steps: int) -> Floats:
        """f64[steps], the largest element of the updates that the optimizer makes from a state of the last
        gradient of a run, over and over."""
        others = self.feed.at(len(run.losses) - 1, run.weights).others
        if len(run.weights) >= MANY:
            return self._alone_by_part(run, state, steps, others)
        given = state, others, list(self.flow.program.body.consts)

        def all_steps(state: Any, others: Leaves, consts: Leaves) -> Array:
            def step(state: Any, _: Any) -> tuple[Any, Array]:
                loss_of = self._loss_of(others, consts)
                updates, state = self.rule(run.weights, run.gradients, state, run.loss, loss_of)
                return state, largest_of(updates)

            return jax.lax.scan(step, state, length=steps)[1]

        return np.asarray(compile_program(all_steps, given, runs=1)(*given), np.float64)

    def _alone_by_part(self, run: Trajectory, state: Any, steps: int, others: Leaves) -> Floats:
        found = np.zeros(steps)
        for step in range(steps):
            advanced = self._step(Modification(), run.weights, [], run.gradients, state, run.loss, others)
            updates, state = advanced[2:]
            found[step] = np.max([np.max(np.abs(np.asarray(each)), initial=0.0) for each in updates])
        return found


def largest_of(leaves: Leaves) -> Array:
    """Traceable: the largest |element| of all of them."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves]))


def _put_back(state: Any, before: Leaves, places: tuple[int, ...]) -> Any:
    leaves, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(
        structure, [before[i] if i in places else leaf for i, leaf in enumerate(leaves)]
    )
