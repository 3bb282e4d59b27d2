"""One training step as a traceable function: learning rate and weight decay are arguments, never constants.

`make` is called inside the traced step, with both traced: one compiled program serves every
setting, and optimizers whose rate enters their initial state (rprop) are right too, which
`optax.inject_hyperparams` is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gradscope.errors import GradscopeError
from gradscope.optimizers.candidates import OWN, CandidateOptimizer
from gradscope.optimizers.feed import Feed
from gradscope.optimizers.lattice import TrialSetting
from gradscope.trace.program import Program
from gradscope.trace.spread import placed_as

Weights = list[Array]
Schedule = Callable[[Any], Any]

WARM_UP = 0.1
"""Share of the steps: the usual 5 to 10 % (Goyal et al. 2017; AlgoPerf's baselines use 5 %)."""


def warm_up(steps: int) -> int:
    return max(1, round(WARM_UP * steps))


COOL_DOWN = 0.2
"""Share of the steps at the end of `wsd` (warm-up, stable, decay): a fifth ends as low as cosine does
(Hägele et al. 2024)."""


def cool_down(steps: int) -> int:
    return max(1, round(COOL_DOWN * steps))


def schedule_named(name: str, steps: int) -> Schedule | None:
    """The factor on the learning rate at each step, in [0, 1]; `None` for a constant rate."""
    if name == "constant":
        return None
    warm = warm_up(steps)
    if name == "wsd":
        down = cool_down(steps)
        parts = (
            optax.linear_schedule(0.0, 1.0, warm),
            optax.constant_schedule(1.0),
            optax.linear_schedule(1.0, 0.0, down),
        )
        joined: Schedule = optax.join_schedules(parts, [warm, max(steps - down, warm)])
        return joined
    schedule: Schedule = (
        optax.cosine_decay_schedule(1.0, steps)
        if name == "cosine"
        else optax.warmup_cosine_decay_schedule(0.0, 1.0, warm, max(steps, warm + 1))
    )
    return schedule


def gradient(program: Program) -> Callable[..., tuple[Array, Weights]]:
    """A traceable function of the loss and its gradient, the same for all optimizers."""

    def run(weights: Weights, others: list[Array], consts: list[Array]) -> tuple[Array, Weights]:
        return jax.value_and_grad(lambda leaves: program.loss(leaves, others, consts))(weights)

    return run


@dataclass(frozen=True)
class Training:
    """The training step of one candidate on one traced problem.

    The optimizer gets the params in the user's own structure, so that masks and labels fit.
    """

    program: Program
    feed: Feed
    """The feed of any seed, for the structure of the params."""
    candidate: CandidateOptimizer
    schedule: Schedule | None = None
    clip: float | None = None
    """Largest global norm of a gradient."""
    frozen: Sequence[bool] = ()
    """For each weight, whether it stays as it is; empty where all are trained."""
    objective: bool = False
    """The optimizer takes the loss as `obj_fn`, for Hessian-vector products (Sophia)."""

    def optimizer(self, setting: TrialSetting) -> optax.GradientTransformationExtraArgs:
        schedule, rate = self.schedule, setting.rate
        scheduled = rate if schedule is None else lambda count: rate * schedule(count)
        made = self.candidate.made(setting._replace(rate=scheduled))
        if self.clip is not None:
            made = optax.chain(optax.clip_by_global_norm(self.clip), made)
        return optax.with_extra_args_support(made)

    def start(self, weights: Weights, setting: TrialSetting) -> Any:
        """The optimizer's state before the first step."""
        return self.optimizer(setting).init(self.feed.tracer.packed(weights))

    def step(
        self, weights: Weights, state: Any, setting: TrialSetting, others: list[Array], consts: list[Array]
    ) -> tuple[Weights, Any, Array]:
        """Weights and state after the step, and the loss before it."""
        loss, gradients = gradient(self.program)(weights, others, consts)
        return (*self.update(weights, state, setting, loss, gradients, others, consts), loss)

    def update(
        self,
        weights: Weights,
        state: Any,
        setting: TrialSetting,
        loss: Array,
        gradients: Weights,
        others: list[Array],
        consts: list[Array],
    ) -> tuple[Weights, Any]:
        """Weights and state after the optimizer's update; `others` are the arguments for a line search."""
        updates, state = self.direction(weights, state, setting, loss, gradients, others, consts)
        packed = self.feed.tracer.packed
        stepped = self.feed.tracer.unpacked(optax.apply_updates(packed(weights), packed(updates)))
        frozen = self.frozen or (False,) * len(weights)
        kept_or_stepped = zip(frozen, weights, stepped, strict=True)
        moved = [weight if kept else new for kept, weight, new in kept_or_stepped]
        return placed_as(moved, self.feed.weights), state

    def direction(
        self,
        weights: Weights,
        state: Any,
        setting: TrialSetting,
        loss: Array,
        gradients: Weights,
        others: list[Array],
        consts: list[Array],
    ) -> tuple[Weights, Any]:
        """What the optimizer adds to the weights, and its state after it."""

        def loss_of(params: Any) -> Array:
            return self.program.loss(self.feed.tracer.unpacked(params), others, consts)

        frozen = self.frozen or (False,) * len(weights)
        gradients = [jnp.zeros_like(g) if kept else g for g, kept in zip(gradients, frozen, strict=True)]
        params, found = self.feed.tracer.packed(weights), self.feed.tracer.packed(gradients)
        more = {"obj_fn": loss_of} if self.objective else {}
        updates, state = self.optimizer(setting).update(
            found, state, params, value=loss, grad=found, value_fn=loss_of, **more
        )
        moves = zip(frozen, self.feed.tracer.unpacked(updates), strict=True)
        return [jnp.zeros_like(move) if kept else move for kept, move in moves], state

    def evaluation_weights(self, weights: Weights, state: Any) -> Weights:
        """The weights to evaluate: those of the step, except for schedule-free optimizers."""
        if self.candidate.at is None:
            return weights
        inner = state[-1] if self.clip is not None else state
        return self.feed.tracer.unpacked(self.candidate.at(inner, self.feed.tracer.packed(weights)))


def state_bytes(state: Any) -> int:
    """Bytes of the arrays that an optimizer keeps between steps, without the step counter."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if hasattr(leaf, "dtype") and leaf.ndim]
    return sum(int(leaf.size) * leaf.dtype.itemsize for leaf in leaves)


def line_search_evaluations(state: Any) -> float:
    """Evaluations of the loss in the last step besides its gradient; 0 without a line search."""
    found = [
        leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
        if "num_linesearch_steps" in jax.tree_util.keystr(path)
    ]
    return float(jnp.sum(jnp.stack(found))) if found else 0.0


def fitted(training: Training) -> Training:
    """The training with the arguments that its optimizer needs, found by tracing with shapes only.

    Raises `GradscopeError` if the optimizer cannot make a step on this problem; nothing is compiled.
    """
    errors: list[Exception] = []
    for attempt in _attempts(training):
        try:
            return _tried(attempt)
        except Exception as error:  # the user's optimizer may raise anything; its message is shown
            errors.append(error)
    raise _unfit(training, f"{type(errors[0]).__name__}: {_first_line(errors[0])}") from errors[0]


def _attempts(training: Training) -> Iterator[Training]:
    """As it is; with the loss for Hessian-vector products; with its decay as a number that stays."""
    yield training
    yield replace(training, objective=True)
    if training.candidate.usual_decay is not None:
        yield replace(training, candidate=replace(training.candidate, usual_decay=None))


def _tried(training: Training) -> Training:
    others = training.feed.opening
    weights, consts = training.feed.weights, list(training.program.body.consts)
    setting = training.candidate.any_setting
    state = jax.eval_shape(training.start, weights, setting)
    stepped = jax.eval_shape(training.step, weights, state, setting, others, consts)
    before = [(leaf.shape, leaf.dtype) for leaf in (*weights, *jax.tree.leaves(state))]
    after = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(stepped[:2])]
    if before != after:
        raise TypeError("its step changes the shape or the dtype of the parameters or of its state")
    return training


def _unfit(training: Training, why: str) -> GradscopeError:
    fix = "Remove it from --optimizers, or wrap it in the file's `candidates` so that it fits."
    if training.candidate.kind == OWN:
        fix = "It is defined in the file: change it there, so that it accepts the params and their gradients."
    return GradscopeError(
        f"The optimizer {training.candidate.name!r} cannot train this problem.",
        why=f"{why}.",
        fix=fix,
        slug="unfit-optimizer",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
