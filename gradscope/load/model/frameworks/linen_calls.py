"""How a loss calls a Linen module, and the variables that such a call needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from traceback import walk_tb
from typing import Any

import jax
from flax import linen as nn

from gradscope.errors import GradscopeError
from gradscope.load.model.frameworks.base import OpeningContext
from gradscope.load.model.frameworks.inputs import parts_of
from gradscope.load.model.frameworks.stand_in import Reached, compiled, concrete, training_flags
from gradscope.load.signature.keys import prng_key
from gradscope.load.usercode.user_code import as_gradscope_error


class Streams(dict[str, Any]):
    """Random streams: Linen takes the stream `params` for one that is missing; users index any by name."""

    def __init__(self, key: Any) -> None:
        super().__init__(params=key)

    def __missing__(self, name: str) -> Any:
        return jax.random.fold_in(self["params"], sum(name.encode()))


@dataclass(frozen=True)
class Call:
    module: Any
    """The outermost one, which has no parent."""
    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    wants_variables: bool
    """Whether the loss hands what it takes for params to `apply` as all variables."""


def seen_call(module: Any, context: OpeningContext, stand_ins: Mapping[str, Any]) -> Call:
    """The first call of a module by the loss, or the usual call where the loss cannot be run so far."""
    failure: Exception | None = None
    forms: list[tuple[dict[str, Any], bool]] = [({}, False), ({"params": {}}, True)]
    for params, whole in forms:
        if context.run is None:
            break
        try:
            found = first_call(context, params, stand_ins)
        except Exception as error:
            failure = failure or error
        else:
            if found is not None:
                module, method, args, kwargs, has_params = found
                return Call(module, method, args, kwargs, whole or not has_params)
    call = _usual_call(module, context.batch)
    try:
        jax.eval_shape(lambda: _init(call, prng_key(0), (call.args, call.kwargs)))
    except Exception as error:
        raise _not_made(module, failure, error) from None
    return call


def first_call(context: OpeningContext, params: Any, stand_ins: Mapping[str, Any]) -> Any:
    """Module, method, arguments, and whether its variables have a collection `params`."""

    def stop(run: Any, args: Any, kwargs: Any, about: Any) -> Any:
        if about.method_name == "setup" or _is_unbound(about.module) or about.module.path:
            return run(*args, **kwargs)
        if about.module.variables.get("params"):
            return run(*args, **kwargs)  # values of the file, such as a target network
        blank = about.module.clone(parent=None)
        raise Reached((blank, about.method_name, args, kwargs, "params" in about.module.variables))

    run = context.run
    assert run is not None
    try:
        with nn.intercept_methods(stop):
            jax.eval_shape(lambda: run(params, stand_ins, Streams))
    except Reached as reached:
        module, *how = reached.found
        if not hasattr(type(module), how[0]):
            how = _applied(reached) or how
        method, args, kwargs, has_params = how
        return module, method, *concrete((args, kwargs)), has_params
    return None


def _applied(reached: Reached) -> list[Any] | None:
    """How `apply` was called, for a module that is itself lifted: `nn.vmap(Net)` hands on single rows.

    No interceptor sees that call; it stands in the frame of `apply`, which the traceback holds.
    """
    for frame, _ in walk_tb(reached.__traceback__):
        found = frame.f_locals
        if frame.f_code.co_name == "apply" and {"self", "args", "kwargs", "method"} <= set(found):
            method = getattr(found["method"], "__name__", found["method"]) or "__call__"
            return [str(method), found["args"], found["kwargs"], "params" in found["variables"]]
    return None


def initialized(call: Call, seed: int) -> tuple[Mapping[str, Any], dict[tuple[str, ...], str]]:
    """The variables, and the class of the module at each path."""
    kinds: dict[tuple[str, ...], str] = {}
    with watching(kinds.setdefault):
        variables = compiled(
            lambda key, given: _init(call, key, given), prng_key(seed), (call.args, call.kwargs)
        )
    return {"params": {}, **variables}, kinds


@contextmanager
def watching(seen: Callable[[tuple[str, ...], str], object]) -> Iterator[None]:
    """Tells of each bound module that is called; a method of a user's may be called on a module itself."""

    def note(run: Any, args: Any, kwargs: Any, about: Any) -> Any:
        if not _is_unbound(about.module):
            seen(tuple(map(str, about.module.path)), type(about.module).__name__)
        return run(*args, **kwargs)

    with nn.intercept_methods(note):
        yield


def _is_unbound(module: Any) -> bool:
    return module.scope is None


def _init(call: Call, key: Any, given: Any) -> Any:
    args, kwargs = given
    init = partial(nn.Module.init, call.module, key)  # a subclass may have an `init` of another signature
    if call.method == "__call__":
        return init(*args, **kwargs)
    try:
        return init(*args, **kwargs)
    except Exception:
        # A module whose `__call__` takes other arguments: an encoder that is called by name.
        return init(*args, method=call.method, **kwargs)


def _usual_call(module: Any, batch: Any) -> Call:
    x = parts_of(batch)[0]
    return Call(module, "__call__", () if x is None else (x,), training_flags(type(module).__call__), False)


def _not_made(module: Any, failure: Exception | None, error: Exception) -> GradscopeError:
    seen = as_gradscope_error(failure or error, f"making the parameters of `{type(module).__name__}`")
    return GradscopeError(
        seen.what,
        why=seen.why or "The file gives the module and no `params`, so they are made from the first batch.",
        fix=seen.fix or 'Give them: `params = model.init(key, x)["params"]`.',
        details=seen.details,
        slug="error-in-your-code",
    )
