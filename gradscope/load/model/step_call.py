"""One call of a training step, with what goes from step to step taken apart into arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.model.carried import Carried, is_array
from gradscope.load.model.frameworks.base import OpeningContext
from gradscope.load.model.frameworks.table import opened
from gradscope.load.signature.arguments import Arguments

OPTIMIZER_STATES = ("opt_state", "optimizer_state", "optim_state", "opt_states")
OPTIMIZERS = ("optimizer", "opt", "optim", "tx")
"""An object of NNX, a transform of optax, or, where a step takes no state beside it, that."""


class CannotBeCalled(Exception):
    """Why gradscope does not know what to give the step, as the end of a sentence."""


@dataclass(frozen=True)
class AfterStep:
    arrays: Mapping[str, list[Any] | None]
    """Of each moving object; `None` where it does not come back."""
    in_place: frozenset[str]
    """Those that the step changes in place."""
    others: list[Any]
    """All else that it gives back."""


@dataclass(frozen=True)
class OptimizerState:
    name: str
    """Of the parameter in which it comes."""
    holder: Any
    """The file's object that is given for it: the state, or one with more in it."""
    places: list[int] | None
    """Of each of its leaves, in the order of the optimizer's, among the arrays of that object; `None` where
    they are not told apart."""


@dataclass(frozen=True, eq=False)
class StepCall:
    """One call of a training step, with what goes from step to step taken apart."""

    function: Callable[..., Any]
    names: Mapping[str, Any]
    """All that the file defines."""
    initial: Any
    """The model or the params of the problem."""
    role: str
    """The parameter in which the trained parameters come."""
    moving: Mapping[str, Carried]
    fixed: Mapping[str, Any]
    counters: Sequence[str]
    data: Arguments

    @property
    def takes_key(self) -> bool:
        return self.data.takes_key

    def places(self) -> list[int]:
        """Of each differentiated leaf, in the order of the program's, its place among the arrays of the
        object in which it comes. Raises `CannotBeCalled`."""
        holder = self.moving[self.role]
        for value in (self.initial, holder.value):
            found = opened(value, OpeningContext(self.names, role=self.role))
            leaves = jax.tree.leaves(value if found is None else found.params)
            weights = [
                each
                for each in leaves
                if is_array(each) and jnp.issubdtype(jnp.result_type(each), jnp.floating)
            ]
            places = holder.places_of(weights)
            if places:
                return places
        raise CannotBeCalled(f"the parameters of the loss could not be found in `{self.role}`")

    def optimizer_state(self) -> OptimizerState | None:
        """As far as names tell: a parameter for it, or the part of an object that holds one."""
        given = {**{name: each.value for name, each in self.moving.items()}, **self.fixed}
        for name, holder in given.items():
            apart = self.moving.get(name)
            state = _state_in(holder)
            if state is not None:
                leaves = jax.tree.leaves(state)
                return OptimizerState(name, holder, [] if apart is None else apart.places_of(leaves))
            if name in OPTIMIZER_STATES or (name in OPTIMIZERS and apart is not None):
                return OptimizerState(name, holder, [] if apart is None else list(range(len(apart.arrays))))
        return None

    def alike(self) -> list[str]:
        """The objects of the form of the one with the parameters, itself too, in the order in which the step
        takes them: so it gives them back, if it does not say so by names."""
        return [
            name
            for name in self._parameters()
            if name in self.moving and self.moving[name].has_form_of(self.moving[self.role])
        ]

    def __call__(self, arrays: Mapping[str, Sequence[Any]], batch: Any, key: Any, number: Any) -> AfterStep:
        """Traceable. Raises `CannotBeCalled` where it is ambiguous what comes back."""
        objects = {name: each.rebuilt(arrays[name]) for name, each in self.moving.items()}
        values = {**self.fixed, **dict.fromkeys(self.counters, number)}

        def collected(*given: Any, **named: Any) -> Any:
            left = [p for p in self._parameters() if p not in objects and p not in values]
            order = [p for p in self._parameters() if p == self.role or p in left]
            return self._called({**values, **dict(zip(order, given, strict=False)), **named, **objects})

        result = self.data.call(collected, objects[self.role], batch, key)
        taken: set[int] = set()
        named = _by_name(result)
        after: dict[str, list[Any] | None] = {}
        alike = self.alike()
        # What has a form of its own first: the state of an optimizer may hold parts of the parameters' form.
        for name in [*(each for each in self.moving if each not in alike), *alike]:
            each, found = self.moving[name], None
            if name in named:
                found = each.found_in(named[name], taken, objects[name])
            after[name] = each.found_in(result, taken, objects[name]) if found is None else found
        in_place = {n: self.moving[n].changed(objects[n], arrays[n]) for n in after if after[n] is None}
        if self.moving[self.role].found_in(result, taken) is not None:
            raise CannotBeCalled(f"it gives back several things of the form of `{self.role}`")
        if after[self.role] is None and in_place[self.role] is None and self._gives_gradients(result):
            raise CannotBeCalled("it gives back arrays of the shapes of the parameters that are not they")
        others = jax.tree.leaves(result, is_leaf=lambda part: id(part) in taken)
        return AfterStep(
            {**after, **in_place},
            frozenset(name for name, changed in in_place.items() if changed is not None),
            [each for each in others if id(each) not in taken and is_array(each)],
        )

    def _gives_gradients(self, result: Any) -> bool:
        """Whether weights, or something of their shapes, are among the results in another form."""
        arrays = self.moving[self.role].arrays
        wanted = {np.shape(arrays[place]) for place in self.places() if np.ndim(arrays[place])}
        return wanted <= {np.shape(leaf) for leaf in jax.tree.leaves(result)}

    def _parameters(self) -> list[str]:
        return list(inspect.signature(self.function).parameters)

    def _called(self, values: Mapping[str, Any]) -> Any:
        """By position as far as that goes."""
        parameters = inspect.signature(self.function).parameters.values()
        given: list[Any] = []
        named: dict[str, Any] = {}
        for p in parameters:
            if p.name in values and not named and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                given.append(values[p.name])
            elif p.name in values:
                named[p.name] = values[p.name]
            elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is not p.empty:
                given.append(p.default) if not named else None
        return self.function(*given, **named)


def _state_in(holder: Any) -> Any:
    """Of an optimizer, in a training state or an optimizer object."""
    named = holder if isinstance(holder, Mapping) else {n: getattr(holder, n, None) for n in OPTIMIZER_STATES}
    return next((named[name] for name in OPTIMIZER_STATES if named.get(name) is not None), None)


def _by_name(result: Any) -> Mapping[str, Any]:
    """Parts of the results that carry a name: `{"params": ..., "loss": ...}`, a named tuple."""
    if isinstance(result, Mapping):
        return {name: part for name, part in result.items() if isinstance(name, str)}
    return result._asdict() if hasattr(result, "_asdict") else {}
