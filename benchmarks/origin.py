"""Seconds to find where a NaN was born in a program of about ten thousand equations.

A plain MLP, written out layer by layer, that is sick at its end, in its middle, or only on the way back.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp

from gradscope.load.problem import Problem
from gradscope.nonfinite.find import find_origin
from gradscope.records import Origin
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Tracer

LAYERS = 235
WIDTH = 64
PLACES = ("end", "middle", "backward")


def loss_fn(place: str) -> Any:
    def loss(params: Any, batch: Any) -> Any:
        h = batch
        for number, layer in enumerate(params):
            z = h @ layer["w"] + layer["b"]
            h = h + 0.1 * z * jax.nn.sigmoid(z) / jnp.sqrt(1.0 + jnp.mean(z**2, axis=-1, keepdims=True))
            if number == len(params) // 2 and place == "middle":
                h = jnp.log(h - h[:, :1])
            if number == len(params) // 2 and place == "backward":
                h = h + jnp.sqrt((h - h[:, :1]) ** 2)
        return jnp.log(jnp.mean(h) * 0) if place == "end" else jnp.mean(h**2)

    return loss


def equations(body: Body) -> int:
    return sum(1 + sum(equations(inner) for inner in jaxprs.inner_bodies(eqn)) for eqn in body.eqns)


def measure(place: str, layers: int = LAYERS) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), layers)
    scale = WIDTH**-0.5
    params = [{"w": jax.random.normal(key, (WIDTH, WIDTH)) * scale, "b": jnp.zeros(WIDTH)} for key in keys]
    batch = jax.random.normal(jax.random.key(1), (32, WIDTH))
    tracer = Tracer(Problem(loss_fn(place), params, batch))
    program = tracer.trace(batch)
    inputs = tracer.inputs(batch)
    gradient = jax.make_jaxpr(jax.value_and_grad(program.loss))(
        inputs.weights, inputs.others, list(program.body.consts)
    )
    plain = compile_program(jax.value_and_grad(loss_fn(place)), (params, batch), runs=1)
    start = time.perf_counter()
    found = find_origin(program, inputs, batch)
    spent = time.perf_counter() - start
    return {
        "born": place,
        "equations": equations(jaxprs.body_of(gradient)),
        "plain_compile_s": plain.compile_s,
        "origin_s": spent,
        "op": found.op if isinstance(found, Origin) else found.reason,
        "derivative_of": (isinstance(found, Origin) and found.derivative_of) or "",
    }


def rows() -> list[dict[str, Any]]:
    measure("end", 2)
    return [measure(place) for place in PLACES]
