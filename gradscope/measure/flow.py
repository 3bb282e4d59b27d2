"""The flow pass: one compiled program that measures activations, δ and gradients, layer by layer.

Nothing of the size of an activation or of a gradient leaves the program. Squares that would underflow
or overflow are measured again by the same program at another gain, without compiling anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.compiling import Compiled, compile_program
from gradscope.measure.statistics import Floats, Moments, range_gain
from gradscope.trace.program import Inputs, Program
from gradscope.trace.tap import WIDTH, stats, stats_dtype


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


class FlowPass:
    """Compiled once for the shapes of a program; call it with the inputs of each batch."""

    def __init__(self, program: Program, inputs: Inputs, *, runs: int = 1) -> None:
        self._program = program
        self._rows = rows_of_leaves(program)
        self._sinks = {
            site.id: np.zeros((*site.shape, WIDTH), stats_dtype(site.dtype)) for site in program.sites
        }
        self._consts = list(program.body.consts)
        args = self.arguments(inputs, self._unit_gains(), self._unit_leaf_gains())
        self.compiled: Compiled = compile_program(self._step, args, runs=runs)

    def __call__(self, inputs: Inputs) -> Sample:
        gains, leaf_gains = self._unit_gains(), self._unit_leaf_gains()
        raw = self._run(inputs, gains, leaf_gains)
        if self._out_of_range(raw, gains, leaf_gains):
            raw = self._run(inputs, gains, leaf_gains)
        return self._read(raw, gains, leaf_gains)

    def _step(
        self,
        weights: list[Array],
        sinks: dict[int, Array],
        gains: dict[int, Array],
        leaf_gains: list[Array],
        others: list[Array],
        consts: list[Array],
    ) -> Any:
        both = jax.value_and_grad(self._program.tapped, argnums=(0, 1), has_aux=True)
        (loss, forward), (gradients, delta) = both(weights, sinks, gains, others, consts)
        found = [
            leaf_stats(gradient, gain, rows)
            for gradient, gain, rows in zip(gradients, leaf_gains, self._rows, strict=True)
        ]
        return loss, forward, delta, found

    def arguments(self, inputs: Inputs, gains: Any, leaf_gains: Any) -> tuple[Any, ...]:
        return inputs.weights, self._sinks, gains, leaf_gains, inputs.others, self._consts

    def _run(self, inputs: Inputs, gains: Any, leaf_gains: Any) -> Any:
        return jax.device_get(self.compiled(*self.arguments(inputs, gains, leaf_gains)))

    def _unit_gains(self) -> dict[int, Any]:
        return {key: np.ones_like(sink) for key, sink in self._sinks.items()}

    def _unit_leaf_gains(self) -> list[Any]:
        return [
            np.ones(() if rows is None else (rows,), stats_dtype(leaf.dtype))
            for leaf, rows in zip(self._program.leaves, self._rows, strict=True)
        ]

    def _out_of_range(self, raw: Any, gains: dict[int, Any], leaf_gains: list[Any]) -> bool:
        """Set the gains where a square left the range of its dtype; False where none did."""
        _, forward, delta, found = raw
        for key, gain in gains.items():
            for i, measured in enumerate((forward[key], delta[key])):
                gain[..., i] = range_gain(measured[..., 1], gain.dtype)
        for i, measured in enumerate(found):
            leaf_gains[i] = range_gain(measured[..., 1], leaf_gains[i].dtype).astype(leaf_gains[i].dtype)
        return any((gain != 1).any() for gain in [*gains.values(), *leaf_gains])

    def _read(self, raw: Any, gains: dict[int, Any], leaf_gains: list[Any]) -> Sample:
        loss, forward, delta, found = raw
        values = {key: Moments.read(raw, gains[key][..., 0]) for key, raw in forward.items()}
        return Sample(
            loss=float(loss),
            forward=values,
            delta={k: Moments.read(v, gains[k][..., 1], values[k].counts) for k, v in delta.items()},
            gradients=[Moments.read(v[..., :WIDTH], gain) for v, gain in zip(found, leaf_gains, strict=True)],
            nonzero=[np.asarray(v[..., WIDTH], np.float64) for v in found],
        )


def leaf_stats(value: Array, gain: Array, rows: int | None) -> Array:
    """f[4], or f[rows, 4]: the statistics of a leaf and the number of its elements that are not zero."""
    if rows is not None:
        return jax.vmap(lambda row, g: leaf_stats(row, g, None))(value, gain)
    nonzero = jnp.sum(jnp.abs(jnp.sign(value.astype(gain.dtype))))
    return jnp.append(stats(value, gain), nonzero)


def rows_of_leaves(program: Program) -> list[int | None]:
    """Number of layers stacked along axis 0 of each leaf, or `None`."""
    rows: list[int | None] = [None] * len(program.leaves)
    for layer in program.layers:
        for leaf in layer.leaves:
            rows[leaf] = layer.rows
    return rows


def weight_stats(program: Program, weights: Sequence[Any]) -> list[Moments]:
    """Statistics of the parameters themselves, at one gain: they lie within the range of a float."""
    rows = rows_of_leaves(program)
    units = [
        np.ones(() if n is None else (n,), stats_dtype(leaf.dtype))
        for n, leaf in zip(rows, program.leaves, strict=True)
    ]

    def step(weights: list[Array], units: list[Array]) -> list[Array]:
        return [leaf_stats(*each) for each in zip(weights, units, rows, strict=True)]

    run: Callable[..., Any] = compile_program(step, (list(weights), units), runs=1)
    raw = jax.device_get(run(list(weights), units))
    return [Moments.read(v[..., :WIDTH], unit) for v, unit in zip(raw, units, strict=True)]
