"""`compare-optimizers` against the loop that everybody writes: one jitted step per optimizer and rate.

Each way runs in a process of its own, on the same starts, batches, rates, seeds and steps; `whole grid` is
gradscope with `--exhaustive`, `default` with halving. Peak memory is that of the process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

OPTIMIZERS = ("sgd", "adam", "rmsprop")
SEEDS, GRID = 2, 5
STEPS = {"mlp": 200, "cnn": 40, "transformer": 40}


def rows() -> list[dict[str, Any]]:
    found = []
    for model, steps in STEPS.items():
        plain, whole, default = (_process(way, model) for way in ("plain", "whole", "default"))
        found.append(
            {
                "model": model,
                "parameters": plain["parameters"],
                "runs": f"{len(OPTIMIZERS)} x {GRID} x {SEEDS} of {steps} steps",
                "plain loop [s]": plain["wall"],
                "whole grid [s]": whole["wall"],
                "times faster": plain["wall"] / whole["wall"],
                "default [s]": default["wall"],
                "times faster, default": plain["wall"] / default["wall"],
                "memory ratio": whole["memory"] / plain["memory"],
                "engine": whole["engine"],
            }
        )
    return found


def _process(way: str, model: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.optimizers", way, model],
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _problem(name: str) -> Any:
    import jax

    from benchmarks import models
    from gradscope.load.problem import Problem

    model = {
        "mlp": lambda: models.mlp(width=64, depth=2, rows=64),
        "cnn": lambda: models.cnn(channels=16, depth=3, rows=16),
        "transformer": lambda: models.transformer(layers=2, width=128, heads=4, tokens=32, rows=8),
    }[name]()
    # Another start for each seed, without the user's initialization in the way.
    return Problem(model.loss_fn, model.params, model.batch).made_by(
        lambda seed: jax.tree.map(lambda leaf: leaf * (1.0 + 0.01 * seed), model.params)
    )


def _rates(name: str) -> list[float]:
    from gradscope.optimizers.candidates import named
    from gradscope.optimizers.search import grid_around

    return grid_around(named(name).usual or 1e-3, GRID)


def _plain(problem: Any, steps: int) -> str:
    import jax
    import optax

    makers = {"sgd": optax.sgd, "adam": optax.adam, "rmsprop": optax.rmsprop}
    for name in OPTIMIZERS:
        for rate in _rates(name):
            optimizer = makers[name](rate)

            @jax.jit
            def step(params: Any, state: Any, batch: Any, key: Any, optimizer: Any = optimizer) -> Any:
                loss, grads = jax.value_and_grad(lambda p: problem.loss(p, batch, key)[0])(params)
                updates, state = optimizer.update(grads, state, params)
                return optax.apply_updates(params, updates), state, loss

            for seed in range(SEEDS):
                begun = problem.reseeded(seed)
                params = jax.tree.map(jax.numpy.asarray, begun.params)
                state, (batch,) = optimizer.init(params), begun.batches()
                for number in range(steps):
                    params, state, loss = step(params, state, batch, begun.key(number))
                jax.block_until_ready(loss)
    return "one jit per rate"


def _ours(problem: Any, steps: int, *, exhaustive: bool) -> str:
    from gradscope.optimizers.compare import compare
    from gradscope.options import CompareOptions

    terms = CompareOptions(OPTIMIZERS, steps, SEEDS, GRID, exhaustive=exhaustive)
    return compare(problem.reseeded, terms, 0, lambda stage: None).engine


def _main(way: str, model: str) -> None:
    problem, steps = _problem(model), STEPS[model]
    import jax
    import numpy as np

    start = time.perf_counter()
    engine = _plain(problem, steps) if way == "plain" else _ours(problem, steps, exhaustive=way == "whole")
    wall = time.perf_counter() - start
    size = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(problem.params))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"wall": wall, "memory": memory, "parameters": size, "engine": engine}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
