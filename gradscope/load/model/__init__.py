"""The params: from a pytree, a framework or a checkpoint."""
