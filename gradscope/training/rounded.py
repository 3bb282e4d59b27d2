"""Numbers of the batch that a cast to a shorter type makes equal, before any parameter meets them.

What comes of it is measured where parameters or outputs meet what was made of them: there the same operations
in float64, no cast among them, give other numbers. A rounding that is small beside the spread of these says
nothing; before a sine, a difference or a look-up the same rounding may be all. Numbers of the program
keep the rounding that they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import RoundedInput, RoundedTrial
from gradscope.trace import jaxprs
from gradscope.trace.changed import Changed
from gradscope.trace.domains.uses import arrays_of
from gradscope.trace.graph import Node, Quantity, upstream
from gradscope.trace.jaxprs.custom_rules import CannotWiden
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import is_integer, is_real
from gradscope.training.other_losses import OtherLoss
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

MUCH = 0.1
"""rms of the error over the standard deviation, of any feature; or share of the numbers that choose."""
NARROW = 0.05
"""Of the standard deviation of all features: a narrower one counts as this, as slow cosines of positions."""
MOST_ELEMENTS = 2**22
MOST_NODES = 64
"""Operations before the first parameter."""


@dataclass(frozen=True)
class MetByWeights:
    """An operand that is made of the batch and of numbers alone, of a node that parameters come to."""

    node: Node
    operand: int

    @property
    def value(self) -> Quantity:
        return self.node.operands[self.operand]


def rounded_inputs(program: Program, made: Trainer, steps: int) -> Iterator[RoundedInput]:
    """The first cast on the way to each, in the order of the program; the trial is that of all together."""
    meetings = list(_meetings(program))
    batches = [made.feed.at(step, made.weights) for step in range(made.feed.used(steps))]
    casts: dict[Node, list[tuple[MetByWeights, float]]] = {}
    for each in meetings:
        cast = _cast(each.value, batches[:1])
        if cast is None or _error(each.value, batches[:1]) <= MUCH:
            continue
        error = _error(each.value, batches)
        if error > MUCH:
            casts.setdefault(cast, []).append((each, error))
    mended = [each for found in casts.values() for each, _ in found]
    if not mended:
        return
    tried = _tried(program, made, steps, mended) if steps >= USUAL_STEPS and not made.searches else None
    names = {
        array.place + len(program.leaves): array.name for array in arrays_of(made.feed.drawn[0], batches[0])
    }
    for cast, found in casts.items():
        before, after = (_distinct(value, batches) for value in (cast.operands[0], cast.results[0]))
        places = sorted({q.position for q in _inputs(cast.results[0]) if q.position is not None})
        yield RoundedInput(
            name=next((names[place] for place in places if place in names), ""),
            source=source_of(cast.eqn, cast.calls),
            dtype=str(cast.results[0].aval.dtype),
            before=before,
            after=after,
            error=max(error for _, error in found),
            trial=tried,
        )


def _meetings(program: Program) -> Iterator[MetByWeights]:
    """Of values behind a cast that depend on the batch, and on neither parameters nor a key."""
    graph = program.graph
    key = len(program.body.jaxpr.invars) - 1
    for node in graph.nodes:
        if not any(result.reads for result in node.results):
            continue
        for place, value in enumerate(node.operands):
            if value.reads or value.node is None or not 1 < value.aval.size <= MOST_ELEMENTS:
                continue
            nodes = upstream([value])
            if len(nodes) > MOST_NODES or not any(map(_shortens, nodes)):
                continue
            if all(each.position != key for each in _inputs(value)):
                yield MetByWeights(node, place)


def _shortens(node: Node) -> bool:
    """A cast that some numbers of the type before it do not survive."""
    if node.name != "convert_element_type" or node.operands[0].aval.size < 2:
        return False
    before, after = (jnp.dtype(value.aval.dtype) for value in (node.operands[0], node.results[0]))
    if not jnp.issubdtype(after, jnp.floating):
        return False
    kept = jnp.finfo(after).nmant  # type: ignore[no-untyped-call]
    if jnp.issubdtype(before, jnp.floating):
        return bool(jnp.finfo(before).nmant > kept)  # type: ignore[no-untyped-call]
    return bool(jnp.issubdtype(before, jnp.integer) and before.itemsize * 8 > kept + 1)


def _inputs(value: Quantity) -> list[Quantity]:
    return [q for node in upstream([value]) for q in node.operands if q.node is None]


def _ordered(value: Quantity) -> list[Node]:
    """Each behind those that it needs."""
    done: list[Node] = []

    def visit(node: Node) -> None:
        if node not in done:
            for q in node.operands:
                if q.node is not None:
                    visit(q.node)
            done.append(node)

    if value.node is not None:
        visit(value.node)
    return done


def as_it_is(value: Quantity, inputs: Inputs) -> Any:
    return _evaluated(value, inputs, lambda node, values: jaxprs.run_equation(node.eqn, values), lambda x: x)


def exact(value: Quantity, inputs: Inputs) -> Any:
    """f64, or integers. Raises `CannotWiden`."""

    def wide(array: Any) -> Any:
        array = np.asarray(jax.device_get(array))
        return array.astype(jaxprs.wide_dtype(array.dtype))

    with jax.enable_x64(True):
        run = lambda node, values: jaxprs.run_widened(node.eqn, values)  # noqa: E731
        return np.asarray(jax.device_get(_evaluated(value, inputs, run, wide)))


def _evaluated(value: Quantity, inputs: Inputs, run: Any, given: Any) -> Any:
    arguments = [*inputs.weights, *inputs.others]
    known: dict[int, Any] = {}

    def read(q: Quantity) -> Any:
        if id(q) in known:
            return known[id(q)]
        if q.number is not None:
            return given(np.asarray(q.number, q.aval.dtype))
        return given(q.constant if q.position is None else arguments[q.position])

    for node in _ordered(value):
        outs = run(node, [read(q) for q in node.operands])
        known.update((id(q), out) for q, out in zip(node.results, outs, strict=True))
    return read(value)


def _error(value: Quantity, batches: Sequence[Inputs]) -> float:
    """0 where it cannot be told."""
    try:
        found = [(np.asarray(as_it_is(value, each)), exact(value, each)) for each in batches]
    except CannotWiden:
        return 0.0
    rough, fine = (np.stack(each) for each in zip(*found, strict=True))
    if is_integer(value.aval):
        return float(np.mean(rough != fine))
    if not is_real(value.aval):
        return 0.0
    axes = tuple(range(fine.ndim - 1)) if value.aval.ndim > 1 else None
    with np.errstate(all="ignore"):
        wrong = np.sqrt(np.mean((rough.astype(np.float64) - fine) ** 2, axis=axes))
        spread = np.maximum(np.std(fine, axis=axes), NARROW * np.std(fine))
        relative = np.ravel(wrong / spread)
    usable = relative[np.isfinite(relative)]
    return float(usable.max(initial=0.0))


def _cast(value: Quantity, batches: Sequence[Inputs]) -> Node | None:
    """The first on the way that makes numbers equal."""
    for node in _ordered(value):
        if _shortens(node) and _distinct(node.results[0], batches) < _distinct(node.operands[0], batches):
            return node
    return None


def _distinct(value: Quantity, batches: Sequence[Inputs]) -> int:
    found = [np.ravel(np.asarray(as_it_is(value, each))).astype(np.float64) for each in batches]
    return int(np.unique(np.concatenate(found)).size)


def _tried(program: Program, made: Trainer, steps: int, meetings: Sequence[MetByWeights]) -> RoundedTrial:
    count, batches = LONGER * steps, made.feed.used(steps)
    different = len(made.feed.drawn)
    puts = []
    for step in range(different):
        inputs = made.feed.at(step, made.weights)
        values = [(exact(each.value, inputs), each.value.aval.dtype) for each in meetings]
        puts.append([jnp.asarray(value, dtype) for value, dtype in values])

    def changed(values: Any) -> Changed:
        at: dict[Any, dict[int, Any]] = {}
        for each, value in zip(meetings, values, strict=True):
            at.setdefault(each.node.path, {})[each.operand] = value
        return Changed({path: _replacing(found) for path, found in at.items()}, {})

    loss = OtherLoss(program, changed, made.feed.at(0, made.weights), puts[0])

    def unrounded(inputs: Inputs, step: int) -> Any:
        return loss(inputs, puts[step % different])

    weights = made.run(count, Modification(loss=unrounded)).weights

    def mean(weights: Any) -> float:
        found = [unrounded(made.feed.at(step, weights), step)[0] for step in range(batches)]
        return float(np.mean(np.asarray(jax.device_get(found), np.float64)))

    return RoundedTrial(
        steps=count,
        start=made.mean_loss(made.weights, batches)[0],
        end=made.mean_loss(made.unchanged(count), batches)[0],
        start_exact=mean(made.weights),
        end_exact=mean(weights),
    )


def _replacing(found: dict[int, Any]) -> Any:
    return lambda values: [found.get(place, value) for place, value in enumerate(values)]
