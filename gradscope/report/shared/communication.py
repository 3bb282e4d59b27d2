"""What the devices of a mesh send each other in a step, as every format for people words it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.records import Collective, Communication, Cost
from gradscope.records.options import mesh_text
from gradscope.report.shared import units
from gradscope.report.shared.cost import NO_LAYER, alike_name
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.memory import place_of
from gradscope.report.shared.table import Column, SmallTable

MANY = 12
"""Layers from which on those that are named alike are one row."""
KINDS = "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"
UPDATE, ALL = "update of the optimizer", "all layers"


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: str
    axes: tuple[str, ...]
    collectives: tuple[Collective, ...]

    def size(self, *halves: str) -> int:
        return sum(each.size for each in self.collectives if not halves or each.half in halves)

    @property
    def sent(self) -> float:
        return sum(each.sent for each in self.collectives)

    @property
    def count(self) -> int:
        return sum(each.count for each in self.collectives)

    @property
    def lines(self) -> str:
        found = dict.fromkeys(place_of(each.source) for each in self.collectives if each.source)
        first = next(iter(found), "")
        return f"{first} +{len(found) - 1}" if len(found) > 1 else first


def between_devices(found: Cost) -> list[str]:
    """Sentences: how much, of what, and what it does not say."""
    if not found.communication:
        return []
    first, *others = found.communication
    said = [_whole(first)]
    if others:
        said.append(_least(found.communication))
    said.append(
        "These are the bytes of the program that XLA made for these devices; another backend may choose "
        "others. How much of it runs beside the computation is not measured."
    )
    return said


def _whole(found: Communication) -> str:
    text = (
        f"Over {units.counted(found.devices, 'device')}{_axes(found)} "
        f"{'a step and its update of the parameters' if found.updated else 'loss and gradient'} take "
        f"{units.counted(found.count, 'operation') if found.collectives else 'no operation'} between devices."
    )
    if not found.collectives:
        return text
    kinds = dict.fromkeys(each.kind for each in sorted(found.collectives, key=lambda each: -each.sent))
    parts = [
        f"{visible(kind)} {units.size(sum(c.size for c in found.collectives if c.kind == kind))}"
        for kind in kinds
    ]
    text += (
        f" Their arrays have {units.size(found.size)} together ({', '.join(parts)}). Each device has to send "
        f"{units.size(found.sent)} at least."
    )
    if found.open_loops == 1:
        text += (
            " One of them stands in a loop of which only the run knows the number of steps, and counts once."
        )
    elif found.open_loops:
        text += (
            f" {found.open_loops} of them stand in a loop of which only the run knows the number of steps, "
            "and count once."
        )
    return text


def _axes(found: Communication) -> str:
    return f" ({mesh_name(found)})" if found.mesh else ""


def mesh_name(found: Communication) -> str:
    return visible(mesh_text(found.mesh)) or str(found.devices)


def _least(every: Sequence[Communication]) -> str:
    least = min(every, key=lambda each: each.sent)
    smallest = min(every, key=lambda each: each.peak)
    text = f"Least is sent with {mesh_name(least)}: {units.size(least.sent)} by each device"
    if smallest is least:
        return f"{text}; it takes least memory there, too ({units.size(least.peak)})."
    return (
        f"{text}, with {units.size(least.peak)} of memory; least memory is taken with {mesh_name(smallest)}: "
        f"{units.size(smallest.peak)}, with {units.size(smallest.sent)} sent."
    )


def communication_tables(found: Cost) -> list[SmallTable]:
    """Of the meshes, where there are several, and of the layers over the first."""
    every = found.communication
    return [
        *([_mesh_table(every)] if len(every) > 1 else []),
        *([_layer_table(every[0])] if every and every[0].collectives else []),
    ]


def _mesh_table(every: Sequence[Communication]) -> SmallTable:
    def of(*kinds: str) -> list[str]:
        sums = [sum(c.size for c in each.collectives if c.kind in kinds) for each in every]
        return [units.size(amount) if amount else "" for amount in sums]

    others = {c.kind for each in every for c in each.collectives}.difference(KINDS)

    return SmallTable(
        title="Meshes compared",
        head="mesh",
        names=[mesh_name(each) for each in every],
        columns=[
            Column(("to send", "at least"), 0, [units.size(each.sent) for each in every]),
            Column(("arrays", "together"), 2, [units.size(each.size) for each in every]),
            Column(("", "times"), 3, [units.count(each.count) for each in every]),
            *(Column(("", kind), 4, of(kind)) for kind in KINDS),
            Column(("", "others"), 4, of(*others)),
            Column(("parameters", "on each"), 1, [units.size(each.parameters) for each in every]),
            Column(("memory", "of a step"), 1, [units.size(each.peak) for each in every]),
        ],
        urgency=range(len(every)),
        meaning="By the compiled step of each mesh, and on each device.",
        heading="meshes compared",
    )


def _layer_table(found: Communication) -> SmallTable:
    rows = list(_rows(found.collectives))
    every = [*rows, _Row(ALL, "", (), found.collectives)]

    def sizes(*halves: str) -> list[str]:
        return [units.size(size) if (size := row.size(*halves)) else "" for row in every]

    return SmallTable(
        title="What devices send each other",
        head="layer",
        names=[row.name for row in every],
        columns=[
            Column(("", "operation"), 0, [row.kind for row in every], right=False),
            Column(("", "over"), 3, [" ".join(map(visible, row.axes)) for row in every], right=False),
            Column(("bytes", "forward"), 2, sizes("forward")),
            Column(("", "backward"), 2, sizes("backward")),
            Column(("", "update"), 2, sizes("update")),
            Column(("to send", "at least"), 0, [units.size(row.sent) for row in every]),
            Column(("", "times"), 4, [units.count(row.count) for row in every]),
            Column(("", "line"), 5, [*(row.lines for row in rows), ""], right=False),
        ],
        urgency=[*(-row.sent for row in rows), -float("inf")],
        meaning="Bytes on each device of the arrays that are summed, gathered or exchanged in one step, and "
        "what each device has to send of them at least.",
        heading="what devices send each other, by layer",
    )


def _rows(found: Sequence[Collective]) -> Iterator[_Row]:
    many = len({each.layer for each in found}) > MANY
    groups: dict[tuple[str, str, tuple[str, ...]], list[Collective]] = {}
    for each in found:
        of = UPDATE if each.half == "update" and each.layer is None else each.layer or NO_LAYER
        of = alike_name(of) if many else of
        groups.setdefault((of, visible(each.kind), each.axes), []).append(each)
    for (of, kind, axes), collectives in groups.items():
        yield _Row(of, kind, axes, tuple(collectives))
