"""What an attention looks at."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.record import record


class WrongAxis(StrEnum):
    """Of the weights, along which the product with the values does not sum."""

    QUERIES = "queries"
    EXAMPLES = "examples"


@record
class AttentionHead:
    """Means over the rows that were looked at and have at least two keys that no mask hides."""

    rows: int
    entropy: float
    """Of the weights, in [0, 1]: over that of equal weights for as many keys as the mask leaves."""
    slope: float
    """1 minus the sum of the squared weights, in [0, 1] over what that is for equal weights: the size of the
    softmax's derivative."""
    sharp: float
    """Share of the rows that give more than 0.95 of their weight to one key."""
    decided: float
    """Share of the rows with an entropy below 0.05."""
    largest_score: float | None
    """Absolute; `None` where the scores are not at hand."""


@record
class Attention:
    """Scores, products of two values of the model, whose softmax weighs a third one."""

    name: str
    """What the layers of queries and keys have in common."""
    source: Source | None
    """Of the scores."""
    weighed: Source | None
    """Of the product with the values."""
    query: str | None
    """The layers that the two values come from."""
    key: str | None
    width: int
    """Products that are summed into a score."""
    factor: float | None
    """That they are multiplied by; `None` where it is not a number of the program."""
    keys: int
    queries: int | None
    masked: bool
    """Something is added to the scores, or chosen in their place."""
    heads: tuple[AttentionHead, ...]
    """Where queries and keys have no axis of heads, one. Empty where the weights do not sum to 1 along the
    keys."""
    wrong_axis: WrongAxis | None = None
    """Along which the softmax normalizes them."""
    lowest_sum: float = 1.0
    """Of the weights that a query has for all keys."""
    highest_sum: float = 1.0
    rows: int = 0
    """Rows of any kind that were looked at."""
    empty: int = 0
    """Those of them that see no key, though other rows see theirs; not counted where weights are set to 0
    after the softmax."""
    forward: int = 0
    """Those that see a later place; 0 where there is no mask, or not a query for each key."""
    backward: int = 0
    mask: Source | None = None
    """Where the mask over queries and keys is made; `None` where there is none, or it is not known."""
    first_alone: bool = False
    """It sees no later place, and δ of what it gives is exactly 0 at all places but the first; looked at
    where the layers of queries and keys have no gradient."""
    taken_at: Source | None = None
    """The line behind it that takes one place."""

    @property
    def looked_at(self) -> int:
        """Rows with at least two keys."""
        return sum(head.rows for head in self.heads)

    @property
    def sharp(self) -> float:
        """Share of them that give more than 0.95 of their weight to one key."""
        return self._mean([head.sharp for head in self.heads])

    @property
    def entropy(self) -> float:
        return self._mean([head.entropy for head in self.heads])

    @property
    def slope(self) -> float:
        return self._mean([head.slope for head in self.heads])

    @property
    def largest_score(self) -> float | None:
        known = [head.largest_score for head in self.heads if head.largest_score is not None]
        return max(known, default=None)

    def _mean(self, of_heads: list[float]) -> float:
        rows = [head.rows for head in self.heads]
        return sum(map(operator.mul, of_heads, rows)) / sum(rows) if any(rows) else math.nan


def hides_the_past(attentions: Sequence[Attention]) -> list[Attention]:
    """Those that see later places, where none of all sees an earlier one."""
    masked = [each for each in attentions if each.forward or each.backward]
    return [] if any(each.backward for each in masked) else masked
