"""Compiles a program for the number of times it will run, and refuses one that does not fit in memory."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax

from gradscope.errors import GradscopeError
from gradscope.load.usercode.fault import cannot_be_the_users
from gradscope.load.usercode.user_code import as_gradscope_error
from gradscope.peers.agreeing import agreed
from gradscope.peers.joined import one_more_step
from gradscope.trace.optimization import options

Plain = Callable[[], object]
"""Differentiates the user's program as it is, nothing added, and raises what JAX raises at it."""


def blame_outside() -> None:
    """A `Plain` that never fails: the error passes as it is, to the caller who has the user's program."""


KEPT = 64
"""Programs that a process keeps for a later call; the blocks of a deep network are a dozen."""
_kept: dict[Any, Any] = {}
_programs: ContextVar[dict[Any, Any] | None] = ContextVar("programs", default=None)


@contextmanager
def compiling_once() -> Iterator[None]:
    """Within it a program that was compiled before is not compiled again: another seed differs in the
    arguments only. Holds every program until it ends."""
    with _remembering({} if _programs.get() is None else _programs.get()):
        yield


@contextmanager
def programs_kept() -> Iterator[None]:
    """Within it a program that an earlier call compiled is not compiled again.

    It is traced and lowered anew and compared as a whole, constants included: what a loss closes over may
    have changed since.
    """
    with _remembering(_kept):
        yield


@contextmanager
def _remembering(programs: dict[Any, Any] | None) -> Iterator[None]:
    token = _programs.set(programs)
    try:
        yield
    finally:
        _programs.reset(token)


class Compiled:
    """A compiled program and the seconds it took to trace and to compile."""

    def __init__(self, executable: Any, trace_s: float, compile_s: float) -> None:
        self.executable = executable
        self.trace_s = trace_s
        self.compile_s = compile_s
        self._layout = _layout_of(executable)

    def __call__(self, *args: Any) -> Any:
        """The results, computed; what a callback of the user's raises while it runs is the user's error."""
        with users_errors("running the loss"):
            return jax.block_until_ready(self.run(*args))  # type: ignore[no-untyped-call]

    def start(self, *args: Any) -> Any:
        """The results, on their way: they may still be computed."""
        with users_errors("running the loss"):
            return self.run(*args)

    def run(self, *args: Any) -> Any:
        """The results, on their way; what goes wrong is raised as it is."""
        one_more_step()
        return self.executable(*(args if self._layout is None else laid_out(args, self._layout)))


def _layout_of(executable: Any) -> list[Any] | None:
    """Where a compiled program wants its arguments, in their order; `None` for one of one device."""
    shardings = jax.tree.leaves(getattr(executable, "input_shardings", ((), {}))[0])
    return shardings if any(len(each.device_set) > 1 for each in shardings) else None


def laid_out(args: tuple[Any, ...], layout: list[Any]) -> tuple[Any, ...]:
    """The same arguments where the program wants them: XLA may put the results of one step, which the next
    one is given, elsewhere than its arguments lay."""
    leaves, structure = jax.tree.flatten(args)
    if len(leaves) != len(layout):
        return args
    placed = [
        jax.device_put(leaf, wanted)
        if isinstance(leaf, jax.Array)
        and leaf.committed
        and not leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
        else leaf
        for leaf, wanted in zip(leaves, layout, strict=True)
    ]
    return tuple(jax.tree.unflatten(structure, placed))


@dataclass(frozen=True, eq=False)
class Request:
    """A function to compile for its arguments, and for how many runs.

    `work` is what all runs together compute of the program that it is a part of, in operations. The arguments
    at `donate` give their memory to the results. `plain` differentiates the user's program without anything
    of ours in it: it decides who is to blame where differentiating fails.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    runs: int
    work: float = 0.0
    donate: tuple[int, ...] = ()
    plain: Plain | None = None

    def lowered(self) -> Any:
        def program(*args: Any) -> Any:
            """JAX names what it compiles: of an object that is called by its text, of ours whole jaxprs."""
            return self.function(*args)

        with users_errors("differentiating the loss", self.plain):
            return jax.jit(program, keep_unused=True, donate_argnums=self.donate).lower(*self.args)


def compile_program(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    runs: int,
    work: float = 0.0,
    donate: tuple[int, ...] = (),
    plain: Plain | None = None,
    to_run: bool = True,
) -> Compiled:
    """`function` compiled for `args`; without backend optimization where it runs only a few times.

    Raises `NotEnoughMemory` where it does not fit, unless it is not `to_run`. For the rest see `Request`.
    """
    start = time.perf_counter()
    lowered = Request(function, args, runs, work, donate, plain).lowered()
    traced = time.perf_counter()
    compiled = _compiled(lowered, options(runs, work), to_run)
    return Compiled(compiled, traced - start, time.perf_counter() - traced)


def compile_programs(requests: Sequence[Request]) -> list[Compiled]:
    """Each request compiled, several at a time; the seconds of compiling add up to those that passed.

    They are traced one after the other, in their order; raises as `compile_program` does.
    """
    begun = time.perf_counter()
    wide, spent, waiting = jax.config.jax_enable_x64, [], []  # type: ignore[attr-defined]

    def compiled(lowered: Any, request: Request) -> Any:
        with jax.enable_x64(wide):
            return _compiled(lowered, options(request.runs, request.work, side_by_side=True), to_run=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for request in requests:
            start = time.perf_counter()
            lowered = request.lowered()
            spent.append(time.perf_counter() - start)
            waiting.append(pool.submit(copy_context().run, compiled, lowered, request))
        executables = [each.result() for each in waiting]
    share = (time.perf_counter() - begun - sum(spent)) / max(1, len(requests))
    return [
        Compiled(executable, trace_s, share) for executable, trace_s in zip(executables, spent, strict=True)
    ]


Part = tuple[Sequence[Request], Callable[[Sequence[Compiled]], None]]
"""Requests, and what takes what was compiled for them."""


def compile_parts(parts: Sequence[Part]) -> tuple[float, float]:
    """The requests of several programs, handed back to each; seconds of tracing and of compiling."""
    compiled = compile_programs([request for requests, _ in parts for request in requests])
    found = iter(compiled)
    for requests, take in parts:
        take(list(islice(found, len(requests))))
    return sum(each.trace_s for each in compiled), sum(each.compile_s for each in compiled)


def _compiled(lowered: Any, asked: dict[str, Any], to_run: bool) -> Any:
    known = _programs.get()
    # The signature beside the text: how arrays are laid out over devices is not always in it.
    key = None if known is None else _key(lowered, asked)
    if known is not None and key in known:
        return known[key]
    compiled = lowered.compile(compiler_options=asked)
    if to_run:
        _require_memory(compiled)
    if known is not None and key is not None:
        known[key] = compiled
        if known is _kept and len(known) > KEPT:
            del known[next(iter(known))]
    return compiled


def _key(lowered: Any, asked: dict[str, Any]) -> tuple[Any, ...] | None:
    """`None` for a program that calls back into Python: which function it calls is not in its text.

    The structures as they are: classes of the same name are others where a file was run again.
    """
    text = lowered.as_text()
    if "callback" in text:
        return None
    return (
        hashlib.sha256(text.encode()).hexdigest(),
        lowered.in_tree,
        lowered.out_tree,
        str(asked),
    )


class NotEnoughMemory(GradscopeError):
    """The program does not fit: neither the user's code nor the gradient is to blame."""


@contextmanager
def users_errors(doing: str, plain: Plain | None = None) -> Iterator[None]:
    """Differentiating may fail for a reason of the user's: a loop without a gradient, a rule that raises.

    That becomes a `GradscopeError`, and a lack of memory `NotEnoughMemory`; our own mistakes pass through.
    Where `plain` is given, it does the same to the user's program as it is, nothing added: what fails is the
    user's only if that fails too.
    """
    try:
        yield
    except GradscopeError:
        raise
    except Exception as error:
        if cannot_be_the_users(error):
            raise
        if isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED"):
            said = str(error).partition("\n")[0]
            raise _not_enough_memory(f"Memory ran out while {doing}.", said) from error
        if plain is None:
            raise as_gradscope_error(error, doing) from error
        try:
            plain()
        except Exception as of_the_user:
            raise as_gradscope_error(of_the_user, doing) from of_the_user
        raise


def _require_memory(compiled: Any) -> None:
    analysis = compiled.memory_analysis()
    free = free_memory()
    if analysis is None or free is None:
        return
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    if needed > free:
        raise _not_enough_memory(
            f"The backward pass needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free.",
            "XLA's own figure for the compiled program, beyond the parameters and the batch.",
        )


def _not_enough_memory(what: str, why: str) -> NotEnoughMemory:
    fix = "Use a smaller batch (`--batch-size`), or `jax.checkpoint` around the blocks of the model."
    return NotEnoughMemory(what, why=why, fix=fix, slug="not-enough-memory")


def free_memory() -> int | None:
    """Bytes that the default device can still give, or `None` where nobody says. Of several processes that of
    the first: what is done for want of memory all must do."""
    return agreed(_free_memory())


def _free_memory() -> int | None:
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        found = device.memory_stats() or {}
        limit = found.get("bytes_limit")
        return None if limit is None else int(limit - found.get("bytes_in_use", 0))
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
