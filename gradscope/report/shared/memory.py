"""The memory of a training step, as every format for people words it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from gradscope.records import (
    DerivedOperation,
    KeptArray,
    Memory,
    MemoryByDevice,
    Source,
)
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.table import Column, SmallTable

AGREES = 0.1
"""Of XLA's figure: an account within it needs no explanation."""
NO_LAYER = "outside of layers"
LONGEST_TEXT = 48


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """Arrays that are shown as one row."""

    name: str
    arrays: tuple[KeptArray, ...]

    @property
    def size(self) -> int:
        return sum(array.size for array in self.arrays)

    @property
    def largest(self) -> KeptArray:
        return self.arrays[0]


def by_layer(found: Memory) -> list[KeptGroup]:
    """The largest first."""
    return _grouped(found.kept, lambda array: array.layer, lambda array: array.layer or NO_LAYER)


def by_operation(found: Memory) -> list[KeptGroup]:
    """The same operation at the same line, in all layers; the largest first."""
    return _grouped(
        found.kept,
        lambda array: (array.made_by, array.shape, array.dtype, derivative_of(array)),
        lambda array: place_of(array.made_by.source),
    )


def _grouped(
    kept: Sequence[KeptArray], key: Callable[[KeptArray], Hashable], name: Callable[[KeptArray], str]
) -> list[KeptGroup]:
    groups: dict[Hashable, list[KeptArray]] = {}
    for array in kept:
        groups.setdefault(key(array), []).append(array)
    found = [KeptGroup(name(arrays[0]), tuple(arrays)) for arrays in groups.values()]
    # What nothing reads is told last: compiled, it is not there.
    return sorted(found, key=lambda group: (group.largest.read_by is None, -group.size))


def place_of(source: Source | None) -> str:
    return "no line of yours" if source is None else str(source)


def text_of(source: Source | None) -> str:
    text = visible(source.text) if source is not None else ""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def maker_of(operation: DerivedOperation) -> str:
    """`exp`, or `mul` of the derivative of `tanh`."""
    if operation.primitive == operation.rule:
        return visible(operation.primitive)
    return f"{visible(operation.primitive)}, for d {visible(operation.rule)}"


def derivative_of(array: KeptArray) -> str:
    """The operation whose derivative reads it."""
    return "nothing" if array.read_by is None else visible(array.read_by.rule)


def form_of(array: KeptArray) -> str:
    """`f32[8,128]`; of a loop `80 steps of f32[16,24]`."""
    name = array.dtype.replace("bfloat", "bf").replace("float", "f").replace("complex", "c")
    name = name.replace("uint", "u").replace("int", "i") if name != "bool" else name
    if array.steps > 1 and array.shape[:1] == (array.steps,):
        return f"{array.steps} steps of {name}[{','.join(map(str, array.shape[1:]))}]"
    return f"{name}[{','.join(map(str, array.shape))}]"


def layer_table(found: Memory) -> SmallTable | None:
    groups = by_layer(found)
    if not groups:
        return None
    return SmallTable(
        title="Kept by layer",
        head="layer",
        names=[group.name for group in groups],
        columns=[
            Column(("", "kept"), 0, [units.size(group.size) for group in groups]),
            Column(("share", "of all"), 1, [units.share(group.size / found.residuals) for group in groups]),
            Column(("", "arrays"), 3, [units.count(len(group.arrays)) for group in groups]),
            Column(("", "largest"), 2, [form_of(group.largest) for group in groups], right=False),
            Column(("", "made by"), 4, [maker_of(group.largest.made_by) for group in groups], right=False),
        ],
        urgency=range(len(groups)),
        meaning="What forward keeps for the backward pass, by the layer in which it is made.",
        heading="kept for the backward pass, by layer",
    )


def operation_table(found: Memory) -> SmallTable | None:
    groups = by_operation(found)
    if not groups:
        return None
    return SmallTable(
        title="Kept by operation",
        head="line",
        names=[group.name for group in groups],
        columns=[
            Column(("", "kept"), 0, [units.size(group.size) for group in groups]),
            Column(("", "made by"), 1, [maker_of(group.largest.made_by) for group in groups], right=False),
            Column(
                ("read by the", "derivative of"),
                2,
                [derivative_of(group.largest) for group in groups],
                right=False,
            ),
            Column(("", "arrays"), 3, [units.count(len(group.arrays)) for group in groups]),
            Column(("", "each"), 4, [form_of(group.largest) for group in groups], right=False),
            Column(("", "code"), 5, [text_of(group.largest.made_by.source) for group in groups], right=False),
        ],
        urgency=range(len(groups)),
        meaning="The operation and the line that made each array, and the one whose derivative reads it.",
        heading="kept for the backward pass, by line and operation",
    )


def parts_table(found: Memory) -> SmallTable:
    """The account beside XLA's figures."""
    if found.by_device is not None:
        return _parts_on_a_mesh(found, found.by_device)
    xla = found.compiled
    rows: list[tuple[str, int, int | None]] = [
        ("parameters and batch", found.parameters + found.data, xla.arguments if xla else None),
        ("the gradients", found.gradients, xla.outputs if xla else None),
        ("kept for backward, at work", found.working, xla.temporaries if xla else None),
    ]
    rows += [("written in place of arguments", 0, -xla.aliased)] if xla is not None and xla.aliased else []
    rows += [("peak of loss and gradient", found.accounted, xla.peak if xla else None)]
    if found.optimizer_state is not None:
        rows += [
            ("optimizer state", found.optimizer_state, None),
            ("peak of a step", found.accounted + found.optimizer_state, found.step if xla else None),
        ]
    return SmallTable(
        title="A training step",
        head="part",
        names=[name for name, _, _ in rows],
        columns=[
            Column(("", "accounted"), 0, [units.size(size) for _, size, _ in rows]),
            Column(("XLA's", "figure"), 1, ["" if size is None else units.size(size) for _, _, size in rows]),
        ],
        urgency=range(len(rows)),
        meaning="What the program asks for, and what the compiler that ran here takes.",
        heading="a training step",
    )


def _parts_on_a_mesh(found: Memory, each: MemoryByDevice) -> SmallTable:
    """Whole arrays, their parts by their shardings, and XLA's figures, which are of one device."""
    xla, state = found.compiled, found.optimizer_state
    rows: list[tuple[str, int | None, int | None, int | None]] = [
        (
            "parameters and batch",
            found.parameters + found.data,
            each.parameters + each.data,
            xla.arguments if xla else None,
        ),
        ("the gradients", found.gradients, each.parameters, xla.outputs if xla else None),
        ("kept for backward, at work", found.working, None, xla.temporaries if xla else None),
    ]
    rows += [("written in place of arguments", None, None, -xla.aliased)] if xla and xla.aliased else []
    rows += [("peak of loss and gradient", found.accounted, None, xla.peak if xla else None)]
    if state is not None:
        rows += [
            ("optimizer state", state, each.optimizer_state, None),
            ("peak of a step", found.accounted + state, None, found.step if xla else None),
        ]

    def sizes(of: Sequence[int | None]) -> list[str]:
        return ["" if size is None else units.size(size) for size in of]

    return SmallTable(
        title="A training step",
        head="part",
        names=[row[0] for row in rows],
        columns=[
            Column(("all", "devices"), 2, sizes([row[1] for row in rows])),
            Column(("each", "device"), 0, sizes([row[2] for row in rows])),
            Column(("XLA's figure", "for each"), 1, sizes([row[3] for row in rows])),
        ],
        urgency=range(len(rows)),
        meaning="What the program asks for as a whole, what of it each device has, and what XLA takes there.",
        heading="a training step",
    )


def summary(found: Memory) -> list[str]:
    """Sentences: the peak, what XLA does otherwise, and what JAX holds where nothing is compiled."""
    rows = "" if found.batch_size is None else f" with {units.counted(found.batch_size, 'row')}"
    said = [f"A training step{rows} takes {units.size(found.step)} at its peak{_where(found)}."]
    if found.difference is not None and found.compiled is not None:
        said.append(_agreement(found))
    arrays = units.counted(len(found.kept), "array")
    said.append(
        f"`jax.vjp` keeps {units.size(found.residuals)} in {arrays} for the backward pass; compiled, "
        f"{units.size(found.working)} of memory beside arguments and gradients are enough by this account, "
        "as cheap operations are fused into what reads them, and computed again."
        if found.working < found.residuals
        else f"`jax.vjp` keeps {units.size(found.residuals)} in {arrays} for the backward pass."
    )
    if found.unread:
        said.append(f"{units.size(found.unread)} of it backward does not read; compiled, it is not kept.")
    if found.kept_arguments:
        said.append(
            f"Backward also reads {units.size(found.kept_arguments)} of parameters and batch, which are "
            "there anyway."
        )
    return said


def _where(found: Memory) -> str:
    each = found.by_device
    if each is None or found.compiled is None:
        return ""
    axes = ", ".join(f"{visible(name)} {size}" for name, size in each.axes.items())
    return f" on each of {each.devices} devices" + (f" ({axes})" if axes else "")


def _agreement(found: Memory) -> str:
    difference, xla = found.difference, found.compiled
    assert difference is not None
    assert xla is not None
    amount = f"{units.share(abs(difference))} {'more' if difference > 0 else 'less'} than XLA's figure"
    if abs(difference) <= AGREES:
        return f"Accounted are {units.size(found.accounted)}, {amount}."
    apart = units.size(abs(found.accounted - xla.peak))
    if difference < 0:
        return (
            f"Accounted are {units.size(found.accounted)}, {amount}: the compiler on this machine holds "
            f"{apart} more than the program needs by this account, arrays that it may write for kernels "
            "which it does not fuse, or copies in another layout or a wider type."
        )
    return (
        f"Accounted are {units.size(found.accounted)}, {amount}: the compiler on this machine keeps "
        f"{apart} less; it may compute more of it again, or use the room of results that are written later."
    )
