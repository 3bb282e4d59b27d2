"""What a program does with one array of the batch: is it an input, a target, a label?

An input is multiplied by weights as it is, scaled or shifted at most. A target is what an output of the
network is subtracted from, and the difference is squared or its size taken. A label chooses among the outputs
of a row: edges of a graph, which take whole rows, and masks, which weigh all outputs of a row alike, do not.
What goes through anything else first (an attention mask through a softmax, an old log-probability through an
`exp`) is none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace.domains.bits import Bits
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs.axes import lookup
from gradscope.trace.leaves import path_name, split
from gradscope.trace.program import Inputs, Program
from gradscope.trace.vocabulary import PRODUCTS, VIEWS
from gradscope.trace.walk import Path, walk

ITSELF = 1
"""The array, scaled and shifted at most, or beside others."""
PARAMETER = 2
OUTPUT = 4
"""Made with weights by a product."""
ERROR = 8
"""A difference of the array and an output, scaled at most."""
CHOICE = 16
"""Where it is equal to something: one-hot labels."""
DERIVED = 32
SPREAD = 64
"""Repeated along other axes, as a mask over all outputs of its row."""

AFFINE = frozenset({"add", "sub", "mul", "div", "neg", "add_any"})
SIZES = frozenset({"square", "abs", "integer_pow"})
LOOKUPS = frozenset({"gather", "dynamic_slice"})


class Uses(Bits):
    """Bits of each value, and where they meet."""

    def __init__(self) -> None:
        self.is_input = self.is_target = self.is_label = False
        self.touched = False
        """It goes into any operation."""
        self.meets_weights = False
        """In a product, after any operations."""

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        del place, index
        name, every = eqn.primitive.name, self.join(values)
        squared = name in SIZES or (name == "mul" and eqn.invars[0] is eqn.invars[1])
        self.is_target |= squared and bool(values[0] & ERROR)
        weighted = every & (PARAMETER | OUTPUT)
        self.touched |= bool(every & (ITSELF | DERIVED))
        self.meets_weights |= name in PRODUCTS and bool(every & (ITSELF | DERIVED) and every & PARAMETER)
        self.is_input |= name in PRODUCTS and bool(every & ITSELF and weighted)
        if name in LOOKUPS:
            chosen = self.join(values[1:]) & (ITSELF | DERIVED) and _one_of_a_row(eqn)
            self.is_label |= bool(values[0] & OUTPUT and chosen)
        elif name in PRODUCTS or name in AFFINE or name == "select_n":
            sizes = [math.prod(shape_of(each)) for each in (*eqn.invars, eqn.outvars[0])]
            repeats = [name not in PRODUCTS and 1 < size < sizes[-1] for size in sizes[:-1]]
            each = zip(values, repeats, strict=True)
            whole = any(value & ITSELF and not (value & SPREAD or repeated) for value, repeated in each)
            chooses = whole or any(value & CHOICE for value in values)
            self.is_label |= chooses and any(value & OUTPUT and not value & ITSELF for value in values)

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        return [self._result(eqn, values)] * len(eqn.outvars)

    def _result(self, eqn: JaxprEqn, values: list[int]) -> int:
        name, every = eqn.primitive.name, self.join(values)
        if name in VIEWS:
            before, after = (math.prod(shape_of(each)) for each in (eqn.invars[0], eqn.outvars[0]))
            return every | (SPREAD if every & ITSELF and after > before else 0)
        made = OUTPUT if every & OUTPUT or (name in PRODUCTS and every & PARAMETER) else 0
        if (
            name in ("concatenate", "stack")
            and every & ITSELF
            and not every & (OUTPUT | DERIVED | CHOICE | ERROR)
        ):
            return every & (ITSELF | SPREAD)
        if name == "eq" and every & ITSELF:
            return CHOICE | made
        if name == "sub" and self._compared(values):
            return ERROR
        if name in AFFINE and every & (ITSELF | ERROR) and not every & (DERIVED | CHOICE):
            if name in ("sub", "add") and every & ITSELF and every & OUTPUT:
                return ERROR
            if not every & OUTPUT:
                return every & (ITSELF | ERROR | SPREAD)
        used = DERIVED if every & (ITSELF | ERROR | CHOICE | DERIVED) else 0
        return made | used | (every & PARAMETER if not used and not made else 0)

    def _compared(self, values: list[int]) -> bool:
        """The array itself, and an output that is made of it: a reconstruction."""
        made = any(value & OUTPUT and value & DERIVED for value in values)
        return made and any(value & ITSELF and not value & (OUTPUT | DERIVED) for value in values)


def _one_of_a_row(eqn: JaxprEqn) -> bool:
    """A single number for each index: edges of a graph take whole rows, or many numbers of one vector."""
    axes = [size for size in shape_of(eqn.invars[0]) if size > 1]
    one_vector = len(axes) < 2 and math.prod(shape_of(eqn.outvars[0])) > 1
    return math.prod(lookup(eqn).sizes) == 1 and not one_vector


@dataclass(frozen=True)
class BatchArray:
    """Where an array of the batch stands."""

    name: str
    """`x`, or `batch[0]`."""
    index: int
    """Among the leaves of the batch."""
    place: int
    """Among the arguments of the program that are no weights."""


def arrays_of(batch: Any, inputs: Inputs) -> Iterator[BatchArray]:
    """Of a batch, and the inputs that were made of it."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(batch)[0]]
    traced = split(batch).traced
    rest = len(inputs.others) - len(traced) - 1  # the key stands last
    for number, index in enumerate(traced):
        name = path_name(paths[index]) or "batch"
        yield BatchArray(name if name[0].isalpha() else f"batch{name}", index, rest + number)


def uses_of(program: Program, place: int) -> Uses:
    """Of the array at a place among the arguments that are no weights."""
    uses, weights = Uses(), len(program.leaves)
    others = len(program.body.jaxpr.invars) - weights
    bits = [PARAMETER] * weights + [ITSELF if number == place else 0 for number in range(others)]
    walk(uses, program.body, bits, ())
    return uses
