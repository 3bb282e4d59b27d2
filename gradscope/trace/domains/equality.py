"""Tests for equality on values that a gradient comes back to, where what they decide reaches the loss."""

from __future__ import annotations

from dataclasses import dataclass

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.reach import Reach
from gradscope.trace.jaxprs import Body
from gradscope.trace.vocabulary import VIEWS, is_integer, is_real
from gradscope.trace.walk import Path, Visit, walk

NAMES = frozenset({"eq", "ne"})
_LOGIC = VIEWS | frozenset({"and", "or", "not", "slice", "squeeze", "concatenate", "stack"})


@dataclass(frozen=True)
class Equality:
    """An `==` or `!=` of the user's own, in a `where` or a mask."""

    path: Path
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    leaves: int
    """Bits of the parameter leaves that a gradient of its operands comes back to."""


class _Equalities(Reach):
    """Bits below `leaves` are those of leaves; above, of what a test decided."""

    def __init__(self, leaves: int) -> None:
        super().__init__()
        self._leaves = leaves
        self.found: dict[Path, Equality] = {}
        self.deciding = 0
        """Bits of the tests that a `where` or a mask reads."""

    def bit(self, path: Path) -> int:
        return 1 << self._leaves + list(self.found).index(path)

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        name, path, bits = eqn.primitive.name, (*place, index), self.join(values)
        if name in NAMES and is_real(eqn.invars[0].aval):
            return [self._test(eqn, path, bits & (1 << self._leaves) - 1)]
        if name == "select_n":
            self.deciding |= values[0]
            return [self.join(values[1:])]
        if name == "convert_element_type" and is_integer(eqn.invars[0].aval):
            self.deciding |= bits
        if name in _LOGIC and is_integer(eqn.outvars[0].aval):
            return [bits] * len(eqn.outvars)
        return super().plain(eqn, values, place, index)

    def _test(self, eqn: JaxprEqn, path: Path, leaves: int) -> int:
        author = jaxprs.author(eqn, self.around[1:])
        if not leaves or jaxprs.in_backward(eqn) or (author and not jaxprs.is_user_file(author)):
            return 0
        self.found[path] = Equality(path, eqn, self.around[1:], leaves)
        return self.bit(path)

    def enters(self, visit: Visit[int, Path]) -> bool:
        return super().enters(visit) and not visit.inside.own_rule


def equalities(body: Body, leaves: int) -> list[Equality]:
    """In the order in which they run; none in most programs."""
    if not jaxprs.has_primitive(body, NAMES):
        return []
    domain = _Equalities(leaves)
    walk(domain, body, [1 << i if i < leaves else 0 for i in range(len(body.jaxpr.invars))], ())
    return [each for path, each in domain.found.items() if domain.deciding & domain.bit(path)]
