"""Which inputs a gradient of each value would come back to: sets of bits, from the inputs forward."""

from __future__ import annotations

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.bits import Bits
from gradscope.trace.vocabulary import is_real
from gradscope.trace.walk import Path, Visit


class Reach(Bits):
    """Through real values, and not past a `stop_gradient`."""

    def __init__(self) -> None:
        self.ins: dict[Path, list[int]] = {}
        """The bits of every equation's operands, joined over all visits."""

    def enters(self, visit: Visit[int, Path]) -> bool:
        # A path leads to where operands can be captured, and those of one device cannot.
        return visit.inside.shards is None

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        del eqn
        known = self.ins.get((*place, index), [0] * len(values))
        self.ins[*place, index] = [a | b for a, b in zip(known, values, strict=True)]

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        found = 0 if eqn.primitive.name == "stop_gradient" else self.join(values)
        return [found if is_real(var.aval) else 0 for var in eqn.outvars]

    def leaving(self, visit: Visit[int, Path], carried: list[int], outs: list[int]) -> list[int]:
        # A rule may do as it likes, whatever the function does that it stands for.
        if visit.inside.own_rule:
            return self.plain(visit.eqn, visit.values, visit.place, visit.index)
        return super().leaving(visit, carried, outs)


class Reads(Reach):
    """The inputs that reach an operand of the chosen primitives."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self._names = names
        self.found = 0
        """Their bits."""

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        del place, index
        if eqn.primitive.name in self._names:
            self.found |= self.join(values)
