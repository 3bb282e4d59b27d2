"""Arrays of a batch whose numbers are far from mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace.leaves import path_name, split
from gradscope.trace.nested.contract import Entry
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import PRODUCTS, VIEWS
from gradscope.trace.walk import Domain, Path, Visit, walk

LARGE = 10.0
"""rms from which on numbers are called large; standardized ones have 1."""
OFF_CENTER = 3.0
"""|mean| over standard deviation."""
UNEVEN = 100.0
"""Largest over smallest standard deviation of the features of one array."""


@dataclass(frozen=True)
class OddArray:
    """A float array of the batch, and what standardizes it."""

    name: str
    place: int
    """Among the arguments of the program that are no weights."""
    is_input: bool
    """It reaches a matrix product or a convolution; otherwise something is subtracted from it: a target."""
    mean: Any
    std: Any
    """Broadcast against the array; by feature (last axis) for two axes, else of all elements."""
    rms: float
    off_center: float
    uneven: float

    def standardized(self, value: Any) -> Any:
        return ((jnp.asarray(value) - self.mean) / self.std).astype(jnp.result_type(value))


def odd_arrays(program: Program, batch: Any, rest: int) -> Iterator[OddArray]:
    """Those of the first batch; `rest` arguments come before its arrays."""
    flat = jax.tree_util.tree_flatten_with_path(batch)[0]
    for number, (index, value) in enumerate(split(batch).traced.items()):
        if not jnp.issubdtype(jnp.result_type(value), jnp.floating) or np.size(value) < 2:
            continue
        found = np.asarray(value, np.float64)
        if not np.isfinite(found).all() or found.std() == 0:
            continue
        name = path_name(flat[index][0]) or "batch"
        odd = _odd(name if name[0].isalpha() else f"batch{name}", rest + number, found, program)
        if odd is not None:
            yield odd


def _odd(name: str, place: int, found: Any, program: Program) -> OddArray | None:
    axes = 0 if found.ndim == 2 else None
    mean, std = found.mean(axis=axes), found.std(axis=axes)
    spread = np.where(std > 1e-6 * (np.abs(mean) + std), std, 0.0)
    moving = spread[spread > 0]
    rms = float(np.sqrt(np.mean(found**2)))
    off_center = float(np.max(np.abs(mean)[spread > 0] / moving, initial=0.0))
    uneven = float(moving.max() / moving.min()) if moving.size else 1.0
    if rms <= LARGE and off_center <= OFF_CENTER and uneven <= UNEVEN:
        return None
    uses = _uses(program, place)
    if not (uses.compared or uses.multiplied):
        return None
    usable = np.where(spread > 0, spread, 1.0)
    return OddArray(name, place, not uses.compared, mean, usable, rms, off_center, uneven)


class _Uses(Domain[int, Path]):
    """What becomes of one array: bits of each value, and where they meet."""

    ITSELF, WEIGHTS, MADE_OF_IT = 1, 2, 4

    def __init__(self) -> None:
        self.multiplied = self.compared = False

    def literal(self, atom: Any, place: Path) -> int:
        del atom, place
        return 0

    def constant(self, value: Any, place: Path) -> int:
        del value, place
        return 0

    def below(self, visit: Visit[int, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def join(self, values: Sequence[int]) -> int:
        return reduce(or_, values, 0)

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        del place, index
        name = eqn.primitive.name
        if name in PRODUCTS and self.join(values) & (self.ITSELF | self.MADE_OF_IT):
            self.multiplied = True
        if name == "sub" and any(values[i] & self.ITSELF and values[1 - i] & self.WEIGHTS for i in (0, 1)):
            self.compared = True

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        found = self.join(values)
        if eqn.primitive.name not in VIEWS and found & self.ITSELF:
            found = found & ~self.ITSELF | self.MADE_OF_IT
        return [found] * len(eqn.outvars)


def _uses(program: Program, place: int) -> _Uses:
    uses, weights = _Uses(), len(program.leaves)
    others = len(program.body.jaxpr.invars) - weights
    bits = [uses.WEIGHTS] * weights + [uses.ITSELF if i == place else 0 for i in range(others)]
    walk(uses, program.body, bits, ())
    return uses
