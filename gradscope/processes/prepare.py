"""What JAX reads when it is imported, set for a process that runs each program once."""

from __future__ import annotations

import gc
import os

from gradscope.processes import compilation_cache
from gradscope.xla import LEVEL, compiling

# Python's own is (700, 10, 10): importing and tracing make a million objects that stay, and looking through
# them again and again took a tenth of a small model's check. This is enough for what a training throws away.
COLLECTIONS = (50_000, 20, 20)


def prepare_process() -> None:
    """Set up JAX for a process that runs each program once; what the user has set wins.

    Must run before JAX is imported. Programs that run once are dominated by XLA's compile time: no
    backend optimization (`docs/performance.md`), and a compilation cache that outlives the process.
    """
    gc.set_threshold(*COLLECTIONS)
    flags = os.environ.get("XLA_FLAGS", "")
    if LEVEL not in flags:
        quick = [f"--{name}={value}".lower() for name, value in compiling(0, quickly=True).items()]
        os.environ["XLA_FLAGS"] = " ".join([flags, *quick]).strip()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras chooses its backend when it is imported, and without this it would be TensorFlow.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    compilation_cache.use()
