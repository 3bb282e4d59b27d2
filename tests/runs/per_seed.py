"""`python -m tests.runs.per_seed FIRST COUNT FILE...`: what each seed of each file measures, as JSON."""

from __future__ import annotations

import json
import sys

from gradscope.gate.seed_votes import SeedRun
from gradscope.records import Layer
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.records.progress import silent
from gradscope.runs.judged import Judge
from gradscope.runs.seeds import of_target, seed_runs

Numbers = tuple[str, list[str]]


def numbers(run: SeedRun) -> Numbers:
    """The loss and the gradient norm of each layer, to the last bit."""
    layers: tuple[Layer, ...] = run.measurement.layers
    return run.measurement.loss.hex(), [layer.gradient_norm.hex() for layer in layers]


def main(first: str, count: str, *files: str) -> None:
    loading, options = LoadOptions(seed=int(first)), CheckOptions(seeds=int(count), batches=2)
    found = {
        file: [
            numbers(run)
            for run in seed_runs(
                of_target(file, loading, options.seeds, silent), options, Judge(options), silent
            )
        ]
        for file in files
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
