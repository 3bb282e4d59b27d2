"""`gradscope.Monitor`: the value and the gradient of a user's own loss, and the numbers of every layer beside
them, inside the user's own jit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.errors import GradscopeError
from gradscope.load.leaves import require_floating
from gradscope.load.model.frameworks.base import OpenedModel, OpeningContext
from gradscope.load.model.frameworks.table import keep, opened, state_of
from gradscope.load.signature.arguments import params_name
from gradscope.records import RecordedLayer
from gradscope.records.history import QUANTITIES
from gradscope.trace.cuts import integer_leaves
from gradscope.trace.in_a_trace import differentiated, traced
from gradscope.trace.leaves import Leaf, Split, leaves_of, split
from gradscope.trace.program import Names, Program
from gradscope.trace.returned import scalar
from gradscope.training.layer_vector import (
    TAKEN,
    MeasuredLayer,
    MeasuredStep,
    VectorLayout,
)
from gradscope.training.optimizer import widened


class Monitor:
    """`gradscope.Monitor`: `value_and_grad` of a loss, which also measures every layer.

        monitor = gradscope.Monitor(loss_fn)

        @jax.jit
        def step(params, opt_state, batch):
            loss, grads, numbers = monitor.value_and_grad(params, batch)
            ...
            return params, opt_state, loss, numbers

    Loss and gradients are those of `jax.value_and_grad(loss_fn)`; `numbers` is one small vector. In it are,
    of each layer, the root mean squares of its output, of δ = ∂L/∂output, of its weight's gradient and of the
    weight: `monitor.read(numbers)` gives them, `gradscope.Recorder(path, monitor=monitor)` writes them to a
    file. There is no callback and no second pass.
    """

    def __init__(self, loss_fn: Callable[..., Any], *, has_aux: bool = False) -> None:
        """`loss_fn(params, ...)` returns a scalar, with `has_aux` a pair of it and anything else. Nothing
        runs yet: the loss is traced whenever the function around it is, at the shapes of that call."""
        if not callable(loss_fn):
            raise GradscopeError(
                f"loss_fn is of type {type(loss_fn).__name__}: it cannot be called.",
                fix="Give the function itself, not its result.",
                slug="no-loss-function",
            )
        self._loss_fn, self._has_aux = loss_fn, has_aux
        self._name = getattr(loss_fn, "__name__", "loss_fn")
        self._layouts: list[VectorLayout] = []

    @property
    def layers(self) -> tuple[RecordedLayer, ...]:
        """In forward order; known once the loss was traced."""
        return self._layouts[0].layers if self._layouts else ()

    def value_and_grad(self, params: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any, Array]:
        """Traceable: loss, gradient and numbers; with `has_aux` the loss is the pair `(loss, aux)`.

        The arguments are those of the loss. The gradient has the structure of `params`, with `None` for
        leaves that are not floating; of a model of Flax NNX it is a `State`, as `nnx.value_and_grad` gives
        it, and what the run changed in the model (running statistics, random streams) is kept in it. The
        numbers are f32[n], or f64[n] where the loss computes in float64. Raises what the loss raises, and
        `GradscopeError` where it has no scalar or other layers than before.
        """
        call = _Call.of(self._loss_fn, self._name, self._has_aux, params, args, kwargs)
        program = call.program
        number, layout = self._layout_of(program)
        loss, beside, gradients, forward, delta = differentiated(program, call.weights, call.others, TAKEN)
        numbers = layout.taken(number, forward, delta, (gradients, call.weights))
        aux, states = call.returned.join(beside)
        for value, state in zip((params, *args, *kwargs.values()), states, strict=True):
            keep(value, state)
        return (loss, aux) if self._has_aux else loss, call.packed(gradients), numbers

    def with_update(self, numbers: Array, before: Any, after: Any) -> Array:
        """Traceable: the numbers, with what a step changed in each layer as well. `before` and `after` are
        the params of the loss around it; the weights in the numbers are then those after the step."""
        old, new = (_floating(params) for params in (before, after))
        layout = next((each for each in reversed(self._layouts) if each.fits(numbers.shape[-1])), None)
        if layout is None or [leaf.shape for leaf in old] != [leaf.shape for leaf in new]:
            raise GradscopeError(
                "The update does not fit the numbers.",
                why="They are not of this monitor, or the params before and after the step differ in shape.",
                fix="Call `monitor.with_update(numbers, params, new_params)` after `value_and_grad`.",
                slug="bad-option",
            )
        if all(now is then for now, then in zip(new, old, strict=True)):
            raise GradscopeError(
                "The params before and after the step are the same arrays.",
                why="A model that is changed in place holds the new ones in a state taken before, too.",
                fix="Copy it before: `before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))`.",
                slug="bad-option",
            )
        changes = [widened(now) - widened(then) for now, then in zip(new, old, strict=True)]
        return layout.with_update(numbers, new, changes)

    def read(self, numbers: Any) -> MeasuredStep:
        """What the numbers of one step say of each layer. Waits for that step."""
        norm, values = self.values(numbers)
        values = np.pad(values, ((0, len(QUANTITIES) - len(values)), (0, 0)), constant_values=np.nan)
        layers = tuple(
            MeasuredLayer(
                about.name, about.source, *(None if np.isnan(value) else float(value) for value in of)
            )
            for about, of in zip(self.layers, values.T, strict=True)
        )
        return MeasuredStep(norm, layers)

    def values(self, numbers: Any) -> tuple[float, Any]:
        """Norm of the whole gradient, and f64[quantities, layers]: the first four of `QUANTITIES`, or all."""
        vector = np.asarray(numbers, np.float64)
        known = vector.ndim == 1 and bool(vector.size) and 0 <= vector[0] < len(self._layouts)
        if not known or not self._layouts[int(vector[0])].fits(len(vector)):
            raise GradscopeError(
                f"These are not the numbers of this monitor: an array of shape {vector.shape}.",
                why="They are the vector that `value_and_grad` of the same monitor gave, in this process.",
                fix="Give that of one step: of a scan over steps or micro-batches, one row.",
                slug="bad-option",
            )
        return self._layouts[int(vector[0])].read(vector)

    def _layout_of(self, program: Program) -> tuple[int, VectorLayout]:
        layout = VectorLayout(program)
        for number, known in enumerate(self._layouts):
            if known.key == layout.key:
                return number, known
        if self._layouts and self.layers != layout.layers:
            raise GradscopeError(
                f"{self._name} has other layers than when it was first traced.",
                why=_difference(self.layers, layout.layers),
                fix="Make a `gradscope.Monitor` of its own for each model.",
                slug="bad-option",
            )
        self._layouts.append(layout)
        return len(self._layouts) - 1, layout


def _floating(params: Any) -> list[Array]:
    model = _opened(params)
    tree = params if model is None else model.params
    leaves, places = split(tree), leaves_of(tree)
    return [jnp.asarray(leaf) for place, leaf in leaves.traced.items() if place in places]


def _opened(params: Any) -> OpenedModel | None:
    """The model object of a framework; `None` for what is a pytree to its users."""
    model = opened(params, OpeningContext())
    return None if model is None or model.packed is None else model


def _difference(before: tuple[RecordedLayer, ...], now: tuple[RecordedLayer, ...]) -> str:
    names, others = ({layer.name for layer in layers} for layers in (before, now))
    changed = sorted(names ^ others)
    if not changed:
        return "They run in another order, or at other lines."
    return f"{changed[0]} is one of {'those before' if changed[0] in names else 'these'} only."


@dataclass(frozen=True)
class _Call:
    """One call: the program of the loss at its arguments, and the way back from what it returns."""

    program: Program
    weights: list[Array]
    others: list[Array]
    model: OpenedModel | None
    parts: Split
    leaves: dict[int, Leaf]
    returned: Split
    """Of `(aux, states)`: those of the params and of all further arguments."""

    @classmethod
    def of(cls, loss_fn: Any, name: str, has_aux: bool, params: Any, args: Any, kwargs: Any) -> _Call:
        model = _opened(params)
        tree = params if model is None else model.params
        require_floating(tree)
        parts, given, leaves = split(tree), split((args, kwargs)), leaves_of(tree)
        weights = [jnp.asarray(leaf) for place, leaf in parts.traced.items() if place in leaves]
        rest = [leaf for place, leaf in parts.traced.items() if place not in leaves]
        others = [jnp.asarray(leaf) for leaf in (*rest, *given.traced.values())]
        returned: list[Split] = []

        def flat(*values: Any) -> list[Any]:
            ours, theirs = iter(values[: len(weights)]), iter(values[len(weights) :])
            tree = parts.join([next(ours if place in leaves else theirs) for place in parts.traced])
            own_args, own_kwargs = given.join(list(theirs))
            loss, *aux = _called(loss_fn, has_aux, model, tree, own_args, own_kwargs)
            returned.append(split(aux))
            return [scalar(loss, name), *returned[-1].traced.values()]

        of_batch = [*[False] * len(rest), *[True] * len(given.traced)]
        root = Names(params_name(loss_fn), integer_leaves(args))
        program = traced(flat, weights, others, tuple(leaves.values()), of_batch, root)
        return cls(program, weights, others, model, parts, leaves, returned[-1])

    def packed(self, gradients: list[Array]) -> Any:
        values = iter(gradients)
        count = self.parts.structure.num_leaves
        tree = jax.tree.unflatten(
            self.parts.structure, [next(values) if place in self.leaves else None for place in range(count)]
        )
        return tree if self.model is None or self.model.packed is None else self.model.packed(tree)


def _called(
    loss_fn: Any, has_aux: bool, model: OpenedModel | None, tree: Any, args: Any, kwargs: Any
) -> tuple[Any, Any, list[Any]]:
    """Loss, aux, and the states of all arguments after the call."""

    def run(params: Any) -> Any:
        result = loss_fn(params, *args, **kwargs)
        return result, [state_of(value) for value in (params, *args, *kwargs.values())]

    (result, states), _ = (run(tree), None) if model is None else model.call(tree, run)
    if not has_aux:
        return result, None, states
    if not (isinstance(result, tuple) and len(result) == 2):
        raise GradscopeError(
            f"{getattr(loss_fn, '__name__', 'loss_fn')} returned no pair (loss, aux).",
            why="The monitor was made with has_aux=True.",
            fix="Return one, or leave has_aux out.",
            slug="loss-not-scalar",
        )
    return *result, states
