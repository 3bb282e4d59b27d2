"""Statistics of the outputs of all layers, from a program that runs forward alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradscope.measure.readings import Reading
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, Selection, Statistic


class OutputPass:
    """Call it with the inputs of each batch; one program is compiled, at the first call."""

    def __init__(self, program: Program, statistics: tuple[Statistic, ...]) -> None:
        """`COUNT` is among the statistics."""
        self._program = program
        self._selection = Selection(value=statistics, delta=())
        self._run: Callable[..., Any] | None = None

    def __call__(self, inputs: Inputs) -> dict[int, Reading]:
        """By site."""
        program, chosen = self._program, self._selection
        gains, consts = program.gains(), list(program.body.consts)

        def measured(weights: list[Any], others: list[Any]) -> Any:
            return program.tapped(weights, program.sinks(chosen), gains, others, consts, chosen)[1]

        if self._run is None:
            self._run = compile_program(measured, (inputs.weights, inputs.others), runs=1)
        found = jax.device_get(self._run(inputs.weights, inputs.others))
        return {
            site.id: Reading.of(chosen.value, found[site.id], np.ones(site.shape), found[site.id][COUNT.name])
            for site in program.sites
        }
