"""`gradscope verify` against `jax.test_util.check_grads` and `torch.autograd.gradcheck`.

What each finds, with its own step and tolerances; PyTorch where it is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from gradscope.load.problem import Problem
from gradscope.records import Verdict
from gradscope.verification.verify import verify

Act = Callable[[Any], Any]
Case = tuple[Any, Any, Any]
"""The loss, the parameters, the batch."""


def network(width: int, act: Act | None, cast: Any = None) -> Case:
    """Two hidden layers (of ReLU without `act`) and a scalar temperature: a small leaf beside large ones."""
    rng = np.random.default_rng(0)
    sizes = [(8, width), (width, width), (width, 3)]
    params: dict[str, Any] = {f"w{i}": rng.normal(size=s) * s[0] ** -0.5 for i, s in enumerate(sizes)}
    params["temperature"] = np.float64(0.3)
    params = jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float32), params)
    x = rng.normal(size=(32, 8)).astype(np.float32)

    def loss(params: Any, x: Any) -> Any:
        if cast is not None:
            params, x = jax.tree.map(lambda leaf: leaf.astype(cast), (params, x))
        bend = jnp.tanh if act else jax.nn.relu
        h = bend(bend(x @ params["w0"]) @ params["w1"])
        scale = act(params["temperature"]) if act else params["temperature"]
        return jnp.mean((h @ params["w2"] * jnp.exp(1e-3 * scale) - 1) ** 2)

    return loss, params, x


def times(factor: float) -> Act:
    """An exponential whose rule is wrong by `factor`."""

    @jax.custom_vjp
    def act(x: Any) -> Any:
        return jnp.exp(x)

    act.defvjp(lambda x: (jnp.exp(x), x), lambda x, g: ((factor * g * jnp.exp(x)).astype(x.dtype),))
    return act


CASES: dict[str, tuple[Case, bool]] = {
    "a right rule, float32": (network(64, times(1.0)), True),
    "a rule off by 1% in a scalar leaf, float32": (network(64, times(1.01)), False),
    "a rule off by 2 in a scalar leaf, float32": (network(64, times(2.0)), False),
    "ReLU, float32": (network(64, None), True),
    "a right rule, computed in bfloat16": (network(64, times(1.0), cast=jnp.bfloat16), True),
}


def found_by_us(loss: Any, params: Any, x: Any) -> str:
    checks = verify(Problem(loss, params, x), progress=lambda stage: None).gradients
    counts = {v: sum(check.verdict is v for check in checks) for v in Verdict}
    return ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)


def found_by_jax(loss: Any, params: Any, x: Any) -> str:
    """With its own tolerances and step, reverse mode, first order."""
    try:
        check_grads(lambda p: loss(p, x), (params,), order=1, modes=["rev"])
    except AssertionError:
        return "raises"
    except Exception as error:
        return type(error).__name__
    return "passes"


def rows() -> list[dict[str, Any]]:
    return [
        {
            "case": name,
            "gradient": "right" if right else "wrong",
            "gradscope verify": found_by_us(*case),
            "check_grads": found_by_jax(*case),
            **({"gradcheck": torch_finding(name)} if torch_is_here() else {}),
        }
        for name, (case, right) in CASES.items()
    ]


def torch_is_here() -> bool:
    return importlib.util.find_spec("torch") is not None


def torch_finding(case: str) -> str:
    if "bfloat16" in case:
        return torch_check(16, 1.0, "bfloat16")
    factor, relu = (1.01 if "1%" in case else 2.0 if "by 2" in case else 1.0), "ReLU" in case
    single, double = (torch_check(16, factor, kind, relu) for kind in ("float32", "float64"))
    return f"{single}; in float64 {double}"


def torch_check(width: int, factor: float, dtype: str, relu: bool = False) -> str:
    """The same network, with gradcheck's own step and tolerances."""
    import torch

    class Ruled(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.exp(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return factor * g * torch.exp(ctx.saved_tensors[0])

    kind = getattr(torch, dtype)
    _, params, x = network(width, times(1.0))
    names = ("w0", "w1", "w2", "temperature")
    leaves = [torch.tensor(np.asarray(params[n], np.float64), dtype=kind, requires_grad=True) for n in names]
    data = torch.tensor(np.asarray(x, np.float64), dtype=kind)
    act = torch.relu if relu else torch.tanh

    def loss(w0: Any, w1: Any, w2: Any, temperature: Any) -> Any:
        h = act(act(data @ w0) @ w1)
        scale = temperature if relu else Ruled.apply(temperature)
        return torch.mean((h @ w2 * torch.exp(1e-3 * scale) - 1) ** 2)

    try:
        torch.autograd.gradcheck(loss, leaves)
    except Exception as error:
        return "raises" if "Jacobian mismatch" in str(error) else type(error).__name__
    return "passes"
