"""The texts for each kind of hazard: what it is, how it fails, what to write instead.

The keys are those of `Hazard.kind`; an unknown kind gets a general text.
"""

from __future__ import annotations

from typing import NamedTuple

from gradscope.records import Hazard, HazardForm
from gradscope.rules.words import number


class Words(NamedTuple):
    what: str
    """A sentence that the measured operand completes."""
    fails: str
    remedy: str
    structural: bool = False
    """Whether a safe spelling exists, so that a note is due however far the operand is."""


_DIVISION = "Add a small number to the denominator, or divide by `jnp.where(d != 0, d, 1.0)`."
_ANGLE = (
    "Keep the operand inside by more than its rounding (`jnp.clip(c, -1 + 1e-6, 1 - 1e-6)`), or take the "
    "angle as `jnp.arctan2(jnp.linalg.norm(jnp.cross(a, b)), a @ b)`."
)

WORDS = {
    "log-of-softmax": Words(
        "The log of a softmax: its smallest probability is",
        "Where a probability underflows to 0 the log is -inf and the gradient NaN.",
        "Compute `jax.nn.log_softmax(logits)` in one step; it does not underflow. With labels as weights of "
        "the classes, as one-hot ones, `optax.softmax_cross_entropy(logits, labels)` does it all.",
        structural=True,
    ),
    "log-of-sigmoid": Words(
        "The log of a sigmoid: its smallest operand is",
        "Where the sigmoid rounds to 0 the log is -inf and the gradient NaN.",
        "Write `jax.nn.log_sigmoid(x)` for log(sigmoid(x)).",
        structural=True,
    ),
    "log-of-tanh": Words(
        "The log of an expression in tanh: its smallest operand is",
        "Where tanh rounds to 1 the log is -inf and the gradient NaN.",
        "For log(1 - tanh(x)**2) write `2 * (jnp.log(2.0) - x - jax.nn.softplus(-2 * x))`.",
        structural=True,
    ),
    "softmax-by-hand": Words(
        "A softmax without its maximum subtracted: the largest exponent is",
        "Where `exp` overflows the result is inf / inf = NaN.",
        "Use `jax.nn.softmax(x)`, or subtract `x.max(-1, keepdims=True)` before `jnp.exp`.",
        structural=True,
    ),
    "log-of-exp": Words(
        "The log of an exponential: the largest exponent is",
        "Where `exp` overflows the result is infinite and the gradient NaN.",
        "Use the exponent itself: log(exp(x)) is x.",
        structural=True,
    ),
    "logsumexp-by-hand": Words(
        "The log of exponentials that were added or scaled: the largest exponent is",
        "Where `exp` overflows the result is infinite and the gradient NaN.",
        "Use `jax.nn.logsumexp(x)`; for log(1 + exp(x)) use `jax.nn.softplus(x)`, and x + log(c) for "
        "log(c * exp(x)).",
        structural=True,
    ),
    "unsafe-where": Words(
        "A `where` guards the value of this operation, but not its gradient: the operand nearest to the "
        "singular point is",
        "On the elements that the `where` does not select, the gradient can be 0 * inf = NaN.",
        "Guard the operand as well: `x_safe = jnp.where(ok, x, 1.0)`, then `jnp.where(ok, f(x_safe), 0.0)`.",
        structural=True,
    ),
    "log-near-zero": Words(
        "The log of a number that can be 0: the smallest is",
        "At 0 the log is -inf, and its gradient infinite.",
        "Add a small number that fits the dtype (`jnp.log(x + 1e-6)`), or compute the log directly.",
    ),
    "root-near-zero": Words(
        "The root of a number that can be 0: the smallest is",
        "At 0 the derivative of the root is infinite, and 0 * inf is NaN.",
        "Add a small number under the root, or guard twice: `x_safe = jnp.where(x > 0, x, 1.0)`, then "
        "`jnp.where(x > 0, jnp.sqrt(x_safe), 0.0)`.",
    ),
    "division-by-norm": Words(
        "A division by a norm that can be 0: the smallest is",
        "At 0 the result is 0 / 0 = NaN.",
        "Add a small number under the root: `x / jnp.sqrt(jnp.sum(x**2) + 1e-6)`.",
    ),
    "division-by-std": Words(
        "A division by a standard deviation that can be 0: the smallest is",
        "Where all values are equal the result is 0 / 0 = NaN, and so is the gradient of the root.",
        "Add a small number under the root: `(x - mean) / jnp.sqrt(x.var() + 1e-6)`.",
    ),
    "division-by-sum": Words(
        "A division by a sum that can be 0: the smallest is",
        "At 0 the result is not finite.",
        _DIVISION,
    ),
    "division-by-zero": Words(
        "A division by a number that can be 0: the smallest is",
        "At 0 the result is not finite.",
        _DIVISION,
    ),
    "large-exponent": Words(
        "An exponential: the largest exponent is",
        "Beyond the limit the result is infinite.",
        "Bound the exponent: subtract the maximum, clip it, or stay in log space.",
    ),
    "power-near-zero": Words(
        "A power with an exponent below 1 of a number that can be 0: the smallest is",
        "At 0 its derivative is infinite.",
        "Guard the base: `jnp.where(x > 0, jnp.where(x > 0, x, 1.0) ** a, 0.0)`.",
    ),
    "arctan2-near-origin": Words(
        "The angle of a point that can be (0, 0): the distance of the nearest is",
        "At the origin the angle has no derivative, and the gradient is 0 / 0 = NaN.",
        "Guard both operands: where both are 0, take the angle of (0, 1) instead and select afterwards.",
    ),
    "arccos-near-one": Words(
        "An arccos near the end of its domain: the operand nearest to ±1 is",
        "At ±1 its derivative is infinite, and beyond it is NaN; a `clip` at ±1 does not help the gradient.",
        _ANGLE,
    ),
    "arcsin-near-one": Words(
        "An arcsin near the end of its domain: the operand nearest to ±1 is",
        "At ±1 its derivative is infinite, and beyond it is NaN; a `clip` at ±1 does not help the gradient.",
        "Keep the operand inside by more than its rounding: `jnp.clip(s, -1 + 1e-6, 1 - 1e-6)`.",
    ),
    "arctanh-near-one": Words(
        "An arctanh near the end of its domain: the operand nearest to ±1 is",
        "At ±1 it is infinite.",
        "Keep the operand inside (`jnp.clip`), or keep the value before the tanh.",
    ),
    "erfinv-near-one": Words(
        "An inverse error function near the end of its domain: the operand nearest to ±1 is",
        "At ±1 it is infinite.",
        "Keep the operand inside: `jnp.clip(u, -1 + 1e-6, 1 - 1e-6)`.",
    ),
}

_UNDERFLOWS = "Where the probability rounds to 1 the log is -inf and the gradient NaN."
OF_FORM = {
    ("log-of-softmax", HazardForm.GATHERED): Words(
        "The log of probabilities that were looked up in a softmax: the smallest is",
        "Where a probability underflows to 0 the log is -inf and the gradient NaN.",
        "Take the log first: `jax.nn.log_softmax(logits)[rows, labels]` (or `jnp.take_along_axis` of it), or "
        "`optax.softmax_cross_entropy_with_integer_labels(logits, labels)`.",
        structural=True,
    ),
    ("log-of-softmax", HazardForm.COMPLEMENT): Words(
        "The log of 1 - softmax: its smallest operand is",
        _UNDERFLOWS,
        "1 - p is the share of all other classes: with `others = jnp.where(jnp.eye(classes, dtype=bool), "
        "-jnp.inf, logits[..., None, :])` its log is `jax.nn.logsumexp(others, axis=-1) - "
        "jax.nn.logsumexp(logits, axis=-1, keepdims=True)`. Where each label holds or not by itself, take "
        "`optax.sigmoid_binary_cross_entropy(logits, labels)`.",
        structural=True,
    ),
    ("log-of-sigmoid", HazardForm.COMPLEMENT): Words(
        "The log of 1 - sigmoid: its smallest operand is",
        _UNDERFLOWS,
        "Write `jax.nn.log_sigmoid(-x)` for log(1 - sigmoid(x)).",
        structural=True,
    ),
}
"""By kind and form, where a form has a spelling of its own."""

BOTH_LABELS = (
    "Write `optax.sigmoid_binary_cross_entropy(x, labels)` for both terms, or `jax.nn.log_sigmoid(x)` for "
    "log(sigmoid(x)) and `jax.nn.log_sigmoid(-x)` for log(1 - sigmoid(x))."
)
"""Where the log of a sigmoid and that of 1 less one stand on one line."""

_UNKNOWN = Words(
    "An operation that is not finite everywhere: its nearest operand is",
    "At the singular point the result is not finite.",
    "Keep the operand away from that point.",
)


def words_of(hazard: Hazard) -> Words:
    return OF_FORM.get((hazard.kind, hazard.form)) or WORDS.get(hazard.kind, _UNKNOWN)


def how_near(hazard: Hazard) -> str:
    """The measured operand, and how far it is from the singular point."""
    at = number(hazard.nearest)
    if hazard.smallest == 0:
        return f"{at}, and {hazard.dtype} overflows at {number(hazard.danger)}"
    if hazard.danger != 0:
        return f"{hazard.nearest:.7g}, {number(hazard.distance)} from the end of the domain"
    if hazard.distance <= hazard.rounding:
        return f"{at}, which the rounding of its terms ({number(hazard.rounding)}) can bring to 0"
    way = f"{hazard.reached:.0%} of the way, in powers of ten, to {number(hazard.smallest)}"
    return f"{at}, {way}, the smallest normal {hazard.dtype}"
