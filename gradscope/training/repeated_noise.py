"""Noise that is drawn with a constant key: the training with it, and with new noise at each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.records import RepeatedNoise, RepeatedNoiseTrial
from gradscope.trace.changed import Changed
from gradscope.trace.domains.draws import Draw, constant_draws
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.trace.sites import Plan
from gradscope.trace.sources import source_of
from gradscope.training.other_losses import OtherLoss
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import USUAL_STEPS

UNSEEN = 2**30
"""Numbers from here on are folded into keys for noise that no step of a training has seen."""
TIMES = 10
"""As many steps as the short training: what is learned by heart needs some."""
NOISES = 8
"""Draws of it that a loss is the mean of."""


def repeated_noise(program: Program, tracer: Tracer, made: Trainer, steps: int) -> Iterator[RepeatedNoise]:
    """By draw, in the order of the program; the trial is that of all of them together."""
    found = _by_example(program, tracer, made.feed.drawn[0])
    if not found:
        return
    tried = _tried(program, made, steps, found) if steps >= USUAL_STEPS and not made.searches else None
    layers = program.layer_names
    for draw in found:
        yield RepeatedNoise(
            key=None if draw.seed is None else source_of(*draw.seed),
            source=source_of(draw.eqn, draw.calls),
            shape=draw.shape,
            layer=None if draw.site is None else layers.get(draw.site),
            trial=tried,
        )


def _by_example(program: Program, tracer: Tracer, batch: Any) -> list[Draw]:
    """Constant draws that have numbers for each example: of a batch with one example less they have fewer."""
    found = constant_draws(program.body, program.plan)
    examples = examples_of(program, batch)
    leaves = jax.tree.leaves(batch)
    if not found or examples < 2 or not any(np.shape(leaf)[:1] == (examples,) for leaf in leaves):
        return []
    fewer = jax.tree.map(lambda leaf: leaf[:-1] if np.shape(leaf)[:1] == (examples,) else leaf, batch)
    with suppress(GradscopeError):
        others = constant_draws(tracer.body(fewer), Plan())
        if [each.path for each in others] == [each.path for each in found]:
            return [one for one, other in zip(found, others, strict=True) if one.shape != other.shape]
    # A loss that is written for one number of examples.
    return [one for one in found if one.shape[:1] == (examples,)]


def _tried(program: Program, made: Trainer, steps: int, found: Sequence[Draw]) -> RepeatedNoiseTrial:
    def renewed(salt: Any) -> Changed:
        def change(values: list[Any]) -> list[Any]:
            return [folded(values[0], salt), *values[1:]]

        return Changed({draw.path: change for draw in found}, {})

    loss = OtherLoss(program, renewed, made.feed.at(0, made.weights), jnp.uint32(0))

    def new_at_each_step(inputs: Inputs, step: int) -> Any:
        return loss(inputs, jnp.uint32(step))

    count, batches = TIMES * steps, made.feed.used(steps)
    unseen = [jnp.uint32(UNSEEN + number) for number in range(NOISES)]
    ends = made.unchanged(count), made.run(count, Modification(loss=new_at_each_step)).weights
    start, repeated, renewed_end = (loss.mean(made, w, batches, unseen) for w in (made.weights, *ends))
    return RepeatedNoiseTrial(
        steps=count,
        start=start[0],
        seen=made.mean_loss(ends[0], batches)[0],
        end=repeated[0],
        end_renewed=renewed_end[0],
        error=max(repeated[1], renewed_end[1]),
    )


def folded(key: Any, salt: Any) -> Any:
    """Traceable: another key, or as many of them as there are."""
    if key.ndim == 0:
        return jax.random.fold_in(key, salt)
    return jax.vmap(lambda one: jax.random.fold_in(one, salt))(key.reshape(-1)).reshape(key.shape)
