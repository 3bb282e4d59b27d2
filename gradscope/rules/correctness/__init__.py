"""Whether the gradients are those of the loss."""
