"""A branch that is taken at one point of the parameter space and nowhere beside it."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class IsolatedBranch:
    """A test for equality that holds at the parameters and not beside them, and the two derivatives there.

    Both are along one direction through the parameters, relative to the size of each leaf; differences are
    taken across the point, and the slopes on both sides of it agree.
    """

    op: str
    """`eq` or `ne`."""
    source: Source | None
    parameters: tuple[str, ...]
    """Those that the compared value depends on."""
    equal: int
    """Elements that compare equal."""
    size: int
    backprop: float
    differences: float
    step: float
    """How far the parameters were moved, relative to their size: there no element compares equal."""
