"""One case of the contract that every adapter keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Made:
    """A model and a loss, and the truth about them, got from the framework without gradscope."""

    model: Any
    loss_fn: Callable[..., Any]
    batch: Any
    loss: float
    weight: Callable[[str], Any]
    """The array of a parameter, by the name that the user writes."""
    gradient: Callable[[str], Any]
    """The framework's own gradient, by the same name."""
    kinds: Mapping[str, str]
    """Written by hand: the name of each layer -> the class of its module."""
    parameters: tuple[str, ...]
    """Written by hand: the names of all parameters that are trained."""
    given: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = None


@dataclass(frozen=True)
class Case:
    """`make` is called inside the test, because it imports the framework."""

    name: str
    library: str
    make: Callable[[], Made]
