"""Where the arrays of a problem lie: as the file puts them, or laid out otherwise."""

from __future__ import annotations

from typing import Any, Protocol


class ArrayPlaces(Protocol):
    """Where the arrays of a problem lie."""

    def params(self, tree: Any) -> Any: ...

    def batch(self, tree: Any) -> Any: ...


class OwnPlaces:
    """Where the file puts them."""

    def params(self, tree: Any) -> Any:
        return tree

    def batch(self, tree: Any) -> Any:
        return tree
