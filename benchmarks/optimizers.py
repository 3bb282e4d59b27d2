"""`compare-optimizers` against the loops that everybody writes: a step jitted for each optimizer and rate
(`plain`), or anew for each run (`fresh`).

Each way runs in a process of its own, on the same starts, batches, seeds and steps and with as many trials:
so many learning rates of each optimizer on two seeds, and the best of them on others. `whole grid` is
gradscope with `--exhaustive`, `default` with halving. Peak memory is that of the process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from functools import partial
from typing import Any

OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")
SEEDS, TUNING_SEEDS, GRID, TRIALS = 5, 2, 5, 12
STEPS = {"mlp": 200, "cnn": 40, "transformer": 40}


def rows() -> list[dict[str, Any]]:
    found = []
    for model, steps in STEPS.items():
        fresh, plain, whole, default = (
            _process(way, model) for way in ("fresh", "plain", "whole", "default")
        )
        found.append(
            {
                "model": model,
                "parameters": plain["parameters"],
                "runs": f"{len(OPTIMIZERS)} x ({TRIALS} x {TUNING_SEEDS} + {SEEDS}) of {steps} steps",
                "training steps": f"{plain['run_steps']}, {whole['run_steps']}, {default['run_steps']}",
                "jit per run [s]": fresh["wall"],
                "jit per rate [s]": plain["wall"],
                "whole grid [s]": whole["wall"],
                "default [s]": default["wall"],
                "per run / default": fresh["wall"] / default["wall"],
                "per rate / default": plain["wall"] / default["wall"],
                "memory ratio": whole["memory"] / plain["memory"],
                "engine": whole["engine"].partition(":")[0],
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
        "mlp": lambda: models.mlp(width=64, depth=2, rows=64, inputs=64),
        "cnn": lambda: models.cnn(channels=16, depth=3, rows=16),
        "transformer": lambda: models.transformer(layers=2, width=128, heads=4, tokens=32, rows=8),
    }[name]()
    # Another start for each seed, without the user's initialization in the way.
    return Problem(model.loss_fn, model.params, model.batch).with_factory(
        lambda seed: jax.tree.map(lambda leaf: leaf * (1.0 + 0.01 * seed), model.params)
    )


def _rates(name: str) -> list[float]:
    from gradscope.optimizers.candidates import named
    from gradscope.optimizers.lattice import grid_around

    return grid_around(named(name).usual or 1e-3, TRIALS)


def _plain(problem: Any, steps: int, *, fresh: bool = False) -> tuple[str, int]:
    import jax
    import numpy as np
    import optax

    momentum = partial(optax.sgd, momentum=0.9)
    makers = {"sgd": optax.sgd, "momentum": momentum, "adam": optax.adam, "rmsprop": optax.rmsprop}
    for name in OPTIMIZERS:
        ends: dict[float, tuple[float, Any]] = {}
        for rate in _rates(name):
            optimizer = makers[name](rate)

            def step(params: Any, state: Any, batch: Any, key: Any, optimizer: Any = optimizer) -> Any:
                loss, grads = jax.value_and_grad(lambda p: problem.loss(p, batch, key)[0])(params)
                updates, state = optimizer.update(grads, state, params)
                return optax.apply_updates(params, updates), state, loss

            jitted = jax.jit(step)

            def run(seed: int, optimizer: Any = optimizer, step: Any = step, jitted: Any = jitted) -> float:
                if fresh:
                    jitted = jax.jit(lambda *args: step(*args))
                begun = problem.reseeded(seed)
                params = jax.tree.map(jax.numpy.asarray, begun.params)
                state, (batch,) = optimizer.init(params), begun.batches()
                key = begun.key()
                for _ in range(steps):
                    params, state, loss = jitted(params, state, batch, key)
                return float(loss)

            tuned = [run(SEEDS + number) for number in range(TUNING_SEEDS)]
            ends[rate] = float(np.mean(tuned)), run
        _, judge = min(ends.values(), key=lambda each: each[0] if np.isfinite(each[0]) else np.inf)
        for seed in range(SEEDS):
            judge(seed)
    return "one jit per rate", len(OPTIMIZERS) * (TRIALS * TUNING_SEEDS + SEEDS) * steps


def _ours(problem: Any, steps: int, *, exhaustive: bool) -> tuple[str, int]:
    from gradscope.optimizers.compare import compare
    from gradscope.records.options import CompareOptions

    terms = CompareOptions(OPTIMIZERS, steps, SEEDS, GRID, exhaustive=exhaustive)
    found = compare(problem.reseeded, terms, 0, lambda stage: None)
    return found.engine, sum(len(trial.losses) for row in found.contestants for trial in row.trials)


def _main(way: str, model: str) -> None:
    problem, steps = _problem(model), STEPS[model]
    import jax
    import numpy as np

    run = {
        "fresh": partial(_plain, fresh=True),
        "plain": _plain,
        "whole": partial(_ours, exhaustive=True),
        "default": partial(_ours, exhaustive=False),
    }[way]
    start = time.perf_counter()
    engine, run_steps = run(problem, steps)
    found = {
        "wall": time.perf_counter() - start,
        "engine": engine,
        "run_steps": run_steps,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(problem.params)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
