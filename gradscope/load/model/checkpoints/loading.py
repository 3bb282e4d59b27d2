"""A problem at the parameters of a checkpoint."""

from __future__ import annotations

from typing import Any

import jax

from gradscope.load.model.checkpoints.filling import array_names, fill
from gradscope.load.model.checkpoints.names import Steps, steps_of_path
from gradscope.load.problem import Problem


def with_checkpoint(problem: Problem, path: str) -> Problem:
    """`problem` at the parameters in `path`; with a model object also its state, where that is a pytree."""
    needed = array_names(problem.params)
    whole = None if problem.model is None else _inside(problem.model, needed)
    if whole is not None:
        filled = fill(problem.model, whole, path)
        made = problem.with_initial(filled.tree)
        # Modules that are shared in the object are none in the copy: then only the params are replaced.
        if _structure(made.params) == _structure(problem.params):
            return made.with_params(made.params, filled.notes)
    filled = fill(problem.params, None, path)
    return problem.with_params(filled.tree, filled.notes)


def _inside(model: Any, needed: frozenset[Steps]) -> frozenset[Steps] | None:
    """The names of the params in the model object, or `None` where JAX cannot take it apart.

    They may stand under one more step: `params` in the variables of Linen, 0 in `(model, state)`.
    """
    try:
        names = [steps_of_path(path) for path, _ in jax.tree_util.tree_flatten_with_path(model)[0]]
    except (TypeError, ValueError):
        return None
    if len(set(names)) < len(names):
        return None
    for prefix in ((), *dict.fromkeys(name[:1] for name in names)):
        found = frozenset((*prefix, *name) for name in needed)
        if found <= set(names):
            return found
    return None


def _structure(tree: Any) -> Any:
    return jax.tree_util.tree_structure(tree)
