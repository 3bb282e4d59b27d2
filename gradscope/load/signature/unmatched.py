"""The errors about a loss with a parameter that nothing matches: its signature, and the forms that work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data.files.record import Record
from gradscope.load.message_text import listed, type_name

FORMS = """Forms that work, `key` being optional in each:
  loss_fn(params, batch, key)
  loss_fn(params, x, y, key)   the batch is a tuple of 2, or a dict with the keys 'x' and 'y'
  loss_fn(params, key)         the data is closed over
  loss_fn(key, params, batch)  any order, if the names are clear: params, batch, key or rng"""


def unmatched_parameters(what: str, signature: inspect.Signature, name: str, batch: Any) -> GradscopeError:
    return GradscopeError(
        f"{what}: `{name}{signature}`.",
        why=f"The batch is {describe(batch)}.",
        fix="Name the parameters as in one of these forms, give the others defaults, or wrap the loss in a "
        "function of `(params, batch)`.",
        details=FORMS,
        slug="wrong-number-of-arguments",
    )


def no_batch(open_ones: list[inspect.Parameter], signature: inspect.Signature, name: str) -> GradscopeError:
    return GradscopeError(
        f"{name} takes {listed([f'`{p.name}`' for p in open_ones])}, and there is no batch.",
        why=f"Its signature is `{name}{signature}`; neither `batch` nor `batches` nor `data` is given.",
        fix="Give one of them, or close over the data: `loss_fn(params)` or `loss_fn(params, key)`.",
        details=FORMS,
        slug="no-batches",
    )


def describe(batch: Any) -> str:
    if isinstance(batch, Record):
        return f"a tuple of {len(batch)} with the names {listed([repr(key) for key in batch._fields])}"
    if isinstance(batch, Mapping):
        return f"a dict with the keys {listed([repr(key) for key in batch])}"
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)}"
    return (
        f"one {type_name(batch)} of shape {np.shape(batch)}"
        if hasattr(batch, "shape")
        else f"a {type_name(batch)}"
    )
