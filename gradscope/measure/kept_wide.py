"""Which operations have to stay as they are for the gradient to survive a smaller format: tried one by one.

Operations are told apart by kind and by the user's line. Each kind is kept once while all else is rounded,
then each line of the kind that brings most back: at most 16 trials. One program does it all: what is kept
goes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.records import KeptWide, Source
from gradscope.trace.forward import entries
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import PRODUCTS
from gradscope.trace.walk import Path

MOST_LINES = 12
"""Of one kind, those with the most elements."""
LOST = 0.99
"""The cosine of a layer below which it is worth the trials."""
_SUMS = frozenset({"reduce_sum", "cumsum", "reduce_window_sum", "cumlogsumexp", "cumprod", "reduce_prod"})
_FUNCTIONS = frozenset(
    {"exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "erf", "pow", "sqrt", "rsqrt", "div", "sin"}
    | {"cos", "custom_jvp_call", "custom_vjp_call", "integer_pow", "square"}
)
_KINDS = (("products", PRODUCTS), ("sums", _SUMS), ("functions", _FUNCTIONS))
OTHERS = "others"

Worst = Callable[[Any], float]
"""From what is kept, bool[groups], to the lowest cosine of a layer: -1 where one has none."""


def goes_in(eqn: JaxprEqn) -> bool:
    """Its parts are rounded one by one."""
    carried = inside(eqn)
    return bool(entries(eqn)) and carried is not None and not carried.own_rule


@dataclass(frozen=True)
class AlikeOperations:
    """Operations of one kind at one line."""

    kind: str
    source: Source | None
    size: int
    """Elements of their results."""


class Groups:
    """Of a program, by the path of an equation."""

    def __init__(self, body: Body) -> None:
        numbers: dict[Any, int] = {}
        sizes: list[int] = []
        self._by_path: dict[Path, int] = {}
        names: list[tuple[str, Source | None]] = []
        for path, eqn, calls in equations_of(body):
            name = _kind(eqn), source_of(eqn, calls)
            if name not in numbers:
                numbers[name] = len(names)
                names.append(name)
                sizes.append(0)
            self._by_path[path] = numbers[name]
            sizes[numbers[name]] += sum(int(getattr(var.aval, "size", 0)) for var in eqn.outvars)
        self.all = [
            AlikeOperations(kind, line, size) for (kind, line), size in zip(names, sizes, strict=True)
        ]

    def of(self, path: Path) -> int:
        return self._by_path[path]

    def nothing(self) -> Any:
        return np.zeros(len(self.all), bool)

    def kept(self, holds: Callable[[AlikeOperations], bool]) -> Any:
        return np.asarray([holds(group) for group in self.all], bool)


def tried(groups: Groups, worst: Worst) -> tuple[KeptWide, ...]:
    """Every trial, in order: kinds, then lines of the kind that brings most back, where it has several."""
    kinds = list(dict.fromkeys(group.kind for group in groups.all))
    found = [KeptWide(kind, None, worst(groups.kept(partial(_is_of, kind)))) for kind in kinds]
    best = max(found, key=lambda each: each.cosine, default=None)
    if best is None:
        return ()
    lines = [group for group in groups.all if group.kind == best.kind and group.source is not None]
    largest = sorted(lines, key=lambda group: -group.size)[:MOST_LINES]
    if len(lines) > 1:
        found += [KeptWide(one.kind, one.source, worst(_only(groups, one))) for one in largest]
    return tuple(found)


def _is_of(kind: str, group: AlikeOperations) -> bool:
    return group.kind == kind


def _only(groups: Groups, one: AlikeOperations) -> Any:
    return groups.kept(lambda group: group is one)


def _kind(eqn: JaxprEqn) -> str:
    name = eqn.primitive.name
    return next((kind for kind, names in _KINDS if name in names), OTHERS)


def equations_of(
    body: Body, path: Path = (), calls: Sequence[JaxprEqn] = ()
) -> Iterator[tuple[Path, JaxprEqn, Sequence[JaxprEqn]]]:
    """Those that are rounded, with the path of each and the equations around it, innermost first."""
    for index, eqn in enumerate(body.eqns):
        at = (*path, index)
        if not goes_in(eqn):
            yield at, eqn, calls
            continue
        for entry in entries(eqn):
            yield from equations_of(entry.body, (*at, entry.number), (eqn, *calls))
