"""The only file that reads the insides of JAX: equation parameters, jaxpr classes, source info.

JAX 0.10 to 0.12. Where the versions differ, the newer spelling is tried first, and a comment names the
version whose end makes the other one dead.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
from jax._src import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jax.sharding import PartitionSpec

MeshAxes = tuple[tuple[str, int], ...]
"""Names and sizes of mesh axes."""


@dataclass(frozen=True)
class Body:
    """A jaxpr and the constants it closes over, whatever class JAX keeps them in."""

    jaxpr: Any
    consts: Sequence[Any]

    @property
    def eqns(self) -> Sequence[JaxprEqn]:
        return self.jaxpr.eqns  # type: ignore[no-any-return]


def body_of(jaxpr: Any) -> Body:
    """Open a `ClosedJaxpr` (one class with `Jaxpr` from 0.12 on) or a bare `Jaxpr` without constants."""
    if hasattr(jaxpr, "consts"):
        return Body(jaxpr.jaxpr, tuple(jaxpr.consts))
    return Body(jaxpr, ())


def is_literal(atom: Any) -> bool:
    return isinstance(atom, Literal)


@dataclass(frozen=True)
class ScanParams:
    body: Body
    length: int
    reverse: bool
    unroll: int | bool
    consts: int
    carry: int


def scan_params(eqn: JaxprEqn) -> ScanParams:
    p = eqn.params
    if "ft_in" in p:
        consts, carry, _ = (len(part) for part in p["ft_in"].unpack())
    else:  # JAX 0.10
        consts, carry = p["num_consts"], p["num_carry"]
    return ScanParams(body_of(p["jaxpr"]), p["length"], p["reverse"], p["unroll"], consts, carry)


def called_body(eqn: JaxprEqn) -> Body:
    """The function of an equation that merely calls it: jit, closed_call, remat, custom_*."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in eqn.params:
            return body_of(eqn.params[key])
    raise KeyError(eqn.primitive.name)


def branches(eqn: JaxprEqn) -> tuple[Body, ...]:
    return tuple(body_of(branch) for branch in eqn.params["branches"])


def checkpoint_options(eqn: JaxprEqn) -> dict[str, Any]:
    return {"policy": eqn.params["policy"], "prevent_cse": eqn.params["prevent_cse"]}


@dataclass(frozen=True)
class ShardMapParams:
    body: Body
    mesh: Any
    in_specs: tuple[Any, ...]
    out_specs: tuple[Any, ...]
    check_vma: bool
    axes: MeshAxes
    """Mesh axes that the body sees as manual, in the mesh's order."""


def shard_map_params(eqn: JaxprEqn) -> ShardMapParams:
    p = eqn.params
    manual = p["newly_manual_axes"]
    axes = tuple((axis, p["mesh"].shape[axis]) for axis in p["mesh"].axis_names if axis in manual)
    specs = (tuple(p["in_specs"]), tuple(p["out_specs"]))
    return ShardMapParams(body_of(p["jaxpr"]), p["mesh"], *specs, p["check_vma"], axes)


def varying_axes(value: Any) -> frozenset[str]:
    """Mesh axes along which a value inside `shard_map` differs between devices."""
    aval: Any = jax.typeof(value)
    return frozenset(aval.mat.varying)


def sharded_along(axes: tuple[str, ...]) -> PartitionSpec:
    """Axis 0 of an array spread over all of `axes`."""
    return PartitionSpec(axes)  # type: ignore[no-untyped-call]


def replicas(value: Any, axes: MeshAxes) -> int:
    """Devices along `axes` that hold the same value."""
    return _product(size for axis, size in axes if axis not in varying_axes(value))


def make_varying(value: Any, axes: MeshAxes) -> Any:
    """Type a replicated value as one that differs along `axes`; already varying axes are left out."""
    missing = tuple(axis for axis, _ in axes if axis not in varying_axes(value))
    if not missing:
        return value
    return jax.lax.pcast(value, missing, to="varying")


def function_name(eqn: JaxprEqn) -> str:
    """The user's name for a called function (`relu`, `gelu`), or an empty string."""
    if "name" in eqn.params:
        return str(eqn.params["name"])
    if "call_jaxpr" in eqn.params:
        info = called_body(eqn).jaxpr.debug_info
        return str(info.func_src_info).split(" ", 1)[0] if info is not None else ""
    return ""


def carries_program(eqn: JaxprEqn) -> bool:
    """The equation carries a jaxpr over arrays; one over scalars only says how to combine two elements."""
    return any(getattr(v.aval, "ndim", 0) for body in _inner_bodies(eqn) for v in body.jaxpr.invars)


def _inner_bodies(eqn: JaxprEqn) -> Iterator[Body]:
    """Every jaxpr that an equation carries, known or not."""
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Jaxpr | ClosedJaxpr):
                yield body_of(part)


def in_backward(eqn: JaxprEqn) -> bool:
    """The equation belongs to a gradient that the user's own code takes."""
    return "transpose(" in str(eqn.source_info.name_stack)


@cache
def _library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    roots = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]}
    roots.add(str(Path(jax.__file__).parent))
    roots.add(str(Path(__file__).parents[1]))
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
        frames = _frames(each, beyond_jit=outermost or _is_users_function(calls[index]))
        found.extend(frames if outermost else frames[:1])
    return found


def _frames(eqn: JaxprEqn, *, beyond_jit: bool) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    traceback: Any = eqn.source_info.traceback
    if traceback is None:
        return found
    for code, position in zip(*traceback.raw_frames(), strict=True):
        if is_user_file(code.co_filename):
            found.append((code.co_filename, source_info_util.raw_frame_to_frame(code, position).start_line))
        elif code.co_filename.endswith(_JIT_FILE) and not beyond_jit:
            break
    return found


def _is_users_function(call: JaxprEqn) -> bool:
    info = next((body.jaxpr.debug_info for body in _inner_bodies(call)), None)
    found = re.search(r" at (.+):\d+$", str(info.func_src_info)) if info is not None else None
    return found is not None and is_user_file(found[1])


_JIT_FILE = os.path.join("jax", "_src", "pjit.py")


def as_function(
    body: Body, eqns: Sequence[JaxprEqn], reads: list[Var], writes: list[Var]
) -> Callable[..., Any]:
    """A run of neighbouring equations as a function from the values they read to those they write."""
    effects = frozenset().union(*(eqn.effects for eqn in eqns)) if eqns else frozenset()
    names = tuple(f"v{i}" for i in range(len(reads)))
    info = body.jaxpr.debug_info._replace(arg_names=names, result_paths=("",) * len(writes))
    jaxpr = Jaxpr([], reads, writes, list(eqns), effects, info)
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, []))  # type: ignore[no-any-return]


def single_row(eqn: JaxprEqn, result: int) -> int | None:
    """The index along axis 0 of the operand that the result is: `w[3]`, or one of `for row in w`."""
    if eqn.primitive.name == "unstack":
        return result if eqn.params["axis"] == 0 else None
    if eqn.primitive.name != "slice":
        return None
    start, stop = eqn.params["start_indices"], eqn.params["limit_indices"]
    whole = tuple(start[1:]) == (0,) * len(start[1:]) and tuple(stop[1:]) == _shape(eqn, 0)[1:]
    return int(start[0]) if whole and stop[0] == start[0] + 1 else None


def permutation(eqn: JaxprEqn) -> tuple[int, ...]:
    return tuple(eqn.params["permutation"])


def fan_in(eqn: JaxprEqn) -> int | None:
    """Elements summed into one element of the result, for products and convolutions."""
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = _shape(eqn, 0)
        return _product(shape[axis] for axis in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        kernel = _shape(eqn, 1)
        out_axis = eqn.params["dimension_numbers"].rhs_spec[0]
        return _product(size for axis, size in enumerate(kernel) if axis != out_axis)
    return None


def _shape(eqn: JaxprEqn, operand: int) -> tuple[int, ...]:
    aval: Any = eqn.invars[operand].aval
    return tuple(aval.shape)


def _product(sizes: Any) -> int:
    total = 1
    for size in sizes:
        total *= int(size)
    return total
