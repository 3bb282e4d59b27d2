"""The commands as tools of the Model Context Protocol, asked by the client of the same package."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gradscope.cli.commands import loaded
from tests.cli.conftest import Run

pytest.importorskip("mcp.server.mcpserver")

from gradscope.cli import mcp_tools
from gradscope.cli.mcp_tools import MOST, WIDEST, answer, bounded, error_in, overdue, served

SAMPLES = Path(__file__).parents[2] / "sample_models"
Call = tuple[str, dict[str, Any]]


async def over_stdio(calls: Sequence[Call], folder: Path) -> tuple[list[Any], list[Any]]:
    """The tools, and the answers to these calls, of a server in a process of its own."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "gradscope", "mcp"], cwd=str(folder), env=dict(os.environ)
    )
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        listed = await session.list_tools()
        return listed.tools, [await session.call_tool(name, given) for name, given in calls]


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a tool, and says which command was run for it."""
    asked: list[Sequence[str]] = []

    async def recorded(arguments: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        asked.append(arguments)
        return 0, "healthy\n", ""

    def call(name: str, given: dict[str, Any]) -> Sequence[str]:
        asyncio.run(served(1.0).call_tool(name, given))
        return asked[-1]

    monkeypatch.setattr(mcp_tools, "run", recorded)
    return call


def test_a_client_gets_the_tools_and_what_the_commands_print(run: Run, tmp_path: Path) -> None:
    calls: list[Call] = [
        ("explain", {"name": "broadcast-loss"}),
        ("explain", {"name": "no-such-rule"}),
        ("diff", {"old": "old.json", "new": "new.json"}),
    ]
    tools, (page, *failed) = asyncio.run(over_stdio(calls, tmp_path))
    assert [tool.name for tool in tools] == ["check", "fix", "verify", "memory", "explain", "diff"]
    assert (page.is_error, page.content[0].text) == (False, run("explain", "broadcast-loss").out.rstrip())
    for (name, given), told in zip(calls[1:], failed, strict=True):
        assert told.is_error
        assert " ".join(told.content[0].text.split()) == " ".join(run(name, *given.values()).err.split())


@pytest.mark.slow
def test_a_sick_sample_is_told_as_the_command_tells_it(tmp_path: Path) -> None:
    target = str(SAMPLES / "readmission_softmax.py")
    _, (told,) = asyncio.run(over_stdio([("check", {"target": target})], tmp_path))
    lines = told.content[0].text.splitlines()
    assert not told.is_error
    assert lines[0].startswith("sick: ")
    assert any(line.startswith("1. error mismatched-output in layer_2") for line in lines)
    assert lines[-1].startswith("verify (exit 0): gradscope check ")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("check", {"target": "m.py"}),
        ("check", {"target": "m.py", "seeds": 3, "overfit_batch": True, "through_time": True}),
        ("fix", {"target": "m.py", "steps": 50, "budget_s": 90}),
        ("verify", {"target": "--output"}),
        ("memory", {"target": "m.py", "limit": "16GiB"}),
        ("explain", {"symptom": "loss is nan"}),
        ("diff", {"old": "-a.json", "new": "b.json"}),
    ],
)
def test_a_tool_runs_a_command_that_there_is(in_memory: Any, name: str, given: dict[str, Any]) -> None:
    command, *arguments = in_memory(name, given)
    parsed = loaded(command).make_context(command, list(arguments)).params
    values = [str(value) for value in parsed.values()]
    for value in (given.get("target"), given.get("old"), given.get("symptom")):
        assert value is None or any(value in each for each in values), "it was taken for an option"


def test_a_call_that_takes_too_long_is_ended_with_its_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def watched(*command: Any, **settings: Any) -> asyncio.subprocess.Process:
        started.append(await start(*command, **settings))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    told = asyncio.run(answer(("check", str(tmp_path / "slow.py")), 0.2))
    assert (told.is_error, told.content[0].text) == (True, bounded(overdue("check", 0.2)))
    assert started[0].returncode is not None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_server_that_waits_for_a_line() -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    command = [sys.executable, "-m", "gradscope", "mcp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["result"]["serverInfo"]["name"] == "gradscope"
        server.send_signal(signal.SIGINT)
        try:
            assert server.wait(60) == 130
        finally:
            server.kill()


def test_what_a_model_printed_is_no_part_of_an_error() -> None:
    assert error_in("epoch 1\nerror: There is no file m.py.\n  Check it.\n") == (
        "error: There is no file m.py.\n  Check it.\n"
    )
    assert error_in("Traceback") == "Traceback"


def test_an_answer_is_bounded_and_harmless() -> None:
    text = bounded("\n".join(["a\x1b[31mb‮" + "x" * 500, *map(str, range(10_000))]))
    assert len(text) <= MOST + 40
    assert text.endswith(" more lines")
    first, *_ = text.splitlines()
    assert first.startswith("a\\x1b[31mb\\u202ex")
    assert len(first) == WIDEST


def test_without_the_package_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    result = run("mcp")
    assert result.code == 2
    assert "gradscope-jax[mcp]" in " ".join(result.err.split())
