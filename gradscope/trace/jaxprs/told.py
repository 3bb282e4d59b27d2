"""What an equation does, as a text that is the same in every process that traces the same program."""

from __future__ import annotations

from typing import Any

from jax.extend.core import JaxprEqn

PLAIN = (int, float, str, bool, type(None))


def told(eqn: JaxprEqn) -> str:
    """Its primitive, what it reads and makes, and those of its parameters that are plain values: no function,
    whose text has an address in it, and no set, whose order is another one in each process."""
    plain = [f"{name}={eqn.params[name]}" for name in sorted(eqn.params) if _is_plain(eqn.params[name])]
    read = ", ".join(_atom(atom) for atom in eqn.invars)
    made = ", ".join(map(_atom, eqn.outvars))
    return f"{eqn.primitive.name}({'; '.join([read, *plain])}) -> {made}"


def _atom(atom: Any) -> str:
    """A literal by its value: a learning rate may differ."""
    aval, value = atom.aval, getattr(atom, "val", None)
    return str(aval.str_short()) if value is None else f"{aval.str_short()} {value}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))
