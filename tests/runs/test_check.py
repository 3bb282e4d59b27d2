"""The process is set up before JAX is imported, and what the user has set wins."""

import os
import subprocess
import sys
from typing import Any

import pytest

from gradscope.processes.prepare import prepare_process


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")


def test_the_users_xla_flags_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    prepare_process()
    flags = os.environ["XLA_FLAGS"].split()
    assert flags[:2] == ["--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0"]
    assert flags[2:] in ([], ["--xla_cpu_use_fusion_emitters=false"])


def test_the_users_optimization_level_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    prepare_process()
    assert os.environ["XLA_FLAGS"] == "--xla_backend_optimization_level=3"


def test_keras_is_asked_for_jax_unless_the_user_chose_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_process()
    assert os.environ["KERAS_BACKEND"] == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    prepare_process()
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize("module", ["gradscope", "gradscope.runs.check", "gradscope.cli.app"])
def test_importing_does_not_import_jax(module: str) -> None:
    code = f"import sys, {module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_library_call_takes_a_problem_and_one_rule_as_a_word() -> None:
    import jax.numpy as jnp

    import gradscope

    def loss_fn(params: Any, batch: Any) -> Any:
        return jnp.mean((batch @ params["w"] - 1) ** 2)

    problem = gradscope.Problem(loss_fn, {"w": jnp.ones((3, 1))}, jnp.ones((4, 3)))
    assert gradscope.check(problem, select="non-finite").verdict == "healthy"
    assert gradscope.check(problem).flow == gradscope.check(loss_fn, problem.params, jnp.ones((4, 3))).flow
    with pytest.raises(gradscope.GradscopeError, match="vanishing-gradient"):
        gradscope.check(problem, ignore="vanishing-gradients")


@pytest.mark.parametrize("value", [None, "text"])
def test_a_loss_that_returns_no_number_is_told_so(value: Any) -> None:
    import gradscope

    with pytest.raises(gradscope.GradscopeError, match="which is no number"):
        gradscope.check(lambda params, batch: value, {"w": 1.0}, 1.0)


def test_a_second_call_compiles_nothing_and_sees_what_the_loss_closes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import jax.numpy as jnp
    import numpy as np

    import gradscope
    from gradscope.trace import compiling

    factor = {"value": 2.0}
    compiled: list[Any] = []
    require = compiling._require_memory
    monkeypatch.setattr(compiling, "_kept", {})
    monkeypatch.setattr(
        compiling, "_require_memory", lambda program: (compiled.append(program), require(program))
    )

    def loss(params: Any, batch: Any) -> Any:
        return factor["value"] * jnp.sum((batch @ params["w"]) ** 2)

    params, batch = {"w": np.ones((3, 2), np.float32)}, np.ones((4, 3), np.float32)
    first = gradscope.check(loss, params, batch)
    count = len(compiled)
    assert count
    assert gradscope.check(loss, params, batch).loss == first.loss
    assert gradscope.check(loss, {"w": 2 * params["w"]}, batch).loss == pytest.approx(4 * first.loss)
    assert len(compiled) == count, "other numbers of the same shapes"
    factor["value"] = 6.0
    assert gradscope.check(loss, params, batch).loss == pytest.approx(3 * first.loss)
    assert len(compiled) > count, "another constant is another program"


def test_a_program_that_calls_back_is_not_kept() -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    import gradscope

    found = []
    for scale in (1.0, 3.0):

        def loss(params: Any, batch: Any, scale: float = scale) -> Any:
            host = jax.pure_callback(
                lambda x: np.float32(scale) * x, jax.ShapeDtypeStruct((3,), jnp.float32), batch
            )
            return jnp.sum(params["w"] * host)

        found.append(gradscope.check(loss, {"w": np.ones(3, np.float32)}, np.ones(3, np.float32)).loss)
    assert found == pytest.approx([3.0, 9.0])
