"""What the backward pass keeps: by layer and line, against XLA's own figures; what checkpointing saves."""
