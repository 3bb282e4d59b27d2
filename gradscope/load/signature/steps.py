"""Which parameter of a user's training step is what, by their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gradscope.load.signature.arguments import BATCH_NAMES, PARAMETER_NAMES, Role
from gradscope.load.signature.keys import is_key_name

STATE = "state"
_STATE_NAMES = ("opt_state", "optimizer_state", "optim_state", "opt")
StepRole = Role | str
"""`Role.PARAMS`, `Role.BATCH`, `Role.KEY`, or `STATE` for the state of the optimizer."""


def step_roles(step: Callable[..., Any]) -> tuple[StepRole, ...] | None:
    """Of its parameters without a default, in their order; `None` where one is none of these, or two are the
    same."""
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return None
    found = [_role(each) for each in parameters if each.default is each.empty]
    known = [role for role in found if role is not None]
    wanted = {Role.PARAMS, Role.BATCH}
    if len(known) < len(found) or len(set(known)) < len(known) or not wanted <= set(known):
        return None
    return tuple(known)


def _role(parameter: inspect.Parameter) -> StepRole | None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
        return None
    if name in _STATE_NAMES:
        return STATE
    if name in PARAMETER_NAMES:
        return Role.PARAMS
    if name in BATCH_NAMES:
        return Role.BATCH
    return Role.KEY if is_key_name(name) else None
