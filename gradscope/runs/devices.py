"""What JAX says of the machine that it runs on."""

from __future__ import annotations


def devices() -> dict[str, str]:
    """A backend that cannot be started is told in its own words."""
    import jax
    import jax.numpy as jnp

    try:
        found = jax.devices()
    except RuntimeError as error:
        return {"devices": " ".join(str(error).split())}
    kinds = sorted({device.device_kind for device in found})
    return {
        "backend": jax.default_backend(),
        "devices": f"{len(found)} ({', '.join(kinds)})",
        "processes": str(jax.process_count()),
        "float64": "on" if jnp.zeros(1, float).dtype.itemsize == 8 else "off",
    }
