"""Several tasks in one loss: their gradients by layer, and a step for all of them beside a step for each.

The loss is linear in its summands, so that what one of them adds to it is the derivative along it, and the
gradient of that is its part of the gradient. Cosines are those of Yu et al. 2020 (arXiv:2001.06782).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.measurement import rows_of
from gradscope.records import LayerAgreement, LossTask, Source, TaskGradients, TaskPair, TaskSteps
from gradscope.trace.compiling import compile_program
from gradscope.trace.domains.data_meetings import data_meetings
from gradscope.trace.graph import Quantity, upstream
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_at, told_apart
from gradscope.trace.spliced import Spliced, Spot
from gradscope.trace.statistics import Floats
from gradscope.trace.summands import Summand, summands
from gradscope.training.agreement import cosine, products_of
from gradscope.training.optimizer import Leaves, stepped
from gradscope.training.penalties import of_weights_alone
from gradscope.training.room import has_room
from gradscope.training.trainer import Trainer
from gradscope.training.trials import USUAL_STEPS

MOST = 4
"""Tasks that are looked at: each takes a pass backward of its own."""


@dataclass(frozen=True)
class _Found:
    name: str
    source: Source | None
    spot: Spot
    reads: int
    """Bits of the leaves that a gradient of it comes back to."""
    compares: bool


def task_gradients(program: Program, made: Trainer, steps: int, batches: int) -> TaskGradients | None:
    """On so many batches, at the start and after the steps of the short training. `None` where no two
    tasks share a layer, and where their gradients do not fit beside each other."""
    every = _tasks(program) if steps >= USUAL_STEPS else []
    found = every[:MOST]
    pairs = [pair for pair in itertools.combinations(range(len(found)), 2) if _shared(program, found, pair)]
    if not pairs or made.searches or not has_room(made.weights * len(found)):
        return None
    gradients = _Gradients(program, [each.spot for each in found], made.feed.at(0, made.weights))
    run = made.run(steps)
    points = [
        [_Look(gradients, made, weights, state, batch, alone=alone) for batch in range(batches)]
        for weights, state, alone in ((made.weights, made.start(), True), (run.weights, run.state, False))
    ]
    start, later = points
    return TaskGradients(
        tasks=tuple(
            LossTask(each.name, each.source, each.compares, _steps(start, place), _steps(later, place))
            for place, each in enumerate(found)
        ),
        pairs=tuple(_pair(program, found, pair, start, later) for pair in pairs),
        batches=batches,
        whole=_mean_of(start),
        whole_later=_mean_of(later),
        left_out=len(every) - len(found),
    )


def _tasks(program: Program) -> list[_Found]:
    """Summands that a gradient comes back from: those that the auxiliary output names, and of the others
    those that compare with the batch and have a layer of their own."""
    loss = program.graph.outs[0]
    named = {
        id(value): name
        for name, value in zip(program.aux, program.graph.outs[1:], strict=False)
        if value is not loss and value.grad and not getattr(value.aval, "shape", ())
    }
    terms = [
        each
        for each in summands(loss, lambda value: id(value) in named)
        if each.use is not None and each.value.grad and not of_weights_alone(each.value)
    ]
    if len(terms) < 2:
        return []
    compared = {each.path for each in data_meetings(program.body, len(program.leaves)) if each.outputs}
    sources = _sources(terms)
    called = zip(terms, sources, _names(terms, sources, named), strict=True)
    found = [
        _Found(
            name, source, (each.use[0].path, each.use[1]), each.value.grad, _compares(each.value, compared)
        )
        for each, source, name in called
        if each.use is not None
    ]
    return [
        each
        for term, each in zip(terms, found, strict=True)
        if id(term.value) in named or (each.compares and _reaches_its_own(each, found))
    ]


def _reaches_its_own(task: _Found, every: Sequence[_Found]) -> bool:
    """A gradient of it alone comes back to some leaf: halves of one likelihood reach the same ones."""
    return bool(task.reads & ~reduce(or_, (each.reads for each in every if each is not task), 0))


def _compares(value: Quantity, compared: set[Any]) -> bool:
    return not compared.isdisjoint(node.path for node in upstream([value]))


def _sources(terms: Sequence[Summand]) -> list[Source | None]:
    paths = [each.at.location if each.at else () for each in terms]
    chosen = told_apart([path for path in paths if path])
    return [source_at(chosen[path]) if path else None for path in paths]


def _names(terms: Sequence[Summand], sources: Sequence[Source | None], named: dict[int, str]) -> list[str]:
    """Each its own: two on one line are counted."""
    names: list[str] = []
    for place, (each, source) in enumerate(zip(terms, sources, strict=True), 1):
        name = named.get(id(each.value)) or (f"term {place}" if source is None else str(source))
        names.append(name if name not in names else f"{name} (term {place})")
    return names


class _Gradients:
    """What each task adds to the loss, and its gradient; one program with a pass backward for each."""

    def __init__(self, program: Program, spots: list[Spot], inputs: Inputs) -> None:
        self.program, self._spots = program, spots
        self._consts = list(program.body.consts)
        arguments = inputs.weights, inputs.others, self._consts
        self._run = compile_program(self._measured, arguments, runs=1)
        self._values = compile_program(self._added, arguments, runs=1)

    def __call__(self, inputs: Inputs) -> tuple[Array, list[Leaves], list[Array]]:
        """f[tasks], their gradients, and by leaf the inner products f[rows, tasks, tasks] of these."""
        return self._run(inputs.weights, inputs.others, self._consts)  # type: ignore[no-any-return]

    def values(self, inputs: Inputs) -> Floats:
        return np.asarray(self._values(inputs.weights, inputs.others, self._consts), np.float64)

    def _added(self, weights: Leaves, others: Leaves, consts: Leaves) -> Array:
        body, spots = Body(self.program.body.jaxpr, consts), self._spots
        arguments = [*weights, *others]
        _, values = Spliced(spots).outcome(body, arguments, {})

        def loss(values: list[Any]) -> Any:
            puts = dict(zip(spots, values, strict=True))
            return Spliced([], spots).outcome(body, arguments, puts)[0]

        def along(place: int) -> Any:
            tangents = [each if i == place else jnp.zeros_like(each) for i, each in enumerate(values)]
            return jax.jvp(loss, (values,), (tangents,))[1]

        return jnp.stack([along(place) for place in range(len(spots))])

    def _measured(self, weights: Leaves, others: Leaves, consts: Leaves) -> Any:
        added, back = jax.vjp(lambda weights: self._added(weights, others, consts), weights)
        units = jnp.eye(len(self._spots), dtype=added.dtype)
        gradients = [back(each)[0] for each in units]
        return added, gradients, products_of(self.program, gradients)


class _Look:
    """One batch at some weights: the products of the gradients there, and what a step does to each task."""

    def __init__(
        self,
        gradients: _Gradients,
        made: Trainer,
        weights: Leaves,
        state: Any,
        batch: int,
        *,
        alone: bool,
    ) -> None:
        inputs = made.feed.at(batch, weights)
        added, own, products = gradients(inputs)
        self.products = [np.asarray(each, np.float64) for each in products]
        self.before = np.asarray(added, np.float64)
        loss, whole = made.flow.loss_and_gradients(inputs)
        self.together, after = self._after(gradients, made, inputs, whole, state, loss)
        self.loss, self.loss_after = float(loss), float(made.flow.loss(after))
        self.alone: Floats | None = None
        if alone:
            stepped_to = [
                self._after(gradients, made, inputs, each, state, added[place])[0][place]
                for place, each in enumerate(own)
            ]
            self.alone = np.asarray(stepped_to, np.float64)

    def _after(
        self, gradients: _Gradients, made: Trainer, inputs: Inputs, given: Leaves, state: Any, loss: Any
    ) -> tuple[Floats, Inputs]:
        updates, _ = made.asked(inputs.weights, given, state, loss)
        moved = [stepped(*each) for each in zip(inputs.weights, updates, strict=True)]
        after = Inputs(moved, inputs.others)
        return gradients.values(after), after


def _mean_of(looks: Sequence[_Look]) -> tuple[float, float]:
    return float(np.mean([look.loss for look in looks])), float(np.mean([look.loss_after for look in looks]))


def _steps(looks: Sequence[_Look], place: int) -> TaskSteps:
    before = np.array([look.before[place] for look in looks])
    together = np.array([look.together[place] for look in looks])
    alone = [look.alone[place] for look in looks if look.alone is not None]
    return TaskSteps(
        raised=float(np.mean(together > before)),
        before=float(before.mean()),
        together=float(together.mean()),
        alone=float(np.mean(alone)) if alone else None,
    )


def _shared(program: Program, found: Sequence[_Found], pair: tuple[int, int]) -> list[int]:
    """Leaves that a gradient of both comes back to: of a generator and its critic there are none."""
    both = found[pair[0]].reads & found[pair[1]].reads
    return [leaf for leaf in range(len(program.leaves)) if both >> leaf & 1]


def _pair(
    program: Program,
    found: Sequence[_Found],
    places: tuple[int, int],
    start: Sequence[_Look],
    later: Sequence[_Look],
) -> TaskPair:
    first, second = (found[place] for place in places)
    shared = _shared(program, found, places)
    whole, whole_later = (
        [cosine([look.products[leaf] for leaf in shared], *places) for look in looks]
        for looks in (start, later)
    )
    layers = []
    for group, row, _ in rows_of(program):
        leaves = [leaf for leaf in group.leaves if leaf in shared]
        if leaves:
            each = [
                _mean(
                    [cosine([look.products[leaf][row.index] for leaf in leaves], *places) for look in looks]
                )
                for looks in (start, later)
            ]
            layers.append(LayerAgreement(row.name, *each))
    return TaskPair(
        first.name,
        second.name,
        _mean(whole),
        _below(whole),
        _mean(whole_later),
        _below(whole_later),
        tuple(layers),
    )


def _mean(cosines: Sequence[float | None]) -> float | None:
    known = [each for each in cosines if each is not None]
    return sum(known) / len(known) if known else None


def _below(cosines: Sequence[float | None]) -> float:
    return sum(each is not None and each < 0 for each in cosines) / len(cosines)
