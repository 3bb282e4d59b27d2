"""An operation without a gradient blocks every path from a parameter to the loss.

## What it does
Reports each operation that cuts every path from some parameters to the loss, with its source line and the
layers that get no gradient: `stop_gradient`, `argmax`, `round`, `floor`, `sign`, a comparison, a conversion
to integers.

## Why is this bad
The layers before the operation do not learn, while the loss may still fall, because the layers after it train
on features that never change. No error is raised: the gradient is zero.

## How it is measured
Exactly, from the program of the loss (its jaxpr): where all paths from a leaf to the loss are blocked, the
blocking operations are reported, the one that affects most leaves first. Of several on the paths of a leaf
those count that would each let a gradient through if they alone passed it on: not the `floor` for an index
where the result is cast to integers in the end, and not the `argmin` by which a codebook is looked up.

`stop_gradient` is often intended. It is a note, not an error, where it is applied to the parameter itself, or
where it freezes whole parts of another kind than the others: every part of one kind is frozen or none of it.
Parts are the first step of the leaves' names; `layers[0]`, `layers[1]` are of one kind, and so are `dense_0`,
`dense_1` and `w1`, `w2`, while `backbone` and `head`, `target` and `online` are not. Where no parameter
trains at all, it is an error in any case.

A note becomes a warning where the frozen part was drawn at random and training it is worth far more: a matrix
of it is another one for another seed of `init(key)`, no array of the batch meets a parameter that learns but
through this `stop_gradient`, and that passes on fewer numbers of each example than go in. Tried: 100 steps of
the short training with the gradient let through, against 500 of the program as it is.

A straight-through estimator, `x + stop_gradient(q - x)`, is recognised by what it adds up to. If the loss
then subtracts x from its result (a codebook loss that is computed after the straight-through line), the
gradient that was meant for q goes to x: an error. If not, what makes q may learn in another way, as by a
moving average.

## Limits
A path is blocked or it is not. Intended and misplaced are distinguished by the naming rule above, which was
set by the healthy networks named below. `left = 0.5`: a warning in the place of a note where the loss with
the gradient let through ends below this share of that without, and `clear = 0.05`: and so much of its own
fall below it. Sources: measured. With random encoders that keep 4 and 6 numbers of an example the share was
0.01 to 0.32, and the rest 0.09 of the fall and more; with random projections to 32 numbers the share was
0.91, and with some to 64 the rest 0.0009 of the fall.

## Example
    for layer in layers[:3]:
        x = jax.nn.relu(x @ layer["w"])
    x = jax.lax.stop_gradient(x)               # layers 0 to 2 never learn
    token = jnp.argmax(scores)                 # nor do the layers that compute the scores

Use instead no `stop_gradient` between layers that are to learn, and a soft or straight-through choice:

    soft = jax.nn.softmax(scores)
    hard = jax.nn.one_hot(jnp.argmax(scores), scores.shape[-1])
    choice = soft + jax.lax.stop_gradient(hard - soft)

## What it does not say
A frozen backbone under a new head, a target network, a straight-through estimator and a momentum encoder are
healthy: the first two are notes, the others have a second path or none. If you freeze `dense_0` on purpose
and train `dense_1`, freeze the parameter itself, `stop_gradient(params["dense_0"])`: that is a note. Random
features and reservoirs, which are wider than what goes into them, are notes as well, and so is whatever was
loaded, or drawn when the file was run and not by a function of a key.

## Source
Bengio et al. 2013, *Estimating or Propagating Gradients Through Stochastic Neurons*, arXiv:1308.3432
(straight-through); Jang et al. 2017, arXiv:1611.01144 (Gumbel softmax).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from gradscope.records import (
    Connection,
    Cut,
    Measurement,
    Parameter,
    Severity,
    ShortTraining,
    TriedGradient,
)
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.parts import by_layer, kind_of, names, only, paths
from gradscope.rules.words import count, names_of, number

CutKey = tuple[str, str]
REMEDY = {
    "round": "Round with a straight-through estimator: `x + stop_gradient(jnp.round(x) - x)`.",
    "floor": "Floor with a straight-through estimator: `x + stop_gradient(jnp.floor(x) - x)`.",
    "ceil": "Round up with a straight-through estimator: `x + stop_gradient(jnp.ceil(x) - x)`.",
    "sign": "Use `jnp.tanh`, or `tanh(x) + stop_gradient(jnp.sign(x) - tanh(x))`.",
    "argmax": "Use `jax.nn.softmax` or a straight-through choice: `soft + stop_gradient(hard - soft)`.",
    "argmin": "Use `jax.nn.softmax(-x)` or a straight-through choice: `soft + stop_gradient(hard - soft)`.",
    "convert_element_type": "Keep the value a float up to the loss; convert to integers for metrics only.",
}
COMPARISON = (
    "Replace the hard comparison by a soft one, `jax.nn.sigmoid(x - y)`, or remove it from the path. A "
    "search for a root (bisection) is differentiated implicitly instead: `jax.lax.custom_root`."
)
REMEDY |= dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne"), COMPARISON)


COPY = (
    "Nothing to do if {parts} {learn} in another way (a moving average); else give {them} a term of the "
    "loss, computed from the value before the straight-through line."
)


@rule(
    "blocked-gradient",
    severity=Severity.ERROR,
    uses=("training",),
    single_seed_suffices=True,
    left=0.5,
    clear=0.05,
)
def blocked_gradient(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    blocked = [
        _as_chosen(p) for p in measurement.parameters if p.connection is Connection.BLOCKED and p.size > 0
    ]
    trains = any(p.connection is Connection.CONNECTED and p.size > 0 for p in measurement.parameters)
    meant = _follows_parts(measurement)
    while blocked:
        cut, unreached = _widest(blocked)
        blocked = [p for p in blocked if p not in unreached]
        hit = _hit(measurement, cut, unreached, trains, meant)
        tried = None if training is None else training.let_through
        if training is not None and tried is not None and _harms(hit, tried, limits):
            hit = _of_random_part(hit, tried, training.optimizer)
        yield hit


def _harms(hit: Hit, tried: TriedGradient, limits: Limits) -> bool:
    """Whether a part that is frozen as if on purpose costs most of what the steps could reach."""
    if hit.severity is not Severity.NOTE or hit.source != tried.source or not tried.end >= 0:
        return False
    apart = tried.end_longer - tried.end >= limits["clear"] * (tried.start - tried.end) > 0
    return apart and tried.end < limits["left"] * tried.end_longer


def _of_random_part(hit: Hit, tried: TriedGradient, optimizer: str) -> Hit:
    layers, drawn, one = names_of(hit.layers), names_of(tried.leaves), len(hit.layers) == 1
    message = (
        f"`stop_gradient` blocks every path from {layers} to the loss, and no parameter that learns sees the "
        f"batch but through it. {drawn} {'is' if len(tried.leaves) == 1 else 'are'} drawn at random. Of the "
        f"{tried.given} numbers of an example {tried.kept} {'goes' if tried.kept == 1 else 'go'} on. "
        f"{tried.longer} steps of {optimizer} end at a loss of {number(tried.end_longer)}; with the gradient "
        f"let through, {tried.steps} steps end at {number(tried.end)}."
    )
    remedy = (
        f"Remove this `stop_gradient`, unless another loss trains {layers}; to freeze "
        f"{'it' if one else 'them'} on purpose, apply it to the parameters."
    )
    evidence = {**hit.evidence, "loss_after": tried.end_longer, "loss_after_let_through": tried.end}
    return replace(hit, message=message, remedy=remedy, evidence=evidence, severity=Severity.WARNING)


def _as_chosen(parameter: Parameter) -> Parameter:
    """A leaf with `stop_gradient` on itself keeps only those cuts, e.g. a codebook indexed by an argmin.

    Else the straight-through estimators stay, if there are any: beside one a commitment loss stops the
    gradient on purpose.
    """
    ways: tuple[Callable[[Cut], bool], ...] = (
        lambda cut: cut.op == "stop_gradient" and cut.on_parameter,
        lambda cut: cut.compared is not None,
        lambda cut: cut.straight_through,
    )
    chosen = (tuple(filter(way, parameter.cuts)) for way in ways)
    return replace(parameter, cuts=next(filter(None, chosen), parameter.cuts))


def _key(cut: Cut) -> CutKey:
    return cut.op, str(cut.source)


def _widest(blocked: Sequence[Parameter]) -> tuple[Cut | None, list[Parameter]]:
    """The cut that blocks most leaves (of equals one that is no `stop_gradient`), and those leaves."""
    unreached: dict[CutKey, list[Parameter]] = {}
    cuts: dict[CutKey, Cut] = {}
    for parameter in blocked:
        for place, cut in {_key(cut): cut for cut in parameter.cuts}.items():
            unreached.setdefault(place, []).append(parameter)
            cuts.setdefault(place, cut)
    if not cuts:
        return None, list(blocked)
    widest = max(unreached, key=lambda place: (len(unreached[place]), place[0] != "stop_gradient"))
    return cuts[widest], unreached[widest]


def _of_estimator(cut: Cut, layers: Sequence[str]) -> tuple[str, str]:
    """What is said of a straight-through estimator."""
    parts, one = names_of(layers), len(layers) == 1
    message = (
        f"{parts} {'gets' if one else 'get'} no gradient: this is a straight-through estimator, which hands "
        "on the value that is made from there and gives the gradient to its other input."
    )
    if cut.compared is None:
        return message, COPY.format(
            parts=parts, learn="learns" if one else "learn", them="it" if one else "them"
        )
    message += (
        f" {cut.compared} subtracts that other input from the result, so the gradient of this difference "
        f"does not come back to {parts} either."
    )
    return (
        message,
        f"Compute the difference at {cut.compared} from the value before the straight-through line.",
    )


def _follows_parts(measurement: Measurement) -> bool:
    """Whether the parts of each kind are either all blocked or all connected."""
    leaves = [
        p
        for p in measurement.parameters
        if p.size > 0 and p.connection in (Connection.BLOCKED, Connection.CONNECTED)
    ]
    steps = paths(names(leaves))
    states: dict[str, set[Connection]] = {}
    for leaf in leaves:
        states.setdefault(kind_of(steps[leaf.name]), set()).add(leaf.connection)
    return all(len(state) == 1 for state in states.values())


def _to_integers(cut: Cut | None) -> str:
    if cut is None or not cut.into:
        return ""
    verb = "has" if len(cut.like) == 1 else "have"
    like = f", the dtype that {names_of(cut.like)} {verb}," if cut.like else ""
    return f"The conversion of a result to {cut.into}{like} inside a library function"


def _named(cut: Cut | None, parameter: Parameter) -> bool:
    """Whether this cut is applied to the parameter itself."""
    return cut is not None and any(_key(one) == _key(cut) and one.on_parameter for one in parameter.cuts)


def _hit(
    measurement: Measurement, cut: Cut | None, unreached: list[Parameter], trains: bool, meant: bool
) -> Hit:
    layers = list(by_layer(measurement, unreached))
    op = cut.op if cut else "an operation without a gradient"
    misled = cut is not None and cut.compared is not None
    named = all(_named(cut, p) for p in unreached)
    note = trains and op == "stop_gradient" and (named or (meant and not misled))
    rest = "" if trains else " No parameter of the model trains."
    what = f"`{op}`" if cut else op
    if cut is not None and cut.straight_through and not named:
        message, remedy = _of_estimator(cut, layers)
        message += rest
    elif note:
        leaves = count(len(unreached), "parameter")
        message = (
            f"{names_of(layers)} {'is' if len(layers) == 1 else 'are'} frozen by {what}: {leaves} "
            f"{'gets' if len(unreached) == 1 else 'get'} no gradient."
        )
        remedy = "Nothing to do if these parts are frozen on purpose."
    else:
        message = f"{_to_integers(cut) or what} blocks every path from {names_of(layers)} to the loss.{rest}"
        remedy = REMEDY.get(
            op, f"Remove {what} from the path, or give the parameter a second path to the loss."
        )
        if cut is not None and cut.into:
            given = cut.like[0] if cut.like else "x"
            remedy = (
                f"Pass floats, as in `{given}.astype(jnp.float32)`: such a function gives its result in the "
                "dtype of its input."
            )
        if op == "stop_gradient":
            remedy = "Remove this `stop_gradient`; to freeze a part on purpose, apply it to its parameters."
    return Hit(
        message=message,
        remedy=remedy,
        evidence={"op": op, "layers": len(layers), "parameters": len(unreached)},
        layer=layers[-1],
        parameter=only(unreached),
        source=cut.source if cut else None,
        severity=Severity.NOTE if note else None,
        layers=tuple(layers),
        explains=tuple(layers),
    )
