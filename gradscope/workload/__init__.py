"""What a training step computes, by layer: operations counted, seconds measured, and how both grow."""
