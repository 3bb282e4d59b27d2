"""Statistics of the outputs of all layers, from a program that runs forward alone."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gradscope.blocks.forward import Watched, compile_watched
from gradscope.measure.readings import Reading
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, Statistic


class OutputPass:
    """Call it with the inputs of each batch; it is compiled once, at the first call, in blocks where that
    pays."""

    def __init__(self, program: Program, statistics: tuple[Statistic, ...]) -> None:
        """`COUNT` is among the statistics."""
        self._program, self._statistics = program, statistics
        self._run: Watched | None = None

    def __call__(self, inputs: Inputs) -> dict[int, Reading]:
        """By site."""
        values: list[Any] = [*inputs.weights, *inputs.others]
        if self._run is None:
            self._run = compile_watched(self._program, values, self._statistics, runs=1)
        found = jax.device_get(self._run(values))
        return {
            site.id: Reading.of(
                self._statistics, found[site.id], np.ones(site.shape), found[site.id][COUNT.name]
            )
            for site in self._program.sites
        }
