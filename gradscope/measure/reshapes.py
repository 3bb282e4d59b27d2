"""Reshapes in the place of a transpose, with what they mix."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import ReshapedAxes
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.reshapes import Suspect, mixing, written
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of


def reshaped_axes(program: Program, found: Sequence[Suspect]) -> tuple[ReshapedAxes, ...]:
    owner = program.layer_names
    return tuple(_record(each, owner) for each in found)


def _record(suspect: Suspect, owner: dict[int, str]) -> ReshapedAxes:
    eqn, exchange = suspect.eqn, suspect.exchange
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    (i, j), length = exchange.block, exchange.length
    places, mixed = mixing(eqn, exchange)
    return ReshapedAxes(
        source=source_of(eqn, suspect.calls),
        layer=None if suspect.site is None else owner.get(suspect.site),
        shape=before,
        result=after,
        axis=_long_axes(before)[i],
        to=_long_axes(after)[j],
        axes=length,
        places=places,
        mixed=mixed,
        split=exchange.split,
        written=written(eqn, exchange),
    )


def _long_axes(shape: Sequence[int]) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size > 1]
