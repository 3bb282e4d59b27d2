"""Params that are a model object are opened, with a way to run the loss before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradscope.load.model.frameworks.base import OpenedModel, OpeningContext
from gradscope.load.model.frameworks.table import opened
from gradscope.load.signature.arguments import arrange, params_name
from gradscope.load.signature.keys import prng_key
from gradscope.load.signature.losses import OutputLoss
from gradscope.load.usercode.user_code import user_code


def open_params(
    params: Any, loss_fn: Callable[..., Any], name: str, batch: Any, given: Mapping[str, Any], seed: int
) -> OpenedModel | None:
    """The model object `params`, opened; `None` for a plain pytree. `batch` is the first one."""

    def run(model: Any, extra: Mapping[str, Any], rngs: Callable[[Any], Any] | None = None) -> Any:
        arguments = arrange(loss_fn, batch, name, {**given, **extra}, rngs)
        return arguments.call(loss_fn, model, batch, prng_key(seed))

    runs = None if isinstance(loss_fn, OutputLoss) else run
    # Looking for models in a container sorts its keys, which may fail.
    with user_code("reading params" if isinstance(params, dict | list | tuple) else "opening the model"):
        return opened(params, OpeningContext(given, batch, seed, params_name(loss_fn), runs))
