"""The options for several processes that measure one target together."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.errors import GradscopeError
from gradscope.records.options import AUTO, Peers

SEVERAL = "Several processes"

Processes = Annotated[
    int | None,
    typer.Option(
        min=2,
        metavar="N",
        help="Measure TARGET by N processes together, over the devices of all of them. Without --coordinator "
        "they are started on this machine.",
        show_default="one process",
        rich_help_panel=SEVERAL,
    ),
]
Coordinator = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="Join processes that are started elsewhere: where process 0 is found, or auto for what SLURM, "
        "Open MPI, Kubernetes or a TPU pod says.",
        show_default=False,
        rich_help_panel=SEVERAL,
    ),
]
ProcessId = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="I",
        help="Which of the --processes this one is, from 0 on; process 0 shows the report.",
        show_default=False,
        rich_help_panel=SEVERAL,
    ),
]


def given_peers(
    processes: Processes = None, coordinator: Coordinator = None, process_id: ProcessId = None
) -> Peers | None:
    """The processes that are asked for, checked; `None` for this one alone. For `groups.with_options`."""
    if coordinator is None:
        if process_id is not None:
            raise _wrong("--process-id is given without --coordinator.", "Add --coordinator HOST:PORT.")
        return None if processes is None else Peers(count=processes)
    if coordinator == AUTO:
        if processes is not None or process_id is not None:
            fix = "Leave --processes and --process-id out, or give HOST:PORT in the place of auto."
            raise _wrong("--coordinator auto finds the processes by itself.", fix)
        return Peers(AUTO)
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise _wrong(f'"--coordinator {coordinator}" is no address.', "Write HOST:PORT, as 10.0.0.1:1234.")
    if processes is None or process_id is None:
        fix = "Give both, as --processes 4 --process-id 0, or --coordinator auto on a cluster that JAX knows."
        raise _wrong("--coordinator needs --processes and --process-id.", fix)
    if process_id >= processes:
        what = f"--process-id {process_id} is not one of {processes} processes."
        raise _wrong(what, f"Give a number from 0 to {processes - 1}.")
    return Peers(coordinator, processes, process_id)


def _wrong(what: str, fix: str) -> GradscopeError:
    return GradscopeError(what, fix=fix, slug="bad-option")
