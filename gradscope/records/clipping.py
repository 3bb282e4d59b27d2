"""How much of a gradient an optimizer lets through."""

from __future__ import annotations

from gradscope.records.record import record


@record
class ClippedStep:
    """A step of which the optimizer sees only a part of the gradient, as where it clips.

    Found by asking it for the step of the gradient, of its double and of small parts of it, each from a fresh
    state: where it clips, they are the same to the last bit, and so is what it keeps of them.
    """

    step: int
    """Of the short training, counted from 0."""
    norm: float
    """Euclidean norm of the gradient over all parameters."""
    share: float
    """Of the elements that the step moves: those at which a gradient 64 times smaller gives the same."""
    factor: float
    """By how many times the gradient is larger than what is let through of it; the median over these."""
    kept_norm: float | None
    """Norm of what is let through, where all elements are shrunk alike; `None` where they are not, and where
    the step does not tell."""
    proportional: bool
    """The step is smaller by the same factor, as after `sgd`; Adam makes up for it."""
