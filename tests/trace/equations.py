"""What a loss computes, equation by equation: equal on every processor, whatever XLA makes of it.

XLA promises the same bits for one program, not for two: the taps beside an equation may have it fused into
other loops, which sum in another order. That instrumenting changes nothing is therefore read from the jaxpr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.interpreters import partial_eval

from gradscope.load.problem import Problem
from gradscope.trace import interpret
from gradscope.trace.program import Inputs, Program, Tracer


def same_equations(loss_fn: Callable[..., Any], params: Any, batch: Any) -> None:
    """The loss of the tapped program has the equations of `loss_fn`, in their order, and no other."""
    tracer = Tracer(Problem(loss_fn, params, batch))
    tapped = tapped_equations(tracer.trace(batch), tracer.inputs(batch))
    assert tapped == needed(jax.make_jaxpr(loss_fn)(params, batch))


def tapped_equations(program: Program, inputs: Inputs) -> list[str]:
    """The equations of the loss in the tapped program; neither taps, statistics nor probes are among them."""
    consts = list(program.body.consts)
    with pytest.MonkeyPatch.context() as patch:
        # A tap returns its argument; taken out of the jaxpr, what feeds it alone is not needed any more.
        patch.setattr(interpret, "tap", lambda value, *_: value)
        tapped = jax.make_jaxpr(program.tapped)(
            inputs.weights, program.sinks(), program.gains(), inputs.others, consts
        )
    return needed(tapped)


def needed(closed: Any) -> list[str]:
    """The equations that the first output needs, those of bodies in the place of what carries them."""
    used = [True] + [False] * (len(closed.jaxpr.outvars) - 1)
    return list(_innermost(partial_eval.dce_jaxpr(closed.jaxpr, used)[0]))


def _innermost(jaxpr: Any) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        bodies = list(_bodies(eqn))
        for body in bodies:
            yield from _innermost(body)
        if not bodies and not _index_in_range(eqn):
            shapes = [[str(var.aval) for var in side] for side in (eqn.invars, eqn.outvars)]
            yield f"{eqn.primitive} {shapes} {sorted(eqn.params.items(), key=str)}"


def _index_in_range(eqn: JaxprEqn) -> bool:
    """`lax.switch` clamps the index of a branch, also the one that it clamped when the user called it."""
    return eqn.primitive.name == "clamp" and str(eqn.outvars[0].aval) == "int32[]"


def _bodies(eqn: JaxprEqn) -> Iterator[Any]:
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield getattr(part, "jaxpr", part)
