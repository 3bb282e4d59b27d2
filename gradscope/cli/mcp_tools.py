"""A server of the Model Context Protocol: the commands as tools, for programs that edit code.

Each tool runs one command in a process of its own, which ends with the call, and answers with what `--format
agent` prints. What a model or a file is called reaches the answer escaped and cut; so does an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn

from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, TextContent
from pydantic import Field

from gradscope import __version__
from gradscope.errors import ExitCode
from gradscope.report.shared.glyphs import visible

MOST = 6000
"""Characters of an answer, some 1,500 tokens."""
WIDEST = 240
"""Characters of a line of it."""
INSTRUCTIONS = (
    "gradscope finds out why a JAX network does not learn. A target is a Python file that defines loss_fn, "
    "params or init or model, batch, and optimizer; it is run. Begin with `check`; mend the first finding "
    "only; `fix` tries edits and prints the best one as a diff, which it does not apply; then `check` again. "
    "`explain` says what a rule means. An error was tried or is exact, a warning may be meant, a note is a "
    "fact."
)
_running: set[asyncio.subprocess.Process] = set()
Target = Annotated[str, Field(description="Path of the Python file, or file.py:name for one model of it.")]


def served(timeout_s: float) -> MCPServer:
    """The server; `timeout_s` is the time that one call may take."""
    server = MCPServer("gradscope", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")

    async def command(*arguments: str) -> CallToolResult:
        return await answer(arguments, timeout_s)

    async def check(
        target: Target,
        seeds: Annotated[int, Field(ge=1, le=20, description="Seeds that vote on each finding.")] = 1,
        overfit_batch: Annotated[bool, Field(description="Also learn the first batch by heart.")] = False,
        through_time: Annotated[bool, Field(description="Also follow the gradient through loops.")] = False,
    ) -> CallToolResult:
        """Find out why a network does not learn: verdict, at most five findings with layer, line, numbers and
        one edit, and the command that verifies an edit."""
        flags = [
            *(["--overfit-batch"] if overfit_batch else []),
            *(["--through-time"] if through_time else []),
        ]
        return await command("check", "--format", "agent", "--seeds", str(seeds), *flags, "--", target)

    async def fix(
        target: Target,
        steps: Annotated[int, Field(ge=1, le=10_000, description="Steps of each training.")] = 100,
        budget_s: Annotated[float, Field(gt=0, description="Seconds; no remedy is begun after it.")] = 300,
    ) -> CallToolResult:
        """Try remedies in memory, each in a short training, and print the best one as a diff; no file is
        changed."""
        options = ("--steps", str(steps), "--budget", f"{budget_s}s")
        return await command("fix", "--format", "agent", *options, "--", target)

    async def verify(target: Target) -> CallToolResult:
        """Verify gradients: each parameter against finite differences, each custom derivative rule alone."""
        return await command("verify", "--format", "agent", "--", target)

    async def memory(
        target: Target,
        limit: Annotated[str | None, Field(description="Such as 16GiB: find the largest batch.")] = None,
    ) -> CallToolResult:
        """Show what the backward pass keeps, what checkpointing saves, and which batch fits."""
        limited = () if limit is None else ("--limit", limit)
        return await command("memory", "--format", "agent", *limited, "--", target)

    async def explain(
        name: Annotated[str | None, Field(description="A rule or the name of an error.")] = None,
        symptom: Annotated[str | None, Field(description="What is seen, such as: loss is nan.")] = None,
    ) -> CallToolResult:
        """Explain a rule or an error, or tell what to run for what is seen. Give one of the two."""
        asked = () if symptom is None else ("--symptom", symptom)
        return await command("explain", *asked, "--", *([] if name is None else [name]))

    async def diff(
        old: Annotated[str, Field(description="A run that `gradscope check --save OLD.json` wrote.")],
        new: Annotated[str, Field(description="A later run.")],
    ) -> CallToolResult:
        """Show what changed between two saved runs: findings that are new or gone, and layers."""
        return await command("diff", "--format", "markdown", "--", old, new)

    for tool in (check, fix, verify, memory, explain, diff):
        server.add_tool(tool)
    return server


async def answer(arguments: Sequence[str], timeout_s: float) -> CallToolResult:
    """What a command prints; as an error where it could not judge, with the text of that."""
    code, out, err = await run(arguments, timeout_s)
    judged = code in (ExitCode.CLEAN, ExitCode.FINDINGS)
    text = out if judged else error_in(err) or out or f"error: the process ended with exit code {code}."
    return CallToolResult(content=[TextContent(type="text", text=bounded(text))], is_error=not judged)


async def run(arguments: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command, in a process group that does not outlive the call."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gradscope",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,  # ours is the protocol
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_plain(os.environ),
        start_new_session=True,
    )
    _running.add(child)
    try:
        out, err = await asyncio.wait_for(child.communicate(), timeout_s)
    except TimeoutError:
        _end(child)
        await child.wait()
        return ExitCode.NOT_JUDGED, "", overdue(arguments[0], timeout_s)
    except BaseException:  # the client went away, or does not want the answer any more
        _end(child)
        raise
    finally:
        _running.discard(child)
    return child.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


def error_in(said: str) -> str:
    """The error at the end of what a command wrote beside its result, without what the model printed."""
    _, found, text = f"\n{said}".rpartition("\nerror: ")
    return f"error: {text}" if found else said


def overdue(command: str, timeout_s: float) -> str:
    return (
        f"error: gradscope {command} took longer than {timeout_s:g} s, and its process was ended.\n"
        f"  Give it less to do (a smaller batch), or start the server with a longer time: "
        f"`gradscope mcp --timeout {2 * timeout_s:g}s`."
    )


def bounded(text: str) -> str:
    """Harmless lines, none too long, and not too many."""
    kept: list[str] = []
    room = MOST
    lines = [visible(line) for line in text.rstrip().split("\n")]
    for place, line in enumerate(lines):
        short = line if len(line) <= WIDEST else f"{line[: WIDEST - 3]}..."
        if len(short) + 1 > room:
            return "\n".join([*kept, f"... {len(lines) - place} more lines"])
        kept.append(short)
        room -= len(short) + 1
    return "\n".join(kept)


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Neither color nor a pager, whatever the user's settings are."""
    left_out = ("FORCE_COLOR", "TTY_COMPATIBLE", "PAGER")
    kept = {name: value for name, value in environment.items() if name not in left_out}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}


def leave(*signal_and_frame: object) -> NoReturn:
    """On Ctrl-C: end what runs, and this process, which a thread that waits for a line would keep alive."""
    for child in _running:
        _end(child)
    os._exit(ExitCode.INTERRUPTED)


def _end(child: asyncio.subprocess.Process) -> None:
    """And what it started."""
    if sys.platform == "win32":
        child.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
