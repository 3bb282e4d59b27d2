"""Objects that go from one training step to the next, taken apart into arrays and put together again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.model.frameworks.table import taken_apart

_COUNTS = ("step", "steps", "count", "i", "it", "iteration", "epoch", "global_step", "num_steps")


@dataclass(frozen=True, eq=False)
class Carried:
    value: Any
    """As the file has it."""
    arrays: list[Any]
    fields: list[str]
    """Of each array, the field or the key of the object under which it lies; empty where there is none."""
    rebuilt: Callable[[Sequence[Any]], Any]
    """A new object of the same form with other arrays."""
    read: Callable[[Any], list[Any]]
    """The arrays of such an object, in the same order."""
    holds: frozenset[int] = frozenset()
    """Variables of NNX in it, by `id`."""

    def has_form_of(self, other: Carried) -> bool:
        return other is self or other._is_like(self.value)

    def found_in(self, result: Any, taken: set[int], given: Any = None) -> list[Any] | None:
        """Its arrays after the step: of the first part of the results that has its form, or is the object
        that was `given`; `None` where there is none.

        `taken` are parts of the results, by `id`, that were found before.
        """
        for part in _parts(result, taken):
            if self._is_like(part) or (given is not None and part is given):
                taken.add(id(part))
                return self.read(part)
        return None

    def places_of(self, leaves: Sequence[Any]) -> list[int] | None:
        """Of each of these leaves its place among the arrays; `None` where one is not there, or twice."""
        at = {id(array): place for place, array in enumerate(self.arrays)}
        found = [at[id(leaf)] for leaf in leaves if id(leaf) in at]
        return found if len(set(found)) == len(leaves) else None

    def changed(self, given: Any, arrays: Sequence[Any]) -> list[Any] | None:
        """The arrays of an object that was made of `arrays`, if something has changed it in place."""
        now = self.read(given)
        return None if all(new is old for new, old in zip(now, arrays, strict=False)) else now

    def _is_like(self, part: Any) -> bool:
        if type(part) is not type(self.value) and not (is_array(part) and is_array(self.value)):
            return False
        try:
            found = self.read(part)
            forms: list[Any] = [jax.tree.structure(each) for each in (part, self.value)]
        except Exception:  # structures of a user's own classes may refuse to be compared
            return False
        return bool(forms[0] == forms[1]) and list(map(_form, found)) == list(map(_form, self.arrays))


def carried(value: Any) -> Carried:
    if (apart := taken_apart(value)) is not None:
        return Carried(value, apart.arrays, [""] * len(apart.arrays), apart.rebuilt, apart.read, apart.holds)
    found, structure = jax.tree_util.tree_flatten_with_path(value)
    leaves = [leaf for _, leaf in found]
    at = [place for place, (path, leaf) in enumerate(found) if is_array(leaf) or _counts(path, leaf)]

    def rebuilt(arrays: Sequence[Any]) -> Any:
        filled = list(leaves)
        for place, array in zip(at, arrays, strict=True):
            filled[place] = array
        return jax.tree.unflatten(structure, filled)

    def read(made: Any) -> list[Any]:
        now = jax.tree.leaves(made)
        return [now[place] for place in at] if len(now) == len(leaves) else []

    fields = [_first_step(found[place][0]) for place in at]
    return Carried(value, [leaves[place] for place in at], fields, rebuilt, read)


def _counts(path: Sequence[Any], leaf: Any) -> bool:
    """A Python integer under a name that counts, as the `step` of a `TrainState`; others are settings."""
    return type(leaf) is int and _last_step(path) in _COUNTS


def _last_step(path: Sequence[Any]) -> str:
    return _first_step(path[-1:])


def _first_step(path: Sequence[Any]) -> str:
    step = path[0] if path else None
    return str(getattr(step, "name", getattr(step, "key", "")))


def is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float)


def _form(array: Any) -> Any:
    return np.shape(array), jnp.result_type(array)


def _parts(result: Any, taken: Collection[int] = ()) -> Iterator[Any]:
    """A result and what it holds, the outermost first; nothing of what is `taken`, and nothing of an
    optimizer's state: its moments have the form of the parameters."""
    if id(result) in taken:
        return
    yield result
    inner: Sequence[Any] = ()
    if isinstance(result, tuple | list) and not type(result).__module__.startswith("optax"):
        inner = result
    elif isinstance(result, Mapping):
        inner = list(result.values())
    for each in inner:
        yield from _parts(each, taken)
