"""What is read of the loss itself, with the numbers of the batches and the names of layers and lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array

from gradscope.measure.binary_targets import binary_targets
from gradscope.measure.misdirected import misdirected
from gradscope.measure.overlaps import overlap_targets
from gradscope.measure.several_labels import asks_for_classes, several_labels
from gradscope.measure.wrong_sign import falls_when_wrong, never_negative
from gradscope.measure.wrong_softmax import softmax_over_examples, softmax_over_places
from gradscope.records import (
    BatchLeak,
    ClassAverage,
    CrossEntropy,
    ExamplePairing,
    IndexRange,
    Objective,
    OutputFault,
    OutputMismatch,
    UnsetState,
)
from gradscope.trace.domains.linear import linear_chain
from gradscope.trace.domains.objective import Seen, examples_of, find_meetings, observe
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.example_pairs import Meeting
from gradscope.trace.domains.objective.output import Observation, Question
from gradscope.trace.imbalance import imbalances
from gradscope.trace.leaves import split
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import Site, members_of
from gradscope.trace.sources import source_of

T = TypeVar("T")
Owner = dict[int, str]
"""By site, the name of its layer."""

ONE_HOT = 1e-3
"""Rounding of a sum of shares: half precision has three digits."""
ALIKE = 0.02
"""Two factors are the same: a count of rows is rounded in half precision."""


def objective_of(program: Program, batch: Any, inputs: Sequence[Inputs]) -> Objective:
    """Everything in the order of the program; `batch` is the first of those in `inputs`."""
    owner = program.layer_names
    given = [[*each.weights, *each.others] for each in inputs]
    seen = observe(program, batch)
    examples = examples_of(program, batch)
    return Objective(
        example_pairings=pairings(program, batch),
        outputs=(
            *_found(_mismatch(program, each, given, owner) for each in seen),
            *_found(_several(program, each, given, owner, examples) for each in seen),
            *binary_targets(program, inputs),
            *overlap_targets(program, inputs),
        ),
        class_averages=_found(_average(each, given, owner) for each in seen),
        cross_entropies=_found(_cross_entropy(each, given, owner) for each in seen),
        unset_states=_found(_unset(each, given, owner) for each in seen),
        linear_layers=_linear_layers(program, batch, owner),
        index_ranges=_found(_index_range(program, each, given, owner) for each in seen),
        imbalances=imbalances(program),
        batch_leaks=_found(_wrong_softmax(each, given, owner) for each in seen),
        misdirected=tuple(misdirected(program, inputs[0])),
    )


def pairings(program: Program, batch: Any) -> tuple[ExamplePairing, ...]:
    """Where each example of the batch meets all others; by the shapes of `batch` alone."""
    return tuple(_pairing(each, program.layer_names) for each in find_meetings(program, batch))


def _found(records: Iterable[T | None]) -> tuple[T, ...]:
    return tuple(record for record in records if record is not None)


def _pairing(meeting: Meeting, owner: Owner) -> ExamplePairing:
    return ExamplePairing(
        op=meeting.eqn.primitive.name,
        source=source_of(meeting.eqn, meeting.calls),
        layer=owner.get(meeting.site) if meeting.site is not None else None,
        shape=meeting.shapes[0],
        promoted=meeting.shapes[1],
        result=shape_of(meeting.eqn.outvars[0]),
        examples=meeting.examples,
        asked=meeting.asked,
        targets=meeting.targets,
    )


def _place(observation: Observation, owner: Owner) -> dict[str, Any]:
    layer = owner.get(observation.site) if observation.site is not None else None
    return {"source": source_of(observation.eqn, observation.calls), "layer": layer}


def _mismatch(
    program: Program, seen: Seen, inputs: Sequence[Sequence[Array]], owner: Owner
) -> OutputMismatch | None:
    each, form = seen.observation, seen.observation.form
    place = _place(each, owner)
    if each.kind is Question.TWICE and form is not None:
        inner = form.within or form
        softmax = form.within is not None
        return OutputMismatch(
            OutputFault.NORMALIZED_TWICE,
            **place,
            function=inner.made.value,
            applied="softmax" if softmax else "sigmoid",
            classes=form.size if softmax else 0,
        )
    if each.kind is Question.ONE_UNIT:
        return OutputMismatch(OutputFault.SINGLE_UNIT, **place, function="softmax", classes=1)
    if each.kind is Question.RANGE and form is not None:
        return _out_of_range(each, each.values(inputs), place)
    if each.kind in (Question.CLASSES, Question.DISTANCE):
        return falls_when_wrong(seen, inputs, **place) or never_negative(seen, **place)
    if each.kind is Question.NORMALIZED_ALONG:
        return softmax_over_places(each, each.values(inputs), **place)
    if each.kind is Question.LABELS:
        names = tuple(program.leaves[leaf].name for leaf in members_of(seen.leaves))
        return OutputMismatch(
            OutputFault.NO_MINIMUM,
            **place,
            class_labels=each.eqn.primitive.name == "gather" or _one_hot(each.values(inputs)),
            parameters=names,
        )
    return None


def _several(
    program: Program, seen: Seen, inputs: Sequence[Sequence[Any]], owner: Owner, examples: int
) -> OutputMismatch | None:
    if not asks_for_classes(program, seen, examples):
        return None
    return several_labels(seen, seen.observation.values(inputs), **_place(seen.observation, owner))


def _out_of_range(
    each: Observation, targets: Sequence[np.ndarray[Any, Any]], place: dict[str, Any]
) -> OutputMismatch | None:
    assert each.form is not None
    low, high = each.form.low, each.form.high
    flat = np.concatenate([target.ravel() for target in targets])
    variance = float(np.var(flat)) if flat.size else 0.0
    if not np.isfinite(flat).all() or variance == 0:
        return None
    missed = flat - np.clip(flat, low, high)
    if not missed.any():
        return None
    return OutputMismatch(
        OutputFault.OUT_OF_RANGE,
        **place,
        function=each.form.made.value,
        low=low,
        high=high,
        smallest=float(flat.min()),
        largest=float(flat.max()),
        outside=float(np.mean(missed != 0)),
        unexplained=float(np.mean(missed**2)) / variance,
    )


def _one_hot(labels: Sequence[np.ndarray[Any, Any]]) -> bool:
    """Rows with a single 1, along the last axis."""
    return all(label.ndim > 1 < label.shape[-1] and _shares(label, -1) for label in labels) and all(
        bool(((label == 0) | (label == 1)).all()) for label in labels
    )


def _shares(labels: np.ndarray[Any, Any], axis: int) -> bool:
    return bool((labels >= 0).all() and np.allclose(labels.sum(axis), 1, atol=ONE_HOT))


def _average(seen: Seen, inputs: Sequence[Sequence[Any]], owner: Owner) -> ClassAverage | None:
    each, form = seen.observation, seen.observation.form
    if each.kind is not Question.CLASSES or form is None or len(form.axes) != 1 or form.size < 2:
        return None
    cells = int(np.prod(shape_of(each.eqn.outvars[0])))
    if each.eqn.primitive.name != "mul" or abs(abs(seen.scale) * cells - 1) > ALIKE:
        return None
    labels = each.values(inputs)
    rank = len(shape_of(each.eqn.outvars[0]))
    if not all(label.ndim == rank and _shares(label, form.axes[0]) for label in labels):
        return None
    return ClassAverage(**_place(each, owner), classes=form.size, factor=float(form.size))


def _cross_entropy(seen: Seen, inputs: Sequence[Sequence[Any]], owner: Owner) -> CrossEntropy | None:
    each, form = seen.observation, seen.observation.form
    if each.kind is not Question.CLASSES or form is None or form.size < 2 or not seen.whole:
        return None
    cells = int(np.prod(shape_of(each.eqn.outvars[0])))
    if each.eqn.primitive.name == "mul":
        if not _one_hot(each.values(inputs)):
            return None
        cells //= form.size
    if abs(seen.scale * cells + 1) > ALIKE:
        return None
    return CrossEntropy(**_place(each, owner), classes=form.size)


def _wrong_softmax(seen: Seen, inputs: Sequence[Sequence[Any]], owner: Owner) -> BatchLeak | None:
    each = seen.observation
    if each.kind is not Question.NORMALIZED_ALONG:
        return None
    return softmax_over_examples(each, each.values(inputs), **_place(each, owner))


def _unset(seen: Seen, inputs: Sequence[Sequence[Any]], owner: Owner) -> UnsetState | None:
    each = seen.observation
    if each.kind is not Question.STATE:
        return None
    values = each.values(inputs[:1])[0]
    if values.size == 0 or not np.isfinite(values).all() or np.abs(values).max() > each.small:
        return None
    largest = float(values.max())
    return UnsetState(
        **_place(each, owner),
        size=values.size,
        largest=largest,
        epsilon=each.small,
        factor=float((largest + each.small) ** -0.5),
    )


def _index_range(
    program: Program, seen: Seen, inputs: Sequence[Sequence[Any]], owner: Owner
) -> IndexRange | None:
    """`None` where each finds its place."""
    each = seen.observation
    if each.kind not in (Question.INDEX, Question.ONE_HOT) or not each.last:
        return None
    one_hot = each.kind is Question.ONE_HOT
    tables = (group.name for group in program.layers if each.weight and each.leaves >> group.leaves[0] & 1)
    assert each.given is not None
    drawn = [np.asarray(jax.device_get(each.given.value(one))) for one in inputs]
    columns = [[array] if one_hot else np.moveaxis(array, -1, 0) for array in drawn]
    for component, last in enumerate(each.last):
        found = np.concatenate([np.ravel(column[component]) for column in columns]).astype(np.int64)
        # A label below 0 of a one-hot is one that does not count, and its row of zeros is meant.
        outside = found[(found > last) | ((found < 0) & (not one_hot))]
        if outside.size:
            return IndexRange(
                **(_place(each, owner) | {"layer": next(tables)} if each.weight else _place(each, owner)),
                one_hot=one_hot,
                labels=one_hot or not each.weight,
                places=last + 1,
                smallest=int(found.min()),
                largest=int(found.max()),
                outside=int(outside.size),
                values=int(np.unique(outside).size),
                total=int(found.size),
            )
    return None


def _linear_layers(program: Program, batch: Any, owner: Owner) -> tuple[str, ...]:
    """A layer narrower than what goes in and comes out restricts what the whole can be: that may be meant."""
    beside = len(program.body.jaxpr.invars) - len(split(batch).traced) - 1
    chain = linear_chain(program, beside)
    widths = [(site.fan_in or 0, units_of(site)) for site in chain]
    if len(chain) < 2 or min(unit for _, unit in widths[:-1]) < min(widths[0][0], widths[-1][1]):
        return ()
    return tuple(dict.fromkeys(owner[site.id] for site in chain if site.id in owner))


def units_of(site: Site) -> int:
    return int(np.prod([site.value[axis] for axis in site.units]))
