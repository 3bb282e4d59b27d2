"""Where in the user's code an equation was made."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
from jax._src import source_info_util
from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs.programs import inner_bodies


@cache
def _library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    roots = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]}
    roots.add(str(Path(jax.__file__).parent))
    roots.add(str(Path(__file__).parents[2]))
    return tuple(os.path.realpath(root) + os.sep for root in roots if root != sys.prefix)


@cache
def is_user_file(name: str) -> bool:
    if name.startswith("<"):
        return False
    return not os.path.realpath(name).startswith(_library_roots())


def user_locations(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> list[tuple[str, int]]:
    """File and line of the frames in the user's own code, innermost first.

    `calls` are the equations around it, innermost first. JAX traces a function once for all its calls, so
    frames beyond the `jit` are those of whoever called it first: from there on those of the call are given.
    """
    found: list[tuple[str, int]] = []
    for index, each in enumerate((eqn, *calls)):
        outermost = index == len(calls)
        frames = _frames(each, beyond_jit=outermost or is_users_function(calls[index]))
        found.extend(frames if outermost else frames[:1])
    return found


def user_stack(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> list[tuple[str, int]]:
    """The same with all frames inside each called function, so that stacks of one caller end alike."""
    found: list[tuple[str, int]] = []
    for each, call in zip((eqn, *calls), (*calls, None), strict=True):
        frames = _frames(each, beyond_jit=call is None or is_users_function(call))
        outside = [] if call is None else _frames(call, beyond_jit=True)
        own = len(frames) - len(outside)
        found.extend(frames[:own] if outside and frames[max(own, 0) :] == outside else frames)
    return found


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's that was running when an equation was made."""

    name: str
    """With its class: `Block.__call__`."""
    file: str
    first_line: int
    line: int
    """Where in it."""


def user_functions(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> list[UserFunction]:
    """Of the equation and of the calls around it, innermost first."""
    found: list[UserFunction] = []
    for each in (eqn, *calls):
        traceback: Any = each.source_info.traceback
        for code, position in zip(*traceback.raw_frames(), strict=True) if traceback else ():
            if is_user_file(code.co_filename):
                line = source_info_util.raw_frame_to_frame(code, position).start_line
                name = code.co_qualname.rpartition("<locals>.")[2]
                found.append(UserFunction(name, code.co_filename, code.co_firstlineno, line))
    return found


def _frames(eqn: JaxprEqn, *, beyond_jit: bool) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    traceback: Any = eqn.source_info.traceback
    if traceback is None:
        return found
    for code, position in zip(*traceback.raw_frames(), strict=True):
        if is_user_file(code.co_filename):
            found.append((code.co_filename, source_info_util.raw_frame_to_frame(code, position).start_line))
        elif code.co_filename.endswith(_JIT_FILE) and code.co_name not in _CALLING and not beyond_jit:
            break
    return found


def is_users_function(call: JaxprEqn) -> bool:
    """The function that the equation calls is written in the user's own file."""
    """Of a `cond` any branch: the other may be a function of a library."""
    infos = [body.jaxpr.debug_info for body in inner_bodies(call)]
    found = [re.search(r" at (.+):\d+$", str(info.func_src_info)) for info in infos if info is not None]
    return any(match is not None and is_user_file(match[1]) for match in found)


_JIT_FILE = os.path.join("jax", "_src", "pjit.py")
_CALLING = frozenset({"_run_python_pjit", "cache_miss", "_pjit_batcher"})
"""Its functions through which a jitted function is called, and not those in which it is traced."""
