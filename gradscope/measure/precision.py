"""The program with every floating result, and every cotangent on its way back, rounded to a smaller format.

Rounding is put between the operations of the program and leaves them as they are: a product of matrices adds
up in the dtype of the program and rounds once, as units for small formats do. JAX's own dtypes of these
formats (those of ml_dtypes) round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

from gradscope.measure.flow import FlowPass
from gradscope.measure.flow_programs import Step, compiled_step
from gradscope.measure.kept_wide import LOST, Groups, goes_in, tried
from gradscope.measure.leaf_statistics import LeafStatistics, stacks_of_leaves
from gradscope.measure.measurement import rows_of
from gradscope.measure.microscaling import is_multiplied, multiplied
from gradscope.measure.narrow_sums import narrow_sums
from gradscope.measure.readings import Reading, pooled
from gradscope.records import LayerInPrecision, Precision
from gradscope.trace import jaxprs
from gradscope.trace.forward import Forward
from gradscope.trace.jaxprs import Body
from gradscope.trace.layers import LayerGroup, Row
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, MAX, Axes, Floats, Operand, Selection, Statistic
from gradscope.trace.vocabulary import PARTS, PRODUCTS, VIEWS
from gradscope.trace.walk import Path

HALF: dict[str, Any] = {"bf16": jnp.bfloat16, "f16": jnp.float16}
FORWARD, BACKWARD = jnp.float8_e4m3fn, jnp.float8_e5m2
"""Operands of products, and cotangents of their results, as Micikevicius et al. 2022 have them; each array is
scaled so that its largest element is the largest of the format. All else is bfloat16."""
LARGEST_SCALE = 2.0**15
"""Of a loss: its own cotangent has to be a float16."""
RUNS = 8
"""Of the rounded program, about: with a loss scale, and with some operations kept."""


def precision(program: Program, inputs: Inputs, name: str) -> Precision:
    """At the inputs of one batch; `name` is one of `gradscope.records.options.PRECISIONS`."""
    plain = _Plain(program, HALF.get(name))
    loss, gradients, forward, delta = plain(inputs)
    run = _Rounded(program, name, inputs)
    rounded_loss, rounded = run(inputs, 1.0)
    scale, scaled = None, None
    if name in HALF and any(pooled(plain.small, [each]) for each in delta.values()):
        scale = _scale(HALF[name], max(pooled(MAX, [each]) for each in delta.values()))
        scaled = run(inputs, scale)[1] if scale > 1 else None
    up_run = _Rounded(program, name, inputs, up=True) if name == "mxfp8" else None
    up = None if up_run is None else up_run(inputs, 1.0)[1]
    stacks = stacks_of_leaves(program)

    def cosine(found: Sequence[Any] | None, group: LayerGroup, row: Row) -> float | None:
        if found is None:
            return None
        both = (
            [
                np.moveaxis(each[leaf], stacks[leaf], range(len(stacks[leaf])))[row.index]
                for leaf in group.leaves
            ]
            for each in (gradients, found)
        )
        return _cosine(*both)

    rows = rows_of(program)

    def lowest(found: Sequence[Any] | None) -> float:
        """-1 where a layer has none."""
        cosines = [cosine(found, group, row) for group, row, _ in rows]
        return min((-1.0 if each is None else each for each in cosines), default=1.0)

    engine = run if up_run is None else up_run
    at = 1.0 if scaled is None else scale or 1.0
    before = lowest(next(each for each in (scaled, up, rounded) if each is not None))
    kept = tried(engine.groups, lambda keep: lowest(engine(inputs, at, keep)[1])) if before < LOST else ()
    layers = []
    for group, row, _ in rows:
        values = [forward[site.id].at(mask) for site, mask in row.uses] if name in HALF else []
        deltas = [delta[site.id].at(mask) for site, mask in row.uses if site.live] if name in HALF else []
        value_shares = [_share(each, plain.some, values) for each in plain.beyond]
        delta_shares = [_share(each, plain.some, deltas) for each in plain.beyond]
        layers.append(
            LayerInPrecision(
                layer=row.name,
                cosine=cosine(rounded, group, row),
                value_underflow=value_shares[0],
                value_overflow=value_shares[1],
                delta_underflow=delta_shares[0],
                delta_overflow=delta_shares[1],
                cosine_scaled=cosine(scaled, group, row),
                cosine_up=cosine(up, group, row),
            )
        )
    return Precision(
        format=name,
        loss=float(loss),
        rounded_loss=float(rounded_loss),
        cosine=_cosine(gradients, rounded),
        layers=tuple(layers),
        scale=None if scaled is None else scale,
        cosine_scaled=None if scaled is None else _cosine(gradients, scaled),
        cosine_up=None if up is None else _cosine(gradients, up),
        narrow_sums=narrow_sums(program.body),
        kept=kept,
        kept_before=before if kept else None,
    )


def _scale(dtype: Any, largest: float) -> float:
    """The largest power of two that keeps twice the largest δ in range."""
    top = float(jnp.finfo(dtype).max)  # type: ignore[no-untyped-call]
    room = top / (2 * largest) if 0 < largest < math.inf else 1.0
    return float(min(2.0 ** math.floor(math.log2(room)), LARGEST_SCALE)) if room >= 1 else 1.0


def _cosine(one: Sequence[Any], other: Sequence[Any]) -> float | None:
    with np.errstate(all="ignore"):
        a, b = (np.concatenate([np.ravel(each).astype(np.float64) for each in side]) for side in (one, other))
        a, b = (side / top if (top := np.abs(side).max(initial=0.0)) else side for side in (a, b))
        size = math.sqrt(float(a @ a) * float(b @ b))
        return float(a @ b) / size if math.isfinite(size) and size else None


def _share(statistic: Statistic, some: Statistic, parts: Sequence[Reading]) -> float | None:
    whole = sum(float(part.total(some)) for part in parts)
    return sum(float(part.total(statistic)) for part in parts) / whole if whole else None


class _Counted(Statistic):
    """How many elements satisfy a condition on their size."""

    additive = True

    def __init__(self, name: str, holds: Callable[[Array], Array]) -> None:
        self.name = name  # type: ignore[misc]
        self._holds = holds

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_sum(lax.convert_element_type(self._holds(x.size), x.dtype), over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.sum(axes), np.float64)

    def read(self, total: Floats, count: float) -> float:
        return float(total)


class _Plain:
    """The program as it is: its loss, its gradients, and what of each layer lies beyond a format's range."""

    def __init__(self, program: Program, dtype: Any) -> None:
        limits = jnp.finfo(dtype or jnp.bfloat16)  # type: ignore[no-untyped-call]
        least, most = float(limits.smallest_subnormal) / 2, float(limits.max)
        self.some = _Counted("some", lambda size: size > 0)
        self.small = _Counted("small", lambda size: (size > 0) & (size <= least))
        large = _Counted("large", lambda size: size > most)
        self.beyond = (self.small, large)
        self._program = program
        of_delta = (self.some, *self.beyond, MAX)
        self._selection = Selection((COUNT, *of_delta), of_delta)

    def __call__(self, inputs: Inputs) -> tuple[Any, list[Any], dict[int, Reading], dict[int, Reading]]:
        program, chosen, leaves = self._program, self._selection, LeafStatistics(self._program)
        ones, leaf_ones = program.gains(), leaves.gains()
        given = inputs.weights, ones, leaf_ones, inputs.others, list(program.body.consts)
        step = Step(program, leaves, chosen, gradients=True)
        raw, gradients = jax.device_get(compiled_step(step, given, runs=1)(*given))
        loss, found, delta, _ = raw
        read = {key: (one[..., 0], one[..., 1], found[key][COUNT.name]) for key, one in ones.items()}
        return (
            loss,
            gradients,
            {key: Reading.of(chosen.value, found[key], one, count) for key, (one, _, count) in read.items()},
            {key: Reading.of(chosen.delta, delta[key], one, count) for key, (_, one, count) in read.items()},
        )


class _Rounded(Forward):
    """Loss and gradients of the rounded program; compiled once."""

    def __init__(self, program: Program, name: str, inputs: Inputs, *, up: bool = False) -> None:
        self._program, self._up = program, up
        self._dtype = HALF.get(name, jnp.bfloat16)
        self._eight, self._blocks = name == "fp8", name == "mxfp8"
        self.groups = Groups(program.body)
        self._path: Path = ()
        self._keep: Sequence[Any] = ()
        given = self._given(inputs, 1.0, self.groups.nothing())
        body = jaxprs.body_of(jax.make_jaxpr(self._loss)(given.weights, given.others))
        rounded = replace(program.without_taps("its operations are rounded"), body=body)
        self._flow = FlowPass(rounded, given, runs=RUNS, gradients=True)

    def __call__(self, inputs: Inputs, scale: float, keep: Any = None) -> tuple[Any, list[Any]]:
        """The loss times the scale, and the gradients free of it, in float64; those at `keep` (bool[groups])
        stay as they are."""
        keep = self.groups.nothing() if keep is None else keep
        loss, gradients = jax.device_get(self._flow.loss_and_gradients(self._given(inputs, scale, keep)))
        return loss, [np.asarray(each, np.float64) / scale for each in gradients]

    def _given(self, inputs: Inputs, scale: float, keep: Any) -> Inputs:
        """The scale and what is kept are inputs: a group each, so that equal blocks stay equal."""
        more = [jnp.float32(scale), *(jnp.asarray(each) for each in keep)]
        return Inputs(inputs.weights, [*inputs.others, *more])

    def _loss(self, weights: list[Any], others: list[Any]) -> Any:
        body, count = self._program.body, len(self.groups.all) + 1
        others, (scale, *self._keep) = others[:-count], others[-count:]
        given = [self._rounded(each, False) for each in (*weights, *others)]
        outs, _ = self.run(Body(body.jaxpr, list(body.consts)), given, ())
        return outs[0] * scale.astype(outs[0].dtype)

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        return goes_in(eqn)

    def operands(self, path: Path, values: list[Any]) -> list[Any]:
        self._path = path
        return values

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        product, keep = eqn.primitive.name in PRODUCTS, self._keep[self.groups.of(self._path)]
        if self._blocks and product and is_multiplied(eqn, values):
            return [self._rounded(multiplied(eqn, *values, up=self._up, keep=keep), keep)]
        eight = self._eight and product
        if eight:
            values = [_EIGHT(each, keep, FORWARD, None) for each in values]
        if not eqn.outvars:
            return []
        outs = jaxprs.run_equation(eqn, values)
        if eight:
            return [_EIGHT(each, keep, None, BACKWARD) for each in outs]
        return [self._rounded(each, keep, eqn.primitive.name in VIEWS | PARTS) for each in outs]

    def _rounded(self, value: Any, keep: Any, as_it_is: bool = False) -> Any:
        """`as_it_is`: another arrangement of what has been rounded, or kept."""
        wider = _is_floating(value) and jnp.result_type(value).itemsize > jnp.dtype(self._dtype).itemsize
        return _HALF(value, jnp.asarray(keep | as_it_is), jnp.asarray(keep), self._dtype) if wider else value


def _is_floating(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.floating)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _half(value: Array, keep: Array, keep_delta: Array, dtype: Any) -> Array:
    """`value` rounded, and so is its cotangent, unless they are to be kept."""
    return jnp.where(keep, value, _through(value, dtype))


_half.defvjp(
    lambda value, keep, keep_delta, dtype: (_half(value, keep, keep_delta, dtype), keep_delta),
    lambda dtype, keep, cotangent: (jnp.where(keep, cotangent, _through(cotangent, dtype)), None, None),
)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _eight(value: Array, keep: Array, forward: Any, backward: Any) -> Array:
    """`value` in 8 bits with a scale of its own, and its cotangent, unless `keep`; `None` leaves either in
    bfloat16."""
    return jnp.where(keep, value, _scaled(value, forward))


_eight.defvjp(
    lambda value, keep, forward, backward: (_eight(value, keep, forward, backward), keep),
    lambda forward, backward, keep, cotangent: (
        jnp.where(keep, cotangent, _scaled(cotangent, backward)),
        None,
    ),
)


_HALF, _EIGHT = jax.jit(_half, static_argnums=3), jax.jit(_eight, static_argnums=(2, 3))
"""Traced once for each type of array, and not once for each operation."""


def _through(value: Array, dtype: Any) -> Array:
    """The barrier keeps a compiler from leaving both conversions out."""
    kept: Array = lax.optimization_barrier(value.astype(dtype))  # type: ignore[no-untyped-call]
    return kept.astype(value.dtype)


def _scaled(value: Array, dtype: Any) -> Array:
    if dtype is None or not _is_floating(value):
        return _through(value, jnp.bfloat16) if _is_floating(value) else value
    top = jnp.max(jnp.abs(value), initial=0.0)
    most = float(jnp.finfo(dtype).max)  # type: ignore[no-untyped-call]
    scale = jnp.where(top > 0, most / jnp.where(top > 0, top, 1), 1).astype(value.dtype)
    return _through(value * scale, dtype) / scale
