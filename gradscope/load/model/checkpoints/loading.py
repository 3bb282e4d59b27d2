"""A problem at the parameters of a checkpoint."""

from __future__ import annotations

from typing import Any

import jax

from gradscope.load.model.checkpoints.filling import array_names, fill
from gradscope.load.model.checkpoints.names import Steps, steps_of_path
from gradscope.load.problem import Problem


def with_checkpoint(problem: Problem, path: str) -> Problem:
    """`problem` at the parameters in `path`; with a model object also its state, where that is a pytree."""
    names = array_names(problem.params)
    prefix = None if problem.model is None else _inside(problem.model, names)
    if prefix is not None:
        inside = {(*prefix, *name): sharding for name, sharding in _layout(problem.params).items()}
        filled = fill(problem.model, frozenset((*prefix, *name) for name in names), path, inside)
        made = problem.with_initial(filled.tree)
        # Modules that are shared in the object are none in the copy: then only the params are replaced.
        if _structure(made.params) == _structure(problem.params):
            return made.with_params(made.params, filled.notes)
    filled = fill(problem.params, None, path)
    return problem.with_params(filled.tree, filled.notes)


def _layout(params: Any) -> dict[Steps, Any]:
    """Where those arrays lie that are on several devices: in a model object they may be on one still."""
    return {
        steps_of_path(path): leaf.sharding
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
        if isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1
    }


def _inside(model: Any, needed: frozenset[Steps]) -> Steps | None:
    """The steps that are before the names of the params in the model object: none, or one, as `params` in the
    variables of Linen, 0 in `(model, state)`. `None` where JAX cannot take it apart."""
    try:
        names = [steps_of_path(path) for path, _ in jax.tree_util.tree_flatten_with_path(model)[0]]
    except (TypeError, ValueError):
        return None
    if len(set(names)) < len(names):
        return None
    for prefix in ((), *dict.fromkeys(name[:1] for name in names)):
        if {(*prefix, *name) for name in needed} <= set(names):
            return prefix
    return None


def _structure(tree: Any) -> Any:
    return jax.tree_util.tree_structure(tree)
