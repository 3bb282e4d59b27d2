"""The slow way: plain JAX, compiled as the flow pass is, and what a report must agree with.

The loss agrees to the last bits, which XLA promises for one program only (`equations.py` holds that both
have the same equations); norms of gradients agree to the rounding of a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import Connection, Layer, Measurement, Parameter, Recurrence
from gradscope.runs.check import check_loss
from gradscope.trace.compiling import compile_program

Tree = Any
Bump = Callable[[str, Any], Any]


LAST_BITS = 2
"""How far two programs with the same equations may lie apart, in units of the last place: 1 was measured,
on a processor without AVX-512."""


def unbumped(name: str, value: Any) -> Any:
    """What a network is given in place of the oracle's perturbations."""
    del name
    return value


def measured(loss_fn: Callable[..., Any], params: Tree, batch: Tree = None, **options: Any) -> Measurement:
    return check_loss(loss_fn, params, batch, **options).flow


def agreeing(
    loss_fn: Callable[..., Any], params: Tree, batch: Tree = None, rtol: float = 2e-6
) -> Measurement:
    """The measurement, after its loss and gradient norms were compared with `jax.value_and_grad`."""
    found = measured(loss_fn, params, batch)
    loss, gradients = plain(loss_fn, params, batch)
    np.testing.assert_allclose(found.loss, float(loss), rtol=LAST_BITS * jnp.finfo(loss.dtype).eps)
    assert [p.shape for p in found.parameters] == [np.shape(g) for g in gradients]
    # Where a gradient is 0 but for rounding (the bias of keys), it is that of terms as large as the others'.
    rounding = 1e-7 * max(map(norm, gradients), default=0.0)
    for parameter, gradient in zip(found.parameters, gradients, strict=True):
        within = {"rtol": rtol, "atol": rounding, "err_msg": parameter.name}
        np.testing.assert_allclose(parameter.gradient_norm, norm(gradient), **within)
        largest = np.max(np.abs(np.asarray(gradient, np.float64)), initial=0)
        np.testing.assert_allclose(parameter.gradient_max, largest, **within)
    return found


def plain(loss_fn: Callable[..., Any], params: Tree, batch: Tree = None) -> tuple[Any, list[Any]]:
    """The loss, and the gradients of the floating leaves in the order of the pytree."""
    leaves, structure = jax.tree_util.tree_flatten(params)
    mine = [i for i, leaf in enumerate(leaves) if _floating(leaf)]

    def loss(chosen: list[Any], batch: Tree) -> Any:
        full = list(leaves)
        for i, leaf in zip(mine, chosen, strict=True):
            full[i] = leaf
        given = jax.tree_util.tree_unflatten(structure, full)
        value = loss_fn(given) if batch is None else loss_fn(given, batch)
        return value[0] if isinstance(value, tuple) else value

    args = ([leaves[i] for i in mine], batch)
    value, gradients = compile_program(jax.value_and_grad(loss), args, runs=1)(*args)
    return value, gradients


def _floating(leaf: Any) -> bool:
    if isinstance(leaf, bool | int | str):
        return False
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))


def deltas(network: Callable[..., Any], params: Tree, batch: Tree) -> dict[str, Any]:
    """∂L/∂ε of `network(params, batch, bump)`, with an explicit zero ε added wherever it bumps.

    `bump(name, z)` is called with a name of its own for every value; a Python loop over time bumps once
    for each step.
    """
    shapes: dict[str, Any] = {}

    def note(name: str, value: Any) -> Any:
        assert name not in shapes
        shapes[name] = value
        return value

    jax.eval_shape(lambda p, b: network(p, b, note), params, batch)
    zeros = {name: jnp.zeros(z.shape, z.dtype) for name, z in shapes.items()}

    def perturbed(zeros: dict[str, Any]) -> Any:
        return network(params, batch, lambda name, value: value + zeros[name])

    return dict(compile_program(jax.grad(perturbed), (zeros,), runs=1)(zeros))


def norm(value: Any) -> float:
    """Scaled by the largest element, so that squares of 1e-200 do not vanish."""
    flat = np.abs(np.asarray(value).astype(np.complex128)).ravel()
    top = np.max(flat, initial=0.0) or 1.0
    return float(np.linalg.norm(flat / top) * top)


def pooled_rms(values: list[Any]) -> float:
    flat = np.concatenate([np.abs(np.asarray(v).astype(np.complex128)).ravel() for v in values])
    return float(np.sqrt(np.mean(flat**2)))


def names(found: Measurement) -> list[str]:
    return [layer.name for layer in found.layers]


def layer(found: Measurement, name: str) -> Layer:
    return next(layer for layer in found.layers if layer.name == name)


def parameter(found: Measurement, name: str) -> Parameter:
    return next(parameter for parameter in found.parameters if parameter.name == name)


def connections(found: Measurement) -> dict[str, Connection]:
    return {p.name: p.connection for p in found.parameters}


def recurrence(found: Measurement) -> Recurrence:
    (only,) = found.recurrences
    return only


def normal(seed: int, *shape: int, scale: float = 1.0, dtype: Any = np.float32) -> Any:
    """Numbers without JAX, so that making them costs no compilation."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def dense(seed: int, inputs: int, outputs: int) -> dict[str, Any]:
    return {
        "w": normal(seed, inputs, outputs, scale=inputs**-0.5),
        "b": normal(seed + 1000, outputs, scale=0.1),
    }


def apply(p: Any, h: Any) -> Any:
    return h @ p["w"] + p["b"]


def error(a: Any, b: Any) -> Any:
    return jnp.mean((a - b) ** 2)


WIDTH = 4
X, Y = normal(0, 8, WIDTH), normal(1, 8, WIDTH)
BATCH = (X, Y)
TWO = {"first": dense(1, WIDTH, WIDTH), "second": dense(2, WIDTH, WIDTH)}
STACK = {
    "blocks": {"w": normal(3, 3, WIDTH, WIDTH, scale=0.5), "b": normal(4, 3, WIDTH)},
    "head": dense(5, 4, 4),
}
CELL = {"wx": normal(6, 4, 4, scale=0.5), "wh": normal(7, 4, 4, scale=0.5), "b": normal(8, 4, scale=0.1)}
RECURRENT = {"cell": CELL, "head": dense(9, 4, 4)}
STEPS = 5
SEQUENCE = (normal(10, STEPS, 3, WIDTH), normal(11, 3, WIDTH))


def two_layers(p: Any, h: Any) -> Any:
    return apply(p["second"], jnp.tanh(apply(p["first"], h)))


def block(h: Any, p: Any) -> tuple[Any, None]:
    return jnp.tanh(apply(p, h)), None


def step(cell: Any, h: Any, x: Any) -> Any:
    return jnp.tanh(x @ cell["wx"] + h @ cell["wh"] + cell["b"])


def loss_of_two(p: Any, b: Any) -> Any:
    return error(two_layers(p, b[0]), b[1])


def bumped_two(p: Any, b: Any, bump: Bump) -> Any:
    """`loss_of_two` with a perturbation at the output of each layer."""
    h = jnp.tanh(bump("first", apply(p["first"], b[0])))
    return error(bump("second", apply(p["second"], h)), b[1])
