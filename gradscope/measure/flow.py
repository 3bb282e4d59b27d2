"""The flow pass: one compiled program that measures activations, δ and gradients, layer by layer.

Nothing of the size of an activation or of a gradient leaves the program. Squares that would underflow
or overflow are measured again by the same program at another gain, without compiling anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import Array

from gradscope.measure.leaf_statistics import LeafStatistics
from gradscope.measure.statistics import Floats, Moments, range_gain
from gradscope.measure.updates import Updates
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Inputs, Program


@dataclass(frozen=True)
class Sample:
    """What one batch measured, as read back from the device."""

    loss: float
    forward: dict[int, Moments]
    """By site."""
    delta: dict[int, Moments]
    gradients: list[Moments]
    """By leaf; one entry along axis 0 for each row of a stacked leaf."""
    nonzero: list[Floats]
    """By leaf: elements of the gradient that are not exactly zero."""
    updates: list[Moments]
    """By leaf: what the user's optimizer would add to it; empty where none is given."""
    probes: dict[int, tuple[Floats, ...]] = field(default_factory=dict)
    """By probe: distance of the nearest element, largest |element| but outliers, elements on the point."""


class FlowPass:
    """Compiled once for the shapes of a program; call it with the inputs of each batch."""

    def __init__(
        self, program: Program, inputs: Inputs, *, runs: int = 1, updates: Updates | None = None
    ) -> None:
        self._program = program
        self._updates = updates
        self._leaves = LeafStatistics(program)
        self._consts = list(program.body.consts)
        self.compiled: Compiled = compile_program(self._step, self.arguments(inputs), runs=runs)

    def __call__(self, inputs: Inputs) -> Sample:
        gains, leaf_gains = self._program.gains(), self._leaves.gains()
        raw = self._run(inputs, gains, leaf_gains)
        if self._out_of_range(raw, gains, leaf_gains):
            raw = self._run(inputs, gains, leaf_gains)
        return self._read(raw, gains, leaf_gains)

    def _step(
        self,
        weights: list[Array],
        gains: dict[int, Array],
        leaf_gains: dict[int, Array],
        others: list[Array],
        consts: list[Array],
    ) -> Any:
        both = jax.value_and_grad(self._program.tapped, argnums=(0, 1), has_aux=True)
        (loss, forward), (gradients, delta) = both(weights, self._program.sinks(), gains, others, consts)
        updates = self._updates(loss, gradients, weights) if self._updates else []
        reduced = [self._leaves.reduced(values, leaf_gains) for values in (gradients, updates)]
        return loss, forward, delta, *reduced

    def arguments(self, inputs: Inputs, gains: Any = None, leaf_gains: Any = None) -> tuple[Any, ...]:
        """What the compiled program takes; gains are one unless they are given."""
        gains = self._program.gains() if gains is None else gains
        leaf_gains = self._leaves.gains() if leaf_gains is None else leaf_gains
        return inputs.weights, gains, leaf_gains, inputs.others, self._consts

    def _run(self, inputs: Inputs, gains: Any, leaf_gains: Any) -> Any:
        return jax.device_get(self.compiled(*self.arguments(inputs, gains, leaf_gains)))

    def _out_of_range(self, raw: Any, gains: dict[int, Any], leaf_gains: dict[int, Any]) -> bool:
        """Set the gains where a square left the range of its dtype; False where none did."""
        _, forward, delta, found, _ = raw
        for key, gain in gains.items():
            gain[..., 0] = range_gain(forward[key][1], gain.dtype)
            gain[..., 1] = range_gain(delta[key][1], gain.dtype)
        for leaf, gain in leaf_gains.items():
            leaf_gains[leaf] = range_gain(found[leaf][1], gain.dtype).astype(gain.dtype)
        return any((gain != 1).any() for gain in [*gains.values(), *leaf_gains.values()])

    def _read(self, raw: Any, gains: dict[int, Any], leaf_gains: dict[int, Any]) -> Sample:
        loss, forward, delta, found, updates = raw
        values = {
            key: Moments.read(squares, top, gains[key][..., 0], count)
            for key, (squares, top, count) in forward.items()
            if key in gains
        }
        gradients = self._leaves.read(found, leaf_gains)
        return Sample(
            loss=float(loss),
            forward=values,
            delta={
                key: Moments.read(squares, top, gains[key][..., 1], values[key].counts)
                for key, (squares, top) in delta.items()
            },
            gradients=[moments for moments, _ in gradients],
            nonzero=[nonzero for _, nonzero in gradients],
            updates=[moments for moments, _ in self._leaves.read(updates, leaf_gains)],
            probes={
                key: tuple(np.asarray(part, np.float64) for part in found)
                for key, found in forward.items()
                if key not in gains
            },
        )
