"""gradscope tells JAX users why their network does not learn."""

__version__ = "0.1.0"
