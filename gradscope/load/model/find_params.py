"""Finds what the loss is differentiated with respect to: params, the result of a function, or a model."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, TypeGuard

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.message_text import did_you_mean, listed
from gradscope.load.model.frameworks.table import adapter_of, is_blueprint, sees_calls, title_of_class
from gradscope.load.shapes import made_by_shape
from gradscope.load.signature.arguments import PARAMETER_NAMES
from gradscope.load.signature.keys import call_with_key, takes_nothing_or_a_key
from gradscope.load.usercode.other_scopes import under_main_guard

MAKERS = ("model", "make_model", "create_model", "build_model", "get_model", "init_model")
_COPIES = re.compile(r"(?:^|_)(?:target|ema|teacher|ref|reference|old|frozen)(?:_|$)")
"""Names of models that are not trained, but copied from or compared with the one that is."""
USUAL = ("state", "train_state", "variables")
"""Names that are preferred where a file gives several objects with parameters in them."""
_GUARD = 'if __name__ == "__main__":'


def params_in(names: Mapping[str, Any], role: str, target: str, seed: int, notes: list[str]) -> Any:
    """What fills the parameter `role` of the loss, which is what the loss is differentiated by.

    A model object or a pytree of arrays of that very name comes first, then `params`, `init` and the
    functions that make a model, then any value named as the parameter, and last the only model object.
    """
    own = names.get(role)
    if adapter_of(own) is not None and not is_blueprint(own):
        return own
    params = names.get("params")
    if params is not None and not is_function(params):
        if role != "params" and _holds_arrays(own):
            notes.append(
                f"The loss is differentiated by `{role}`, as its argument is called: `params` is not used."
            )
            return own
        return params
    for maker in makers(role):
        function = names.get(maker)
        if is_function(function) and (maker == "init" or takes_nothing_or_a_key(function)):
            return _made(function, maker, seed)
    models = model_names(names)
    for name in ("model", role, *USUAL):
        if any(names.get(name) is names[model] for model in models):
            return names[name]
    if own is not None and not is_function(own) and not isinstance(own, ModuleType | type):
        return own
    if len(models) == 1:
        notes.append(f"The file gives `{models[0]}` and no `{role}`: `{models[0]}` is used as `{role}`.")
        return names[models[0]]
    if models and all(sees_calls(names[model]) for model in models):
        return names[models[0]]
    raise _no_params(names, role, target, models)


def _holds_arrays(value: Any) -> bool:
    """A plain pytree with arrays in it, as params are; no model that waits for its params."""
    if value is None or is_function(value) or isinstance(value, ModuleType | type):
        return False
    if adapter_of(value) is not None:
        return False
    return any(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(value))


def makers(role: str) -> tuple[str, ...]:
    """Functions that may make what `role` receives; `params` itself is to be a value."""
    found = ("init", role, *MAKERS, f"make_{role}", f"init_{role}")
    return tuple(dict.fromkeys(name for name in found if name != "params"))


def model_names(names: Mapping[str, Any]) -> list[str]:
    """The model objects of a file, each under its first name; those without arrays only if all are so."""
    found: dict[int, str] = {}
    for name, value in names.items():
        if not name.startswith("_") and adapter_of(value) is not None:
            found.setdefault(id(value), name)
    models = list(found.values())
    trained = [name for name in models if not _COPIES.search(name)] or models
    return [name for name in trained if not is_blueprint(names[name])] or trained


def _made(function: Callable[..., Any], name: str, seed: int) -> Any:
    made = made_by_shape(lambda: call_with_key(function, name, seed), name)
    if made is None:
        kind = "params" if name == "init" else "model"
        raise GradscopeError(
            f"{name} returned None.",
            why=f"Its result is the {kind}.",
            fix=f"End it with `return {kind}`.",
            slug="no-params",
        )
    return made


def _no_params(names: Mapping[str, Any], role: str, target: str, models: list[str]) -> GradscopeError:
    why = "The loss is differentiated with respect to params."
    classes = [name for name, value in names.items() if title_of_class(value) and _own(value, names)]
    details = ""
    if models:
        what = f"The file gives {len(models)} models, {listed([f'`{m}`' for m in models])}, and no `{role}`."
        fix = f"Name the one to differentiate with respect to, or rename it `{role}`."
        details = "\n".join(f"  {target}:{model}" for model in models[:10])
    elif is_function(names.get("params")):
        what = f"params is a function: `params{inspect.signature(names['params'])}`."
        fix = "Name it `init`, or call it: `params = ...`."
    elif guarded := under_main_guard(names, (role, "model", "params")):
        what = f"The file makes `{guarded}` only under `{_GUARD}`, which gradscope does not run."
        fix = f"Move that line out of the guard, or write `def {guarded}(): return ...`."
    elif classes:
        title = title_of_class(names[classes[-1]])
        what = f"The file gives the {title} class `{classes[-1]}` and no instance of it."
        fix = f"Write `model = {classes[-1]}(...)`, or `def model(key): return {classes[-1]}(...)`."
    else:
        what = "The file gives neither `params` nor `init`" + (f" nor `{role}`." if role != "params" else ".")
        close = _nearest(("params", *PARAMETER_NAMES[:3], "init"), names)
        fix = f"{close} Write `params = ...`, a pytree of arrays, or `def init(key): return params`.".strip()
    return GradscopeError(what, why=why, fix=fix, details=details, slug="no-params")


def _nearest(usual: tuple[str, ...], names: Mapping[str, Any]) -> str:
    values = [n for n, v in names.items() if not n.startswith("_") and not isinstance(v, ModuleType | type)]
    return next((text for text in (did_you_mean(name, values) for name in usual) if text), "")


def _own(kind: type, names: Mapping[str, Any]) -> bool:
    return kind.__module__ == names.get("__name__")


def is_function(value: Any) -> TypeGuard[Callable[..., Any]]:
    """A function as written or as wrapped by `jit` or `partial`, but no model that can also be called."""
    if inspect.isroutine(value) or isinstance(value, partial):
        return True
    return callable(value) and hasattr(value, "__wrapped__") and adapter_of(value) is None
