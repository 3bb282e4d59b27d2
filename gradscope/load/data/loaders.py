"""Data loaders of other libraries, recognized by their methods: nothing of theirs is imported.

PyTorch, TensorFlow, Grain and Hugging Face all give batches by iteration, or examples by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data.batches import DEFAULT_BATCH_SIZE, iterated, require_size, rows_notes, shuffled
from gradscope.load.data.pytrees import as_pytree
from gradscope.load.leaves import numeric
from gradscope.load.message_text import type_name
from gradscope.load.usercode.user_code import user_code


def gives_examples(value: Any) -> bool:
    """Whether it is a data set of examples by number: of PyTorch, Grain, Hugging Face, or the user's own."""
    if isinstance(value, str | bytes | Mapping) or hasattr(value, "__array__"):
        return False
    countable = hasattr(type(value), "__len__") and hasattr(type(value), "__getitem__")
    return countable and jax.tree_util.all_leaves([value])


def is_table_of_examples(value: Any) -> bool:
    """Whether iterating gives single examples, though it looks like an iterable of batches."""
    if not gives_examples(value):
        return False
    return hasattr(value, "column_names") or not hasattr(type(value), "__iter__")


def gives_batches(value: Any) -> bool:
    """Whether `data` is a loader: it can be iterated, and is not a container of arrays."""
    if isinstance(value, str | bytes) or hasattr(value, "__array__"):
        return False
    return hasattr(type(value), "__iter__") and jax.tree_util.all_leaves([value])


def iterator_of(value: Any) -> Iterator[Any]:
    """A fresh pass over a loader, with NumPy arrays where it can make them itself."""
    if is_table_of_examples(value):
        return Examples(value).start()
    if hasattr(value, "as_numpy_iterator"):
        return iter(value.as_numpy_iterator())
    if hasattr(value, "column_names") and callable(getattr(value, "iter", None)):
        # A streamed data set of Hugging Face: iterating it would give single rows.
        return iter(value.iter(batch_size=DEFAULT_BATCH_SIZE))
    return iterated(value)


@dataclass(frozen=True, eq=False)
class Examples:
    """A data set of examples by number; those of a batch are read and stacked when it is drawn."""

    dataset: Any
    seed: int = 0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        require_size(self.batch_size)

    def start(self) -> Iterator[Any]:
        for rows in shuffled(self.count, self.seed, self.size):
            with user_code("reading examples of data"):
                examples = [self.dataset[int(row)] for row in rows]
            yield _stacked(
                [
                    numeric(as_pytree(example, "data"), f"data[{row}]")
                    for example, row in zip(examples, rows, strict=True)
                ]
            )

    @property
    def count(self) -> int:
        return len(self.dataset)

    @property
    def size(self) -> int:
        return min(self.batch_size or DEFAULT_BATCH_SIZE, self.count) or 1

    @property
    def notes(self) -> tuple[str, ...]:
        return rows_notes("data", self.count, self.size, self.batch_size)

    def with_options(self, seed: int, batch_size: int | None) -> Examples:
        return replace(self, seed=seed, batch_size=batch_size or self.batch_size)


def _stacked(examples: list[Any]) -> Any:
    first: Any = jax.tree_util.tree_structure(examples[0])
    other = next((e for e in examples if first != jax.tree_util.tree_structure(e)), None)
    if other is not None:
        raise GradscopeError(
            "The examples of data are not alike.",
            why=f"One is a {type_name(examples[0])} of {first.num_leaves}, another a {type_name(other)} of "
            f"{len(jax.tree_util.tree_leaves(other))}.",
            fix="Let every example have the same parts.",
            slug="mismatched-rows",
        )
    paths = jax.tree_util.tree_flatten_with_path(examples[0])[0]
    for (path, leaf), *others in zip(paths, *map(jax.tree_util.tree_leaves, examples[1:]), strict=True):
        odd = next((each for each in others if np.shape(each) != np.shape(leaf)), leaf)
        if odd is not leaf:
            name = f"data[i]{jax.tree_util.keystr(path)}"
            raise GradscopeError(
                f"The examples of data differ in shape: {name} is {np.shape(leaf)} and {np.shape(odd)}.",
                why="A batch stacks its examples into one array.",
                fix="Pad them to one length, or give batches of your own: `batches()`.",
                slug="mismatched-rows",
            )
    return jax.tree_util.tree_map(lambda *parts: np.stack(parts), *examples)
