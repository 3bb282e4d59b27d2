"""Which cuts, each mended alone, would let a gradient through: the ones to tell of a blocked leaf.

A cut whose result goes through another one (`floor` for an index, and then a cast of the result to integers)
is on a path of the leaf, and is not what blocks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.reach import Reach
from gradscope.trace.jaxprs import Body
from gradscope.trace.vocabulary import NO_GRADIENT, PARTS, VIEWS, is_integer, is_real
from gradscope.trace.walk import Path, walk

_COUNTS = (
    VIEWS
    | frozenset({"slice", "concatenate", "stack", "pad", "add", "sub", "mul", "neg", "max", "min", "clamp"})
    | frozenset({"reduce_sum"})
)
"""Operations on integers that would hand a gradient on if the integers were real numbers."""
_CHOOSES = dict.fromkeys(PARTS, slice(0, 1)) | {
    "select_n": slice(1, None),
    "scatter": slice(0, 3, 2),
    "scatter-add": slice(0, 3, 2),
    "dynamic_update_slice": slice(0, 2),
}
"""The operands that do not merely say where to read, or which."""


class Mending(Reach):
    """From leaves to the loss, where a leaf's bit ends at a cut and a bit of the cut's own begins."""

    def __init__(self, cuts: Sequence[JaxprEqn], leaves: int) -> None:
        super().__init__()
        self.bits = {id(eqn): 1 << leaves + i for i, eqn in enumerate(cuts)}
        """By `id` of the equation of a cut."""
        self.lost = dict.fromkeys(self.bits.values(), 0)
        """By bit of a cut: the leaves whose gradient comes to it."""
        self.casts: dict[int, tuple[JaxprEqn, tuple[JaxprEqn, ...]]] = {}
        """By bit of a cut: the equation in which its result becomes integers, and those around it."""
        self._leaf_bits = (1 << leaves) - 1

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        name = eqn.primitive.name
        differentiated = range(len(values))[_CHOOSES.get(name, slice(None))]
        real = [is_real(atom.aval) or name in _COUNTS for atom in eqn.invars]
        found = self.join([values[i] for i in differentiated if real[i]])
        mine = self.bits.get(id(eqn), 0)
        if mine:
            self.lost[mine] |= found & self._leaf_bits
        if name == "convert_element_type" and is_integer(eqn.outvars[0].aval):
            self._note_cast(eqn, found | mine)
        found = mine or (0 if name in NO_GRADIENT else found)
        return [
            found if mine or is_real(var.aval) or name in _COUNTS or name in _CHOOSES else 0
            for var in eqn.outvars
        ]

    def _note_cast(self, eqn: JaxprEqn, bits: int) -> None:
        for bit in self.lost:
            if bits & bit:
                self.casts.setdefault(bit, (eqn, self.around[1:]))


def mending(body: Body, cuts: Sequence[JaxprEqn], leaves: int) -> tuple[Mending, int]:
    """What was found on the way, and the bits of the cuts from which a gradient would come to the loss."""
    domain = Mending(cuts, leaves)
    inputs = [1 << i if i < leaves else 0 for i in range(len(body.jaxpr.invars))]
    outs: list[Any] = walk(domain, body, inputs, ())
    return domain, outs[0]
