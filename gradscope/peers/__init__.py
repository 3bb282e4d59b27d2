"""Several processes that measure one target together: how they find each other, agree, and read arrays that
no process holds whole.

The engine is JAX's own runtime (`jax.distributed`): what is compiled is one program over the devices of all
processes, and each process runs the same Python. In one process all of this is what it would be without.
"""
