"""What the model makes of a batch in which a part of its input is another one.

Only what enters the model is changed, where it meets the parameters: targets, masks and weights that are
computed from the same arrays stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.blocks.forward import Run, compile_forward
from gradscope.measure.leaks.placing import NdArray
from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.domains.data_meetings import DataMeeting, data_meetings
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import path_name, split
from gradscope.trace.program import Inputs, Program
from gradscope.trace.spliced import Spliced, Spot
from gradscope.trace.spread import in_reach

EXACT = 1e-6
"""Share of the largest change of the output: below it a change is of the size of rounding."""
ROUNDED = 1e-3
"""The same where one element's rounding reaches others: Fourier transforms, kernels of accelerators."""
FILLED = 0.02
"""Deviation of what stands in for weights that are all zero, and hide what lies behind them."""
RUNS = 8
"""Of one forward program, at most."""
_COMPARED = frozenset({"sub", "add", "mul", "div", "select_n", "max", "min"})
_ROUNDING = frozenset({"fft"})


@dataclass(frozen=True)
class Compared:
    """Where an output of the model meets targets."""

    meeting: DataMeeting
    spot: Spot
    """Of the output."""

    @property
    def lead(self) -> tuple[int, ...]:
        """Axes that the output shares with its targets."""
        shape = shape_of(self.meeting.eqn.invars[self.meeting.operand])
        return shape[:-1] if self.meeting.eqn.primitive.name == "gather" else shape

    def aligned(self, value: NdArray) -> NdArray:
        """The output with these as its first axes."""
        return value.reshape(*self.lead, -1)


class Trials:
    """One program at one batch."""

    def __init__(self, program: Program, batch: Any, inputs: Inputs) -> None:
        self.program, self.batch = program, batch
        self._originals = [*inputs.weights, *inputs.others, *program.body.consts]
        self._given: dict[tuple[Spot, ...], Compiled] = {}
        self._losses: dict[Spot, Callable[[Sequence[NdArray]], NdArray]] = {}
        traced = split(batch).traced
        self.first = len(program.body.jaxpr.invars) - len(traced) - 1
        paths = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(batch)[0]]
        self._names = {self.first + i: paths[place] for i, place in enumerate(traced)}

    @cached_property
    def _ready(self) -> tuple[list[Any], bool]:
        count = len(self.program.leaves)
        weights, filled = _filled(self._originals[:count])
        return [*weights, *self._originals[count:]], filled

    @property
    def _values(self) -> list[Any]:
        return self._ready[0]

    @property
    def filled(self) -> bool:
        """Weights that are all zero have others in their place."""
        return self._ready[1]

    @cached_property
    def arrays(self) -> dict[int, NdArray]:
        """Those of the batch, or where the loss takes none those that it closes over."""
        places = self._names or range(len(self.program.body.jaxpr.invars), len(self._originals))
        found = {place: self._originals[place] for place in places}
        return {
            place: np.asarray(value)
            for place, value in found.items()
            if not jnp.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.extended)
        }

    def name(self, place: int) -> str:
        return self._names.get(place, "")

    @cached_property
    def meetings(self) -> list[DataMeeting]:
        return data_meetings(self.program.body, len(self.program.leaves))

    @cached_property
    def tolerance(self) -> float:
        rounded = jax.default_backend() != "cpu" or jaxprs.has_primitive(self.program.body, _ROUNDING)
        return ROUNDED if rounded else EXACT

    def compared(self) -> Iterator[Compared]:
        """In the order of the program."""
        for meeting in self.meetings:
            spot = _output(meeting)
            if spot is not None:
                yield Compared(meeting, spot)

    def given(
        self, meetings: Sequence[DataMeeting], edits: Sequence[Mapping[int, NdArray]]
    ) -> list[list[NdArray]]:
        """What the operands are with each edit of the arrays; computed from the batch alone."""
        places = sorted(set().union(*(meeting.given.inputs for meeting in meetings)))

        def values(inputs: Mapping[int, Any]) -> list[Any]:
            return [meeting.given.value(inputs) for meeting in meetings]

        base = {place: self._originals[place] for place in places}
        key = tuple((meeting.path, meeting.operand) for meeting in meetings)
        if key not in self._given:
            self._given[key] = compile_program(values, (base,), runs=4)
        run = self._given[key]
        found = []
        for edit in edits:
            changed = {place: new for place, new in edit.items() if place in base}
            found.append([np.asarray(value) for value in jax.device_get(run(base | changed))])
        return found

    def forward(self, read: Spot | None, puts: Sequence[Spot]) -> Callable[[Sequence[NdArray]], NdArray]:
        """A function of the values of `puts` to that of `read`, or to the loss where it is `None`."""
        run, compiled = self._traceable([] if read is None else [read], puts, loss=read is None), list[Run]()

        def call(values: Sequence[NdArray]) -> NdArray:
            inputs = [*self._values, *values]
            if not compiled:
                compiled.append(compile_forward(jaxprs.body_of(jax.make_jaxpr(run)(*inputs)), inputs, RUNS))
            return np.asarray(jax.device_get(compiled[0](inputs)[0]))

        return call

    def loss_at(self, meeting: DataMeeting) -> Callable[[Sequence[NdArray]], NdArray]:
        """The loss as a function of what is met there, compiled once."""
        spot = meeting.path, meeting.operand
        if spot not in self._losses:
            self._losses[spot] = self.forward(None, [spot])
        return self._losses[spot]

    def values(
        self, reads: Sequence[Spot], puts: Sequence[Spot], values: Sequence[Sequence[NdArray]]
    ) -> list[list[NdArray]]:
        """Of `reads`, for each of several lists of what is put in."""
        run = self._traceable(reads, puts)
        compiled = compile_program(run, (*self._values, *values[0]), runs=len(values))
        return [jax.device_get(compiled(*self._values, *each)) for each in values]

    def _traceable(self, reads: Sequence[Spot], puts: Sequence[Spot], *, loss: bool = False) -> Any:
        body, spliced = self.program.body, Spliced(reads, puts)
        inputs, consts = len(body.jaxpr.invars), len(body.consts)

        def run(*args: Any) -> Any:
            given = dict(zip(puts, args[inputs + consts :], strict=True))
            whole, found = spliced.outcome(
                Body(body.jaxpr, args[inputs : inputs + consts]), args[:inputs], given
            )
            return whole if loss else found

        return run


def changes(a: Any, b: Any) -> NdArray:
    """|a - b|, and 0 where either is no number."""
    wide = [np.asarray(value).astype(_wide(value)) for value in (a, b)]
    with np.errstate(invalid="ignore"):
        apart = np.abs(wide[0] - wide[1])
    return np.where(np.isfinite(apart), apart, 0)


def _wide(value: Any) -> Any:
    return np.complex128 if np.asarray(value).dtype.kind == "c" else np.float32


def _output(meeting: DataMeeting) -> Spot | None:
    eqn, name = meeting.eqn, meeting.eqn.primitive.name
    if len(meeting.outputs) == 0:
        return None
    if name == "gather":
        batch = jaxprs.lookup(eqn).batch
        result = shape_of(eqn.outvars[0])
        leading = batch == tuple(range(len(batch)))
        alone = all(size == 1 for axis, size in enumerate(result) if axis not in batch)
        return (meeting.path, -1) if meeting.operand == 1 and (leading or alone) else None
    first = meeting.outputs[0]
    alike = shape_of(eqn.invars[first]) == shape_of(eqn.invars[meeting.operand])
    paired = name == "dot_general" and jaxprs.pairs_same_axes(eqn)
    return (meeting.path, first) if alike and (name in _COMPARED or paired) else None


def _filled(weights: Sequence[Any]) -> tuple[list[Any], bool]:
    """Weights and factors that start at zero, with small numbers in their place."""
    rng, found, filled = np.random.default_rng(0), list[Any](), False
    for weight in weights:
        gate = np.ndim(weight) != 1 or np.size(weight) == 1
        if gate and np.size(weight) and not _holds_any(weight):
            weight = jnp.asarray(FILLED * rng.standard_normal(np.shape(weight)), weight.dtype)
            filled = True
        found.append(weight)
    return found, filled


def _holds_any(weight: Any) -> bool:
    """Whether an element is not 0: without compiling anything where the weights lie in host memory."""
    return bool(np.any(np.asarray(weight)) if in_reach([weight]) else jnp.any(weight))
