"""How well XLA is to compile, in the words of its own version; read before JAX is imported, too."""

from __future__ import annotations

from jaxlib.version import __version_info__

LEVEL = "xla_backend_optimization_level"
_OLDER_EMITTERS = __version_info__ < (0, 11)
"""Whether XLA still has those that make a loop's code without MLIR, in 0.3 to 0.6 of the time. It ends a
process that gives it a flag which it does not know."""


def compiling(level: int, *, quickly: bool) -> dict[str, int | bool]:
    """Flags of XLA and their values: `level` is that of its optimizations."""
    return {LEVEL: level, **({"xla_cpu_use_fusion_emitters": not quickly} if _OLDER_EMITTERS else {})}
