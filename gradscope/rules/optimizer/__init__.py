"""Is the optimizer doing its work."""
