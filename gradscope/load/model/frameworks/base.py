"""The interface of an adapter, which opens the model objects of one framework as plain arrays.

A new one is a file in this folder that ends in `ADAPTER = ...`, one line in `table.py` and one case in
`tests/load/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

Loss = Callable[[Any], Any]
"""The user's loss with everything but the model filled in."""
Path = tuple[str | int, ...]
"""Steps to a leaf, as a user writes them: attributes and keys as text, positions as integers."""

Kinds = Mapping[tuple[str, ...], str]
"""Steps to a module, each as text and none for the whole model -> the name of its class."""


@dataclass(frozen=True)
class OpeningContext:
    """What surrounds the model that is opened: the names of the file, the first batch, the seed."""

    names: Mapping[str, Any] = field(default_factory=dict)
    """The names of the user's file, or the `given` of a library call."""
    batch: Any = None
    """The first batch, for frameworks that make their parameters from it."""
    seed: int = 0
    role: str = "params"
    """The parameter of the loss that gets the model."""
    run: Callable[..., Any] | None = None
    """`run(model, extra, rngs=None)`: the user's loss on the first batch, with stand-ins for what is yet to
    be made; `rngs` as in `Opened`."""


@dataclass(frozen=True)
class OpenedModel:
    """A model object, opened.

    `params` are nested dicts of arrays whose paths are the names that the user writes; only what is to be
    differentiated is in it. `call(params, loss)` puts `params` (arrays or tracers) back into a fresh model,
    runs `loss` on it and returns its result and a pytree of the state that the run changed (or `None`). It
    is called in many traces: nothing may be left behind in the user's own object.
    """

    params: Any
    call: Callable[[Any, Loss], tuple[Any, Any]]
    kinds: Kinds = field(default_factory=dict)
    """The class of the module at each path; `kinds_of` makes it."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Values for other parameters of the loss, by name: the `state` of Equinox."""
    packed: Callable[[Any], Any] | None = None
    """Turns a tree of the structure of `params` into what the user's optimizer gets, which its masks fit."""
    rngs: Callable[[Any], Any] | None = None
    """From a PRNG key to what a parameter named `rngs` gets; `None`: the key itself."""
    redraw: Callable[[Any, Any], None] | None = None
    """`redraw(model, key)`: new keys for the random streams inside the model that the loss was handed; `None`
    where there are none. Without it every run of the loss draws as the first one did."""
    forward: Callable[[Any, Any, Any], Any] | None = None
    """`forward(model, x, key)`: outputs for a batch of inputs, where the user gives no loss.
    `model` is what `call` hands to the loss."""
    own_loss: Callable[[Any, Any, Any, Any], Any] | None = None
    """`own_loss(model, x, y, key)`: the loss that the model was compiled with."""
    optimizer: Any = None
    """The optax transform inside the object, used where the file gives no other."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TakenApart:
    """An object that is no pytree, as arrays."""

    arrays: list[Any]
    rebuilt: Callable[[Sequence[Any]], Any]
    """A new object of the same form with other arrays."""
    read: Callable[[Any], list[Any]]
    """The arrays of such an object, in the same order."""
    holds: frozenset[int]
    """What it holds that another object may hold, too, by `id`."""


class Adapter:
    """One framework. The methods are asked only once its library is imported, and must not raise."""

    title = ""
    """The framework's name, as in a sentence."""
    sees_calls = False
    """Whether `open` finds out by itself which of several blueprints in a file the loss calls."""

    def is_model(self, value: Any) -> bool:
        """Whether `open` takes `value`; also for a container of models, and for a model with its state."""
        raise NotImplementedError

    def is_class(self, value: type) -> bool:
        """Whether `value` is a class of models, where an instance was expected."""
        raise NotImplementedError

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        raise NotImplementedError

    def is_blueprint(self, value: Any) -> bool:
        """Whether a model has no arrays of its own, so that other values of a file are tried first."""
        return False

    def forward(self, blueprint: Any) -> Callable[[Any, Any, Any], Any] | None:
        """`Opened.forward` of a blueprint whose params the file gives as a plain pytree."""
        return None

    def watch(self, seen: Callable[[tuple[str, ...], str], object]) -> AbstractContextManager[None]:
        """While a loss is traced: calls `seen(path, class name)` for each module that the loss calls."""
        return nullcontext()

    def is_companion(self, value: Any) -> bool:
        """Whether `value` is an object of the framework that a loss may take as a further argument."""
        return self.is_model(value)

    def fresh(self, value: Any) -> Any:
        """A copy of a companion for one trace, where the framework forbids to use one in several."""
        return value

    def state_of(self, value: Any) -> Any:
        """What a run of the loss may have changed in a model or companion, as a pytree; `None` where models
        of the framework change nothing when they run."""
        return None

    def keep(self, value: Any, state: Any) -> None:
        """Put what `state_of` gave of a copy into the user's own object."""

    def taken_apart(self, value: Any) -> TakenApart | None:
        """A model or companion that a training step changes in place; `None` for a pytree."""
        return None

    def loss_of(self, function: Any) -> Any:
        """The loss inside a function that computes its gradients with this framework, else the function."""
        return function

    def transform_of(self, value: Any) -> Any:
        """The optax transform in an optimizer object of this framework, or `None`."""
        return None

    def assignment(self, value: Any, code: str) -> str | None:
        """The line that gives a file with `value`, an optimizer object or a model, the transform that `code`
        makes; `None` where this framework has no form of its own."""
        return None

    def optimizer_state(self, value: Any) -> Any:
        """The state that an object which holds a transform holds beside it, or `None`."""
        return None


def wrapped_functions(function: Any) -> Iterator[Any]:
    """A function and those it wraps, the outermost first."""
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


def written(function: Any) -> Any:
    """The innermost of the functions that it wraps: what stands in the file."""
    return [function, *wrapped_functions(function)][-1]


def code_of(function: Any) -> CodeType | None:
    """Of what stands in the file; `None` of an object that is called."""
    return getattr(written(function), "__code__", None)


def plain_call(rebuild: Callable[[Any], Any]) -> Callable[[Any, Loss], tuple[Any, Any]]:
    """`Opened.call` of a framework whose models change nothing when they run."""
    return lambda params, loss: (loss(rebuild(params)), None)


def kinds_of(modules: Iterable[tuple[Path, object]]) -> Kinds:
    return {tuple(map(str, path)): type(module).__name__ for path, module in modules}


def nested(paths: Sequence[Path], leaves: Sequence[Any]) -> Any:
    """Leaves as nested dicts. JAX sorts their keys: use `unnested` to get the leaves back in order."""
    tree: dict[str | int, Any] = {}
    for path, leaf in zip(sortable(paths), leaves, strict=True):
        inner = tree
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = leaf
    return tree


def unnested(paths: Sequence[Path], tree: Any) -> list[Any]:
    """The leaves of a tree that `nested(paths, ...)` made, in the order of `paths`."""
    found = []
    for path in sortable(paths):
        leaf = tree
        for step in path:
            leaf = leaf[step]
        found.append(leaf)
    return found


def sortable(paths: Sequence[Path]) -> list[Path]:
    """Paths in which no dict has both text and integers for keys: JAX could not sort them."""
    kinds_below: dict[Path, set[type]] = {}
    for path in paths:
        for end in range(len(path)):
            kinds_below.setdefault(path[:end], set()).add(type(path[end]))
    mixed = {prefix for prefix, types in kinds_below.items() if len(types) > 1}
    return [
        tuple(str(step) if path[:end] in mixed else step for end, step in enumerate(path)) for path in paths
    ]
