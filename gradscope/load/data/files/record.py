"""The batch that files give: arrays with names and with an order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax


class Record(tuple[Any, ...]):
    """Reads as a tuple, as a dict and by attribute, because losses do all three: `x, y = batch`,
    `batch["x"]`, `batch.x`, `loss_fn(params, x, y)`.

    A pytree whose leaves are named as in a dict. Iterating gives the arrays, as a tuple does.
    """

    _fields: tuple[str, ...]

    def __new__(cls, names: Iterable[str], arrays: Iterable[Any]) -> Record:
        made = super().__new__(cls, arrays)
        made._fields = tuple(names)
        return made

    def __getitem__(self, at: Any) -> Any:
        if not isinstance(at, str):
            return super().__getitem__(at)
        if at not in self._fields:
            raise KeyError(at)
        return super().__getitem__(self._fields.index(at))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"the batch has no {name!r}: it has {', '.join(self._fields)}")
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __reduce__(self) -> Any:
        return Record, (self._fields, tuple(self))

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._fields else default

    def keys(self) -> tuple[str, ...]:
        return self._fields

    def values(self) -> tuple[Any, ...]:
        return tuple(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        return zip(self._fields, tuple(self), strict=True)


jax.tree_util.register_pytree_with_keys(
    Record,
    lambda record: (
        tuple((jax.tree_util.DictKey(name), array) for name, array in record.items()),
        record._fields,
    ),
    lambda names, arrays: Record(names, arrays),
)
