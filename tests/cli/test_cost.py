"""`gradscope cost` on files of a user: options, exit codes, formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradscope.cli.commands import COMMANDS, loaded
from gradscope.cli.cost import gate_of, operations_in, sizes_in
from gradscope.errors import GradscopeError
from gradscope.workload import measuring
from tests.cli.conftest import Run

MODEL = """
import jax.numpy as jnp
import numpy as np
import optax

def init(key, width=3, depth=1):
    blocks = [{"w": np.ones((width, width), np.float32)} for _ in range(depth)]
    return {"first": {"w": np.ones((4, width), np.float32)}, "blocks": blocks}

batch = np.ones((5, 4), np.float32)
optimizer = optax.sgd(0.1)

def loss_fn(params, batch):
    x = jnp.sin(batch @ params["first"]["w"])
    for block in params["blocks"]:
        x = jnp.sin(x @ block["w"])
    return jnp.mean(x)
"""

pytestmark = pytest.mark.usefixtures("no_preparation")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def test_json_has_each_layer_forward_and_backward(run: Run, model: str) -> None:
    result = run("cost", model, "--format", "json", "--no-progress", "--no-growth")
    assert result.code == 0
    cost = json.loads(result.out)["cost"]
    first, second = cost["layers"]
    assert first["name"] == "first"
    assert first["forward"]["operations"] >= 2 * 5 * 4 * 3 + 5 * 3
    assert first["forward"]["seconds"] > 0
    assert second["backward"]["seconds"] > 0
    assert cost["whole_s"] > 0
    assert cost["update"]["operations"] >= 2 * (4 * 3 + 3 * 3)
    assert cost["growth"] == []


def test_counting_alone_is_quick_and_says_how_it_grows(run: Run, model: str) -> None:
    result = run("cost", model, "--no-time", "--no-progress", "--widths", "3,6,12,24", "--depths", "1,2,3")
    assert result.code == 0
    assert "With the batch operations grow as batch^" in result.out
    assert "With the width operations grow as width^1." in result.out
    assert "With the depth operations grow as depth^" in result.out
    assert "of the time" not in result.out
    assert "measured" not in result.out


def test_a_gate_that_a_step_stays_below_answers_0_and_one_that_it_exceeds_1(run: Run, model: str) -> None:
    options = "--no-time", "--no-growth", "--no-progress", "--format", "github"
    assert run("cost", model, "--fail-on", "cost:1GFLOP", *options).code == 0
    result = run("cost", model, "--fail-on", "cost:100FLOP", *options)
    assert result.code == 1
    assert "cost-over-limit" in result.out


def test_a_file_whose_network_takes_no_width_is_told_so(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "fixed.py"
    path.write_text(MODEL.replace(", width=3, depth=1", "").replace("width", "3").replace("depth", "1"))
    result = run("cost", str(path), "--no-time", "--no-progress", "--widths", "3,6")
    assert result.code == 2
    assert "gradscope explain no-width" in result.err
    same = tmp_path / "same.py"
    same.write_text(MODEL.replace("range(depth)", "range(1)"))
    result = run("cost", str(same), "--no-time", "--no-progress", "--depths", "1,2")
    assert result.code == 2
    assert "`depth` for its size" in result.err


def test_ctrl_c_ends_with_what_was_counted(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "measured", interrupted)
    result = run("cost", model, "--no-progress")
    assert result.code == 130
    assert "FLOP forward" in result.out
    assert "interrupted" in result.out


def test_without_timing_the_same_file_gives_the_same_bytes(run: Run, model: str) -> None:
    options = "--no-timing", "--no-progress", "--no-growth"
    first, second = (run("cost", model, *options).out for _ in range(2))
    assert first == second
    assert "ms" not in first.replace("params", "")


def test_operations_are_read_with_their_units() -> None:
    assert operations_in("2TFLOP") == 2e12
    assert operations_in("500 MFLOPs") == 5e8
    assert operations_in("1.5g") == 1.5e9
    assert operations_in("1e12") == 1e12
    for wrong in ("much", "-1TFLOP", "0", "nan", "inf", "TFLOP", ""):
        with pytest.raises(GradscopeError, match="no number of operations"):
            operations_in(wrong)


def test_sizes_are_two_at_least() -> None:
    assert sizes_in("--widths", "64, 32,64") == (32, 64)
    assert sizes_in("--widths", None) == ()
    for wrong in ("64", "a,b", "0,1", ""):
        with pytest.raises(GradscopeError, match="does not name two sizes"):
            sizes_in("--widths", wrong)


def test_meshes_are_compared_by_what_their_devices_send(run: Run, model: str) -> None:
    path = Path(model)
    path.write_text(MODEL.replace("(5, 4)", "(8, 4)").replace("width=3", "width=4"))
    options = "--no-time", "--no-growth", "--no-progress", "--format", "json"
    meshes = "--mesh", "data=4", "--mesh", "fsdp=2,model=2", "--mesh", "data=3"
    result = run("cost", model, *options, *meshes)
    assert result.code == 0
    found = json.loads(result.out)
    first, second = found["cost"]["communication"]
    assert (first["mesh"], second["mesh"]) == ({"data": 4}, {"fsdp": 2, "model": 2})
    sizes = [each["size"] for each in first["collectives"] if each["half"] == "backward"]
    assert sum(sizes) == first["parameters"] == 4 * 2 * 4 * 4
    assert second["parameters"] == first["parameters"] // 4
    assert {each["kind"] for each in second["collectives"]} >= {"all-gather"}
    (skipped,) = found["skipped"]
    assert skipped["what"].endswith("data=3")
    assert "8 rows" in skipped["reason"]


LARGE = """
import jax
import jax.numpy as jnp

def init(key):
    return {"first": jnp.ones((2**15, 2**15)), "second": jnp.ones((2**15, 2**15))}

batch = jnp.ones((8, 2**15))

def loss_fn(params, batch):
    return jnp.mean(jnp.sin(batch @ params["first"]) @ params["second"])
"""


def test_shapes_alone_are_counted_and_compared(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    path.write_text(LARGE)
    options = "--shapes", "--no-progress", "--format", "json"
    result = run("cost", str(path), *options, "--mesh", "data=2,model=2")
    found = json.loads(result.out)["cost"]
    assert found["layers"][0]["forward"]["operations"] >= 2 * 8 * 2**30
    (between,) = found["communication"]
    assert between["parameters"] == 2 * 4 * 2**30 // 2
    assert between["collectives"]
    assert found["whole_s"] is None
    assert [each["axis"] for each in found["growth"]] == ["batch"]


def test_an_axis_that_is_not_known_is_told_with_those_that_are(run: Run, model: str) -> None:
    result = run("cost", model, "--mesh", "data=1", "--mesh", "rows=2", "--no-progress")
    assert result.code == 2
    assert "`fsdp`, over which both are" in " ".join(result.err.split())


WITH_A_MESH = {name: option for name in COMMANDS for option in loaded(name).params if option.name == "mesh"}


@pytest.mark.parametrize("command", sorted({*WITH_A_MESH} - {"cost"}))
def test_other_commands_take_one_mesh(run: Run, model: str, command: str) -> None:
    result = run(command, model, "--mesh", "data=1", "--mesh", "model=1")
    assert (result.code, result.out) == (2, "")
    assert '"--mesh" is given 2 times: data=1, model=1.' in " ".join(result.err.split())


def test_the_help_of_a_mesh_is_one_text() -> None:
    assert {"check", "cost", "memory"} <= set(WITH_A_MESH)
    assert len({option.help for option in WITH_A_MESH.values()}) == 1


def test_the_gate_stands_beside_other_policies() -> None:
    limit, policy = gate_of("cost:2TFLOP,warning")
    assert limit == 2e12
    assert policy.fail_on == ("cost-over-limit", "warning")
    with pytest.raises(GradscopeError, match="names two limits"):
        gate_of("cost:1,cost:2")
