"""An optimizer that steps the leaves of a program: it gets them in the structure of the user's own params."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gradscope.errors import GradscopeError
from gradscope.load.model.optimizer_state import Resume, fits, fresh_init
from gradscope.load.problem import Problem
from gradscope.load.usercode.fault import headline
from gradscope.trace.program import Tracer

Leaves = list[Array]
LossOf = Callable[[Leaves], Array]
"""Traceable: the loss of other weights, on the batch and with the random numbers of the same step."""
OFFERED = "value, grad, value_fn, obj_fn or grad_fn"
"""What `update` is given beside the gradient, in one combination after the other."""
USUAL_RATE = 1e-3
"""Adam's default (Kingma and Ba 2015)."""


def widened(leaf: Any) -> Any:
    """In at least float32."""
    return leaf.astype(widened_dtype(leaf.dtype))


def widened_dtype(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)


def stepped(weight: Array, update: Array) -> Array:
    """Traceable: what a step makes of a weight, rounded to its dtype. XLA may leave out the rounding of a
    cast where it fuses what follows; never this one."""
    new = (weight + update).astype(weight.dtype)
    about = jnp.finfo(new.dtype)  # type: ignore[no-untyped-call]
    return jax.lax.reduce_precision(new, about.nexp, about.nmant) if about.bits < 32 else new


class RefusedStep(GradscopeError):
    """The optimizer raised, whatever stood beside the gradient."""

    def __init__(self, refused: Exception | None) -> None:
        self.why_not = f"it takes no step with the gradient alone, nor with {OFFERED} beside it"
        said = "" if refused is None else f" ({headline(refused)})"
        super().__init__(
            "The optimizer could not make a step.",
            why=f"{self.why_not[0].upper()}{self.why_not[1:]}{said}.",
            fix="Where it asks for more, bind it: `optax.GradientTransformation(inner.init, lambda grads, "
            "state, params: inner.update(grads, state, params, labels=labels))`.",
            slug="unfit-optimizer",
        )


@dataclass(frozen=True, eq=False)
class StepRule:
    """What a file's optimizer does with a gradient, or Adam where it gives none."""

    transform: Any
    own: bool
    """It is the user's."""
    tracer: Tracer

    @classmethod
    def of(cls, problem: Problem, tracer: Tracer) -> StepRule:
        given = problem.optimizer
        return cls(optax.adam(USUAL_RATE) if given is None else given, given is not None, tracer)

    @property
    def name(self) -> str:
        return "your optimizer" if self.own else f"adam({USUAL_RATE:g})"

    def fresh(self, weights: Leaves) -> Any:
        """Traceable: the state before the first step of all."""
        return fresh_init(self.transform)(self.tracer.packed(self._usable(weights)))

    def begun(self, weights: Leaves) -> Any:
        """The state that the problem brings along; `None` where it brings none that fits."""
        init = self.transform.init
        if not isinstance(init, Resume):
            return None
        given = [jnp.asarray(leaf) for leaf in jax.tree.leaves(init.state)]
        wanted, structure = jax.tree.flatten(jax.eval_shape(self.fresh, weights))
        return jax.tree.unflatten(structure, given) if fits(given, wanted) else None

    def __call__(
        self, weights: Leaves, gradients: Leaves, state: Any, loss: Array, loss_of: LossOf
    ) -> tuple[Leaves, Any]:
        """Traceable: what a step adds to each weight, and the state after it. Raises `RefusedStep` where the
        optimizer takes none of what can be given to it."""
        params, found = (self.tracer.packed(self._usable(leaves)) for leaves in (weights, gradients))

        def value_fn(params: Any) -> Array:
            leaves = zip(self.tracer.unpacked(params), weights, strict=True)
            return loss_of([leaf.astype(weight.dtype) for leaf, weight in leaves])

        optimizer = optax.with_extra_args_support(self.transform)
        refused: Exception | None = None
        for more in _offers(loss, found, value_fn):
            try:
                updates, state = optimizer.update(found, state, params, **more)
                break
            except Exception as error:  # each optimizer has its own way to ask for more, or for less
                refused = refused or error
        else:
            raise RefusedStep(refused) from refused
        ordered = self.tracer.unpacked(updates)
        if [leaf.shape for leaf in ordered] != [weight.shape for weight in weights]:
            raise ValueError("its updates do not have the shapes of the parameters")
        return ordered, state

    def _usable(self, leaves: Leaves) -> Leaves:
        """In at least float32 for an optimizer that is not the user's own: Adam's epsilon is 0 in float16."""
        return leaves if self.own else [widened(leaf) for leaf in leaves]


def _offers(loss: Array, gradient: Any, value_fn: Callable[[Any], Array]) -> Iterator[dict[str, Any]]:
    """What optimizers of optax take besides the gradient: a line search and a step by Polyak's rule; Sophia;
    SAM in one call; one that takes nothing."""
    usual = {"value": loss, "grad": gradient, "value_fn": value_fn}
    yield usual
    yield {**usual, "obj_fn": value_fn}
    yield {"grad_fn": lambda params, step: jax.grad(value_fn)(params)}
    yield {}
