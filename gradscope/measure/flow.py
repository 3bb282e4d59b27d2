"""The flow pass: one compiled program that measures activations, δ and gradients, layer by layer.

Nothing of the size of an activation leaves the program, and no large gradient unless it is asked for. Squares
that would underflow or overflow are measured again at another gain, by the same compiled program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import jax

from gradscope.blocks.running import Keep, all_of_it
from gradscope.measure.flow_programs import InBlocks, Step, Whole, compiled_step
from gradscope.measure.leaf_statistics import GRADIENT, LeafStatistics
from gradscope.measure.readings import Reading, range_gain
from gradscope.trace.probe import Distance
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, FLOW, MAX, Selection

T = TypeVar("T")
Begun = tuple[Any, list[Any]]
"""A loss and by leaf its gradients, on the device."""


@dataclass(frozen=True)
class Sample:
    """What one batch measured, as read back from the device."""

    loss: float
    forward: dict[int, Reading]
    """By site."""
    delta: dict[int, Reading]
    gradients: list[Reading]
    """By leaf; one entry along axis 0 for each row of a stacked leaf."""
    probes: dict[int, Distance] = field(default_factory=dict)
    """By probe: NumPy arrays with one entry for each step of the loops around it."""


class FlowPass:
    """Compiled once for the shapes of a program; call it with the inputs of each batch."""

    def __init__(
        self,
        program: Program,
        inputs: Inputs,
        *,
        runs: int = 1,
        work: float = 0.0,
        selection: Selection = FLOW,
        gradients: bool = False,
    ) -> None:
        """`selection` has at least the statistics of `FLOW`: the gains are set by them. `gradients`: what is
        compiled hands them out, so that no other program is compiled for a training. `work`: what all runs,
        those of the training among them, compute."""
        self.program = program
        self._selection = selection
        self._leaves = LeafStatistics(program)
        self._consts = list(program.body.consts)
        self._step, self._runs = Step(program, self._leaves, selection, gradients, work), runs
        self.compiled = self._compile(compiled_step, inputs)

    def __call__(self, inputs: Inputs) -> Sample:
        return self.with_gradients(inputs)[0]

    def with_gradients(self, inputs: Inputs) -> tuple[Sample, Begun | None]:
        """The sample, and what it is of where the pass hands gradients out."""
        gains, leaf_gains = self.program.gains(), self._leaves.gains()
        raw, begun = self._run(inputs, gains, leaf_gains)
        if self._out_of_range(raw, gains, leaf_gains):
            raw, begun = self._run(inputs, gains, leaf_gains)
        return self._read(raw, gains, leaf_gains), begun

    def loss(self, inputs: Inputs) -> Any:
        """The loss alone, which stays on the device."""
        given = inputs.weights, inputs.others, self._consts
        return self._retried(lambda: self.compiled.loss(*given), inputs)

    def gradients(self, inputs: Inputs, keep: Keep = all_of_it) -> list[Any]:
        """Of each leaf what `keep` makes of its gradient, which stays on the device."""
        return self.loss_and_gradients(inputs, keep)[1]

    def loss_and_gradients(self, inputs: Inputs, keep: Keep = all_of_it) -> tuple[Any, list[Any]]:
        """The loss, which stays on the device, too, and the same."""
        given = inputs.weights, inputs.others, self._consts, keep
        return self._retried(lambda: self.compiled.loss_and_gradients(*given), inputs)

    def arguments(self, inputs: Inputs, gains: Any = None, leaf_gains: Any = None) -> tuple[Any, ...]:
        """What the compiled program takes; gains are one unless they are given."""
        gains = self.program.gains() if gains is None else gains
        leaf_gains = self._leaves.gains() if leaf_gains is None else leaf_gains
        return inputs.weights, gains, leaf_gains, inputs.others, self._consts

    def _run(self, inputs: Inputs, gains: Any, leaf_gains: Any) -> tuple[Any, Begun | None]:
        arguments = self.arguments(inputs, gains, leaf_gains)
        raw, gradients = self._retried(lambda: self.compiled(*arguments), inputs)
        return jax.device_get(raw), None if gradients is None else (raw[0], gradients)

    def _compile(self, how: Callable[..., Whole | InBlocks], inputs: Inputs) -> Whole | InBlocks:
        plain = partial(self.program.differentiate_plain, inputs)
        return how(self._step, self.arguments(inputs), self._runs, plain)

    def _retried(self, run: Callable[[], T], inputs: Inputs) -> T:
        """`run`, and where it fails in blocks, once more as one program: what fails there too is raised."""
        if isinstance(self.compiled, InBlocks):
            with suppress(Exception):
                return run()
            # Out here nothing holds any longer what the blocks had kept.
            self.compiled = self._compile(Whole, inputs)
        return run()

    def _out_of_range(self, raw: Any, gains: dict[int, Any], leaf_gains: dict[int, Any]) -> bool:
        """Set the gains where a square left the range of its dtype; False where none did."""
        _, forward, delta, found = raw
        for key, gain in gains.items():
            gain[..., 0] = range_gain(forward[key][MAX.name], gain.dtype)
            gain[..., 1] = range_gain(delta[key][MAX.name], gain.dtype)
        for leaf, gain in leaf_gains.items():
            leaf_gains[leaf] = range_gain(found[leaf][MAX.name], gain.dtype).astype(gain.dtype)
        return any((gain != 1).any() for gain in [*gains.values(), *leaf_gains.values()])

    def _read(self, raw: Any, gains: dict[int, Any], leaf_gains: dict[int, Any]) -> Sample:
        loss, forward, delta, gradients = raw
        of_value, of_delta = self._selection
        counts = {key: forward[key][COUNT.name] for key in gains}
        return Sample(
            loss=float(loss),
            forward={
                key: Reading.of(of_value, forward[key], gain[..., 0], counts[key])
                for key, gain in gains.items()
            },
            delta={
                key: Reading.of(of_delta, delta[key], gain[..., 1], counts[key])
                for key, gain in gains.items()
            },
            gradients=self._leaves.read(gradients, leaf_gains, GRADIENT),
            probes={key: found for key, found in forward.items() if key not in gains},
        )
