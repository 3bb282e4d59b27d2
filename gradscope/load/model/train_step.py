"""The training step that a file writes itself: found by its name, and called as its loop would call it."""

from __future__ import annotations

import ast
import dataclasses
import dis
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import jax
import numpy as np

from gradscope.load.model.carried import Carried, carried
from gradscope.load.model.find_params import is_function
from gradscope.load.model.frameworks.base import code_of, written
from gradscope.load.model.frameworks.table import adapter_of, is_companion, transform_of
from gradscope.load.model.frameworks.train_state import STATE_NAMES
from gradscope.load.model.optimizers import is_optimizer
from gradscope.load.model.step_call import OPTIMIZER_STATES, OPTIMIZERS, CannotBeCalled, StepCall
from gradscope.load.signature.arguments import BATCH_NAMES, Arguments, arrange, params_name
from gradscope.load.signature.keys import is_key_name, required_parameters

STEP_NAMES = (
    "train_step", "training_step", "train_one_step", "update_step", "make_step", "step_fn", "step", "update",
)  # fmt: skip
_CERTAIN = ("params", "parameters", "weights", "theta")
_COUNTERS = ("step", "i", "it", "iteration", "epoch", "n_step", "step_number")
_NUMBERS = ("lr", "learning_rate", "rate", "step_size", "alpha", "eta", "t", "dt", "rng_seed")
"""Never a part of the batch."""
_DATA = ("x", "y", "xs", "ys", "x_batch", "y_batch", "labels", "targets", "images", *BATCH_NAMES)


_GRADIENTS = ("grad", "gradient", "apply_updates")
"""Parts of the names that a function uses which makes a training step, or which it calls."""
_DEPTH = 3


@dataclass(frozen=True, eq=False)
class TrainStep:
    """A function of a file that makes one step of a training."""

    function: Callable[..., Any]
    name: str
    names: Mapping[str, Any]
    """All that the file defines."""

    def call_for(self, initial: Any, optimizer: Any, batch: Any) -> StepCall:
        """How to call it. `initial` is the model or the params where the file does not have the object that
        the step takes, `batch` the first one. Raises `CannotBeCalled`."""
        if _keeps_globals(self.function):
            raise CannotBeCalled("it keeps what it computes in variables of the file")
        role = self.role
        if self.name in _names_in(code_of(self.names.get("loss_fn"))):
            raise CannotBeCalled("the loss itself calls it")
        if role in _COUNTERS:
            raise CannotBeCalled("the names of its parameters do not tell which of them are trained")
        rest = [p for p in required_parameters(self.function) if p.name != role and not is_key_name(p.name)]
        moving: dict[str, Carried] = {role: carried(self._model(role, initial))}
        fixed: dict[str, Any] = {}
        counters, open_ones = [], []
        for name in (p.name for p in rest):
            value = self._value(name, role, initial, optimizer)
            if name in _COUNTERS and (value is None or isinstance(value, int)):
                counters.append(name)
            elif value is None and name in _NUMBERS:
                raise CannotBeCalled(f"nothing in the file fills `{name}`")
            elif value is None or (name.lower() in _DATA and not is_companion(value)):
                open_ones.append(name)
            elif _has_arrays(value):
                moving[name] = carried(value)
            else:
                fixed[name] = value
        _require_no_shared(moving.values())
        data = self._of_data(role, open_ones, batch)
        return StepCall(self.function, self.names, initial, role, moving, fixed, tuple(counters), data)

    @property
    def role(self) -> str:
        """The parameter in which the trained parameters come, as far as the names tell."""
        names = [p.name for p in required_parameters(self.function)]
        certain = [name for name in names if name in _CERTAIN]
        states = [name for name in names if name in STATE_NAMES]
        if not certain and states and not {*OPTIMIZER_STATES, *OPTIMIZERS} & set(names):
            return states[0]
        return certain[0] if certain else params_name(self.function)

    def trained_argument(self, call: ast.Call) -> ast.expr | None:
        """What a call that stands in the file gives it as the parameters."""
        place = list(inspect.signature(self.function).parameters).index(self.role)
        by_name = {word.arg: word.value for word in call.keywords}
        return call.args[place] if place < len(call.args) else by_name.get(self.role)

    def _model(self, role: str, initial: Any) -> Any:
        """The object in which the parameters come: the file's of that name, else its only training state."""
        own = self.names.get(role)
        if own is not None and (not callable(own) or adapter_of(own) is not None):
            return own
        states = [
            each for each in self.names.values() if getattr(adapter_of(each), "title", "") == "TrainState"
        ]
        return states[0] if len(states) == 1 and role not in ("params", "model") else initial

    def _value(self, name: str, role: str, initial: Any, optimizer: Any) -> Any:
        own = self.names.get(name)
        if own is not None and not (name in _DATA and is_function(own)):
            return own
        if optimizer is None or name not in (*OPTIMIZER_STATES, *OPTIMIZERS):
            return None
        # One that takes `opt` and no state calls the state so.
        beside = role in STATE_NAMES or any(
            p.name in OPTIMIZER_STATES for p in required_parameters(self.function)
        )
        return optimizer if name in OPTIMIZERS and beside else optimizer.init(initial)

    def _of_data(self, role: str, names: Sequence[str], batch: Any) -> Arguments:
        """The plan for what is left, which has to come from the batch and from a key."""
        parameters = inspect.signature(self.function).parameters.values()
        left = [p for p in parameters if p.name == role or p.name in names or is_key_name(p.name)]

        def stub() -> None: ...

        stub.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
        try:
            return arrange(stub, batch, self.name)
        except Exception as error:
            listed = ", ".join(f"`{name}`" for name in names)
            raise CannotBeCalled(f"nothing in the file fills {listed}") from error


def step_in(names: Mapping[str, Any]) -> TrainStep | None:
    """The training step that the file defines under a usual name, with two required parameters at least."""
    for name in STEP_NAMES:
        value = names.get(name)
        if value is None or not callable(value) or isinstance(value, type):
            continue
        inner = written(value)
        here = getattr(inner, "__module__", None) == names.get("__name__")
        takes = inspect.isfunction(inner) and len(required_parameters(value)) > 1
        if here and takes and _differentiates(inner, names):
            return TrainStep(value, name, names)
    return None


def _differentiates(function: Any, names: Mapping[str, Any], depth: int = _DEPTH) -> bool:
    """Whether it, or a function of the file that it calls, uses a name that speaks of gradients: a `step` may
    be that of a recurrence, and a `training_step` give back the loss alone."""
    used = _names_in(code_of(function))
    if any(part in name.lower() for name in used for part in _GRADIENTS):
        return True
    called = [names[name] for name in used if callable(names.get(name))]
    return depth > 0 and any(_differentiates(each, names, depth - 1) for each in called)


def _names_in(code: CodeType | None) -> set[str]:
    if code is None:
        return set()
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names, *code.co_freevars, *(name for each in inner for name in _names_in(each))}


def _keeps_globals(function: Any) -> bool:
    code = code_of(function)
    return code is not None and any(each.opname == "STORE_GLOBAL" for each in dis.get_instructions(code))


def _require_no_shared(moving: Iterable[Carried]) -> None:
    """Objects of NNX are taken apart one by one, and a model that two of them hold would become two."""
    met: set[int] = set()
    for each in moving:
        if met & each.holds:
            raise CannotBeCalled("two of the objects that it takes hold the same variables")
        met |= each.holds


def step_of(given: Any, names: Mapping[str, Any]) -> TrainStep | None:
    """A training step of a library call."""
    if given is None or isinstance(given, TrainStep):
        return given
    return TrainStep(given, getattr(given, "__name__", "train_step"), names)


def _has_arrays(value: Any) -> bool:
    if is_optimizer(value) and transform_of(value) is None:
        return False
    if is_companion(value):
        return True
    leaves = jax.tree.leaves(value)
    numbers = dataclasses.is_dataclass(value) and any(isinstance(leaf, float) for leaf in leaves)
    return numbers or any(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)
