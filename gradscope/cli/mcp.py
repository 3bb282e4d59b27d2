"""`gradscope mcp`: the commands as tools of the Model Context Protocol, over stdin and stdout."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from gradscope.cli import screen
from gradscope.cli.options import examples, seconds_in
from gradscope.report.shared.optional import imported

EPILOG = examples(
    "gradscope mcp",
    "gradscope mcp --timeout 30m",
    "python -m gradscope mcp",
)
USUAL_S = 600.0
Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="End a call that takes longer, for instance 90s or 30m.", show_default="10m"
    ),
]


def mcp(timeout: Timeout = None) -> None:
    """Serve check, fix, verify, memory, explain and diff as tools to a coding agent, over stdio (MCP)."""
    limit = seconds_in(timeout, "--timeout") or USUAL_S
    imported(("mcp.server.mcpserver",), "serve its tools", "mcp")
    from gradscope.cli.mcp_tools import leave, served

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    if sys.stdin.isatty():
        screen.tell("Serving tools to a program over stdin and stdout; Ctrl-C ends it. See docs/agents.md.")
    served(limit).run()
