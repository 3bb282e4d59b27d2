"""What processes must agree on before they compute together: the numbers that one machine alone knows, and
that they run the same program on the same numbers."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from gradscope.errors import GradscopeError
from gradscope.peers import store
from gradscope.peers.joined import here, one_more_step

PATIENCE_S = 10**6
"""A process that does not come is seen by who watches them all, and told in better words."""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that is the same on every process that has it."""

    text: str
    shown: bool = True
    """Whether the text tells people anything: a sum over bytes does not."""
    place: str = ""
    """A line of the user's file, which is not compared."""


def agreed(number: int | None) -> int | None:
    """What process 0 says. For what differs between machines and decides what is run: free memory."""
    if here().count == 1:
        return number
    name = f"agreed/{next(_numbers)}"
    if here().process == 0:
        store.put(name, json.dumps(number))
    found: int | None = json.loads(_get(name))
    return found


def require_equal(what: str, ours: Mapping[str, Trait], fixes: Mapping[str, str]) -> None:
    """Raises on every process where those of two differ, with the first that does and on which processes.

    `fixes` by the beginning of a name.
    """
    joined = here()
    if joined.count == 1:
        return
    text = json.dumps({name: (each.text, each.shown) for name, each in ours.items()})
    store.put(f"sum of {what}/{joined.process}", str(zlib.crc32(text.encode())))
    if len({_get(f"sum of {what}/{number}") for number in range(joined.count)}) == 1:
        return
    store.put(f"{what}/{joined.process}", text)
    seen: dict[str, tuple[int, str]] = {}
    for number in range(joined.count):
        for name, (theirs, shown) in json.loads(_get(f"{what}/{number}")).items():
            first, known = seen.setdefault(name, (number, theirs))
            if known != theirs:
                place = ours[name].place if name in ours else ""
                why = f"It is {theirs} there, and {known} on process {first}" if shown else ""
                raise _different(f"{name}{f' ({place})' if place else ''}", first, number, why, fixes)


def _different(name: str, first: int, number: int, why: str, fixes: Mapping[str, str]) -> GradscopeError:
    return GradscopeError(
        f"Process {number} differs from process {first} in {name}.",
        why=f"{why}." if why else "What the processes hold was compared byte by byte, before they computed.",
        fix=next((fix for start, fix in fixes.items() if name.startswith(start)), ""),
        slug="processes-differ",
    )


def _get(name: str) -> str:
    one_more_step()
    return store.get(name, PATIENCE_S)
