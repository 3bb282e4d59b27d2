"""A training that measures itself: compiled steps with the statistics of every layer inside.

A step that would make a parameter NaN or infinite is not taken, nor any after it: the params stay where the
cause can still be measured.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from gradscope.records import Ending, LossRecord, StepRecord, ValidationRecord
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Inputs, Program
from gradscope.training.layer_numbers import TAKEN, Gains, LayerNumbers
from gradscope.training.optimizer import Leaves, StepRule, stepped
from gradscope.training.stream import BatchStream

BAD_LOSSES = 20
"""Steps in a row whose loss is not finite, after which a training is stopped."""
AHEAD = 2
"""Steps that are on their way while the numbers of an earlier one are read."""

Tell = Callable[[StepRecord | LossRecord | ValidationRecord], None]


@dataclass(frozen=True)
class TrainingEnd:
    """How far a training came."""

    ending: Ending
    steps: int
    weights: Leaves
    broken: tuple[Any, Inputs] | None = None
    """Where it came to an end of its own: the batch of that step, and its inputs."""


@dataclass(frozen=True)
class _OnItsWay:
    step: int
    batch: Any
    others: list[Any]
    loss: Any
    vector: Any
    """`None` where the layers were not measured."""
    gains: Gains
    """At which it was taken."""
    held: Any


class MonitoredTraining:
    """One run from some weights; `tell` is given each record as soon as it is known."""

    def __init__(
        self,
        program: Program,
        rule: StepRule,
        numbers: LayerNumbers,
        weights: list[Any],
        tell: Tell,
        *,
        every: int = 1,
        validation: tuple[Program, list[Any]] | None = None,
        validate_every: int = 0,
    ) -> None:
        """`validation` is the loss at the shapes of the validation batch, and its arguments."""
        self._program, self._rule, self._numbers, self._tell = program, rule, numbers, tell
        self._every = every
        self._validation, self._validate_every = validation, max(validate_every, 1)
        self._consts = list(program.body.consts)
        # Copies, as the steps give their memory away.
        self._weights = [jnp.array(weight) for weight in weights]
        begun = rule.begun(self._weights)
        fresh = partial(compile_program(rule.fresh, (self._weights,), runs=1), self._weights)
        self._state = fresh() if begun is None else jax.tree.map(jnp.array, begun)
        self._held: Any = jnp.zeros((), bool)
        self._gains = numbers.gains()
        self._waiting: deque[_OnItsWay] = deque()
        self._losses: list[float] = []
        self._done = 0
        self._validated = -1
        self._bad_losses = 0
        self._broken: tuple[Ending, _OnItsWay] | None = None
        self._programs: dict[str, Compiled] = {}

    def run(self, stream: BatchStream, steps: int) -> TrainingEnd:
        """Ctrl-C ends it as `INTERRUPTED`. Raises what the optimizer and the data raise."""
        ending = Ending.COMPLETE
        try:
            batches = iter(stream)
            for step in range(steps):
                self._validate(step, steps)
                given = next(batches, None)
                if given is None:
                    ending = Ending.DATA_ENDED
                    break
                self._start(step, *given, steps)
                if not self._settled(AHEAD):
                    break
            if self._settled(0):
                self._validate(self._done, steps, last=True)
        except KeyboardInterrupt:
            ending = Ending.INTERRUPTED
            self._settled(0)
        if self._losses:
            self._tell(LossRecord(self._done - 1, tuple(self._losses)))
        broken = None
        if self._broken is not None:
            ending, seen = self._broken
            broken = seen.batch, Inputs(self._weights, seen.others)
        return TrainingEnd(ending, self._done, self._weights, broken)

    def _start(self, step: int, batch: Any, others: list[Any], steps: int) -> None:
        """The last step is measured, too, so that no loss before it is left untold."""
        given: tuple[Any, ...] = (self._weights, self._state, self._held, others, self._consts)
        if step % self._every and step != steps - 1:
            run = self._compiled("plain", self._plain, given, steps, others)
            found = run.start(*given)
            vector = None
        else:
            given += (self._gains[1],)
            run = self._compiled("measured", self._measured, given, steps, others)
            *found, vector = run.start(*given)
        self._weights, self._state, self._held, loss = found
        self._waiting.append(_OnItsWay(step, batch, others, loss, vector, self._gains[0], self._held))

    def _settled(self, left: int) -> bool:
        """Read all but the last `left` steps; False once it is broken."""
        while len(self._waiting) > left and self._broken is None:
            seen = self._waiting.popleft()
            loss, vector, held = jax.device_get((seen.loss, seen.vector, seen.held))
            self._losses.append(float(loss))
            self._done = seen.step + 1
            if vector is not None:
                norm, values, moved = self._numbers.read(vector, seen.gains)
                self._gains = self._numbers.gains() if moved else self._gains
                self._tell(StepRecord(seen.step, tuple(self._losses), norm, values))
                self._losses.clear()
            self._bad_losses = 0 if math.isfinite(loss) else self._bad_losses + 1
            if held:
                self._broken = Ending.NOT_FINITE, seen
            elif self._bad_losses == BAD_LOSSES:
                self._broken = Ending.LOSS_NOT_FINITE, seen
        return self._broken is None

    def _validate(self, step: int, steps: int, *, last: bool = False) -> None:
        if self._validation is None or not (last or step % self._validate_every == 0):
            return
        if not self._settled(0) or self._validated == step:
            return
        self._validated = step
        program, others = self._validation
        given = self._weights, others, list(program.body.consts)
        if "validation" not in self._programs:
            runs = steps // self._validate_every + 2
            self._programs["validation"] = compile_program(program.loss, given, runs=runs)
        self._tell(ValidationRecord(step, float(self._programs["validation"](*given))))

    def _compiled(self, name: str, function: Any, given: Any, steps: int, others: list[Any]) -> Compiled:
        if name not in self._programs and any(len(each.devices()) > 1 for each in self._weights):
            # What a step gives back may lie otherwise than what it was given: `jit` follows.
            self._programs[name] = Compiled(jax.jit(function), 0.0, 0.0)
        elif name not in self._programs:
            plain = partial(self._program.differentiate_plain, Inputs(self._weights, others))
            self._programs[name] = compile_program(function, given, runs=steps, donate=(0, 1), plain=plain)
        return self._programs[name]

    def _measured(
        self, weights: Leaves, state: Any, held: Array, others: list[Array], consts: list[Array], gains: Any
    ) -> tuple[Leaves, Any, Array, Array, Array]:
        """Traceable: weights, the optimizer's state and whether it is held, after the step; the loss before
        it, and the vector of its numbers."""
        site_gains, leaf_gains = gains

        def tapped(weights: Leaves, sinks: Any) -> Any:
            return self._program.tapped(weights, sinks, site_gains, others, consts, TAKEN)

        both = jax.value_and_grad(tapped, argnums=(0, 1), has_aux=True)
        (loss, forward), (gradients, delta) = both(weights, self._program.sinks(TAKEN))
        wanted, after = self._wanted(weights, state, loss, gradients)
        changes = [new - weight for new, weight in zip(wanted, weights, strict=True)]
        vector = self._numbers.taken(forward, delta, (gradients, wanted, changes), leaf_gains)
        held = held | ~_finite(wanted)
        return _held(held, weights, wanted), after, held, loss, vector

    def _plain(
        self, weights: Leaves, state: Any, held: Array, others: list[Array], consts: list[Array]
    ) -> tuple[Leaves, Any, Array, Array]:
        """Traceable: as `_measured`, with nothing measured but the loss."""
        loss, gradients = jax.value_and_grad(self._program.loss)(weights, others, consts)
        wanted, after = self._wanted(weights, state, loss, gradients)
        held = held | ~_finite(wanted)
        return _held(held, weights, wanted), after, held, loss

    def _wanted(self, weights: Leaves, state: Any, loss: Array, gradients: Leaves) -> tuple[Leaves, Any]:
        """What the optimizer makes of the weights, and of its state."""
        updates, after = self._rule(weights, gradients, state, loss)
        return [stepped(weight, update) for weight, update in zip(weights, updates, strict=True)], after


def _held(held: Array, before: Leaves, after: Leaves) -> Leaves:
    return [jnp.where(held, old, new) for old, new in zip(before, after, strict=True)]


def _finite(weights: Leaves) -> Array:
    """Whether every element of every leaf is."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(each)) for each in weights]))
