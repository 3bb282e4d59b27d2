"""Checks the leaves of params and batches: what JAX cannot take is an error, what it changes is a note."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.message_text import listed, short_repr
from gradscope.load.shapes import is_shape
from gradscope.load.usercode.user_code import user_code

_NOT_NUMERIC = {
    "O": "objects",
    "U": "strings",
    "S": "byte strings",
    "M": "dates",
    "m": "time differences",
    "V": "records",
}
_SHOWN = 5


def numeric(tree: Any, what: str) -> Any:
    """`tree` with foreign arrays (PyTorch, TensorFlow, pandas) as NumPy arrays, every leaf checked.

    Raises for the first leaf that no JAX program can take, naming it as `what['path']`. `what` is the
    user's name for the tree: `params`, `batch`.
    """
    with user_code(f"reading {what}"):
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        checked = [_numeric_leaf(leaf, _name(what, path)) for path, leaf in leaves]
        if all(new is old for new, (_, old) in zip(checked, leaves, strict=True)):
            return tree
        return jax.tree_util.tree_unflatten(structure, checked)


def checked_params(params: Any) -> Any:
    if params is None:
        raise GradscopeError(
            "There are no params.",
            why="The loss is differentiated with respect to them.",
            fix="Give `params`, a pytree of arrays, or in a file a function `init(key)` that returns it.",
            slug="no-params",
        )
    params = numeric(params, "params")
    require_floating(params)
    return params


def require_floating(params: Any) -> None:
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    if any(jnp.issubdtype(_dtype(leaf), jnp.floating) for _, leaf in leaves):
        return
    found = [f"  {_name('params', path)}: {_dtype(leaf)}{list(np.shape(leaf))}" for path, leaf in leaves]
    fix = (
        "Return the weights of the network, and write numbers as floats: `jnp.zeros(3)`, not "
        "`jnp.array([0, 0, 0])`."
    )
    if any(jnp.issubdtype(_dtype(leaf), jnp.complexfloating) for _, leaf in leaves):
        fix = "Keep the two parts as two leaves, and join them in the loss: `jax.lax.complex(re, im)`."
    raise GradscopeError(
        "params has no floating leaf." if leaves else "params is empty: it has no leaves.",
        why="Only real floating leaves are differentiated (float32, bfloat16, ...); the others are passed "
        "through.",
        fix=fix,
        details="\n".join(
            [*found[:_SHOWN], *([f"  ... {len(found) - _SHOWN} more"] if found[_SHOWN:] else [])]
        ),
        slug="no-floating-parameters",
    )


def require_rows(batch: Any, what: str) -> None:
    """Raises for a batch without leaves, or where every array that has rows has none."""
    leaves = jax.tree_util.tree_leaves(batch)
    rows = [np.shape(leaf)[0] for leaf in leaves if np.ndim(leaf)]
    if leaves and (not rows or any(rows)):
        return
    shapes = ", ".join(str(np.shape(leaf)) for leaf in leaves)
    raise GradscopeError(
        f"{what} is empty: {f'its arrays have shapes {shapes}' if leaves else f'it is {short_repr(batch)}'}.",
        why="A loss over no rows has no gradient (its mean is NaN).",
        fix="Check the filter or the file that the rows come from.",
        slug="empty-batch",
    )


def conversion_notes(tree: Any, what: str) -> tuple[str, ...]:
    """What JAX would change about the leaves without a word: float64 to float32, large integers."""
    if jax.dtypes.canonicalize_dtype(np.float64) == np.float64:
        return ()
    narrowed: dict[str, list[str]] = {}
    wrapped = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if not isinstance(leaf, np.ndarray | np.generic):
            continue
        if leaf.dtype in (np.float64, np.complex128):
            narrowed.setdefault(str(leaf.dtype), []).append(_name(what, path))
        elif leaf.dtype in (np.int64, np.uint64) and _exceeds_32_bits(leaf):
            wrapped.append(_name(what, path))
    to = {"float64": "float32", "complex128": "complex64"}
    notes = [
        f"{listed(names)} is {dtype}; JAX makes it {to[dtype]} (jax_enable_x64 is off)."
        if len(names) == 1
        else f"{listed(names)} are {dtype}; JAX makes them {to[dtype]} (jax_enable_x64 is off)."
        for dtype, names in narrowed.items()
    ]
    if wrapped:
        notes.append(
            f"{listed(wrapped)} {'holds' if len(wrapped) == 1 else 'hold'} integers beyond 32 bits; JAX cuts "
            "them off without a warning (jax_enable_x64 is off)."
        )
    return tuple(notes)


def _numeric_leaf(leaf: Any, name: str) -> Any:
    if isinstance(leaf, jax.core.Tracer) or is_shape(leaf):
        return leaf
    if isinstance(leaf, jax.Array):
        return _living(leaf, name)
    if isinstance(leaf, bool | int | float | complex):
        return leaf
    if isinstance(leaf, np.ndarray | np.generic):
        return _with_numeric_dtype(leaf, name)
    if isinstance(leaf, str | bytes) or inspect.isroutine(leaf) or not hasattr(leaf, "__array__"):
        raise _not_an_array(leaf, name)
    try:
        return _with_numeric_dtype(_foreign(leaf), name)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise _not_an_array(leaf, name, because=str(error)) from error


def _foreign(leaf: Any) -> Any:
    """An array of another library; a PyTorch tensor may have a gradient, be on a GPU, or hold bfloat16."""
    if hasattr(leaf, "detach") and hasattr(leaf, "cpu"):
        leaf = leaf.detach().cpu()
    try:
        return np.asarray(leaf)
    except TypeError:
        if not hasattr(leaf, "__dlpack__"):
            raise
        return np.asarray(jnp.from_dlpack(leaf))


def _living(leaf: jax.Array, name: str) -> jax.Array:
    if leaf.is_deleted():
        raise GradscopeError(
            f"{name} was deleted: its memory was donated to an earlier call.",
            why="A jitted step with `donate_argnums` consumes the arrays that are given to it.",
            fix="Give gradscope the arrays that the step returned, or a copy made before the call.",
            slug="deleted-array",
        )
    return leaf


def _with_numeric_dtype(leaf: Any, name: str) -> Any:
    dtype = leaf.dtype
    if dtype == np.bool_ or jnp.issubdtype(dtype, np.number):
        return leaf
    holds = _NOT_NUMERIC.get(dtype.kind, str(dtype))
    example = f", for example {short_repr(leaf.flat[0])}" if leaf.size else ""
    ragged = dtype.kind == "O" and leaf.size and isinstance(leaf.flat[0], list | tuple | np.ndarray)
    text = dtype.kind == "O" and leaf.size and isinstance(leaf.flat[0], str | bytes)
    cause = "rows of different length" if ragged else "text" if text else "columns of mixed types"
    why = (
        f"An object array usually comes from {cause}."
        if dtype.kind == "O"
        else "JAX computes with numbers only."
    )
    fix = "Pad the rows to one length." if ragged else "Encode it as numbers, or leave it out of the tree."
    raise GradscopeError(
        f"{name} holds {holds} (dtype {dtype}){example}.", why=why, fix=fix, slug="not-numeric"
    )


def _not_an_array(leaf: Any, name: str, because: str = "") -> GradscopeError:
    kind = type(leaf)
    full = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(leaf, jax.ShapeDtypeStruct):
        why, fix = (
            "It is the shape of an array, without values.",
            "Create the array: call `init`, not `eval_shape`. `gradscope memory --shapes` needs none.",
        )
    elif callable(leaf):
        why = "Params and batches are pytrees of arrays."
        fix = (
            "Call it, or close over it in loss_fn; of an Equinox module give "
            "`eqx.filter(model, eqx.is_array)`."
        )
    else:
        why = because or "JAX computes with arrays and numbers only."
        fix = "Convert it with `np.asarray`, or leave it out of the tree."
    return GradscopeError(
        f"{name} is {short_repr(leaf)}, of type {full}.", why=why, fix=fix, slug="not-numeric"
    )


def _exceeds_32_bits(leaf: Any) -> bool:
    if not leaf.size:
        return False
    limits = np.iinfo(np.int32 if leaf.dtype == np.int64 else np.uint32)
    return bool(leaf.max() > limits.max or leaf.min() < limits.min)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _name(what: str, path: Any) -> str:
    return what + jax.tree_util.keystr(path)
