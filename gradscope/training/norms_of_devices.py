"""Norms in the user's training step that scale a gradient, and that each device computes of what it has
alone: what they are, and what a step with one norm for all would give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gradscope.records import LocalNorm
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.domains.local_norms import LocalNormSite, local_norms
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spliced
from gradscope.training.step_on_devices import StepOnDevices

ROUNDING = 1e-5
"""Of the largest norm."""


def norms_of_devices(own: StepOnDevices) -> Iterator[LocalNorm]:
    """Those that differ between devices, and whose difference changes what the step gives."""
    seen = set()
    for site in local_norms(own.body, own.batch_in):
        source = source_of(site.eqn, site.calls)
        if (site.around, source) in seen:
            continue
        norms, together, changed, size = _measured(own, site)
        if not np.isfinite(norms).all() or norms.max() - norms.min() <= ROUNDING * norms.max() or not changed:
            continue
        seen.add((site.around, source))
        sizes = dict(jaxprs.shard_map_params(site.shards).axes)
        yield LocalNorm(
            source=source,
            axes=site.axes,
            devices=math.prod(sizes[axis] for axis in site.axes),
            parts=site.parts,
            lowest=float(norms.min()),
            highest=float(norms.max()),
            together=together,
            changed=changed / size,
        )


def _measured(own: StepOnDevices, site: LocalNormSite) -> tuple[Any, float, float, float]:
    """The norm on each device, the one of all, and how many of how many elements that one changes."""
    operands = Spliced([(site.around, number) for number in range(len(site.shards.invars))])
    body, spot = jaxprs.shard_map_params(site.shards).body, (site.path, -1)
    inverse = site.eqn.primitive.name == "rsqrt"

    def upside(norm: Any) -> Any:
        return 1 / norm if inverse else norm

    def on_device(*values: Any) -> Sequence[Any]:
        outs, (found,) = Spliced([spot]).outcomes(body, values, {})
        norm = upside(found)
        squares = lax.psum(jnp.square(norm), site.axes)  # type: ignore[no-untyped-call]
        mean = lax.pmean(norm, site.axes)  # type: ignore[no-untyped-call]
        one = jnp.sqrt(squares) if site.parts else mean
        others, _ = Spliced([], [spot]).outcomes(body, values, {spot: upside(one).astype(found.dtype)})
        arrays = [(a, b) for a, b in zip(outs, others, strict=True) if np.ndim(a)]
        moved = sum((jnp.sum(a != b, dtype=jnp.float32) for a, b in arrays), jnp.float32(0))
        return norm, one, moved, jnp.float32(sum(np.size(a) for a, _ in arrays))

    def read(*args: Any) -> Sequence[Any]:
        _, values = operands.outcome(own.body, args, {})
        return jaxprs.each_device(site.shards, values, on_device)

    args = tuple(own.args)
    found = compile_program(read, args, runs=1)(*args)
    norms, one, moved, size = (np.asarray(each, np.float64) for each in found)
    return norms, float(one[0]), float(moved.sum()), float(size.sum())
