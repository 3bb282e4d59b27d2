"""From the names that a user's file defines to a `Problem`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.data.batches import RowSource
from gradscope.load.data.loaders import is_table_of_examples
from gradscope.load.data.sources import KeyedBatches
from gradscope.load.message_text import did_you_mean, listed, short_repr, type_name
from gradscope.load.model.find_optimizer import candidates_in, optimizer_in
from gradscope.load.model.find_params import is_function, model_names, params_in
from gradscope.load.model.frameworks.table import adapter_of, loss_of
from gradscope.load.problem import Problem
from gradscope.load.signature.arguments import params_name
from gradscope.load.signature.keys import call_with_key, required_parameters, takes_nothing_or_a_key
from gradscope.load.signature.losses import loss_in_file
from gradscope.load.usercode.other_scopes import inside_a_function
from gradscope.load.widths import DEPTH, WIDTH, at_size, needing_size
from gradscope.records.options import LoadOptions

_LOSS_LIKE = ("loss", "objective", "criterion", "cost", "energy")
_DATA_NAMES = ("batches", "batch", "data")
_LOADER_NAMES = ("train_loader", "train_dataloader", "train_dl", "dataloader", "loader", "get_batch")
"""Where a batch is needed and none of the above is there; the last one gives a batch."""
_EXAMPLE = "def loss_fn(params, batch): ..."


def problem_in(
    module: ModuleType, wanted: str | None, target: str, options: LoadOptions, rows: RowSource | None = None
) -> Problem:
    """The problem that `module` defines, under the name `wanted` or under the usual names.

    `target` is the module as the user named it: candidates are shown as `target:name`. `rows` take the
    place of whatever data the module gives.
    """
    names = dict(vars(module))
    for size, value in ((WIDTH, options.width), (DEPTH, options.depth)):
        if value is not None:
            names = at_size(names, size, value, target)
    if options.width is None and options.usual_width is not None:
        names |= needing_size(names, WIDTH, options.usual_width)
    if rows is None:
        return _problem(names, wanted, target, options)
    names = {name: value for name, value in names.items() if name not in _DATA_NAMES} | {"batches": rows}
    problem = _problem(names, wanted, target, options)
    return problem if problem.draws_from(rows) else problem.with_batches(rows)


def _problem(names: Mapping[str, Any], wanted: str | None, target: str, options: LoadOptions) -> Problem:
    seed = options.seed
    loss = loss_in_file(names, options.loss)
    if options.loss is not None or (loss is not None and wanted is None):
        own = names.get(wanted) if wanted else None
        return _from_loss(loss, names, target, seed, params=own if adapter_of(own) is not None else None)
    if wanted is not None:
        return _named(names, wanted, target, seed)
    problem = names.get("problem")
    if isinstance(problem, Problem):
        return problem
    if is_function(problem) and takes_nothing_or_a_key(problem):
        return _from_function(problem, "problem", seed)
    if "loss_fn" in names:
        return _from_loss(names["loss_fn"], names, target, seed)
    raise _no_loss(names, target)


def _named(names: Mapping[str, Any], wanted: str, target: str, seed: int) -> Problem:
    if wanted not in names:
        raise GradscopeError(
            f"{target} defines no `{wanted}`.",
            why="The name after the colon is a function or a Problem in that file.",
            fix=did_you_mean(wanted, _public(names)) or "Choose one of the names shown.",
            details=_candidates(names, target),
            slug="no-such-name",
        )
    value = names[wanted]
    if isinstance(value, Problem):
        return value
    if adapter_of(value) is not None and "loss_fn" in names:
        return _from_loss(names["loss_fn"], names, target, seed, params=value)
    if adapter_of(value) is not None and callable(loss_of(value)):
        return _from_loss(value, names, target, seed)
    if callable(value) and (not _has_parameters(value) or "problem" in wanted.lower()):
        return _from_function(value, wanted, seed)
    if callable(value):
        return _from_loss(value, names, target, seed)
    raise GradscopeError(
        f"{target}:{wanted} is {short_repr(value)}, of type {type_name(value)}.",
        why="gradscope needs a loss function, a function that returns a Problem, or a Problem.",
        fix="Choose one of the names shown." if _candidates(names, target) else f"Write `{_EXAMPLE}`.",
        details=_candidates(names, target),
        slug="no-loss-function",
    )


def _from_function(function: Callable[..., Any], name: str, seed: int) -> Problem:
    make = partial(_made, function, name)
    if required_parameters(function):
        return make(seed).with_factory(make, makes_loss=True)
    return make(seed).with_factory(lambda seed: make(seed).initial)


def _made(function: Callable[..., Any], name: str, seed: int) -> Problem:
    problem = call_with_key(function, name, seed)
    if isinstance(problem, Problem):
        return problem
    raise GradscopeError(
        f"{name}() returned {short_repr(problem)}, of type {type_name(problem)}.",
        why="A function without parameters is taken for one that makes the problem.",
        fix="End it with `return gradscope.Problem(loss_fn=..., params=..., batch=...)`.",
        slug="no-problem",
    )


def _from_loss(loss_fn: Any, names: Mapping[str, Any], target: str, seed: int, params: Any = None) -> Problem:
    notes: list[str] = []
    # A loss that is a Haiku transform makes its own params.
    names = names if adapter_of(loss_fn) is None else {**names, "model": loss_fn}
    loss_fn = loss_of(loss_fn)
    role, make = params_name(loss_fn), params is None
    if make:
        params = params_in(names, role, target, seed, notes)
    given = _data(names, seed, notes)
    optimizer = optimizer_in(names, seed, notes)
    validation = _usable(names, "validation_batch", seed)

    def problem(given: Mapping[str, Any]) -> Problem:
        return Problem(
            loss_fn,
            params,
            **given,
            optimizer=optimizer,
            candidates=candidates_in(names, notes),
            validation_batch=validation,
            train_step=names["train_step"] if callable(names.get("train_step")) else None,
            seed=seed,
            given={name: names[name] for name in _public(names)},
            notes=tuple(notes),
        )

    try:
        found = problem(given)
    except GradscopeError as error:
        if error.slug != "no-batches" or given:
            raise
        loader = next((name for name in _LOADER_NAMES if _is_usable("batches", names.get(name))), None)
        if loader is None:
            raise _explain_missing_batch(error, names) from None
        kind = "batch" if loader == "get_batch" else "batches"
        notes.append(f"`{loader}` is used as `{kind}`.")
        found = problem(_source(kind, {**names, kind: names[loader]}, seed))
    return found.with_factory(lambda seed: params_in(names, role, target, seed, [])) if make else found


def _data(names: Mapping[str, Any], seed: int, notes: list[str]) -> dict[str, Any]:
    """The first usable of `batches`, `batch` and `data`, as an argument of `Problem`."""
    usable = [name for name in _DATA_NAMES if _is_usable(name, names.get(name))]
    if not usable:
        return {}
    name = usable[0]
    if len(usable) > 1:
        notes.append(f"The file gives {' and '.join(usable)}: {name} is used.")
    return _source(name, names, seed)


def _source(name: str, names: Mapping[str, Any], seed: int) -> dict[str, Any]:
    if name == "batches" and is_function(names[name]):
        make = partial(call_with_key, names[name], name)
        keyed = required_parameters(names[name])
        return {name: KeyedBatches(make, seed) if keyed else partial(make, seed)}
    return {name: _usable(names, name, seed)}


def _is_usable(name: str, value: Any) -> bool:
    """Scripts have helpers of the same names: `batches(x, size)`, `batches = 10`, `import data`."""
    if value is None or isinstance(value, ModuleType | type):
        return False
    if is_function(value):
        return takes_nothing_or_a_key(value)
    if name != "batches" or is_table_of_examples(value):
        return True
    return isinstance(value, Iterable) and not isinstance(value, str)


def _usable(names: Mapping[str, Any], name: str, seed: int) -> Any:
    value = names.get(name)
    if not _is_usable(name, value):
        return None
    if not is_function(value):
        return value
    made = call_with_key(value, name, seed)
    if made is None:
        raise GradscopeError(
            f"{name}() returned None.",
            why="gradscope called it to get the data.",
            fix="Return the arrays.",
            slug="empty-batch",
        )
    return made


def _explain_missing_batch(error: GradscopeError, names: Mapping[str, Any]) -> GradscopeError:
    helpers = [n for n in _DATA_NAMES if is_function(names.get(n))]
    others = [n for n in _DATA_NAMES if names.get(n) is not None and n not in helpers]
    why = error.why
    if helpers:
        why += f" {' and '.join(f'`{n}{inspect.signature(names[n])}`' for n in helpers)} takes arguments."
    if others:
        why += f" {' and '.join(f'`{n}` is of type {type_name(names[n])}' for n in others)}."
    fix = f"{_nearest_of(_DATA_NAMES, names)} {error.fix}".strip()
    return GradscopeError(error.what, why=why, fix=fix, details=error.details, slug=error.slug)


def _no_loss(names: Mapping[str, Any], target: str) -> GradscopeError:
    functions = _functions(names)
    likely = [n for n in functions if any(word in n.lower() for word in _LOSS_LIKE)]
    if likely:
        fix = f"Rename `{likely[0]}`, or name it: `{target}:{likely[0]}`."
    elif nested := inside_a_function(names, _LOSS_LIKE):
        name, outer, line = nested
        fix = (
            f"`{name}` is defined inside `{outer}` ({target}:{line}), out of reach: move it to the level of "
            "the file and let it take what it needs: `def loss_fn(model, batch): ...`."
        )
    else:
        fix = f"Write `{_EXAMPLE}` that returns a scalar, or name a function: `{target}:NAME`."
    what = f"{target} defines no `loss_fn` and no `problem`."
    public = _public(names)
    why = f"It defines {listed([f'`{n}`' for n in public])}." if public else "It defines nothing."
    return GradscopeError(what, why=why, fix=fix, details=_candidates(names, target), slug="no-loss-function")


def _candidates(names: Mapping[str, Any], target: str) -> str:
    problems = [n for n in _public(names) if isinstance(names[n], Problem)]
    models = model_names(names) if "loss_fn" in names else []
    return "\n".join(f"  {target}:{n}" for n in [*problems, *models, *_functions(names)][:10])


def _functions(names: Mapping[str, Any]) -> list[str]:
    """Functions defined in the file itself, those that look like a loss first."""
    own = [
        n
        for n in _public(names)
        if is_function(names[n]) and getattr(names[n], "__module__", None) == names.get("__name__")
    ]
    return sorted(own, key=lambda n: not any(word in n.lower() for word in _LOSS_LIKE))


def _public(names: Mapping[str, Any]) -> list[str]:
    return [n for n, v in names.items() if not n.startswith("_") and not isinstance(v, ModuleType)]


def _nearest_of(usual: Iterable[str], names: Mapping[str, Any]) -> str:
    found = (
        did_you_mean(name, [n for n in _public(names) if not isinstance(names[n], type)]) for name in usual
    )
    return next((text for text in found if text), "")


def _has_parameters(function: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return True
