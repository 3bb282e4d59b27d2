"""Is the gradient that of the loss."""
