"""The remedy where the operation stands in a function of a library: what to pass into the call."""

from __future__ import annotations

from gradscope.records import Cause, Origin
from gradscope.rules.numerics.remedies import EXPLAINED

IN_THE_EXPRESSION = frozenset(
    {Cause.LOG_OF_ZERO, Cause.LOG_OF_NEGATIVE, Cause.ROOT_AT_ZERO, Cause.ROOT_OF_NEGATIVE, Cause.NORM_AT_ZERO}
    | {Cause.STD_OF_CONSTANT, Cause.DIVISION_BY_ZERO, Cause.ZERO_OVER_ZERO, Cause.MEAN_OF_NOTHING}
    | {Cause.UNSAFE_WHERE, Cause.POWER_AT_ZERO, Cause.POWER_OF_NEGATIVE, Cause.ANGLE_AT_ORIGIN, Cause.OTHER}
    | {Cause.LOG_OF_SOFTMAX, Cause.LOG_OF_SIGMOID}
)
"""Causes whose usual remedy rewrites the line in which the operation stands."""
ROOTS = frozenset({"sqrt", "rsqrt", "cbrt", "pow"})


def explained(origin: Origin) -> tuple[str, str]:
    """Why it happens, and one remedy that can be made in the user's own file."""
    why, remedy = EXPLAINED[origin.cause]
    if not origin.library or origin.cause not in IN_THE_EXPRESSION:
        return why, remedy
    inside = f"The operation stands in a function of `{origin.library}` that is called at this line"
    setting = _setting(origin)
    if setting == "eps_root":
        example = ", as in `optax.adam(1e-3, eps_root=1e-8)`" if origin.library == "optax" else ""
        return why, f"{inside}: give that function `eps_root=1e-8`{example}, which is added under its root."
    if setting:
        return why, f"{inside}: give that function a larger `{setting}`, which may keep it from this point."
    return why, (
        f"{inside}: keep what you pass in away from this point. Where it has to be there, guard the call: "
        "`x_safe = jnp.where(ok, x, 1.0)`, then `jnp.where(ok, f(x_safe), 0.0)`."
    )


def _setting(origin: Origin) -> str:
    """The argument that may help: `eps_root` for a root, else the first one."""
    root = (origin.derivative_of or origin.op) in ROOTS
    if root and "eps_root" in origin.settings:
        return "eps_root"
    return next((name for name in origin.settings if name != "eps_root"), "")
