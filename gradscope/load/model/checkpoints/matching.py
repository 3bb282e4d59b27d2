"""Matches the arrays of a checkpoint to leaves by name, and explains where some do not fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.message_text import listed
from gradscope.load.model.checkpoints.names import Steps, text_of

_DEEPEST = 4
"""Steps of a wrapper around the params, at most: `state.target.params`."""
_WRAPPERS = ("params", "model", "target", "module", "net", "state", "train_state", "ema_params", "ema")
"""Preferred first: a training state holds the params more than once (an average, moments of Adam)."""
_NOT_PARAMETERS = re.compile(
    r"^(opt(im|imizer)?(_?states?)?|step|epoch|iter(ation)?s?|ema(_.*)?|batch_stats|.*state|rngs?|(prng_?)?key"
    r"|seed|count(er)?|metrics|loss|best_.*|lr|learning_rate|scheduler.*|config|version|metadata)$"
)
"""Names of what a checkpoint may hold that is not a part of the network."""
_SHOWN = 8


@dataclass(frozen=True)
class Matched:
    leaves: dict[Steps, Any]
    """Our name -> the array of the checkpoint."""
    prefix: Steps
    ignored: tuple[str, ...]
    """First steps of what the checkpoint holds and the model has no leaf for."""


@dataclass(frozen=True)
class LeafToFill:
    """A leaf to fill."""

    shape: tuple[int, ...]
    dtype: str
    needed: bool
    """A parameter; other leaves (a running mean) are filled where the checkpoint has them."""


def match(wanted: Mapping[Steps, LeafToFill], found: Mapping[Steps, Any], where: str) -> Matched:
    """Raises unless each parameter has its array, each array its leaf, and the shapes agree."""
    prefix, own = _wrappers(wanted, found)
    places = {name: prefix + _without(own, name) for name in wanted}
    leaves = {name: found[place] for name, place in places.items() if place in found}
    rest = [name for name in found if name not in set(places.values())]
    inside = [name for name in rest if name[: len(prefix)] == prefix]
    unexpected = [
        name for name in inside if not _NOT_PARAMETERS.match(name[len(prefix) : len(prefix) + 1][0])
    ]
    missing = [name for name, leaf in wanted.items() if leaf.needed and name not in leaves]
    shapes = {name: array for name, array in leaves.items() if tuple(array.shape) != wanted[name].shape}
    if missing or unexpected or shapes:
        raise _mismatch(wanted, missing, unexpected, shapes, where)
    ignored = dict.fromkeys(name[0] for name in rest)
    return Matched(leaves, prefix, tuple(ignored))


def _wrappers(wanted: Mapping[Steps, LeafToFill], found: Mapping[Steps, Any]) -> tuple[Steps, Steps]:
    """The steps to take off their names and off ours, so that most parameters find their array."""
    needed = {name: leaf.shape for name, leaf in wanted.items() if leaf.needed}
    outer = {name[:end] for name in found for end in range(min(_DEEPEST, len(name) - 1) + 1)}
    heads = {name[:1] for name in needed if len(name) > 1}
    inner = {(), *heads} if len(heads) == 1 and all(len(name) > 1 for name in needed) else {()}

    def fit(candidate: tuple[Steps, Steps]) -> tuple[int, int, int, int]:
        prefix, own = candidate
        names = {prefix + _without(own, name): shape for name, shape in needed.items()}
        hits = [name for name in names if name in found]
        same = sum(tuple(found[name].shape) == names[name] for name in hits)
        rank = min((_WRAPPERS.index(s) if s in _WRAPPERS else len(_WRAPPERS) for s in prefix), default=0)
        return -len(hits), -same, rank, len(prefix) + len(own)

    return min(((p, o) for p in sorted(outer | {()}) for o in sorted(inner)), key=fit)


def _without(prefix: Steps, name: Steps) -> Steps:
    return name[len(prefix) :] if name[: len(prefix)] == prefix else name


def _mismatch(
    wanted: Mapping[Steps, LeafToFill],
    missing: Collection[Steps],
    unexpected: Collection[Steps],
    shapes: Mapping[Steps, Any],
    where: str,
) -> GradscopeError:
    counts = [
        (len(missing), "missing"),
        (len(unexpected), "not in the model"),
        (len(shapes), "of another shape"),
    ]
    lines = [
        *_lines("missing", (_missing_line(name, wanted[name], unexpected) for name in missing), len(missing)),
        *_lines("not in the model", (text_of(name) for name in unexpected), len(unexpected)),
        *_lines(
            "another shape",
            (f"{text_of(n)}: {list(wanted[n].shape)} here, {list(a.shape)} there" for n, a in shapes.items()),
            len(shapes),
        ),
    ]
    return GradscopeError(
        f"{where} does not fit the model: {listed([f'{count} {what}' for count, what in counts if count])}.",
        why="Each parameter needs an array of its own name and shape.",
        fix="Give a checkpoint of this model, or build the model with the sizes that it was saved with.",
        details="\n".join(lines),
        slug="checkpoint-mismatch",
    )


def _missing_line(name: Steps, leaf: LeafToFill, others: Iterable[Steps]) -> str:
    text = f"{text_of(name)}  {leaf.dtype}{list(leaf.shape)}"
    near = get_close_matches(text_of(name), [text_of(other) for other in others], n=1)
    return f"{text}  (near: {near[0]})" if near else text


def _lines(title: str, entries: Iterable[str], count: int) -> list[str]:
    shown = [f"{title}: {entry}" for entry, _ in zip(entries, range(_SHOWN), strict=False)]
    return [*shown, f"  ... {count - _SHOWN} more"] if count > _SHOWN else shown
