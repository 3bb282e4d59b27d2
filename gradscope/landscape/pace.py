"""How much time each part may take."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter


class Pace:
    """Products until a deadline; a part that ends early leaves its time to the next ones."""

    def __init__(self, budget_s: float, product_s: Callable[[], float]) -> None:
        self._start, self._budget, self._product_s = perf_counter(), budget_s, product_s
        self._until = budget_s
        self.spent = False
        """Whether any part was ended by it."""

    def up_to(self, share: float) -> None:
        """The next part ends at this share of the whole."""
        self._until = share * self._budget

    def granted(self, share: float) -> None:
        """The part that runs has this share of the whole from now on, however late it is: it was compiled."""
        now = perf_counter() - self._start
        self._until = max(self._until, now + share * self._budget)

    def left(self) -> int:
        """Products for which there is time."""
        return max(0, int((self._until - (perf_counter() - self._start)) / max(self._product_s(), 1e-9)))

    def has_time(self, products: int = 1) -> bool:
        has = self.left() >= products
        self.spent = self.spent or not has
        return has
