"""The cost of a training step, as every format for people words it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.records import Cost, LayerCost, PassCost, RepeatedBlock
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.repeats import block_name

SAME = 5e-4
AGREES = 0.02
"""Of XLA's own count: a difference within it needs no explanation."""
NEAR = 0.1
"""Of the whole: parts that take so nearly as long together need none either."""
TRUSTED = 1.5
"""Times the whole: parts that take longer together say little of where the whole spends its time."""
NO_LAYER, ALL = "outside of layers", "all layers"
_NUMBER = re.compile(r"(?<=[\[_.])\d+(?![^\W_])")
"""Of a place in a list (`blocks[3]`, `block_3`), and not of a name (`norm2`)."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """A layer, or several that are named alike."""

    name: str
    layers: tuple[LayerCost, ...]

    @property
    def forward(self) -> PassCost:
        return _together([layer.forward for layer in self.layers])

    @property
    def backward(self) -> PassCost:
        return _together([layer.backward for layer in self.layers])

    @property
    def operations(self) -> float:
        return sum(layer.operations for layer in self.layers)

    @property
    def size(self) -> float:
        return sum(layer.size for layer in self.layers)

    @property
    def seconds(self) -> float | None:
        known = [layer.seconds for layer in self.layers if layer.seconds is not None]
        return sum(known) if known else None

    @property
    def estimated(self) -> bool:
        """Of some of them; the sum of all is measured."""
        return self.name != ALL and any(layer.estimated for layer in self.layers)


def _together(passes: Sequence[PassCost]) -> PassCost:
    seconds = [each.seconds for each in passes if each.seconds is not None]
    return PassCost(
        sum(each.operations for each in passes),
        sum(each.transcendental for each in passes),
        sum(each.size for each in passes),
        sum(seconds) if seconds else None,
    )


def every_row(found: Cost) -> list[CostRow]:
    return [CostRow(layer.name or NO_LAYER, (layer,)) for layer in found.layers]


def alike_name(name: str) -> str:
    """With a star for each place in a list: `blocks[*].up`."""
    return _NUMBER.sub("*", name)


def alike(found: Cost) -> list[CostRow]:
    """Layers whose names differ by their numbers alone, together: `blocks[*].up`. In forward order."""
    groups: dict[str, list[LayerCost]] = {}
    for layer in found.layers:
        groups.setdefault(alike_name(layer.name or NO_LAYER), []).append(layer)
    return [
        CostRow(name if len(layers) > 1 else layers[0].name or NO_LAYER, tuple(layers))
        for name, layers in groups.items()
    ]


def share_of(row: CostRow, found: Cost) -> float | None:
    """Of the time of all layers where it was measured, else of their operations."""
    if found.parts_s:
        return (row.seconds or 0.0) / found.parts_s
    return row.operations / found.operations if found.operations else None


def trusted(found: Cost) -> bool:
    """Whether the seconds of the parts tell where the whole spends its time."""
    return bool(found.parts_s and found.whole_s and found.parts_s <= TRUSTED * found.whole_s)


def summary(found: Cost) -> list[str]:
    """Sentences: what a step costs, what dominates it, and how far the figures are to be trusted."""
    said = [_step(found), *_dominant(found), *_compiler(found), *_parts(found)]
    if found.uncounted:
        names = ", ".join(map(visible, found.uncounted))
        said.append(f"What {names} compute{'s' if len(found.uncounted) == 1 else ''} inside is not counted.")
    if found.open_loops:
        loops = units.counted(found.open_loops, "loop")
        said.append(f"{loops} of which only the run knows the number of steps: one step is counted.")
    if found.repeated is not None:
        said.append(_repeated(found, found.repeated))
    return said


def _step(found: Cost) -> str:
    rows = "" if found.batch_size is None else f" with {units.counted(found.batch_size, 'row')}"
    ratio = f", {units.number(found.backward / found.forward)} times as many" if found.forward else ""
    update = ""
    if found.update is not None:
        time = f", {units.brief(found.update.seconds)}" if found.update.seconds is not None else ""
        update = f", and {units.operations(found.update.operations)} for the update of the optimizer{time}"
    text = (
        f"A training step{rows} takes {units.operations(found.step)}: {units.operations(found.forward)} "
        f"forward, {units.operations(found.backward)} backward{ratio}{update}."
    )
    if found.whole_s is None:
        return text
    how = " as one compiled program"
    if found.blocks:
        how = f", compiled in {units.counted(found.blocks, 'block')},"
    span = f"{units.brief(found.low_s)} to {units.brief(found.high_s)}"
    speed = f"{units.operations(found.operations / found.whole_s)}/s" if found.whole_s else ""
    return (
        f"{text} Loss and gradient{how} take {units.brief(found.whole_s)} (half of the runs {span}), at "
        f"{speed}."
    )


def _dominant(found: Cost) -> Iterator[str]:
    """What kind of operation, and which layers."""
    whole = found.operations
    if not whole or not found.kinds:
        return
    first = found.kinds[0]
    share = (first.forward + first.backward) / whole
    second = found.kinds[1] if len(found.kinds) > 1 and share < 0.9 else None
    kind = visible(first.name).capitalize()
    if second is None:
        text = f"{kind} are {units.share(share)} of the operations"
    else:
        less = units.share((second.forward + second.backward) / whole)
        text = f"{kind} are {units.share(share)} of the operations, and {visible(second.name)} {less}"
    rows = alike(found)
    if len(rows) < 2:
        yield f"{text}."
        return
    timed = trusted(found)

    def share_here(row: CostRow) -> float:
        return (share_of(row, found) or 0.0) if timed else row.operations / whole

    top = max(rows, key=share_here)
    many = f"the {len(top.layers)} layers " if len(top.layers) > 1 else ""
    about = "about " if top.estimated and timed else ""
    most, where = units.share(share_here(top)), f"{many}{visible(top.name)}"
    if timed:
        yield f"{text}; {about}{most} of the time goes to {where}."
    else:
        yield f"{text}; {most} of the operations go to {where}."


def _compiler(found: Cost) -> Iterator[str]:
    xla = found.compiled
    if xla is None or xla.given_difference is None:
        return
    once = ", each loop as one step, as here" if xla.counted < 0.99 * found.operations else ""
    before = f"before it optimizes ({_beside(xla.given_difference)})"
    text = f"XLA itself counts {units.operations(xla.given)} {before}"
    if xla.difference is None or xla.compiled is None:
        yield f"{text}{once}{_why(found, xla.given_difference)}."
        return
    text += f" and {units.operations(xla.compiled)} in the compiled program ({_beside(xla.difference)}){once}"
    yield f"{text}{_why(found, max(xla.given_difference, xla.difference, key=abs))}."


def _why(found: Cost, difference: float) -> str:
    """What may be the reason of a difference."""
    if abs(difference) <= AGREES:
        return ""
    drawn = any(kind.name == "random numbers" for kind in found.kinds)
    rounds = "count one of the rounds that make a random number, " if drawn else ""
    return (
        f": it may {rounds}compute again what it fuses, write some as several, or share what stands there "
        "twice"
    )


def _beside(difference: float) -> str:
    """Of ours from theirs."""
    if abs(difference) < SAME:
        return "as here"
    return f"here {100 * abs(difference):.2g}% {'more' if difference > 0 else 'less'}"


def _parts(found: Cost) -> Iterator[str]:
    parts, whole = found.parts_s, found.whole_s
    if parts is None or not whole or not found.parts:
        return
    difference = parts / whole - 1
    text = (
        f"Seconds by layer are those of {units.counted(found.parts, 'part')}, each compiled and run by "
        f"itself, forward and backward: together {units.brief(parts)}, {parts / whole:.2f} times as long as "
        "the whole."
    )
    if difference > NEAR and found.call_s:
        calls = units.brief(2 * found.parts * found.call_s)
        text += (
            f" Calls of {2 * found.parts} empty programs take {calls} of that; the rest may be what the "
            "whole fuses across layers, or runs side by side."
        )
        if not trusted(found):
            text += " So they say little of where the whole spends its time."
    elif difference < -NEAR:
        text += " In larger pieces it ran slower here."
    if any(layer.estimated for layer in found.layers):
        text += (
            " Where a loop or a branch has several layers in it, its time is shared out by operations (~)."
        )
    yield text


def _repeated(found: Cost, block: RepeatedBlock) -> str:
    each = block.operations / block.count
    share = block.operations / found.operations if found.operations else None
    name, many = block_name(block.block), block.block.startswith("lines ")
    if block.loop:
        return (
            f"{name} {'run' if many else 'runs'} {units.count(block.count)} times: together "
            f"{units.share(share)} of the operations, and each further step adds {units.operations(each)}."
        )
    return (
        f"{name} {'repeat' if many else 'repeats'} {units.count(block.count)} times: together "
        f"{units.share(share)} of the operations, and each further one adds {units.operations(each)}."
    )
