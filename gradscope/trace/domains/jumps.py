"""Which results of a function depend on each argument through a jump: rounding, a cast, a comparison."""

from __future__ import annotations

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.reach import Reach
from gradscope.trace.vocabulary import NO_GRADIENT, is_integer
from gradscope.trace.walk import Path, Visit

CUTS = NO_GRADIENT - {"stop_gradient"} | {"argmax", "argmin", "nextafter", "reduce_precision"}
"""Operations whose result moves in jumps."""

_INDEXED = {"gather": 1, "dynamic_slice": 1, "select_n": 0, "scatter": 1, "scatter-add": 1, "scatter_add": 1}


class Jumps(Reach):
    """Bit `2 i` says that a value depends on argument `i`, bit `2 i + 1` that it does so through a jump.

    What only chooses (the predicate of `where`, an index) does not count.
    """

    def __init__(self, count: int) -> None:
        """`count` arguments."""
        super().__init__()
        self._unjumped = sum(1 << 2 * i for i in range(count))

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        name = eqn.primitive.name
        if name in _INDEXED:
            first = _INDEXED[name]
            chooses = [first] if not name.startswith(("gather", "dynamic")) else range(first, len(values))
            values = [bits for i, bits in enumerate(values) if i not in chooses]
        found = self.join(values)
        jumped = found | (found & self._unjumped) << 1
        return [jumped if name in CUTS or is_integer(var.aval) else found for var in eqn.outvars]

    def leaving(self, visit: Visit[int, Path], carried: list[int], outs: list[int]) -> list[int]:
        # The function itself is asked about, so its rule does not matter.
        del visit, carried
        return outs
