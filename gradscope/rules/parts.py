"""Groups leaves by the named parts of a model, and parts by their kind.

Leaves are named by their path: `encoder.dense_0.kernel`, `layers[0].w`, `w1`. A prefix that all leaves share
(`params.`) is not a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from gradscope.records import Measurement, Parameter, Source

_STEP = re.compile(r"[^.\[\]'\"/]+")


def paths(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Each name split into steps, without the steps that all of them share."""
    cut = {name: tuple(_STEP.findall(name)) or (name,) for name in names}
    if len(cut) < 2:
        return cut
    shared = 0
    shortest = min(len(path) for path in cut.values())
    while shared < shortest - 1 and len({path[shared] for path in cut.values()}) == 1:
        shared += 1
    return {name: path[shared:] for name, path in cut.items()}


def part_of(path: tuple[str, ...]) -> str:
    """The first step, with its index where it is a list: `layers[0]` and `layers[1]` are two parts."""
    return f"{path[0]}[{path[1]}]" if len(path) > 1 and path[1].isdigit() else path[0]


def kind_of(path: tuple[str, ...]) -> str:
    """The first step without digits: `dense_0` and `dense_1`, `w1` and `w2` are of one kind."""
    return re.sub(r"\d+", "", path[0])


def by_layer(measurement: Measurement, leaves: Iterable[Parameter]) -> dict[str, list[Parameter]]:
    """These leaves by layer, in forward order; leaves of unknown layers come last.

    A stack is not a layer itself: its leaves belong to each of its rows.
    """
    groups: dict[str, list[Parameter]] = {layer.name: [] for layer in measurement.layers}
    rows: dict[str, list[str]] = {}
    for layer in measurement.layers:
        for name in layer.parameters:
            rows.setdefault(name, []).append(layer.name)
    for leaf in leaves:
        owners = [leaf.layer] if leaf.layer in groups else rows.get(leaf.name, [leaf.layer])
        for owner in owners:
            groups.setdefault(owner, []).append(leaf)
    return {name: members for name, members in groups.items() if members}


def source_of(measurement: Measurement, layer: str | None) -> Source | None:
    return next((one.source for one in measurement.layers if one.name == layer), None)


def names(parameters: Sequence[Parameter]) -> list[str]:
    return [parameter.name for parameter in parameters]


def only(parameters: Sequence[Parameter]) -> str | None:
    """The name of the leaf if there is exactly one, else `None`."""
    return parameters[0].name if len(parameters) == 1 else None


def whole(groups: Mapping[str, Sequence[Parameter]], parameters: Iterable[Parameter]) -> dict[str, bool]:
    """For each part, whether all of its leaves are in `groups`."""
    inside = {leaf.name for leaves in groups.values() for leaf in leaves}
    steps = paths(parameter.name for parameter in parameters)
    result: dict[str, bool] = {}
    for name, path in steps.items():
        result[part_of(path)] = result.get(part_of(path), True) and name in inside
    return result
