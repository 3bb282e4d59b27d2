"""What every analysis needs to know of a primitive that carries a jaxpr.

Each other file of this folder says it of one kind of primitive: `NAMES`, the names that JAX gives it;
`inside`, which jaxprs an equation of it carries and how values get in and out; `rebuild`, the equation made
anew from public functions. No analysis knows such a primitive by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import Body, MeshAxes


@dataclass(frozen=True)
class Entry:
    """One jaxpr of an equation. Its output `i` is result `i` of the equation."""

    number: int
    """Among the jaxprs of the equation."""
    body: Body
    operands: tuple[int, ...]
    """By input: the operand of the equation that it gets, at the first step of a loop."""
    carried: range = range(0)
    """Inputs of a loop's step that the first outputs of the step before become, in order."""
    rows: range = range(0)
    """Inputs that get a row of their operand at each step; outputs beyond the carried are rows of results."""


@dataclass(frozen=True)
class Counted:
    """The one jaxpr runs for each row, `length` times, from the last row on where `reverse` says so."""

    length: int
    reverse: bool


@dataclass(frozen=True)
class Until:
    """The one jaxpr runs again and again; only the program, as it runs, knows how often."""

    condition: Entry
    """Its one output says whether the loop goes on."""


@dataclass(frozen=True)
class Shards:
    """The jaxpr runs on every device of a mesh, and sees its part of each operand."""

    devices: int
    spread: tuple[tuple[int, ...], ...]
    """By operand: its axes that are spread over devices."""
    typed: MeshAxes
    """Mesh axes along which JAX types values as varying."""


@dataclass(frozen=True)
class Inside:
    """What one equation carries. Without `chosen_by`, `loop` and `shards` it calls its one jaxpr once."""

    entries: tuple[Entry, ...]
    """More than one only where `chosen_by` says which one runs."""
    chosen_by: int | None = None
    """The operand that says which jaxpr runs."""
    loop: Counted | Until | None = None
    shards: Shards | None = None
    inlined: bool = False
    """The same as its jaxpr written out in place, also when it is differentiated."""
    own_rule: bool = False
    """Its derivative is a rule of its own and not that of the jaxpr."""

    @property
    def calls(self) -> bool:
        """It runs its one jaxpr, once, on its operands."""
        return self.loop is None and self.chosen_by is None and self.shards is None

    def chosen(self, values: Sequence[Any]) -> Entry:
        """The jaxpr that runs at these values of the operands, which have to be arrays."""
        if self.chosen_by is None:
            return self.entries[0]
        return self.entries[min(max(int(values[self.chosen_by]), 0), len(self.entries) - 1)]


Run = Callable[[Entry, list[Any], Any, Any], tuple[list[Any], Any, Any]]
"""Runs one jaxpr: `run(entry, inputs, state, row)` gives its outputs, the state after it, and what it found.

`state` goes from step to step, `row` is this step's of what was given beside the operands, and a row for
each step is what comes back of what was found."""


class Nested(Protocol):
    """What a file of this folder has."""

    NAMES: frozenset[str]

    def inside(self, eqn: JaxprEqn, /) -> Inside: ...

    def rebuild(
        self, eqn: JaxprEqn, values: list[Any], run: Run, state: Any, rows: Any, /
    ) -> tuple[list[Any], Any, Any]:
        """The results of the equation, the state after it, and what was found inside.

        `state` and `rows` are pytrees of arrays. Each array of `rows` has one leading axis for a loop of
        known length, or for the devices of a mesh; so has what was found. All jaxprs that could be chosen
        have to find arrays of the same shapes.
        """
        ...
