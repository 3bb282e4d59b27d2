"""The training step that a file writes itself, as a program of what goes from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradscope.blocks.by_part import by_part
from gradscope.blocks.forward import compile_forward
from gradscope.load.model.frameworks.base import code_of
from gradscope.load.model.step_call import AfterStep, CannotBeCalled, StepCall
from gradscope.load.model.train_step import TrainStep
from gradscope.load.problem import Problem
from gradscope.load.signature.keys import NO_KEY, prng_key
from gradscope.load.usercode.discarded import same_parameters
from gradscope.load.usercode.fault import headline
from gradscope.records import SameParameters, Skipped
from gradscope.trace import jaxprs
from gradscope.trace.compiling import laid_out
from gradscope.trace.jaxprs.inlining import live
from gradscope.trace.leaves import split
from gradscope.trace.nested.registry import called_in_place
from gradscope.training.additions import is_a_sum_with, sums_with
from gradscope.training.optimizer import Leaves


class StepProgram:
    """The step as a program of its arrays."""

    def __init__(
        self, step: TrainStep, call: StepCall, weights: Leaves, drawn: Sequence[Any], seed: int
    ) -> None:
        """From the differentiated leaves `weights`, with the batches `drawn` in turn."""
        self.step, self.call, self._drawn, self._seed = step, call, drawn, seed
        self.places = call.places()
        if [np.shape(call.moving[call.role].arrays[place]) for place in self.places] != [
            np.shape(weight) for weight in weights
        ]:
            raise CannotBeCalled(f"`{call.role}` holds other parameters than the loss takes")
        self.names = sorted(call.moving)
        self.start = {name: list(call.moving[name].arrays) for name in self.names}
        for place, weight in zip(self.places, weights, strict=True):
            self.start[call.role][place] = weight
        self._batch = split(drawn[0])
        self._after = AfterStep({}, frozenset(), [])
        self.given, self._structure = jax.tree.flatten((self.start, *self._beside(0)))
        """The arrays of what goes from step to step, of the batch, the key and the number of the step."""
        body = jaxprs.body_of(jax.make_jaxpr(self._flat)(*self.given))
        if body.jaxpr.effects:
            raise CannotBeCalled("it does something beside its results, as a callback does")
        self.body = jaxprs.written_out(body, called_in_place).body
        read = live(self.body, [True] * len(self.body.jaxpr.outvars))[1]
        first = self._position(call.role, self.names)
        if not any(read[first + place] for place in self.places):
            raise CannotBeCalled(f"it does not read `{call.role}`, taken for its parameters")
        self._require_an_update(call)
        self._run: Any = None

    @property
    def batch_in(self) -> range:
        """The inputs that are the batch; before them is what goes from step to step."""
        first = sum(map(len, self.start.values()))
        return range(first, first + len(self._batch.traced))

    def _require_an_update(self, call: StepCall) -> None:
        """Raises where what it makes of the parameters is no sum with them, or where another object of their
        form may be what was trained: then neither is told by its results."""
        before, after = self.variables(call.role)
        own = [before[place] for place in self.places if np.ndim(self.start[call.role][place])]
        wanted = {np.shape(var.aval) for var in own}
        summed = sums_with(self.body, own)
        if after is None and not wanted <= {np.shape(var.aval) for var in own if var in summed}:
            raise CannotBeCalled(f"nothing is added to `{call.role}` in it")
        if after is None:
            return
        ends = [after[place] for place in self.places if np.ndim(self.start[call.role][place])]
        if not any(
            end in before or is_a_sum_with(self.body, end, var) for end, var in zip(ends, own, strict=True)
        ):
            raise CannotBeCalled(f"what it gives back is not `{call.role}` with something added")
        others = [name for name in call.alike() if name != call.role and self.comes_back(name)]
        if all(self.as_they_came()) and any(self._changes(name) for name in others):
            raise CannotBeCalled(
                f"`{others[0]}` has the form of `{call.role}`, and which one comes back is not told"
            )

    def _changes(self, name: str) -> bool:
        before, after = self.variables(name)
        return after is not None and any(a is not b for a, b in zip(after, before, strict=True))

    def comes_back(self, name: str) -> bool:
        return self._after.arrays[name] is not None

    def variables(self, name: str) -> tuple[list[Any], list[Any] | None]:
        """Of the program, for the arrays of an object: before and after the step."""
        first, outs = self._position(name, self.names), self.results(name)
        before = self.body.jaxpr.invars[first : first + len(self.start[name])]
        return before, None if outs is None else [self.body.jaxpr.outvars[out] for out in outs]

    def results(self, name: str) -> range | None:
        """Which results are the arrays of an object after the step; `None` where it does not come back."""
        if not self.comes_back(name):
            return None
        first = self._position(name, [each for each in self.names if self.comes_back(each)])
        return range(first, first + len(self.start[name]))

    @property
    def holder(self) -> Any:
        """The object of the file with the parameters."""
        return self.call.moving[self.call.role].value

    def loop(self) -> SameParameters | None:
        """A loop of the file that gives it the same parameters again and again, where they come back as a
        result."""
        step, role = self.step, self.call.role
        code = code_of(step.function)
        if role in self._after.in_place or code is None or not Path(code.co_filename).is_file():
            return None
        found = same_parameters(code.co_filename, step.name, step.trained_argument)
        return None if found is None else SameParameters(*found)

    def as_they_came(self) -> list[bool]:
        """By leaf: whether the step gives back the very array that it is given."""
        before, after = self.variables(self.call.role)
        return [after is not None and after[place] is before[place] for place in self.places]

    def _position(self, name: str, names: Sequence[str]) -> int:
        return sum(len(self.start[each]) for each in names[: names.index(name)])

    def _beside(self, step: int, *, first: bool = False) -> tuple[list[Any], Any, Any]:
        batch = self._drawn[0 if first else step % len(self._drawn)]
        key = jax.random.fold_in(prng_key(self._seed), step) if self.call.takes_key else NO_KEY
        return list(split(batch).traced.values()), key, np.int32(step)

    def _flat(self, *given: Any) -> list[Any]:
        arrays, batch, key, number = jax.tree.unflatten(self._structure, given)
        after = self._after = self.call(arrays, self._batch.join(batch), key, number)
        return [*(array for name in self.names for array in after.arrays[name] or ()), *after.others]

    def run(self, steps: int, factor: float = 1.0, *, first: bool = False) -> Iterator[Leaves]:
        """The weights after each step, each `factor` times as long, where they lay at the start; `first`: all
        on the first batch."""
        if self._run is None:
            self._run = compile_forward(by_part(self.body), self.given, steps, outputs=None)
        arrays, role = {name: list(each) for name, each in self.start.items()}, self.call.role
        for step in range(steps):
            results = iter(self._run(jax.tree.leaves((arrays, *self._beside(step, first=first)))))
            before = arrays[role]
            for name in self.names:
                if self.comes_back(name):
                    arrays[name] = [next(results) for _ in arrays[name]]
            for place in self.places if factor != 1.0 else ():
                longer = before[place] + factor * (arrays[role][place] - before[place])
                arrays[role][place] = longer.astype(before[place].dtype)
            weights = tuple(arrays[role][place] for place in self.places)
            yield list(laid_out(weights, [self.start[role][place].sharding for place in self.places]))


def step_program(problem: Problem, weights: Leaves, drawn: Sequence[Any]) -> StepProgram | Skipped | None:
    """That of the problem; `None` where it has none, `Skipped` where it cannot be run as it stands."""
    step = problem.train_step
    if step is None:
        return None
    try:
        call = step.call_for(problem.initial, problem.optimizer, drawn[0])
        return StepProgram(step, call, weights, drawn, problem.seed)
    except CannotBeCalled as error:
        return Skipped(f"`{step.name}`", f"it was not run: {error}")
    except Exception as error:  # whatever the user's function raises at what it was given
        return Skipped(f"`{step.name}`", f"it was not run: it raised {headline(error)}")
