"""Which argument of a user's loss function receives what, read from names and from the batch's shape.

Public losses take `(params, batch)`, `(params, x, y)`, a key first, weights in the middle, or no batch at
all. A name decides, else the position; what remains open is an error: a wrong guess is a wrong gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jax

from gradscope.load.message_text import listed
from gradscope.load.model.frameworks.table import fresh
from gradscope.load.signature.companions import is_extra_argument
from gradscope.load.signature.keys import is_key, is_key_name, is_seed_name, seed_from
from gradscope.load.signature.unmatched import no_batch, unmatched_parameters

PARAMETER_NAMES = (
    "params", "parameters", "weights", "theta", "model", "variables", "net", "network", "module", "w", "p",
)  # fmt: skip
WHOLE_BATCH_NAMES = ("batch", "minibatch", "mini_batch", "batch_data")
BATCH_NAMES = (*WHOLE_BATCH_NAMES, "data", "example", "examples", "sample", "samples", "inputs")
_NOT_A_KEY = (
    "x", "y", "xs", "ys", "z", "t", "input", "image", "images", "target", "targets", "label", "labels",
    "train", "training", "is_training", "deterministic", "state", "model_state", "opt_state", "config", "cfg",
    "mask", "step", "epoch", "apply_fn", "fn", *BATCH_NAMES, *PARAMETER_NAMES,
)  # fmt: skip


class Role(StrEnum):
    PARAMS = "params"
    BATCH = "batch"
    PART = "part"
    REST = "rest"
    """All parts of the batch, for `*batch`."""
    KEY = "key"
    SEED = "seed"
    GIVEN = "given"
    """A value of the user's file, or of a library call, for a parameter other than params and batch."""
    DEFAULT = "default"


@dataclass(frozen=True)
class ArgumentSource:
    role: Role
    detail: Any = None
    """PART: index or key into the batch. KEY: how many keys come before it. GIVEN, DEFAULT: the value."""
    wrap: Callable[[Any], Any] | None = None
    """KEY: what the framework wraps around a key."""


Sources = Mapping[str, ArgumentSource]


@dataclass(frozen=True)
class Arguments:
    """The plan for calling a loss function, made once from its signature and its first batch."""

    positional: tuple[ArgumentSource, ...]
    keyword: Sources
    notes: tuple[str, ...] = ()

    @property
    def takes_key(self) -> bool:
        return any(f.role in (Role.KEY, Role.SEED) for f in (*self.positional, *self.keyword.values()))

    def call(self, function: Callable[..., Any], params: Any, batch: Any, key: Any) -> Any:
        args: list[Any] = []
        for source in self.positional:
            if source.role is Role.REST:
                args.extend(batch)
            else:
                args.append(_value(source, params, batch, key))
        return function(*args, **{n: _value(f, params, batch, key) for n, f in self.keyword.items()})


def arrange(
    loss_fn: Callable[..., Any],
    batch: Any,
    name: str,
    given: Mapping[str, Any] | None = None,
    rngs: Callable[[Any], Any] | None = None,
) -> Arguments:
    """Plans the call of `loss_fn`, whose first batch is `batch` (`None`: there is none).

    `given` may fill parameters of those names; `rngs` makes of a key what a parameter `rngs` gets.
    """
    try:
        signature = inspect.signature(loss_fn)
    except (TypeError, ValueError):
        return _positional(batch)
    named = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    star = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    if not named and star:
        return _positional(batch)
    parts = _parts_by_name(batch)
    found = _keys(named, parts, rngs)
    params = _params(named, found, parts)
    if params is None:
        raise unmatched_parameters(f"{name} takes no parameter that could be params", signature, name, batch)
    found[params.name] = ArgumentSource(Role.PARAMS)
    own = {n: v for n, v in (given or {}).items() if n not in parts}
    found |= _extra(named, found, batch, own, star)
    open_ones = _open(named, found)
    if open_ones and batch is None:
        raise no_batch(open_ones, signature, name)
    data = _fill_data(open_ones, batch, parts)
    if data is None:
        missing = listed([f"`{p.name}`" for p in open_ones])
        raise unmatched_parameters(
            f"{name} takes {missing}, and gradscope cannot tell what to pass", signature, name, batch
        )
    found |= data
    found |= _optional(named, found, batch, parts)
    if star and isinstance(batch, tuple | list) and not _uses_batch(found):
        found["*"] = ArgumentSource(Role.REST)
    return _ordered(named, found, _notes(found, batch, name))


def params_name(loss_fn: Any) -> str:
    """The parameter of a loss that receives the params, as far as the signature alone shows."""
    if not callable(loss_fn):
        return "params"
    try:
        parameters = inspect.signature(loss_fn).parameters.values()
    except (TypeError, ValueError):
        return "params"
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    found = _params(named, _keys(named, {}, None), {})
    return "params" if found is None else found.name


def _open(named: list[inspect.Parameter], found: Sources) -> list[inspect.Parameter]:
    return [p for p in named if p.name not in found and p.default is p.empty]


def _extra(
    named: list[inspect.Parameter], found: Sources, batch: Any, given: Mapping[str, Any], star: bool
) -> dict[str, ArgumentSource]:
    """Values of the file for required parameters: certain ones, and those that the batch leaves unmatched.
    `star`: the batch may go to `*parts`."""
    sources = {
        p.name: ArgumentSource(Role.GIVEN, given[p.name]) for p in _open(named, found) if p.name in given
    }
    sure = {name: each for name, each in sources.items() if is_extra_argument(name, each.detail)}
    left = _open(named, {**found, **sure})
    defaults = any(p.name not in found and p.default is not p.empty for p in named)
    if batch is not None and not (left or star or defaults):
        # A helper `tokens()` beside `loss_fn(params, tokens)`: somewhere the batch has to go.
        sure = {name: each for name, each in sure.items() if not inspect.isfunction(each.detail)}
        left = _open(named, {**found, **sure})
    filled = None if batch is None else _fill_data(left, batch, _parts_by_name(batch))
    if filled is None:
        return sources if left else sure
    # What was taken for a key only because it comes last is the file's own, where the file has it.
    guessed = {name for name, each in filled.items() if each.role is Role.KEY}
    own = {name: each for name, each in sources.items() if name in guessed and not is_key(each.detail)}
    return sure | own


def _keys(
    named: list[inspect.Parameter], parts: Mapping[str, Any], rngs: Callable[[Any], Any] | None
) -> dict[str, ArgumentSource]:
    """Parameters named like a key, unless the batch has a part of that name (attention: query, key, value).

    A default that is neither `None` nor an array says that the name means something else.
    """
    found: dict[str, ArgumentSource] = {}
    for p in named:
        given = p.default is not p.empty and p.default is not None and not isinstance(p.default, jax.Array)
        if is_key_name(p.name) and p.name not in parts and not given:
            role = Role.SEED if is_seed_name(p.name) else Role.KEY
            wraps = p.name.lower() == "rngs" or "Rngs" in str(p.annotation)
            found[p.name] = ArgumentSource(role, len(found), rngs if wraps else None)
    return found


def _params(
    named: list[inspect.Parameter], found: Sources, parts: Mapping[str, Any]
) -> inspect.Parameter | None:
    free = [p for p in named if p.name not in found]
    required = [p for p in free if p.default is p.empty]
    for group in (required, free):
        by_name = [p for p in group if p.name.lower() in PARAMETER_NAMES and p.name not in parts]
        if by_name:
            return by_name[0] if by_name[0] is group[0] else min(by_name, key=_rank)
        unlike_data = [p for p in group if p.name.lower() not in BATCH_NAMES and p.name not in parts]
        if unlike_data or group:
            return (unlike_data or group)[0]
    return None


def _rank(parameter: inspect.Parameter) -> int:
    return PARAMETER_NAMES.index(parameter.name.lower())


def _fill_data(
    open_ones: list[inspect.Parameter], batch: Any, parts: Mapping[str, Any]
) -> dict[str, ArgumentSource] | None:
    """Fillings for the required parameters that are neither params nor named like a key, or `None`."""
    if not open_ones:
        return {}
    last = open_ones[-1]
    may_be_key = last.kind is not last.KEYWORD_ONLY and last.name.lower() not in _NOT_A_KEY
    whole = _split(open_ones, batch, parts)
    if whole is not None or len(open_ones) == 1 or not may_be_key:
        return whole
    front = _split(open_ones[:-1], batch, parts)
    return None if front is None else front | {last.name: ArgumentSource(Role.KEY, 0)}


def _split(
    open_ones: list[inspect.Parameter], batch: Any, parts: Mapping[str, Any]
) -> dict[str, ArgumentSource] | None:
    names = [p.name for p in open_ones]
    first_is_batch = names[0].lower() in WHOLE_BATCH_NAMES and names[0] not in parts
    if all(name in parts for name in names):
        return {name: ArgumentSource(Role.PART, parts[name]) for name in names}
    if len(names) == 1:
        return {names[0]: ArgumentSource(Role.BATCH)}
    if isinstance(batch, tuple | list) and len(batch) == len(names) and not first_is_batch:
        return {name: ArgumentSource(Role.PART, index) for index, name in enumerate(names)}
    return None


def _optional(
    named: list[inspect.Parameter], found: Sources, batch: Any, parts: Mapping[str, Any]
) -> dict[str, ArgumentSource]:
    """Parameters with a default that the batch has a value for."""
    free = [p for p in named if p.name not in found]
    if batch is None or any(f.role is Role.BATCH for f in found.values()):
        return {}
    by_name = {p.name: ArgumentSource(Role.PART, parts[p.name]) for p in free if p.name in parts}
    if by_name or _uses_batch(found):
        return by_name
    return {p.name: ArgumentSource(Role.BATCH) for p in free if p.name.lower() in WHOLE_BATCH_NAMES}


def _ordered(named: list[inspect.Parameter], found: Sources, notes: tuple[str, ...]) -> Arguments:
    """By position up to the last positional parameter that is filled; defaults fill the gaps."""
    positional = [p for p in named if p.kind is not p.KEYWORD_ONLY]
    while positional and positional[-1].name not in found:
        positional.pop()
    sources = [found.get(p.name, ArgumentSource(Role.DEFAULT, p.default)) for p in positional]
    if "*" in found:
        sources.append(found["*"])
    keyword = {p.name: found[p.name] for p in named if p.kind is p.KEYWORD_ONLY and p.name in found}
    return Arguments(tuple(sources), keyword, notes)


def _positional(batch: Any) -> Arguments:
    """The usual form, for a function whose signature cannot be read."""
    sources = (ArgumentSource(Role.PARAMS), ArgumentSource(Role.BATCH))
    return Arguments(sources[:1] if batch is None else sources, {})


def _parts_by_name(batch: Any) -> Mapping[str, Any]:
    """Name of each part -> how to index it, for a dict or a named tuple."""
    if isinstance(batch, Mapping):
        return {key: key for key in batch if isinstance(key, str)}
    fields: Sequence[str] = getattr(batch, "_fields", ()) if isinstance(batch, tuple) else ()
    return {field: index for index, field in enumerate(fields)}


def _uses_batch(found: Sources) -> bool:
    return any(f.role in (Role.BATCH, Role.PART, Role.REST) for f in found.values())


def _notes(found: Sources, batch: Any, name: str) -> tuple[str, ...]:
    if batch is None:
        return ()
    if not _uses_batch(found):
        return (f"The batch is not used: {name} takes no parameter for it.",)
    taken = {f.detail for f in found.values() if f.role is Role.PART}
    left = [key for key in batch if key not in taken] if taken and isinstance(batch, Mapping) else []
    return (f"{name} takes no parameter for {listed([repr(k) for k in left])} of the batch.",) if left else ()


def _value(source: ArgumentSource, params: Any, batch: Any, key: Any) -> Any:
    match source.role:
        case Role.PARAMS:
            return params
        case Role.BATCH:
            return batch
        case Role.PART:
            return batch[source.detail]
        case Role.KEY:
            own = jax.random.fold_in(key, source.detail) if source.detail else key
            return source.wrap(own) if source.wrap else own
        case Role.SEED:
            return seed_from(key)
        case Role.GIVEN:
            return fresh(source.detail)
        case _:
            return source.detail
