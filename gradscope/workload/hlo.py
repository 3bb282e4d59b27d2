"""The operations between devices in the text of a compiled program.

Read is what XLA prints: computations of instructions, `%name = shape opcode(%operands), attributes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

KINDS = frozenset(
    {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"}
    | {"collective-permute", "collective-broadcast"}
)
JOINED = frozenset({"all-reduce", "all-gather", "reduce-scatter", "collective-permute"})
"""Of which XLA makes one of several, with an operand and a result for each."""
_CALLING = frozenset({"call", "fusion", "async-start", "custom-call"})
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_NAME = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")
_ARRAY = re.compile(r"\b([a-z]+)(\d*)[a-z0-9]*\[([0-9,<=]*)\]")
_OPERAND = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%?([\w.\-]+)")
_LOOP = re.compile(r"\b(condition|body)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\b(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%?[\w.\-]+))")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'\bop_name="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class DeviceExchange:
    """One operation between devices."""

    kind: str
    size: int
    """[bytes] of its operand on each device."""
    attributes: str
    op_name: str
    """Of the operation of the user's that it is for."""
    times: int = 1
    open: bool = False
    """It stands in a loop of which only the run knows the number of turns."""

    def again(self, times: int, open_loop: bool) -> DeviceExchange:
        return replace(self, times=self.times * times, open=self.open or open_loop)


@dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    @property
    def op_name(self) -> str:
        found = _OP_NAME.search(self.attributes)
        return found[1] if found else ""


@dataclass
class _Computation:
    instructions: dict[str, _Instruction] = field(default_factory=dict)

    def taken(self, name: str) -> dict[int, str]:
        """For which operation each result of an instruction is, by its place."""
        done = {each.name for each in self.instructions.values() if each.operands[:1] == (name,)}
        found: dict[int, str] = {}
        for each in self.instructions.values():
            if each.opcode == "get-tuple-element" and each.operands[0] in {name, *done} and each.op_name:
                place = re.search(r"\bindex=(\d+)", each.attributes)
                if place:
                    found.setdefault(int(place[1]), each.op_name)
        return found


def exchanges(text: str) -> list[DeviceExchange]:
    """In the order in which the program has them; those of a loop as often as it turns, of the branches of a
    condition those of the one in which most bytes are exchanged."""
    computations, entry = _computations(text)
    known: dict[str, list[DeviceExchange]] = {}

    def within(name: str) -> list[DeviceExchange]:
        if name not in known:
            known[name] = []  # no computation calls itself
            found = computations.get(name)
            known[name] = [] if found is None else [e for each in _each(found) for e in each]
        return known[name]

    def _each(found: _Computation) -> Iterator[list[DeviceExchange]]:
        for each in found.instructions.values():
            if each.opcode.removesuffix("-start") in KINDS:
                yield list(_exchanged(each, found))
            elif each.opcode == "while":
                turns = _TURNS.search(each.attributes)
                times = int(turns[1]) if turns else 1
                parts = {kind: name for kind, name in _LOOP.findall(each.attributes)}
                for name in parts.values():
                    yield [inner.again(times, turns is None) for inner in within(name)]
            elif each.opcode == "conditional":
                names = [name for group in _BRANCHES.findall(each.attributes) for name in group if name]
                branches = [n.strip().lstrip("%") for name in names for n in name.split(",")]
                yield max(map(within, branches), key=_bytes, default=[])
            elif each.opcode in _CALLING:
                for name in _CALLED.findall(each.attributes):
                    yield within(name)

    return within(entry)


def _bytes(found: list[DeviceExchange]) -> int:
    return sum(each.size * each.times for each in found)


def _exchanged(each: _Instruction, where: _Computation) -> Iterator[DeviceExchange]:
    kind = each.opcode.removesuffix("-start")
    shapes = [where.instructions[name].shape for name in each.operands if name in where.instructions]
    if kind not in JOINED or len(shapes) < 2:
        yield DeviceExchange(kind, sum(map(size_of, shapes)), each.attributes, each.op_name)
        return
    names = where.taken(each.name)
    for place, shape in enumerate(shapes):
        yield DeviceExchange(kind, size_of(shape), each.attributes, names.get(place, each.op_name))


def size_of(shape: str) -> int:
    """[bytes] of an array, or of all of a tuple."""
    total = 0
    for letters, digits, dimensions in _ARRAY.findall(shape):
        bits = int(digits) if digits else 8 if letters == "pred" else 0
        for length in dimensions.split(","):
            bits *= int(length.lstrip("<=")) if length else 1
        total += -(-bits // 8)
    return total


def _computations(text: str) -> tuple[dict[str, _Computation], str]:
    found: dict[str, _Computation] = {}
    entry, at = "", _Computation()
    for line in text.splitlines():
        if not line.startswith(" "):
            head = _HEAD.match(line)
            if head:
                at = found.setdefault(head[2], _Computation())
                entry = head[2] if head[1] else entry
            continue
        each = _instruction(line)
        if each is not None:
            at.instructions[each.name] = each
    return found, entry


def _instruction(line: str) -> _Instruction | None:
    named = _NAME.match(line)
    if named is None:
        return None
    rest = line[named.end() :]
    end = _closing(rest) if rest.startswith("(") else rest.find(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opcode, _, _ = rest.partition("(")
    inside = rest[len(opcode) :]
    end = _closing(inside)
    return _Instruction(named[1], shape, opcode, tuple(_OPERAND.findall(inside[:end])), inside[end:])


def _closing(text: str) -> int:
    """Just behind the parenthesis that closes the first one."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place + 1
    return len(text)
