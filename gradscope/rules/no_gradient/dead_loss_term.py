"""A term of the loss gives no gradient to any parameter.

## What it does
Takes the loss apart into the terms that it is a sum of, and reports each term that does nothing for training:
one that takes a derivative which is zero whatever the parameters are, one in which they cancel, or one whose
every gradient is cut.

## Why is this bad
The loss says what is wanted, and this part of it is not heard. The other terms train, so the loss falls and
nothing looks wrong: a physics-informed network with ReLUs learns its boundary values and never the equation,
because the second derivative of a ReLU is zero.

## How it is measured
Exactly, from the program of the loss (its jaxpr). It is followed back from the result through sums, constant
factors and means to the terms, each with its line. A term is dead where no differentiable path leads from any
parameter to it. Three causes are told apart:

- *A zero derivative.* The term depends on no parameter at all, although a derivative is taken at one of its
  lines of a function that does: JAX found that derivative to be zero. The same is told of a part of a term
  that has a gradient otherwise, such as u_xx beside u_t, and of a derivative that is another number, such as
  1: that of the sum of the outputs, by these and not by the inputs. This is an error where activations made
  of straight pieces explain it (`relu`, `leaky_relu`, `abs`, `where`), else a warning.
- *A cancellation.* The term uses parameters only in a difference of two values that are computed in the
  same way from the same, as in the ratio of a policy's new and old probabilities without `stop_gradient` on
  the old one. This is an error, or a warning where it is only a part of the term.
- *A cut.* The term depends on parameters, and `stop_gradient`, `argmax`, a comparison, rounding or a cast to
  integers ends every path. This is a warning, since the term may be there for its value.

## Limits
None: a path exists or it does not. Source: reachability in the jaxpr, as JAX differentiates it.

## Example
    u_xx = jax.vmap(jax.grad(jax.grad(network, 1), 1), (None, 0))(params, x)      # network uses jax.nn.relu
    return jnp.mean((u_xx + f(x)) ** 2) + network(params, 0.0) ** 2

Use instead, in the network, an activation that bends everywhere:

    h = jnp.tanh(h @ layer["w"] + layer["b"])

## What it does not say
A term that happens to have a gradient of zero now (a hinge that is not active, a coefficient that warms up, a
penalty on weights that start at zero) is alive. A constant, or a term made of data alone, is no fault. Nor is
a value that is added behind `stop_gradient` on purpose: where nothing but sums and factors follows the
`stop_gradient`, or where it also serves as the target of another term. Nor is the log of a
density that is constant where it is not 0, as of the uniform base of a normalizing flow: a choice between a
constant and an infinity.

## Source
Raissi, Perdikaris and Karniadakis 2019, *Physics-informed neural networks*, Journal of Computational Physics
378 (networks with a smooth activation, differentiated twice). Schulman et al. 2017, *Proximal Policy
Optimization Algorithms*, arXiv:1707.06347 (the old policy in the ratio is a constant).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import (
    Cancellation,
    Connection,
    LossTerm,
    Measurement,
    Severity,
    Source,
    ZeroDerivative,
)
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of, number

SMOOTH = (
    "Use a smooth activation in the function that is differentiated: `jnp.tanh`, `jax.nn.softplus` or "
    "`jax.nn.swish`."
)
ARGUMENT = (
    "Check which argument the derivative is taken with respect to, and that the function is not linear in it."
)
HOLD = (
    "Put `jax.lax.stop_gradient` around the side that is meant as a constant (an old log-probability, a "
    "target), or take it from the batch."
)
ATTACH = (
    "Remove the `stop_gradient` from what is to learn; nothing to do if the term is there for its value only."
)
SOFTEN = (
    "Compute the term from values that have a gradient (scores or probabilities, not the choice made from "
    "them), or return it beside the loss."
)


@rule("dead-loss-term", severity=Severity.ERROR, symptom_of=("blocked-gradient",), single_seed_suffices=True)
def dead_loss_term(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    terms = measurement.terms
    subject = "This term of the loss" if len(terms) > 1 else "The loss"
    for term in terms:
        if term.cancellation is not None:
            yield _hit(measurement, term, *_of_cancellation(subject, term, term.cancellation))
        elif term.derivative is not None:
            yield _hit(measurement, term, *_of_zero(subject, term, term.derivative))
        elif term.connection is Connection.BLOCKED and len(terms) > 1 and not term.detached:
            yield _hit(measurement, term, *_of_cuts(subject, term))


def _of_zero(subject: str, term: LossTerm, zero: ZeroDerivative) -> tuple[str, str, Severity]:
    explained = zero.repeated and bool(zero.straight) and not zero.curved
    which = "second or higher derivative" if zero.repeated else "derivative"
    value = number(zero.value)
    what = f"The {which} that it takes{_at(zero.source, term.source)} is {value} whatever the parameters are"
    if explained:
        where, one = _at(zero.activation_source), len(zero.straight) == 1
        cause = f"{names_of(zero.straight)}{where} {'is' if one else 'are'} made of straight pieces"
        what += f", because {cause}, whose second derivative is 0."
    elif zero.value:
        what += (
            ": the function is a sum or a mean of what it is differentiated by, as of an output of the "
            "network in the place of its input."
        )
    else:
        what += ": the function may be linear in what it is differentiated by, or not depend on it."
    severity = Severity.ERROR if explained else Severity.WARNING
    effect = "gives no gradient, for no parameter reaches it" if _dead(term) else "is constant in part"
    return f"{subject} {effect}. {what}", SMOOTH if explained else ARGUMENT, severity


def _of_cancellation(subject: str, term: LossTerm, found: Cancellation) -> tuple[str, str, Severity]:
    ratio = found.op == "div"
    verb = "is" if len(term.parameters) == 1 else "are"
    message = (
        f"{subject} {'gives no gradient' if _dead(term) else 'is constant in part'}. "
        f"{'The ratio that it takes' if ratio else 'The difference that it takes'}"
        f"{_at(found.source, term.source)} is {'1' if ratio else '0'} whatever {names_of(term.parameters)} "
        f"{verb}: both sides are computed in the same way, and their gradients cancel."
    )
    return message, HOLD, Severity.ERROR if _dead(term) else Severity.WARNING


def _dead(term: LossTerm) -> bool:
    return term.connection is Connection.DISCONNECTED


def _of_cuts(subject: str, term: LossTerm) -> tuple[str, str, Severity]:
    ends = [f"`{cut.op}`{_at(cut.source, term.source)}" for cut in term.cuts]
    shown = " and ".join(ends) if len(ends) < 3 else f"{', '.join(ends[:2])} and {len(ends) - 2} more"
    message = (
        f"{subject} depends on {names_of(term.parameters)} and gives no gradient to any parameter: "
        f"{shown} {'ends' if len(ends) == 1 else 'end'} every path."
    )
    only_stopped = all(cut.op == "stop_gradient" for cut in term.cuts)
    return message, ATTACH if only_stopped else SOFTEN, Severity.WARNING


def _at(source: Source | None, known: Source | None = None) -> str:
    return f" at {source}" if source is not None and source != known else ""


def _hit(measurement: Measurement, term: LossTerm, message: str, remedy: str, severity: Severity) -> Hit:
    leaves = [leaf for leaf in measurement.parameters if leaf.name in term.parameters]
    # What keeps a derivative from its parameters says nothing of a zero that others send back to them.
    lost = [leaf for leaf in leaves if term.cancellation or leaf.connection is not Connection.CONNECTED]
    alone = all(each.connection is not Connection.CONNECTED for each in measurement.terms)
    return Hit(
        message=message,
        remedy=remedy,
        evidence={"terms": len(measurement.terms), "connection": term.connection.value},
        source=term.source,
        severity=severity,
        layers=tuple(dict.fromkeys(leaf.layer for leaf in leaves)),
        explains=None if alone else tuple(dict.fromkeys(leaf.layer for leaf in lost)),
    )
