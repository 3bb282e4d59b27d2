"""Finds the forward operation of an equation of the derivative, and the operands of that operation.

Operands are not kept while the program runs: for the one operation in question, the part of the forward
program that computes them is run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.nonfinite_origin import Occurrence
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Entry
from gradscope.trace.nested.registry import inside

Path = tuple[JaxprEqn, ...]
"""From an equation of the program inward, to the operation itself."""


class ForwardOperations:
    """The operations of the program that was differentiated."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self._paths: dict[int, list[Path]] = {}
        self.order: dict[int, int] = {}
        """By `id` of an equation, its position in the order of execution."""
        for position, path in enumerate(_paths(body, ())):
            self._paths.setdefault(jaxprs.made_at(path[-1]), []).append(path)
            self.order.setdefault(id(path[-1]), position)

    def primitives(self) -> dict[int, set[str]]:
        return {key: {path[-1].primitive.name for path in paths} for key, paths in self._paths.items()}

    def of(self, occurrence: Occurrence) -> Path | None:
        """The operation that the equation is, or whose derivative it is.

        Several operations share one source location where a library's function is traced inline. The one that
        has the equation's own name is taken first, then one whose derivative can be infinite.
        """
        rule = jaxprs.rule_of(occurrence.eqn)
        paths = self._paths.get(jaxprs.made_at(occurrence.eqn) if rule is None else rule, [])
        calls = tuple(jaxprs.made_at(call) for call in reversed(occurrence.calls))
        same = [path for path in paths if tuple(map(jaxprs.made_at, path[:-1])) == calls] or paths
        if not same:
            return None
        name = occurrence.eqn.primitive.name
        return max(
            same, key=lambda path: (occurrence.primal and path[-1].primitive.name == name, _sharp(path[-1]))
        )


def _sharp(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name in SHARP


SHARP = frozenset(
    {"sqrt", "rsqrt", "cbrt", "log", "log1p", "div", "pow", "integer_pow", "atan2", "acos", "asin", "acosh"}
    | {"atanh", "eigh", "svd", "qr", "cholesky", "triangular_solve", "erf_inv", "lgamma", "exp"}
)
"""Operations whose derivative is infinite somewhere, or overflows."""


def _paths(body: Body, outer: Path) -> Iterator[Path]:
    for eqn in body.eqns:
        yield (*outer, eqn)
        for inner in jaxprs.inner_bodies(eqn):
            yield from _paths(inner, (*outer, eqn))


def operands_at(body: Body, args: Sequence[Any], path: Path, steps: Sequence[int]) -> list[Any] | None:
    """The operands of the path's last equation, in these iterations; `None` where it is not reached."""
    eqn, *inner = path
    values = _operands(body, args, eqn)
    if not inner:
        return values
    carried = inside(eqn)
    if carried is None or carried.shards is not None:
        return None
    if carried.loop is None:
        entry = carried.chosen(values)
        held = any(each is inner[0] for each in entry.body.eqns)
        ins = [values[operand] for operand in entry.operands]
        return operands_at(entry.body, ins, tuple(inner), steps) if held else None
    if not isinstance(carried.loop, Counted) or not steps:
        return None
    (step,) = carried.entries
    return operands_at(
        step.body, _inputs_of_step(step, carried.loop, values, steps[0]), tuple(inner), steps[1:]
    )


def _inputs_of_step(entry: Entry, loop: Counted, values: list[Any], number: int) -> list[Any]:
    ins = [values[operand] for operand in entry.operands]
    consts, rows = ins[: entry.carried.start], ins[entry.carried.stop :]
    carry, step = ins[entry.carried.start : entry.carried.stop], jaxprs.compiled(entry.body)

    def inputs(done: int) -> list[Any]:
        index = loop.length - 1 - done if loop.reverse else done
        taken = [lax.dynamic_index_in_dim(row, index, 0, keepdims=False) for row in rows]
        return [*consts, *carry, *taken]

    for done in range(number):
        carry = step(*inputs(done))[: len(carry)]
    return inputs(number)


def _operands(body: Body, args: Sequence[Any], eqn: JaxprEqn) -> list[Any]:
    """By running those equations before it that it needs."""
    held = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
    held.update(zip(body.jaxpr.invars, args, strict=True))
    before = body.eqns[: next(i for i, each in enumerate(body.eqns) if each is eqn)]
    asked = [atom for atom in dict.fromkeys(_variables(eqn.invars)) if atom not in held]
    wanted, needed = set(asked), []
    for each in reversed(before):
        if not wanted.isdisjoint(each.outvars):
            needed.append(each)
            wanted.update(_variables(each.invars))
    reads = [var for var in held if var in wanted]
    run = jaxprs.as_function(body, needed[::-1], reads, asked)
    held.update(zip(asked, run(*[held[var] for var in reads]) if asked else [], strict=True))
    jax.block_until_ready([held[atom] for atom in asked])  # type: ignore[no-untyped-call]
    atoms: list[Any] = list(eqn.invars)
    return [atom.val if jaxprs.is_literal(atom) else held[atom] for atom in atoms]


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [atom for atom in atoms if not jaxprs.is_literal(atom)]
