"""For each known cause of a NaN or infinity: why it happens, and one remedy."""

from __future__ import annotations

from gradscope.records import Cause

TWO_WHERE = (
    "Keep the operation (sqrt, log, division, norm, power) away from its singular point, in the value and in "
    "the gradient: "
    "`x_safe = jnp.where(ok, x, 1.0)`, then `jnp.where(ok, f(x_safe), 0.0)`."
)

EXPLAINED: dict[Cause, tuple[str, str]] = {
    Cause.LOG_OF_ZERO: (
        "The log of 0 is -infinity.",
        "Keep the operand above 0: `jnp.log(x + 1e-8)` or `jnp.log(jnp.maximum(x, 1e-8))`.",
    ),
    Cause.LOG_OF_SOFTMAX: (
        "The softmax of a class far below the largest rounds to 0, and the log of 0 is -infinity.",
        "Compute both at once: `jax.nn.log_softmax(logits)` in place of `jnp.log(jax.nn.softmax(logits))`, "
        "or `optax.softmax_cross_entropy_with_integer_labels(logits, labels)`.",
    ),
    Cause.LOG_OF_SIGMOID: (
        "The sigmoid of a large number rounds to 0 or 1, and the log of 0 is -infinity.",
        "Use `jax.nn.log_sigmoid(x)` for log(sigmoid(x)) and `jax.nn.log_sigmoid(-x)` for log(1 - "
        "sigmoid(x)), or `optax.sigmoid_binary_cross_entropy(logits, labels)`.",
    ),
    Cause.LOG_OF_NEGATIVE: (
        "The log of a number below 0 is NaN.",
        "Make the operand positive (`jax.nn.softplus(x)`, `jnp.abs(x) + 1e-8`), or learn its log.",
    ),
    Cause.ROOT_AT_ZERO: (
        "The derivative of a root at 0 is infinite.",
        "Keep 0 out of the root: `jnp.sqrt(x + 1e-12)`; where 0 has to stay exactly 0, "
        "`ok = x > 0`, then `jnp.where(ok, jnp.sqrt(jnp.where(ok, x, 1.0)), 0.0)`.",
    ),
    Cause.NORM_AT_ZERO: (
        "The norm of a vector of zeros has no gradient: its slope is 0 / 0.",
        "Use `optax.safe_norm(x, 1e-8)`, or `jnp.sqrt(jnp.sum(x**2, axis=-1) + 1e-12)`.",
    ),
    Cause.STD_OF_CONSTANT: (
        "Where all values are equal their variance is 0, and the derivative of its root is infinite.",
        "Put the epsilon inside the root: `jnp.sqrt(jnp.var(x, axis=-1) + 1e-6)` in place of "
        "`jnp.std(x, axis=-1)`.",
    ),
    Cause.ROOT_OF_NEGATIVE: (
        "The root of a number below 0 is NaN; rounding can take a difference just below 0.",
        "Clip it first: `jnp.sqrt(jnp.maximum(x, 1e-12))`.",
    ),
    Cause.DIVISION_BY_ZERO: (
        "A number divided by 0 is infinite.",
        "Keep the divisor away from 0: `x / (y + 1e-8)` for y >= 0 (in a normalization layer its `epsilon`), "
        "else `x / jnp.where(y == 0, 1.0, y)`.",
    ),
    Cause.ZERO_OVER_ZERO: (
        "0 / 0 is NaN: a row of zeros was normalized by its own size.",
        "Keep the divisor away from 0: `x / jnp.maximum(total, 1e-8)`.",
    ),
    Cause.MEAN_OF_NOTHING: (
        "A sum over nothing was divided by a count of 0: the mask keeps no element.",
        "Count at least one: `(x * mask).sum() / jnp.maximum(mask.sum(), 1)`.",
    ),
    Cause.UNSAFE_WHERE: (
        "The gradient that comes back to this value is 0, as where a `where`, a mask or an index update "
        "keeps it out of the result, and 0 times an infinite derivative is NaN.",
        "Guard the operand, not only the result: `ok = ...`, `x_safe = jnp.where(ok, x, 1.0)`, then "
        "`jnp.where(ok, f(x_safe), 0.0)`.",
    ),
    Cause.EXP_OVERFLOW: (
        "The exponential exceeds the range of the dtype.",
        "Subtract the maximum first (`jnp.exp(x - x.max(axis=-1, keepdims=True))`), or use `jax.nn.softmax`, "
        "`jax.nn.logsumexp` or `jax.nn.softplus`, which do.",
    ),
    Cause.POWER_AT_ZERO: (
        "A power with an exponent below 1 has an infinite derivative at 0, one below 0 an infinite value.",
        "Keep the base above 0: `(x + 1e-8) ** p`, or `jnp.maximum(x, 1e-8) ** p`.",
    ),
    Cause.POWER_OF_NEGATIVE: (
        "A power of a negative base is defined for whole exponents only, and its derivative in the exponent "
        "contains the log of the base.",
        "Take the power of the size and put the sign back: `jnp.sign(x) * jnp.abs(x) ** p`; for a whole "
        "exponent give it as a Python `int`.",
    ),
    Cause.ANGLE_AT_ORIGIN: (
        "The angle of (0, 0) has no gradient: the derivative is 0 / 0.",
        "Move the point off the origin: `ok = x**2 + y**2 > 0`, then "
        "`jnp.arctan2(jnp.where(ok, y, 0.0), jnp.where(ok, x, 1.0))`.",
    ),
    Cause.HALF_PRECISION: (
        "The largest float16 is 65504.",
        "Use bfloat16, which has the range of float32, or keep this part in float32 "
        "(`x.astype(jnp.float32)`); a gradient that overflows needs a smaller loss scale.",
    ),
    Cause.OVERFLOW: (
        "The result exceeds the range of the dtype, because the operands are too large.",
        "Reduce it where it grows (the operations before the origin show where): smaller initial weights "
        "(`jax.nn.initializers.he_normal()`), a normalization layer, or work with logarithms.",
    ),
    Cause.GROWTH_IN_LOOP: (
        "The values grow at every iteration until they exceed the range of the dtype.",
        "Keep the factor per step near 1: an orthogonal initial matrix, a gate, a normalization or "
        "`jnp.tanh` inside the step.",
    ),
    Cause.INFINITY_MINUS_INFINITY: (
        "Infinity minus infinity is NaN; the infinity was put there on purpose.",
        "Use a large finite number in place of `jnp.inf`: `jnp.finfo(x.dtype).max / 2`, with its sign.",
    ),
    Cause.INFINITY_OVER_INFINITY: (
        "Infinity over infinity is NaN; the infinity was put there on purpose.",
        "Use a large finite number in place of `jnp.inf`: `jnp.finfo(x.dtype).max / 2`, with its sign.",
    ),
    Cause.ZERO_TIMES_INFINITY: (
        "0 times infinity is NaN; the infinity was put there on purpose, so a product cannot mask it.",
        "Mask by choosing, not by multiplying: `jnp.where(mask, x, 0.0)` in place of `x * mask`.",
    ),
    Cause.MASKED_ROW: (
        "Every entry of a row is masked with -infinity, so the softmax subtracts -infinity from -infinity.",
        "Leave one entry of each row unmasked, or mask with a finite number: "
        "`jnp.where(mask, scores, jnp.finfo(scores.dtype).min)`.",
    ),
    Cause.OUTSIDE_INDEX: (
        "An index lies outside of the array, and JAX fills in NaN there instead of raising an error.",
        "Compare the indices with the length of the axis: labels run from 0 to the number of classes less 1, "
        "tokens to the size of the vocabulary less 1 (`assert labels.max() < logits.shape[-1]`).",
    ),
    Cause.EQUAL_VALUES: (
        "Vectors of equal eigenvalues or singular values are not unique: their derivative divides by the "
        "difference of the values, which is 0.",
        "Break the tie with a little noise on the diagonal (`m + 1e-6 * jnp.diag(noise)`), or let the loss "
        "use the values alone (`jnp.linalg.eigvalsh(m)`, `jnp.linalg.svd(m, compute_uv=False)`).",
    ),
    Cause.SINGULAR_MATRIX: (
        "The matrix is singular, or not positive definite.",
        "Add to its diagonal: `m + 1e-6 * jnp.eye(n)`.",
    ),
    Cause.OUTSIDE_DOMAIN: (
        "The function is not defined there, or has a pole.",
        "Clip the operand to the domain: `jnp.clip(x, -1 + 1e-6, 1 - 1e-6)` for arccos, arcsin, arctanh and "
        "erfinv.",
    ),
    Cause.EDGE_OF_DOMAIN: (
        "At the edge of its domain the derivative of the function is infinite.",
        "Stay inside: `jnp.clip(x, -1 + 1e-6, 1 - 1e-6)`; for the angle between vectors use `jnp.arctan2`.",
    ),
    Cause.CUSTOM_RULE: (
        "The custom derivative rule of this function makes it.",
        "Guard the rule at this point, as you would guard the derivative of a plain expression; "
        "`gradscope verify` compares the rule with finite differences.",
    ),
    Cause.UNSEEN: (
        "gradscope ran this operation as a whole and did not look inside it.",
        "Check its operands and its result, or write this part in plain JAX to find the origin.",
    ),
    Cause.PARAMETER: (
        "It was there before the first operation.",
        "Look at where this parameter comes from: its initialization, a checkpoint, the last update.",
    ),
    Cause.BATCH: (
        "It was there before the first operation.",
        "Clean the data: drop or fill these values, for instance with `jnp.nan_to_num` before training.",
    ),
    Cause.CONSTANT: (
        "It is part of the program: an array that the loss closes over, or a number in the code.",
        "Look at how it is computed, before the loss is called.",
    ),
    Cause.OTHER: ("The operation is not defined for these operands.", TWO_WHERE),
}
