"""Values made of the batch and of constants alone: computed only where somebody asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs

_MOVING = frozenset({"slice", "dynamic_slice", "split", "pad", "concatenate", "gather", "rev"})
Inputs = Sequence[Any] | Mapping[int, Any]
"""By position."""


class Given:
    """An input of the program, a constant, or what an equation makes of such values."""

    def __init__(
        self,
        *,
        eqn: JaxprEqn | None = None,
        operands: Sequence[Given] = (),
        position: int = 0,
        constant: Any = None,
        data: bool = False,
        examples: bool = False,
    ) -> None:
        """With neither `eqn` nor `constant` it is the input of the program at `position`."""
        self._eqn, self._operands, self._position, self._constant = eqn, operands, position, constant
        self.data: bool = data or any(each.data for each in operands)
        """An array of the problem's data goes into it, and not only numbers that the program writes."""
        self.examples: bool = examples or any(each.examples for each in operands)
        """It has something of each example."""
        own = {position} if eqn is None and constant is None else set[int]()
        self.inputs: frozenset[int] = frozenset(own).union(*(each.inputs for each in operands))
        """The inputs of the program that go into it."""
        moving = eqn is not None and eqn.primitive.name in _MOVING
        self.moved: bool = moving or any(each.moved for each in operands)
        """Elements of an array may stand at other places than before, or be left out."""

    @property
    def number(self) -> float | None:
        """Of a scalar that the program writes."""
        if self._eqn is not None and self._eqn.primitive.name == "convert_element_type":
            return self._operands[0].number
        if self._constant is None or getattr(self._constant, "shape", ()) != ():
            return None
        try:
            return float(self._constant)
        except (TypeError, ValueError):
            return None

    def value(self, inputs: Inputs) -> Any:
        """At these inputs of the whole program."""
        return self._at(inputs, {})

    def _at(self, inputs: Inputs, known: dict[int, list[Any]]) -> Any:
        if self._constant is not None:
            return self._constant
        if self._eqn is None:
            return inputs[self._position]
        key = id(self._eqn)
        if key not in known:
            known[key] = jaxprs.run_equation(self._eqn, [each._at(inputs, known) for each in self._operands])
        return known[key][self._position]
