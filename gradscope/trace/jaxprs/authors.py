"""Whose expression an equation is: the user's, or that of a library function which the user calls."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs.locations import is_user_file
from gradscope.trace.jaxprs.programs import inner_bodies

_PLUMBING = re.compile(
    r"[/\\]jax[/\\]_src[/\\](lax|numpy|interpreters)[/\\]|[/\\]jax[/\\]_src[/\\]"
    r"(source_info_util|core|pjit|api|api_util|linear_util|traceback_util|custom_derivatives|ad_checkpoint|"
    r"profiler|util)\.py$|[/\\]jax[/\\]experimental[/\\]"
)
"""Files that make equations in somebody else's name: `jnp.sqrt`, `jnp.linalg.norm`, the operators."""


def author(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> str:
    """The file that wrote the expression; `calls` are the equations around it, innermost first.

    A jitted function of `jax.numpy` is traced once for all its callers, so the frames beyond it are not
    asked: its own call is.
    """
    for each, call in zip((eqn, *calls), (*calls, None), strict=True):
        if call is not None and _PLUMBING.search(_home(call)):
            continue
        found = next((name for name in _files(each) if not _PLUMBING.search(name)), "")
        if found:
            return found
    return ""


def _files(eqn: JaxprEqn) -> Sequence[str]:
    traceback: Any = eqn.source_info.traceback
    return [code.co_filename for code, _ in zip(*traceback.raw_frames(), strict=True)] if traceback else []


def _home(call: JaxprEqn) -> str:
    """The file of the function that an equation calls."""
    info = next((body.jaxpr.debug_info for body in inner_bodies(call)), None)
    found = re.search(r" at (.+):\d+$", str(info.func_src_info)) if info is not None else None
    return os.path.normpath(found[1]) if found is not None else ""


class Library(NamedTuple):
    """The package whose function made an equation when the user called it, and what it can be told."""

    name: str
    """`optax`; empty for an expression of the user's own."""
    settings: tuple[str, ...] = ()
    """Arguments and closed-over names of its functions that begin with `eps`, the innermost first."""


def library(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> Library:
    """`calls` are the equations around it, innermost first."""
    file = author(eqn, calls)
    if not file or is_user_file(file):
        # The equation may itself be the call: a `custom_jvp` of the library's.
        file = "" if _PLUMBING.search(_home(eqn)) else _home(eqn)
    if not file or is_user_file(file):
        return Library("")
    package = re.search(r"[/\\](?:site|dist)-packages[/\\](\w+)", file)
    if package is None:
        return Library("")
    settings: dict[str, None] = {}
    for each in (eqn, *calls):
        traceback: Any = each.source_info.traceback
        for code, _ in zip(*traceback.raw_frames(), strict=True) if traceback else ():
            if is_user_file(code.co_filename):
                break
            if re.search(rf"-packages[/\\]{package[1]}[/\\]", code.co_filename):
                known = (*code.co_freevars, *code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
                settings |= dict.fromkeys(name for name in known if name.startswith("eps"))
    return Library(package[1], tuple(settings))


_WRITTEN_OUT = frozenset(
    {"_getitem", "rewriting_take", "expand_dims", "broadcast_to", "broadcast_arrays", "meshgrid", "tile"}
    | {"repeat", "atleast_2d", "atleast_3d", "outer", "ix_", "stack", "eye", "broadcast_in_dim", "broadcast"}
)
"""Functions by which an author asks for an axis."""


def is_promotion(eqn: JaxprEqn) -> bool:
    """A `broadcast_in_dim` that NumPy's rules made on their own, to let two operands of an operator meet.

    An axis that a reduction keeps is not asked for in order to broadcast, either; one that `vmap` adds is.
    """
    traceback: Any = eqn.source_info.traceback
    if traceback is None:
        return False
    asked = False
    for code, _ in zip(*traceback.raw_frames(), strict=True):
        file = code.co_filename.replace(os.sep, "/")
        if "/jax/_src/" not in file:
            break
        if file.endswith("/jax/_src/numpy/reductions.py"):
            return True
        asked |= code.co_name in _WRITTEN_OUT or file.endswith("/interpreters/batching.py")
    return not asked
