"""Masks of an attention turned over: what hid the past hides the future."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.attention_rows import AttentionAxes
from gradscope.trace.domains.attention import AttentionUse
from gradscope.trace.domains.objective.axes import shape_of


def mirrored_masks(found: Sequence[AttentionUse]) -> dict[int, Callable[..., Any]]:
    """By the `id` of an equation that masks scores, the same with queries and keys of the mask exchanged.
    None where the mask is no array over both."""
    functions: dict[int, Callable[..., Any]] = {}
    for each in found:
        axes = None if each.probe is None else each.probe.look
        if not (isinstance(axes, AttentionAxes) and axes.paired and axes.query is not None):
            continue
        both = axes.query, axes.keys[0]
        for eqn, mask in each.scores.masks:
            shape = shape_of(eqn.invars[mask])
            if len(shape) == len(axes.shape) and all(shape[axis] == axes.shape[axis] for axis in both):
                functions[id(eqn)] = partial(_mirrored, eqn, mask, both)
    return functions


def _mirrored(eqn: JaxprEqn, mask: int, axes: tuple[int, int], *values: Any) -> Any:
    turned = [jnp.swapaxes(value, *axes) if i == mask else value for i, value in enumerate(values)]
    return jaxprs.run_equation(eqn, turned)[0]
