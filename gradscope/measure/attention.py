"""How sharp attention is whose scores nothing scales down: looked at only where the factor is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from gradscope.records import UnscaledAttention
from gradscope.trace.compiling import compile_program
from gradscope.trace.domains.attention import Attention, attentions
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spliced

TIMES = 2.0
"""Scores that are so many times as large as a factor of 1 / sqrt(width) makes them."""
FEWEST_KEYS = 4
"""Positions, below which a row has hardly a choice."""
SHARP = 0.95
"""Weight of a single position."""


def unscaled_attentions(program: Program, inputs: Inputs) -> Iterator[UnscaledAttention]:
    """In the order of the program; one forward program is compiled where there is any."""
    found = [each for each in attentions(program) if _unscaled(each)]
    if not found:
        return
    run = Spliced([(each.path, each.operand) for each in found])
    consts = list(program.body.consts)

    def measured(weights: list[Any], others: list[Any]) -> list[Any]:
        body = Body(program.body.jaxpr, consts)
        return [_sharpness(value) for value in run.outcome(body, [*weights, *others], {})[1]]

    given = inputs.weights, inputs.others
    shares = jax.device_get(compile_program(measured, given, runs=1)(*given))
    for each, (share, rows) in zip(found, shares, strict=True):
        if rows:
            yield UnscaledAttention(
                source=source_of(each.scores.eqn, each.calls) or source_of(each.eqn, each.calls),
                width=each.scores.width,
                factor=float(each.scores.factor or 0.0),
                sharp=float(share),
                rows=int(rows),
            )


def _unscaled(attention: Attention) -> bool:
    scores = attention.scores
    return scores.factor is not None and abs(scores.factor) * scores.width**0.5 >= TIMES


def _sharpness(weights: Array) -> tuple[Array, Array]:
    """Of the rows with a choice, the share that give nearly everything to one position; and their number. No
    rows where the last axis is not the one along which the weights sum to 1."""
    wide = weights.astype(jnp.float32)
    normalized = jnp.abs(wide.sum(-1) - 1) < 0.02
    choosing = normalized & (wide.shape[-1] >= FEWEST_KEYS)
    rows = choosing.sum()
    sharp = (choosing & (wide.max(-1) > SHARP)).sum()
    return sharp / jnp.maximum(rows, 1), rows
