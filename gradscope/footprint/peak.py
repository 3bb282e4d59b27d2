"""How much memory a compiled program takes at most: an estimate from its jaxpr alone.

Every array lives from the equation that makes it to the last one that reads it. A compiler writes fewer of
them than the jaxpr names: it fuses elementwise operations into what reads them, and computes cheap ones
again for each reader (XLA, `InstructionFusion`; what is expensive there is expensive here). What stays is an
array that is read by something which is no loop over elements, or one that is expensive and read twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside

_ALIASES = frozenset(
    {"reshape", "squeeze", "expand_dims", "optimization_barrier", "stop_gradient", "name", "pvary"}
    | {"sharding_constraint", "copy_p", "random_wrap", "random_unwrap", "device_put"}
)
"""The same bytes under another name."""
_CHEAP = frozenset(
    {
        "abs",
        "add",
        "add_any",
        "and",
        "broadcast_in_dim",
        "ceil",
        "clamp",
        "concatenate",
        "convert_element_type",
    }
    | {"copy", "div", "dynamic_slice", "eq", "floor", "ge", "gt", "imag", "integer_pow", "iota", "is_finite"}
    | {"le", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pad", "real", "reduce_precision", "rev"}
    | {"round", "select_n", "shift_left", "shift_right_logical", "shift_right_arithmetic", "sign", "slice"}
    | {"split", "square", "sub", "transpose", "xor"}
)
_EXPENSIVE = frozenset(
    {"acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "digamma", "erf"}
    | {"erf_inv", "erfc", "exp", "exp2", "expm1", "lgamma", "log", "log1p", "logistic", "nextafter", "pow"}
    | {"rem", "rsqrt", "sin", "sinh", "sqrt", "tan", "tanh"}
)
_PAIRED = frozenset({"add", "sub", "mul", "div", "max", "min", "rem", "pow", "atan2", "select_n"})
_FACTORS = frozenset({"mul", "square"})
_READS_IN_PASSING = _CHEAP | _EXPENSIVE
"""What reads an operand element by element, and takes in what makes it. On a CPU a reduction does not: it is
a kernel of its own (XLA with YNNPACK)."""


def size_of(aval: Any) -> int:
    """Bytes of an array; keys are two words."""
    return int(aval.size) * int(getattr(aval.dtype, "itemsize", 8))


@dataclass
class _Node:
    name: str
    reads: list[int]
    makes: list[int]
    inner: int = 0
    """Bytes that it needs beside what it reads and makes."""
    in_place: tuple[tuple[int, int], ...] = ()
    """Operand and result that share their bytes where the operand is not read again."""


@dataclass
class _Flat:
    """A program without calls: values are numbers."""

    nodes: list[_Node] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    given: set[int] = field(default_factory=set)
    """Inputs and constants: they live anyway."""
    arranged: dict[Any, int] = field(default_factory=dict)
    """An operand of a product with its axes in the order in which products are computed."""

    def value(self, size: int) -> int:
        self.sizes.append(size)
        return len(self.sizes) - 1


def peak_bytes(body: Body) -> int:
    """Bytes that a compiled program takes at most beyond its inputs and its outputs."""
    flat = _Flat()
    inputs = [_given(flat) for _ in body.jaxpr.invars]
    outs = _flatten(flat, body, inputs)
    return _peak(flat, outs)


def _given(flat: _Flat) -> int:
    value = flat.value(0)
    flat.given.add(value)
    return value


def _flatten(flat: _Flat, body: Body, inputs: Sequence[int]) -> list[int]:
    known: dict[Any, int] = dict(zip(body.jaxpr.invars, inputs, strict=True))
    known.update({var: _given(flat) for var in body.jaxpr.constvars})

    def read(atom: Any) -> int:
        return _given(flat) if jaxprs.is_literal(atom) else known[atom]

    for eqn in body.eqns:
        values = [read(atom) for atom in eqn.invars]
        known.update(zip(eqn.outvars, _results(flat, eqn, values), strict=True))
    return [read(atom) for atom in body.jaxpr.outvars]


def _results(flat: _Flat, eqn: JaxprEqn, values: list[int]) -> list[int]:
    carried, name = inside(eqn), eqn.primitive.name
    if carried is not None and carried.calls:
        entry = carried.entries[0]
        return _flatten(flat, entry.body, [values[operand] for operand in entry.operands])
    if name in _ALIASES and len(eqn.outvars) == len(values):
        return values
    if name == "dot_general":
        values = [_arranged(flat, eqn, side, value) for side, value in enumerate(values)]
    if name in _PAIRED:
        values = [_stretched(flat, eqn, operand, value) for operand, value in enumerate(values)]
    made = [flat.value(size_of(var.aval)) for var in eqn.outvars]
    node = _Node(name, values, made)
    if carried is not None:
        node.inner = max((_inner_peak(entry) for entry in carried.entries), default=0)
        around = carried.entries[0].carried
        node.in_place = tuple(
            (values[carried.entries[0].operands[place]], made[turn]) for turn, place in enumerate(around)
        )
    elif name in _READS_IN_PASSING or name.startswith(("scatter", "dynamic_update")):
        node.in_place = tuple(
            (value, made[0]) for value in values if flat.sizes[value] == flat.sizes[made[0]]
        )
    flat.nodes.append(node)
    return made


def _arranged(flat: _Flat, eqn: JaxprEqn, side: int, value: int) -> int:
    """A product wants the batch axes first, then the summed and the other ones, each together."""
    batch, summed, free = jaxprs.axes_of_product(eqn, side)
    if (*batch, *summed, *free) == tuple(sorted((*batch, *summed, *free))) or not batch + summed:
        return value
    if (*batch, *free, *summed) == tuple(sorted((*batch, *free, *summed))):
        return value
    key = value, batch, frozenset((summed, free))
    if key not in flat.arranged:
        aval: Any = eqn.invars[side].aval
        flat.arranged[key] = flat.value(size_of(aval))
        flat.nodes.append(_Node("transpose", [value], [flat.arranged[key]]))
    return flat.arranged[key]


def _stretched(flat: _Flat, eqn: JaxprEqn, operand: int, value: int) -> int:
    """An operand with axes of length one, broadcast to the shape of the result."""
    aval: Any = eqn.invars[operand].aval
    shape = eqn.outvars[0].aval.shape  # type: ignore[attr-defined]
    if not aval.shape or aval.shape == shape:
        return value
    key = value, shape
    if key not in flat.arranged:
        flat.arranged[key] = flat.value(int(np.prod(shape)) * size_of(aval) // aval.size)
        flat.nodes.append(_Node("broadcast_in_dim", [value], [flat.arranged[key]]))
    return flat.arranged[key]


def _inner_peak(entry: Any) -> int:
    """Of one step: its rows are read and written where they lie."""
    flat = _Flat()
    outs = _flatten(flat, entry.body, [_given(flat) for _ in entry.body.jaxpr.invars])
    return _peak(flat, outs)


@dataclass(frozen=True)
class _Life:
    """From the equation that makes a value to the last one that reads it, both included."""

    size: int
    first: int
    last: int

    def meets(self, other: _Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def _peak(flat: _Flat, outs: list[int]) -> int:
    nodes = _needed(flat, outs)
    written = _written(flat, nodes, outs)
    reads = _reads_of(nodes, written, flat)
    last = {value: place for place, values in enumerate(reads) for value in values}
    ends, lives, results = set(outs), list[_Life](), list[_Life]()
    begun: dict[int, int] = {}
    """Where the bytes that a value stands in were first written: an operand's, where it is made in place."""
    taken: set[int] = set()
    for place, node in enumerate(nodes):
        for value in node.makes:
            if value not in written:
                continue
            begun[value] = place
            old = next(
                (a for a, made in node.in_place if made == value and _dies(a, place, last, begun)), None
            )
            if old is not None and old not in taken and old not in ends:
                begun[value] = begun[old]
                taken.add(old)
    for place, node in enumerate(nodes):
        if node.inner:
            lives.append(_Life(node.inner, place, place))
        for value in node.makes:
            if value in written and value not in taken:
                end = len(nodes) if value in ends else last.get(value, place)
                (results if value in ends else lives).append(_Life(flat.sizes[value], begun[value], end))
    return _most(_beside(lives, results), len(nodes))


def _dies(value: int, place: int, last: dict[int, int], begun: dict[int, int]) -> bool:
    return value in begun and last.get(value) == place


def _beside(lives: list[_Life], results: list[_Life]) -> list[_Life]:
    """Those that do not find room in a result that is not yet written: the smallest one that holds it, the
    largest first (XLA, `BufferAssigner`)."""
    room = [(result.size, [result]) for result in sorted(results, key=lambda each: each.size)]
    left: list[_Life] = []
    for life in sorted(lives, key=lambda each: -each.size):
        home = next(
            (held for size, held in room if size >= life.size and not any(map(life.meets, held))), None
        )
        (left if home is None else home).append(life)
    return left


def _most(lives: list[_Life], length: int) -> int:
    change = [0] * (length + 2)
    for life in lives:
        change[life.first] += life.size
        change[life.last + 1] -= life.size
    return max(itertools.accumulate(change))


def _needed(flat: _Flat, outs: list[int]) -> list[_Node]:
    wanted, kept = set(outs), []
    for node in reversed(flat.nodes):
        if not wanted.isdisjoint(node.makes):
            wanted |= set(node.reads)
            kept.append(node)
    return kept[::-1]


def _written(flat: _Flat, nodes: list[_Node], outs: list[int]) -> set[int]:
    """The values that lie in memory."""
    readers: dict[int, list[str]] = {}
    for node in nodes:
        for value in set(node.reads):
            readers.setdefault(value, []).append(node.name)
    written, summed = set(outs), _summed(nodes, readers)
    for node in nodes:
        if not summed.isdisjoint(node.makes):
            written |= {value for value in node.reads if value not in flat.given}
    for node in nodes:
        for value in node.makes:
            by = readers.get(value, [])
            fused = node.name in _CHEAP or (node.name in _EXPENSIVE and len(by) < 2)
            if not fused or any(name not in _READS_IN_PASSING for name in by):
                written.add(value)
    return written - summed


def _summed(nodes: list[_Node], readers: dict[int, list[str]]) -> set[int]:
    """Products that a sum takes in, whose factors then have to lie in memory."""
    return {
        value
        for node in nodes
        if node.name in _FACTORS
        for value in node.makes
        if readers.get(value) and all(name == "reduce_sum" for name in readers[value])
    }


def _reads_of(nodes: list[_Node], written: set[int], flat: _Flat) -> list[set[int]]:
    """By equation: what it reads of what lies in memory, through all that is fused into it."""
    through: dict[int, set[int]] = {}
    found = []
    for node in nodes:
        own: set[int] = set()
        for value in node.reads:
            own |= {value} if value in written or value in flat.given else through.get(value, set())
        for value in node.makes:
            through[value] = own
        fused = not any(value in written for value in node.makes)
        found.append(set() if fused else own)
    return found
