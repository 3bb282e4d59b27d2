"""One file for each primitive that carries a jaxpr: how values flow through it, how it runs tapped."""

from gradscope.trace.entered import call, checkpoint, cond, scan, shard_map

__all__ = ["call", "checkpoint", "cond", "scan", "shard_map"]
