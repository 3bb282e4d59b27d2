"""The command line, without JAX."""
