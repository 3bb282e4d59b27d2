"""Draws the batches of a problem, traces its loss and compiles the flow pass."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.usercode.fault import Looks, headline
from gradscope.load.usercode.user_code import user_code
from gradscope.measure.attention import not_looked_at
from gradscope.measure.flow import FlowPass
from gradscope.records import Skipped, Timing
from gradscope.records.progress import Progress
from gradscope.trace.domains.attention import AttentionUse, find_attentions
from gradscope.trace.domains.intervals import Candidate, find_hazards
from gradscope.trace.domains.routing import Router, find_routers
from gradscope.trace.leaves import complex_leaves
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.trace.stream import form_of
from gradscope.trace.work import BACKWARD
from gradscope.training.how_many import steps_of
from gradscope.training.room import has_room

Batches = tuple[list[Any], Iterator[Any]]
"""Those drawn so far, and the pass that goes on after them."""


@dataclass(frozen=True)
class Prepared:
    """A problem whose batches are drawn, whose loss is traced, and whose flow pass is compiled: not yet run.

    What measures more than the flow pass takes batch and program from here, so that a loss is traced once.
    """

    problem: Problem
    batches: list[Any]
    """Those that are measured, as the problem gives them."""
    rest: Iterator[Any]
    """The pass over the data from there on."""
    tracer: Tracer
    inputs: list[Inputs]
    """The same, as the program takes them."""
    program: Program
    hazards: tuple[Candidate, ...]
    attentions: tuple[AttentionUse, ...]
    routers: tuple[Router, ...]
    flow: FlowPass
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    timing: Timing

    @property
    def for_training(self) -> tuple[Problem, Tracer, Program, FlowPass, Inputs, Batches]:
        """What a training starts from."""
        batches = self.batches, self.rest
        return self.problem, self.tracer, self.program, self.flow, self.inputs[0], batches


@dataclass(frozen=True)
class Drawn:
    """Batches of one form, for which one program is compiled, and what is said of the others."""

    used: list[Any]
    notes: tuple[str, ...]
    """Those of the problem, and whether it has one batch where several were asked for."""
    skipped: tuple[Skipped, ...]

    @classmethod
    def of(cls, problem: Problem, rest: Iterator[Any], asked: int) -> Drawn:
        """The next ones of a pass over the data."""
        with user_code("drawing batches"):
            drawn = list(itertools.islice(rest, asked))
        used = [batch for batch in drawn if form_of(batch) == form_of(drawn[0])]
        notes, skipped = list(problem.notes), []
        for name in complex_leaves(problem.params):
            reason = "complex: only real floating leaves are differentiated"
            skipped.append(Skipped(f"params {name}", reason))
        if len(drawn) < asked and problem.has_one_batch:
            notes.append(
                f"There is one batch, not the {asked} that were asked for: give batches(), data() or --data."
            )
        elif len(drawn) < asked:
            what = f"{asked - len(drawn)} of {asked} batches"
            skipped.append(Skipped(what, "the data ended before them"))
        if len(used) < len(drawn):
            reason = "they differ from the first batch in shape or in a Python value; one shape is compiled"
            skipped.append(Skipped(f"{len(drawn) - len(used)} of {len(drawn)} batches", reason))
        return cls(used, tuple(notes), tuple(skipped))


def prepare(problem: Problem, *, batches: int = 1, trains: bool = False, progress: Progress) -> Prepared:
    """Draw `batches` batches, trace the loss at the first, compile the flow pass for all of its shape.

    `trains`: a training follows, which takes the gradients of the pass where there is room for them.
    """
    rest = problem.batches()
    drawn = Drawn.of(problem, rest, batches)
    start = time.perf_counter()
    progress("tracing")
    tracer = Tracer(problem)
    first = drawn.used[0]
    program = tracer.trace(first)
    traced = time.perf_counter()
    inputs = [tracer.inputs(batch, draw) for draw, batch in enumerate(drawn.used)]
    hazards, looks = find_hazards(program, first), Looks()
    attentions = tuple(looks.listed("attention", lambda: find_attentions(program, first)))
    routers = tuple(looks.listed("experts", lambda: find_routers(program)))
    progress("compiling")
    try:
        gradients = trains and has_room(inputs[0].weights)
        runs = len(inputs) + (steps_of(program) if trains else 0)
        work = runs * BACKWARD * program.operations
        flow = FlowPass(program, inputs[0], runs=len(inputs), work=work, gradients=gradients)
    except GradscopeError:
        raise
    except Exception as error:  # a mistake of ours, for the user's own program can be differentiated
        reason = f"gradscope itself failed to measure them, please report it ({headline(error)})"
        program, hazards, attentions, routers = program.without_taps(reason), (), (), ()
        flow = FlowPass(program, inputs[0], runs=len(inputs))
    return Prepared(
        problem,
        drawn.used,
        rest,
        tracer,
        inputs,
        program,
        hazards,
        attentions,
        routers,
        flow,
        notes=drawn.notes,
        skipped=(
            *drawn.skipped,
            *not_looked_at(attentions),
            *looks.failed,
        ),
        timing=Timing(
            0.0,
            traced - start + flow.compiled.trace_s,
            flow.compiled.compile_s,
            0.0,
            *flow.compiled.blocks,
        ),
    )
