"""Which of several processes this one is, and how it joins the others."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import jax

from gradscope.errors import GradscopeError
from gradscope.records.options import AUTO, Peers

MEETING_S = 300
"""For all processes to start: a queue or the copy of an image may hold one up. JAX's own default, too."""
OUTLASTING_S = 10**6
"""JAX ends a process without a word where another one is late; `processes.watching_peers` speaks before."""
LEAVING_S = 4
"""For the others to come to their end, too."""


@dataclass(frozen=True, slots=True)
class Joined:
    process: int
    count: int


class _Here:
    joined = Joined(0, 1)
    step = 0


def here() -> Joined:
    """This process; the only one until `join`."""
    return _Here.joined


def steps() -> int:
    """How far this process is: programs run, and things agreed upon. Equal processes count alike."""
    return _Here.step


def one_more_step() -> None:
    _Here.step += 1


def join(asked: Peers) -> None:
    """Wait for the other processes. Raises where they do not come, or where nothing says who they are."""
    found = asked.coordinator == AUTO
    # JAX's own handler of SIGTERM would come before the one that says at which line the process was.
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            None if found else asked.coordinator,
            asked.count,
            asked.process,
            # Those of one machine share its accelerators; a CPU is not divided by this.
            coordinator_bind_address=asked.coordinator if asked.one_machine else None,
            local_device_ids=asked.process if asked.one_machine else None,
            cluster_detection_method=None if found else "deactivate",
            initialization_timeout=MEETING_S,
            heartbeat_timeout_seconds=OUTLASTING_S,
            shutdown_timeout_seconds=LEAVING_S,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise GradscopeError(
            "This process could not join the others.",
            why=f"JAX says: {said}",
            fix="`--coordinator auto` is for SLURM, Open MPI, Kubernetes and TPU pods. Elsewhere give each "
            "process --coordinator HOST:PORT, --processes and a --process-id of its own."
            if found
            else "Start as many processes as --processes says, each with a --process-id of its own, and let "
            "all of them reach the address of process 0.",
            slug="processes-apart",
        ) from error
    _Here.joined = Joined(jax.process_index(), jax.process_count())


def require_none_joined_elsewhere() -> None:
    """Raises where the user's file has joined processes by itself: nobody watches them, all would report."""
    if here().count == 1 and jax.distributed.is_initialized() and jax.process_count() > 1:
        raise GradscopeError(
            f"The file joins {jax.process_count()} processes by itself.",
            why="It calls `jax.distributed.initialize()`, and gradscope was not told of several processes.",
            fix="Write `if not jax.distributed.is_initialized():` before that call, and let gradscope join "
            "them: `--coordinator auto`, or --coordinator HOST:PORT, --processes and --process-id.",
            slug="processes-apart",
        )


def leave() -> None:
    """Together with the others, so that none of them takes it for a fault."""
    if _Here.joined.count > 1:
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()  # type: ignore[no-untyped-call]
