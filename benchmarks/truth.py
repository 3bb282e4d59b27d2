"""Do the programs of the zoo behave as they claim? `python -m benchmarks truth` trains each of them.

A plain loop of optax, from the program's own params, with its optimizer, on its batches in turn. What is
compared is the `metric(params)` of a file, lower being better, or else its loss, a mean over the last steps.
A sick one must end clearly worse than its twin, or near where it began if it has none; a healthy one clearly
better than it began. What came out is `tests/zoo/truth.json`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.zoo.programs import ROOT, Program, programs
from tests.zoo.truth import TRUTH, behaves, mark, measured

STEPS = 400
LAST = 8
"""Steps whose mean is the end; what has fewer batches than that sees each at least once."""


def rows() -> Iterator[dict[str, Any]]:
    zoo = programs()
    ends = _ends(zoo)
    for one in zoo:
        yield {"program": one.target, **ends[one.target], "behaves": behaves(one, ends)}


def _ends(zoo: list[Program]) -> dict[str, dict[str, Any]]:
    """Of those that have not changed since, what was measured before."""
    known = measured()
    marks = {one.target: mark(one.file) for one in zoo}
    changed = [target for target, text in marks.items() if known.get(target, {}).get("file") != text]
    command = [sys.executable, "-m", "benchmarks.truth", *changed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        for line in child.stdout or ():
            found = json.loads(line)
            target = found.pop("target")
            known[target] = {"file": marks[target], **found}
            TRUTH.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            print(target, found, file=sys.stderr, flush=True)
    ends = {target: known[target] for target in marks}
    TRUTH.write_text(json.dumps(ends, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return ends


def train(target: str) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import optax

    from gradscope.load.target import load

    problem = load(target).for_training()
    leaves, tree = jax.tree.flatten(problem.params)
    trained = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    optimizer = problem.optimizer or optax.adam(1e-3)
    asked = getattr(problem.loss_fn, "__globals__", {}).get("metric")

    def whole(weights: Any) -> Any:
        given = dict(zip(trained, weights, strict=True))
        return tree.unflatten([given.get(i, leaf) for i, leaf in enumerate(leaves)])

    metric = None if asked is None else jax.jit(lambda weights: asked(problem.packed(whole(weights))))

    @jax.jit
    def step(weights: Any, state: Any, batch: Any, key: Any) -> Any:
        def loss_of(params: Any) -> Any:
            return problem.loss(params, batch, key)[0]

        loss, gradients = jax.value_and_grad(loss_of, allow_int=True)(whole(weights))
        flat = jax.tree.leaves(gradients)
        updates, state = optimizer.update(tree.unflatten(flat), state, whole(weights))
        moved = optax.apply_updates(whole(weights), updates)
        return [jax.tree.leaves(moved)[i] for i in trained], state, loss

    weights = [jnp.asarray(leaves[i]) for i in trained]
    start = None if metric is None else float(metric(weights))
    state = jax.jit(lambda weights: optimizer.init(whole(weights)))(weights)
    batches = list(itertools.islice(problem.batches(), 32))
    losses = []
    for count in range(STEPS):
        weights, state, loss = step(weights, state, batches[count % len(batches)], problem.key(count))
        losses.append(float(loss))
    if metric is not None and start is not None:
        return {"start": _short(start), "end": _short(float(metric(weights)))}
    return {"start": _short(losses[0]), "end": _short(sum(losses[-LAST:]) / LAST)}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    from gradscope.processes.prepare import prepare_process

    prepare_process()
    for file in sys.argv[1:]:
        try:
            found = train(file)
        except Exception as error:
            found = {"start": 0.0, "end": 0.0, "error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps({"target": file, **found}), flush=True)
