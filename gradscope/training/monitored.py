"""A training that measures itself: compiled steps with the statistics of every layer inside.

A step that would make a parameter NaN or infinite is taken back, with those after it: the params stay where
the cause can still be measured. So a step leaves its weights as they are and writes those after it over older
ones, which are no longer needed: nothing is copied, and nothing is asked on the device.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from gradscope.measure.replicas import diverged, is_replicated
from gradscope.records import DivergedReplicas, Ending, LossRecord, StepRecord, ValidationRecord
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Inputs, Program
from gradscope.trace.spread import placed_as, started
from gradscope.trace.stream import BatchStream
from gradscope.training.layer_numbers import TAKEN, Gains, LayerNumbers
from gradscope.training.optimizer import Leaves, StepRule, stepped

BAD_LOSSES = 20
"""Steps in a row whose loss is not finite, after which a training is stopped."""
COMPARED = 20
"""How often on the way the copies of parameters on several devices are compared."""
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
    diverged: tuple[DivergedReplicas, ...] = ()
    """Parameters whose copies on several devices were no longer equal, where that was first seen."""


@dataclass(frozen=True)
class _OnItsWay:
    step: int
    batch: Any
    others: list[Any]
    before: Leaves
    """The weights that it began with."""
    loss: Any
    vector: Any
    """`None` where the layers were not measured."""
    gains: Gains
    """At which it was taken."""


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
        fresh = partial(started(rule.fresh, (self._weights,)), self._weights)
        self._state = fresh() if begun is None else jax.tree.map(jnp.array, begun)
        self._spare: list[Leaves] = []
        """Weights of steps that are known to be good: their memory is written over."""
        self._gains = numbers.gains()
        self._waiting: deque[_OnItsWay] = deque()
        self._last: _OnItsWay | None = None
        """The last that was read: whether what it made is finite shows in the loss of the next one."""
        self._losses: list[float] = []
        self._done = 0
        self._validated = -1
        self._bad_losses = 0
        self._broken: tuple[Ending, _OnItsWay] | None = None
        self._programs: dict[str, Compiled] = {}
        self._diverged: tuple[DivergedReplicas, ...] = ()

    def run(self, stream: BatchStream, steps: int) -> TrainingEnd:
        """Ctrl-C ends it as `INTERRUPTED`. Raises what the optimizer and the data raise."""
        ending = Ending.COMPLETE
        try:
            batches = iter(stream)
            for step in range(steps):
                self._validate(step, steps)
                if step and step % max(1, steps // COMPARED) == 0:
                    self._compare(step)
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
        if self._broken is None and self._last is not None and self._last.vector is None:
            self._require_finite(self._last, self._weights)
        if self._losses:
            self._tell(LossRecord(self._done - 1, tuple(self._losses)))
        self._compare(self._done)
        broken = None
        if self._broken is not None:
            ending, seen = self._broken
            broken = seen.batch, Inputs(self._weights, seen.others)
        return TrainingEnd(ending, self._done, self._weights, broken, self._diverged)

    def _compare(self, step: int) -> None:
        """The copies of each parameter, up to the first time that some differ."""
        if self._diverged or not any(map(is_replicated, self._weights)):
            return
        names = [leaf.name for leaf in self._program.leaves]
        self._diverged = tuple(replace(each, step=step) for each in diverged(names, self._weights))

    def _start(self, step: int, batch: Any, others: list[Any], steps: int) -> None:
        """The last step is measured, too, so that no loss before it is left untold."""
        before = self._weights
        spare = self._spare.pop() if self._spare else [jnp.zeros_like(weight) for weight in before]
        given: tuple[Any, ...] = (spare, self._state, before, others, self._consts)
        if step % self._every and step != steps - 1:
            run = self._compiled("plain", self._plain, given, steps, others)
            found = run.start(*given)
            vector = None
        else:
            given += (self._gains[1],)
            run = self._compiled("measured", self._measured, given, steps, others)
            *found, vector = run.start(*given)
        self._weights, self._state, loss = found
        self._waiting.append(_OnItsWay(step, batch, others, before, loss, vector, self._gains[0]))

    def _settled(self, left: int) -> bool:
        """Read all but the last `left` steps; False once it is broken."""
        while len(self._waiting) > left and self._broken is None:
            seen = self._waiting.popleft()
            loss, vector = jax.device_get((seen.loss, seen.vector))
            doubtful = not math.isfinite(loss)
            if doubtful and self._last is not None and not self._require_finite(self._last, seen.before):
                break
            self._losses.append(float(loss))
            self._done = seen.step + 1
            if vector is not None:
                norm, values, moved = self._numbers.read(vector, seen.gains)
                self._gains = self._numbers.gains() if moved else self._gains
                self._tell(StepRecord(seen.step, tuple(self._losses), norm, values))
                self._losses.clear()
                doubtful = doubtful or not self._numbers.finite(vector)
            if doubtful:
                after = self._waiting[0].before if self._waiting else self._weights
                if not self._require_finite(seen, after):
                    break
            self._bad_losses = 0 if math.isfinite(loss) else self._bad_losses + 1
            if self._bad_losses == BAD_LOSSES:
                self._end(Ending.LOSS_NOT_FINITE, seen)
            if self._last is not None:
                self._spare.append(self._last.before)
            self._last = seen
        return self._broken is None

    def _require_finite(self, step: _OnItsWay, after: Leaves) -> bool:
        """Whether what the step made of the weights is finite; otherwise it is taken back."""
        if bool(_finite(after)):
            return True
        self._end(Ending.NOT_FINITE, step)
        return False

    def _end(self, ending: Ending, step: _OnItsWay) -> None:
        """The training ends with the weights that the step began with."""
        self._broken, self._weights, self._done = (ending, step), step.before, step.step + 1

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
        self, spare: Leaves, state: Any, weights: Leaves, others: list[Array], consts: list[Array], gains: Any
    ) -> tuple[Leaves, Any, Array, Array]:
        """Traceable: weights and the optimizer's state after the step, the loss before it, and the vector of
        its numbers. The memory of `spare` becomes that of the weights after it."""
        del spare
        site_gains, leaf_gains = gains

        def tapped(weights: Leaves, sinks: Any) -> Any:
            return self._program.tapped(weights, sinks, site_gains, others, consts, TAKEN)

        both = jax.value_and_grad(tapped, argnums=(0, 1), has_aux=True)
        (loss, forward), (gradients, delta) = both(weights, self._program.sinks(TAKEN))
        wanted, after = self._wanted(weights, state, loss, gradients, others, consts)
        # Without it XLA makes the updates once more for each number that is taken of them.
        wanted, gradients = jax.lax.optimization_barrier((wanted, gradients))  # type: ignore[no-untyped-call]
        changes = [new - weight for new, weight in zip(wanted, weights, strict=True)]
        vector = self._numbers.taken(forward, delta, (gradients, wanted, changes), leaf_gains)
        return wanted, after, loss, vector

    def _plain(
        self, spare: Leaves, state: Any, weights: Leaves, others: list[Array], consts: list[Array]
    ) -> tuple[Leaves, Any, Array]:
        """Traceable: as `_measured`, with nothing measured but the loss."""
        del spare
        loss, gradients = jax.value_and_grad(self._program.loss)(weights, others, consts)
        return *self._wanted(weights, state, loss, gradients, others, consts), loss

    def _wanted(
        self,
        weights: Leaves,
        state: Any,
        loss: Array,
        gradients: Leaves,
        others: list[Array],
        consts: list[Array],
    ) -> tuple[Leaves, Any]:
        """What the optimizer makes of the weights, and of its state."""

        def loss_of(leaves: Leaves) -> Array:
            return self._program.loss(leaves, others, consts)

        updates, after = self._rule(weights, gradients, state, loss, loss_of)
        moved = [stepped(weight, update) for weight, update in zip(weights, updates, strict=True)]
        return placed_as(moved, self._weights), after


@jax.jit
def _finite(weights: Leaves) -> Array:
    """Whether every element of every leaf is."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(each)) for each in weights]))
