"""The operands that chosen equations really get, at any depth: one run of the program.

Inside a loop a fixed number of visits is kept, drawn evenly from all that happen (Vitter's reservoir), so
that memory does not grow with the length of the loop and a `while` need not say how often it turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.forward import Forward
from gradscope.trace.jaxprs import Body
from gradscope.trace.walk import Path

Kept = dict[str, Any]
"""Of one equation: `visits`, how often it ran, and `rows`, for each operand the kept ones side by side.

In a loop one more row follows, which holds whatever was not kept."""


class Capture(Forward):
    """Keeps the operands of the equations at `paths`; `rows` of them for a path inside a loop."""

    def __init__(self, paths: Mapping[Path, tuple[JaxprEqn, bool]], rows: int) -> None:
        """`paths` gives the equation, and whether a loop is around it."""
        self._paths, self._rows = paths, rows
        self._above = {path[: 2 * depth + 1] for path in paths for depth in range(len(path) // 2)}

    def start(self) -> dict[Path, Kept]:
        """Nothing seen."""
        return {
            path: {
                "visits": jnp.zeros((), jnp.uint32),
                "rows": [_zeros(atom.aval, self._rows + 1 if looped else 1) for atom in eqn.invars],
            }
            for path, (eqn, looped) in self._paths.items()
        }

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        del eqn
        return path in self._above

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        return jaxprs.run_equation(eqn, values)

    def seen(self, path: Path, values: list[Any], state: dict[Path, Kept]) -> dict[Path, Kept]:
        if path not in self._paths:
            return state
        before, words = state[path], [jaxprs.key_words(value) for value in values]
        count = before["visits"]
        if self._paths[path][1]:
            row = _row_for(count, self._rows)
            rows = [kept.at[row].set(word) for kept, word in zip(before["rows"], words, strict=True)]
        else:
            rows = [word[None] for word in words]
        return {**state, path: {"visits": count + 1, "rows": rows}}


def capture(
    body: Body, args: Sequence[Any], paths: Mapping[Path, tuple[JaxprEqn, bool]], rows: int
) -> dict[Path, Kept]:
    """Traceable. A path that is not reached (a branch not taken) has no visits."""
    run = Capture(paths, rows)
    return run.run(body, args, run.start())[1]  # type: ignore[no-any-return]


def operands(kept: Kept, eqn: JaxprEqn, rows: int) -> Iterable[list[Any]]:
    """The operands of each kept visit, as the equation takes them."""
    avals: list[Any] = [atom.aval for atom in eqn.invars]
    for row in range(min(int(kept["visits"]), len(kept["rows"][0]) if kept["rows"] else 0, rows)):
        yield [jaxprs.as_key(words[row], aval) for words, aval in zip(kept["rows"], avals, strict=True)]


def _row_for(count: Any, rows: int) -> Any:
    """Where visit number `count` goes: a free row, an even draw among the kept ones, or past the last."""
    mixed = (count * jnp.uint32(2654435761)) ^ (count >> 3)
    drawn = ((mixed * jnp.uint32(2246822519)) >> 5) % (count + 1)
    return jnp.where(count < rows, count, jnp.minimum(drawn, jnp.uint32(rows)))


def _zeros(aval: Any, rows: int) -> Any:
    shaped: Any = jax.ShapeDtypeStruct
    like = jax.eval_shape(jaxprs.key_words, shaped(aval.shape, aval.dtype))
    return jnp.zeros((rows, *like.shape), like.dtype)
