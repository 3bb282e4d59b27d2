"""The optimizers that can be compared: by name from optax and optax.contrib, and the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optax
import optax.contrib

from gradscope.errors import GradscopeError
from gradscope.load.message_text import did_you_mean, listed
from gradscope.load.problem import Problem
from gradscope.optimizers.lattice import TrialSetting
from gradscope.records import Number

DEFAULT = ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad")

FIXED, ADAPTIVE, AUTOMATIC, OWN = "fixed", "adaptive", "automatic", "own"
DECAY = "weight_decay"
YOURS = "yours"
"""The file's `optimizer`."""


@dataclass(frozen=True)
class CandidateOptimizer:
    """A way to make an optimizer from a learning rate (a number, a traced one, or a schedule).

    `make` takes `weight_decay`, too, where there is a `usual_decay`.
    """

    name: str
    make: Callable[..., optax.GradientTransformation]
    code: str
    """The line that makes it; `{rate}` stands for the learning rate, `{decay}` for a further argument."""
    kind: str
    usual: float | None
    """Middle of the grid; `None` where there is no learning rate to search."""
    settings: Mapping[str, Number] = field(default_factory=dict)
    uses_line_search: bool = False
    """Evaluates the loss several times per step, on the same batch: for losses without noise."""
    at: Callable[[Any, Any], Any] | None = None
    """(state, params) -> the parameters to evaluate, where they are not those being trained."""
    unchanged: bool = False
    """Used as the user gives it, with its own schedule and clipping."""
    usual_decay: float | None = None
    """Its default weight decay; `None` where there is none to search."""

    @property
    def any_setting(self) -> TrialSetting:
        """Numbers to trace it with."""
        return TrialSetting(1e-3, None if self.usual_decay is None else 0.1)

    def made(self, setting: TrialSetting) -> optax.GradientTransformation:
        if setting.decay is None:
            return self.make(setting.rate)
        return self.make(setting.rate, weight_decay=setting.decay)

    def written(self, rate: str, decay: float | None) -> str:
        """The line that makes it; a decay that is the default is not written."""
        changed = decay is not None and decay != self.usual_decay
        return self.code.format(rate=rate, decay=f", weight_decay={decay:g}" if changed else "")


_ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum": ("sgd", {"momentum": 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "nadam": ("adam", {"nesterov": True}),
    "nadamw": ("adamw", {"nesterov": True}),
}

_FIXED = frozenset(
    {"sgd", "momentum", "nesterov", "noisy_sgd", "optimistic_gradient_descent", "schedule_free_sgd"}
    | {"sign_sgd", "signum", "lion", "fromage", "lars", "muon", "polyak_sgd", "dog", "dowg", "momo", "lbfgs"}
)
"""Optimizers with one step length for all weights or per matrix; the others have one per weight."""

_USUAL: dict[str, float] = {
    "sgd": 1e-1, "momentum": 1e-2, "nesterov": 1e-2, "noisy_sgd": 1e-1, "optimistic_gradient_descent": 1e-1,
    "adagrad": 1e-2, "adadelta": 1.0, "rprop": 1e-3, "lars": 1e-1, "sm3": 1e-1, "muon": 2e-2,
    "novograd": 1e-2, "yogi": 1e-2, "fromage": 1e-2, "lion": 1e-4, "sign_sgd": 1e-4, "signum": 1e-4,
    "madgrad": 1e-2, "schedule_free_sgd": 1.0, "schedule_free_adamw": 2.5e-3, "momo_adam": 1e-2,
}  # fmt: skip
"""Rates recommended by the papers or libraries; for all others Adam's 1e-3 (Kingma and Ba 2015)."""

_AUTOMATIC = frozenset({"prodigy", "dog", "dowg", "dadapt_adamw", "cocob", "momo", "polyak_sgd", "lbfgs"})
"""Optimizers that choose their own step length; a factor before it stays at its default."""

_SCHEDULE_FREE = frozenset({"schedule_free_sgd", "schedule_free_adamw"})

_OWN_ARGUMENTS: dict[str, dict[str, Any]] = {"noisy_sgd": {"key": 0}}


def named(name: str, others: Iterable[str] = ()) -> CandidateOptimizer:
    """The candidate called `name`: one of the seven defaults, or a function of optax or optax.contrib.

    `others` are further valid names, for the error.
    """
    wanted = name.strip().lower().replace("-", "_")
    base, fixed = _ALIASES.get(wanted, (wanted, {}))
    home, function = _function(base)
    if function is None:
        raise _unknown(name, others)
    fixed = {**fixed, **_OWN_ARGUMENTS.get(base, {})}
    signature = inspect.signature(function)
    rate = "learning_rate" if "learning_rate" in signature.parameters else None
    _require_arguments(name, signature, rate, fixed)
    automatic = wanted in _AUTOMATIC
    written = "".join(f", {key}={value!r}" for key, value in fixed.items())
    first = "" if automatic else "{rate}"
    decay = None if automatic else _usual_decay(signature)
    if decay is not None:
        written += "{decay}"
    return CandidateOptimizer(
        name=wanted,
        make=partial(_without_rate if automatic else _with_rate, function, fixed),
        code=f"{home}.{base}({(first + written).removeprefix(', ')})",
        kind=AUTOMATIC if automatic else FIXED if wanted in _FIXED else ADAPTIVE,
        usual=None if automatic else _USUAL.get(wanted, 1e-3),
        settings=_settings(signature, fixed, rate, decay),
        usual_decay=decay,
        uses_line_search=wanted == "lbfgs",
        at=optax.contrib.schedule_free_eval_params if wanted in _SCHEDULE_FREE else None,
    )


def own(name: str, make: Callable[[Any], Any], usual: float = 1e-3) -> CandidateOptimizer:
    """One of the file's `candidates`: a function of the rate, and of `weight_decay` if it has one."""
    decay = _usual_decay(_signature(make))
    code = f"candidates[{name!r}]({{rate}}{'' if decay is None else '{decay}'})"
    return CandidateOptimizer(name, make, code, OWN, usual, usual_decay=decay)


def users(optimizer: Any) -> CandidateOptimizer:
    """The file's `optimizer`, unchanged: it has its own learning rate."""
    return CandidateOptimizer(YOURS, lambda _rate: optimizer, "optimizer", OWN, None, unchanged=True)


def scaled(optimizer: Any) -> CandidateOptimizer:
    """The user's optimizer, with a factor on its updates instead of a learning rate."""
    return CandidateOptimizer(
        name=YOURS,
        make=lambda rate: optax.chain(optimizer, optax.scale_by_learning_rate(rate, flip_sign=False)),
        code="optax.chain(optimizer, optax.scale({rate}))",
        kind=OWN,
        usual=1.0,
        unchanged=True,
    )


def one_of(problem: Problem, name: str | None) -> CandidateOptimizer:
    """The file's candidate or the optimizer of optax called `name`; else the file's optimizer, or Adam."""
    if name is None and problem.optimizer is not None:
        return scaled(problem.optimizer)
    name = name or "adam"
    own_ones = problem.candidates
    return own(name, own_ones[name]) if name in own_ones else named(name, own_ones)


def _with_rate(function: Callable[..., Any], fixed: dict[str, Any], rate: Any, **decay: Any) -> Any:
    return function(learning_rate=rate, **fixed, **decay)


def _without_rate(function: Callable[..., Any], fixed: dict[str, Any], rate: Any) -> Any:
    del rate
    return function(**fixed)


def _function(name: str) -> tuple[str, Callable[..., Any] | None]:
    for home, module in (("optax", optax), ("optax.contrib", optax.contrib)):
        if name in _names(module):
            return home, vars(module)[name]
    return "", None


def _names(module: Any) -> list[str]:
    """Functions that make an optimizer from a learning rate, or from nothing."""
    found = []
    for name, function in vars(module).items():
        if name.startswith(("_", "scale_")) or not inspect.isfunction(function):
            continue
        parameters = inspect.signature(function).parameters
        if "learning_rate" in parameters or "max_learning_rate" in parameters:
            found.append(name)
    return found


def known() -> list[str]:
    """Every name that `named` may take."""
    return sorted({*_ALIASES, *_names(optax), *_names(optax.contrib)})


def _require_arguments(
    name: str, signature: inspect.Signature, rate: str | None, given: Mapping[str, Any]
) -> None:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty and p.name != rate and p.name not in given and p.kind not in variadic
    ]
    if needed:
        raise GradscopeError(
            f"The optimizer {name!r} needs {listed([f'`{p}`' for p in needed])}.",
            why="There is no value for them that fits every problem.",
            fix=f'Define it in the file: `candidates = {{"{name}": lambda lr: ...}}`.',
            slug="unfit-optimizer",
        )


def _signature(make: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(make)
    except (TypeError, ValueError):  # a function that is not written in Python
        return inspect.Signature()


def _usual_decay(signature: inspect.Signature) -> float | None:
    parameter = signature.parameters.get(DECAY)
    if parameter is None:
        return None
    default = parameter.default
    return float(default) if isinstance(default, int | float) else 0.0


def _settings(
    signature: inspect.Signature, fixed: Mapping[str, Any], rate: str | None, decay: float | None
) -> dict[str, Number]:
    searched = {rate} if decay is None else {rate, DECAY}
    defaults = {
        p.name: p.default
        for p in signature.parameters.values()
        if p.name not in searched and isinstance(p.default, int | float | str) and p.default is not False
    }
    return {**defaults, **fixed}


def _unknown(name: str, others: Iterable[str]) -> GradscopeError:
    wanted = name.lower().replace("-", "_")
    close = did_you_mean(wanted, [*others, *known()], most=3)
    why = "It is not in optax or optax.contrib, and not among the file's `candidates`."
    fix = f"{close} The defaults are {', '.join(DEFAULT)}.".strip()
    home = next(
        (h for h, m in (("optax", optax), ("optax.contrib", optax.contrib)) if hasattr(m, wanted)), ""
    )
    if wanted == YOURS:
        why, fix = (
            "The file defines no `optimizer`.",
            "Define `optimizer = optax.adam(1e-3)`, or the optimizer that you train with.",
        )
    elif home:
        why = f"`{home}.{wanted}` does not make an optimizer from a learning rate alone."
        fix = f'Define it in the file: `candidates = {{"{wanted}": lambda lr: ...}}`.'
    return GradscopeError(f"There is no optimizer {name!r}.", why=why, fix=fix, slug="unknown-optimizer")
