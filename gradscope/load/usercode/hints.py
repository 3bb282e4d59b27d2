"""What to do about the exceptions that user code raises most often, by the name of their class."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from gradscope.load.model.frameworks.table import EXTRAS

TARGET = "__gradscope_target__"
"""Set in the module of a file that gradscope runs."""

_EXIT = (
    'Put the part that runs a program under `if __name__ == "__main__":`; elsewhere raise an exception that '
    "says what is wrong."
)
_TRACED = (
    "gradscope traces the loss as `jax.jit` does, so no value is known in Python: use `jnp.where`, "
    "`lax.cond` or `lax.scan` instead of `if`, `while` or `float()` on an array."
)
_NUMPY = "The loss is traced as under `jax.jit`: use `jax.numpy` instead of `numpy` on traced arrays."
_STDIN = "Standard input is empty while gradscope loads a file: read from a file or use a constant."
_LEAK = "A traced value was kept from an earlier call, in a global or an attribute: return it instead."
_SHAPES = (
    "The shapes in the message do not fit together: compare those of params and batch with what the line "
    "shown expects of them."
)
_MODE = "The model has no mode: write `model.train()` or `model.eval()` below the line that makes it."
_MEMORY = "Use a smaller batch or a smaller model: gradients are judged as well on a few rows."
_ABOUT_MODES = ("No `deterministic` argument was provided", "No `use_running_average` argument was provided")
_ABOUT_SHAPES = (
    "contracting dimensions",
    "ncompatible shapes",
    "cannot reshape array",
    "same number of dimensions",
    "Cannot concatenate",
    "conv_general_dilated",
    "Size of label",
)


def hint(error: BaseException) -> str:
    """One sentence on what to do, or an empty string where the user's own message is enough."""
    for kind in type(error).__mro__:
        advice = _ADVICE.get(kind.__name__)
        if advice is not None:
            return advice(error)
    return ""


def _module(error: BaseException) -> str:
    name = getattr(error, "name", None) or "the module"
    if found := _found_itself(name.rpartition(".")[0]):
        return found
    if name in EXTRAS:
        return f"Install it for {sys.executable}: `pip install 'gradscope-jax[{EXTRAS[name]}]'`."
    return (
        f"Install `{name.partition('.')[0]}` for {sys.executable}, or, if it is a file of yours, put its "
        "folder on PYTHONPATH: only the folder of the file you name is searched."
    )


def _found_itself(name: str) -> str:
    """Where a file imports from a package and finds itself, as its folder is searched first."""
    module = sys.modules.get(name)
    if module is None or not hasattr(module, TARGET):
        return ""
    file = Path(str(module.__file__))
    there = f", or give the folder `{name}` an `__init__.py`" if (file.parent / name).is_dir() else ""
    return f"`import {name}` finds the file {file.name} itself, which is no package: rename it{there}."


def _import(error: BaseException) -> str:
    if found := _found_itself(getattr(error, "name", None) or ""):
        return found
    if "relative import" in str(error):
        return (
            "A file that is run by its path does not belong to a package, in Python as here: start gradscope "
            "in the folder above the package and name it as `package.module` or `package.module:name`."
        )
    return ""


def _type(error: BaseException) -> str:
    if "PRNGKey accepts a scalar seed" in str(error):
        return "The argument already is a PRNG key: use it, or `jax.random.split` it, as it is."
    return _shapes(error)


def _shapes(error: BaseException) -> str:
    if str(error).startswith(_ABOUT_MODES):
        return _MODE
    return _SHAPES if any(words in str(error) for words in _ABOUT_SHAPES) else ""


def _name(error: BaseException) -> str:
    _, found, axis = str(error).partition("unbound axis name: ")
    if not found:
        return ""
    axis = axis.partition(".")[0].strip()
    return (
        f"The model takes means over the axis `{axis}`, which your training step maps: map the loss too, "
        f'`jax.vmap(loss, in_axes=(None, 0), axis_name="{axis}")(params, batch).mean()` on a batch with one '
        "more leading axis, or make the model without that axis name."
    )


def _fixed(text: str) -> Callable[[BaseException], str]:
    return lambda _: text


_ADVICE: dict[str, Callable[[BaseException], str]] = {
    "SystemExit": _fixed(_EXIT),
    "ModuleNotFoundError": _module,
    "ImportError": _import,
    "EOFError": _fixed(_STDIN),
    "TracerArrayConversionError": _fixed(_NUMPY),
    "ConcretizationTypeError": _fixed(_TRACED),
    "UnexpectedTracerError": _fixed(_LEAK),
    "MemoryError": _fixed(_MEMORY),
    "NameError": _name,
    "TypeError": _type,
    "ValueError": _shapes,
}
